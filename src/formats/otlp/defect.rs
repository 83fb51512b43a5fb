//! What is wrong in a request, and how far it reaches.

use std::fmt::Display;

use crate::formats::room::Excess;
use crate::formats::wire::{Field, Reader, WireError};
use crate::formats::{DecodeError, Fault, Format, Limit, OutOfBudget};

/// A defect on its way up: every level adds where it lies.
#[derive(Debug)]
pub(super) struct Defect {
    offset: Option<usize>,
    /// Path to the message that has it, with a dot at its end.
    place: String,
    /// What is wrong. A broken rule begins with the name of its field.
    problem: String,
    remedy: &'static str,
    /// The answer, if no other profile of the request can be trusted either.
    whole: Option<Fault>,
}

impl Defect {
    /// A rule broken at `offset`.
    #[cold]
    pub fn at(offset: usize, problem: impl Into<String>) -> Self {
        Self {
            offset: Some(offset),
            place: String::new(),
            problem: problem.into(),
            remedy: "",
            whole: None,
        }
    }

    /// An index that points past its table.
    #[cold]
    pub fn out_of_range(offset: usize, field: &str, position: u64, table: &str, entries: usize) -> Self {
        let position = position as i64;
        Self::at(
            offset,
            format!("{field} is {position}, but {table} has {entries} entries"),
        )
    }

    /// A field of another wire type than its version has.
    #[cold]
    pub fn wire_type(offset: usize) -> Self {
        WireError {
            offset,
            problem: "a field of the wrong wire type",
        }
        .into()
    }

    /// More than a limit allows.
    #[cold]
    pub fn too_large(limit: Limit, problem: impl Into<String>) -> Self {
        Self {
            offset: None,
            place: String::new(),
            problem: problem.into(),
            remedy: "split the request",
            whole: Some(Fault::TooLarge(limit)),
        }
    }

    /// No memory.
    #[cold]
    pub fn no_room(why: OutOfBudget) -> Self {
        Self {
            offset: None,
            place: String::new(),
            problem: why.to_string(),
            remedy: "",
            whole: Some(Fault::NoRoom(why)),
        }
    }

    /// More of something than is allowed, or than there is memory for.
    #[cold]
    pub fn excess(excess: Excess, of: &str) -> Self {
        match excess {
            Excess::TooMany => Self::too_large(Limit::Elements, format!("too many {of}")),
            Excess::NoRoom(why) => Self::no_room(why),
        }
    }

    /// A version that is not read.
    #[cold]
    pub fn unsupported(problem: &str) -> Self {
        Self {
            offset: None,
            place: String::new(),
            problem: problem.to_owned(),
            remedy: VERSIONS,
            whole: Some(Fault::Unsupported),
        }
    }

    /// The same with a word on what to do.
    pub fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }

    /// The same inside of `place`.
    #[cold]
    pub fn within(self, place: impl Display) -> Self {
        Self {
            place: format!("{place}.{}", self.place),
            ..self
        }
    }

    /// Whether it spoils the request and not only the profile it lies in.
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }
}

pub(super) const VERSIONS: &str = "send OTLP 1.7, 1.8, 1.9, 1.10 or 1.11";

impl From<WireError> for Defect {
    fn from(error: WireError) -> Self {
        Self {
            whole: Some(Fault::Malformed),
            ..Self::at(error.offset, error.problem)
        }
    }
}

impl From<Defect> for DecodeError {
    fn from(defect: Defect) -> Self {
        let Defect { place, problem, .. } = &defect;
        let problem = match (defect.whole, place.strip_suffix('.')) {
            (Some(_), Some(message)) => format!("{message}: {problem}"),
            _ => format!("{place}{problem}"),
        };
        Self {
            format: Format::Otlp,
            offset: defect.offset,
            problem,
            remedy: defect.remedy,
            fault: defect.whole.unwrap_or(Fault::Malformed),
        }
    }
}

/// The number in a field.
#[inline]
pub(super) fn number(field: Field<'_>, at: usize) -> Result<u64, Defect> {
    match field {
        Field::Varint(number) => Ok(number),
        _ => Err(Defect::wire_type(at)),
    }
}

/// The message, text or bytes in a field.
#[inline]
pub(super) fn message(field: Field<'_>, at: usize) -> Result<Reader<'_>, Defect> {
    match field {
        Field::Bytes(reader) => Ok(reader),
        _ => Err(Defect::wire_type(at)),
    }
}

/// Every number of a repeated field, packed or not, with its place.
#[inline(always)]
pub(super) fn numbers(
    field: Field<'_>,
    at: usize,
    mut each: impl FnMut(u64, usize) -> Result<(), Defect>,
) -> Result<(), Defect> {
    match field {
        Field::Varint(number) => each(number, at),
        Field::Bytes(mut packed) => {
            while !packed.is_empty() {
                let at = packed.offset();
                each(packed.varint()?, at)?;
            }
            Ok(())
        }
        _ => Err(Defect::wire_type(at)),
    }
}

/// Tells whether a field that a message has once came again.
#[derive(Default)]
pub(super) struct Seen(u64);

impl Seen {
    /// Whether this is the first time.
    #[inline]
    pub fn first(&mut self, number: u32) -> bool {
        let bit = 1 << (number & 63);
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }
}
