//! The tables that all profiles of a batch share, and their rows.

use std::hash::{Hash, Hasher};

use super::ids::Id;
use super::strings::{StringId, Strings};
use super::table::{Lists, Table};

/// A row of the function table.
pub type FunctionId = Id<Function>;
/// A row of the mapping table.
pub type MappingId = Id<Mapping>;
/// A row of the location table.
pub type LocationId = Id<Location>;
/// A list of locations, the leaf first.
pub type StackId = Id<Stack>;
/// A row of the attribute table.
pub type AttributeId = Id<Attribute>;
/// A list of attributes: what a sample, a mapping, a location or a profile says about itself.
pub type AttributeSetId = Id<AttributeSet>;
/// A row of the link table.
pub type LinkId = Id<Link>;

/// The tables that all profiles of a batch share.
///
/// Row 0 of every table is its zero value and means "not set". Decoders append without looking for equal rows;
/// [`Interner`](super::Interner) looks; [`Profiles::compact`](super::Profiles::compact) removes what is equal or unused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dictionary {
    /// Every text of the batch.
    pub strings: Strings,
    /// Functions.
    pub functions: Table<Function>,
    /// Mapped binaries.
    pub mappings: Table<Mapping>,
    /// Code locations. Pushed together with one list of `lines` each: see [`Dictionary::push_location`].
    pub locations: Table<Location>,
    /// The source lines of each location: the innermost inlined function first, its caller last.
    pub lines: Lists<Location, Line>,
    /// Call stacks, the leaf first.
    pub stacks: Lists<Stack, LocationId>,
    /// Attributes.
    pub attributes: Table<Attribute>,
    /// Sets of attributes. A key may repeat in a set (pprof's multi-valued labels); OTLP encoding folds those into an array.
    pub attribute_sets: Lists<AttributeSet, AttributeId>,
    /// Links to spans.
    pub links: Table<Link>,
}

impl Dictionary {
    /// Appends a location with its lines.
    pub fn push_location(&mut self, location: Location, lines: &[Line]) -> LocationId {
        self.lines.push(lines);
        self.locations.push(location)
    }

    /// Appends a location of one function, of which nothing but the name is known.
    pub fn push_named(&mut self, name: StringId) -> LocationId {
        let function = self.functions.push(Function {
            name,
            ..Function::default()
        });
        let line = Line {
            function,
            ..Line::default()
        };
        self.push_location(Location::default(), &[line])
    }

    /// The string behind an id.
    pub fn str(&self, id: StringId) -> &str {
        &self.strings[id]
    }

    /// The attributes of a set.
    pub fn attributes_of(&self, set: AttributeSetId) -> impl Iterator<Item = &Attribute> {
        self.attribute_sets[set].iter().map(|id| &self.attributes[*id])
    }

    /// The value of the first attribute of `set` whose key is `key`.
    pub fn attribute(&self, set: AttributeSetId, key: &str) -> Option<&Value> {
        self.attributes_of(set)
            .find(|attribute| self.str(attribute.key) == key)
            .map(|attribute| &attribute.value)
    }

    /// Gives room for further rows back.
    pub(super) fn shrink(&mut self) {
        self.strings.shrink();
        self.functions.shrink();
        self.mappings.shrink();
        self.locations.shrink();
        self.lines.shrink();
        self.stacks.shrink();
        self.attributes.shrink();
        self.attribute_sets.shrink();
        self.links.shrink();
    }

    /// Bytes held, for the memory budget. Boxed attribute values are not walked: they are bounded by the request they came in.
    pub fn heap_bytes(&self) -> usize {
        self.strings.heap_bytes()
            + self.functions.heap_bytes()
            + self.mappings.heap_bytes()
            + self.locations.heap_bytes()
            + self.lines.heap_bytes()
            + self.stacks.heap_bytes()
            + self.attributes.heap_bytes()
            + self.attribute_sets.heap_bytes()
            + self.links.heap_bytes()
    }
}

/// A function of the profiled program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Function {
    /// Name for people, demangled where possible.
    pub name: StringId,
    /// Name as the linker or runtime knows it.
    pub system_name: StringId,
    /// Source file.
    pub filename: StringId,
    /// First line of the function in the file, 0 if unknown.
    pub start_line: i64,
}

impl Function {
    /// What it is called: its name for people, or the other where it has none.
    pub fn called(&self) -> StringId {
        if self.name.is_set() {
            self.name
        } else {
            self.system_name
        }
    }
}

/// A binary or library mapped into the profiled process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Address at which it starts.
    pub memory_start: u64,
    /// Address behind its end.
    pub memory_limit: u64,
    /// Offset in the file that `memory_start` corresponds to.
    pub file_offset: u64,
    /// Path of the binary.
    pub filename: StringId,
    /// Build ids (`process.executable.build_id.*`) and the flags `pprof.mapping.has_*`.
    pub attributes: AttributeSetId,
}

/// A place in the code. Its lines are in [`Dictionary::lines`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Location {
    /// The binary it lies in.
    pub mapping: MappingId,
    /// Instruction address, 0 if unknown.
    pub address: u64,
    /// `profile.frame.type`, `pprof.location.is_folded` and the like.
    pub attributes: AttributeSetId,
}

/// A source line of a location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Line {
    /// The function the line belongs to.
    pub function: FunctionId,
    /// Line number from 1, 0 if unknown.
    pub line: i64,
    /// Column from 1, 0 if unknown.
    pub column: i64,
}

/// The owner type of [`Dictionary::stacks`]; only its id is ever used.
#[derive(Debug, PartialEq)]
pub enum Stack {}

/// The owner type of [`Dictionary::attribute_sets`]; only its id is ever used.
#[derive(Debug, PartialEq)]
pub enum AttributeSet {}

/// A span that was running when a sample was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    /// W3C trace id.
    pub trace_id: [u8; 16],
    /// W3C span id.
    pub span_id: [u8; 8],
}

/// A key with its value, and the unit of the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Key.
    pub key: StringId,
    /// Value.
    pub value: Value,
    /// Unit of a numeric value, unset for none.
    pub unit: StringId,
}

/// A value of an attribute, with every text in the string table.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value at all.
    #[default]
    Empty,
    /// Text.
    String(StringId),
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; compared by its bits.
    Double(f64),
    /// Anything.
    Bytes(Box<[u8]>),
    /// Several values.
    Array(Box<[Value]>),
    /// Keys and values.
    Map(Box<[(StringId, Value)]>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Empty, Self::Empty) => true,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Empty => {}
            Self::String(id) => id.hash(state),
            Self::Bool(b) => b.hash(state),
            Self::Int(i) => i.hash(state),
            Self::Double(d) => d.to_bits().hash(state),
            Self::Bytes(b) => b.hash(state),
            Self::Array(values) => values.hash(state),
            Self::Map(entries) => entries.hash(state),
        }
    }
}
