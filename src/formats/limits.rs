//! How much a request may hold. Checked before memory is taken.

/// Bounds on one request, shared by every decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after all layers of compression together.
    pub decompressed_bytes: usize,
    /// Layers of compression around a payload.
    pub nesting: usize,
    /// Rows of any one table, samples and values included.
    pub elements: usize,
    /// Frames of one stack.
    pub stack_depth: usize,
    /// Attributes (labels) of one sample, location, mapping, profile, scope or resource.
    pub attributes: usize,
    /// Bytes of one string.
    pub string_bytes: usize,
    /// Depth of nested attribute values and JSON.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decompressed_bytes: 64 << 20,
            nesting: 3,
            elements: 8 << 20,
            stack_depth: 16_384,
            attributes: 1_024,
            string_bytes: 1 << 20,
            depth: 32,
        }
    }
}
