//! How much a request may hold. Checked before memory is taken.

/// Bounds on one request, shared by every decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after all layers of compression together.
    pub decompressed_bytes: usize,
    /// How many times as large as its input one layer of compression may come out, from [`RATIO_FLOOR`] bytes on.
    pub ratio: usize,
    /// Layers of compression around a payload.
    pub nesting: usize,
    /// Rows of any one table, samples and values included.
    pub elements: usize,
    /// Frames of one stack.
    pub stack_depth: usize,
    /// Attributes of one resource or scope.
    pub attributes: usize,
    /// Labels (attributes) of one sample, location, mapping or profile; those beyond become one that says so.
    pub labels: usize,
    /// Bytes of the key of a label; longer ones become one that says so.
    pub label_key_bytes: usize,
    /// Bytes of the value of a label of a sample; longer ones become one that says so.
    pub label_value_bytes: usize,
    /// Bytes of one string.
    pub string_bytes: usize,
    /// Depth of nested attribute values and JSON.
    pub depth: usize,
}

/// Below so many bytes nothing is made of how well something was compressed.
pub const RATIO_FLOOR: usize = 1 << 20;

impl Limits {
    /// What applies where nothing else is configured.
    pub const USUAL: Self = Self {
        decompressed_bytes: 64 << 20,
        ratio: 500,
        nesting: 3,
        elements: 8 << 20,
        stack_depth: 16_384,
        attributes: 1_024,
        labels: 128,
        label_key_bytes: 1_024,
        label_value_bytes: 4_096,
        string_bytes: 1 << 20,
        depth: 32,
    };

    /// For files of a person's own: bounded only so that the machine survives, and everything is shown as it is.
    pub const OWN_FILE: Self = Self {
        decompressed_bytes: 1 << 30,
        ratio: usize::MAX,
        elements: 64 << 20,
        labels: usize::MAX,
        label_key_bytes: usize::MAX,
        label_value_bytes: usize::MAX,
        ..Self::USUAL
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::USUAL
    }
}

/// A bound of a request, as metrics and errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Bytes of a body as sent.
    Body,
    /// [`Limits::decompressed_bytes`].
    Decompressed,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::nesting`].
    Nesting,
    /// The window that Zstandard asks for.
    Window,
    /// Parts of a multipart body.
    Parts,
    /// Profiles sent side by side in one request.
    Payloads,
    /// [`Limits::elements`].
    Elements,
    /// [`Limits::stack_depth`].
    StackDepth,
    /// [`Limits::attributes`].
    Attributes,
    /// [`Limits::labels`].
    Labels,
    /// [`Limits::label_key_bytes`].
    LabelKey,
    /// [`Limits::label_value_bytes`].
    LabelValue,
    /// [`Limits::string_bytes`].
    String,
    /// [`Limits::depth`].
    Depth,
    /// The memory of all requests together, which one alone would pass.
    Memory,
}

impl Limit {
    /// The metric label: the key where there is one.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Decompressed => "decompressed_size",
            Self::Ratio => "compression_ratio",
            Self::Nesting => "compression_layers",
            Self::Window => "zstd_window",
            Self::Parts => "multipart_parts",
            Self::Payloads => "payloads",
            Self::Elements => "elements",
            Self::StackDepth => "stack_depth",
            Self::Attributes => "resource_attributes",
            Self::Labels => "labels_per_sample",
            Self::LabelKey => "label_key_size",
            Self::LabelValue => "label_value_size",
            Self::String => "string_size",
            Self::Depth => "nesting_depth",
            Self::Memory => "memory_budget",
        }
    }
}
