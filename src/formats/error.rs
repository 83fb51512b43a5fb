//! Why bytes are not a profile: format, offset, what is wrong, what to do. Never a piece of the payload.

use std::fmt;

use super::Format;
use super::limits::Limit;
use super::room::OutOfBudget;

/// Bytes that cannot be read as the format they claim to be.
///
/// `problem` is written by us and names fields and numbers only: payload text in it would bypass redaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// The format that was tried.
    pub format: Format,
    /// Where in the decompressed bytes, if it is one place.
    pub offset: Option<usize>,
    /// What is wrong, lower case.
    pub problem: String,
    /// What the sender should do, lower case; empty if that is plain.
    pub remedy: &'static str,
    /// Which answer the sender gets.
    pub fault: Fault,
}

/// Which answer a sender gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Wrong bytes: 400, do not resend.
    Malformed,
    /// More than the limits allow: 413, split.
    TooLarge(Limit),
    /// No memory for it, now or ever: 503 or 413.
    NoRoom(OutOfBudget),
    /// A format or version that is not read here: 400 or 415, convert.
    Unsupported,
}

impl DecodeError {
    /// Wrong bytes at `offset`.
    pub fn malformed(format: Format, offset: usize, problem: impl Into<String>) -> Self {
        Self {
            format,
            offset: Some(offset),
            problem: problem.into(),
            remedy: "",
            fault: Fault::Malformed,
        }
    }

    /// More than a limit allows.
    pub fn too_large(format: Format, limit: Limit, problem: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            format,
            offset: None,
            problem: problem.into(),
            remedy,
            fault: Fault::TooLarge(limit),
        }
    }

    /// No memory.
    pub fn no_room(format: Format, why: OutOfBudget) -> Self {
        Self {
            format,
            offset: None,
            problem: why.to_string(),
            remedy: "",
            fault: Fault::NoRoom(why),
        }
    }

    /// A version or variant that is not read here.
    pub fn unsupported(format: Format, problem: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            format,
            offset: None,
            problem: problem.into(),
            remedy,
            fault: Fault::Unsupported,
        }
    }

    /// The same with a word on what to do.
    pub fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.format, self.problem)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// A profile that a format cannot hold, or not in so many bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{format}: {problem}")]
pub struct EncodeError {
    /// The format that was tried.
    pub format: Format,
    /// What is wrong, lower case.
    pub problem: String,
    /// Whether a part of it could be held.
    pub is_too_large: bool,
}

impl EncodeError {
    /// What no part of it changes.
    pub fn new(format: Format, problem: impl Into<String>) -> Self {
        Self {
            format,
            problem: problem.into(),
            is_too_large: false,
        }
    }

    /// It becomes more bytes than it may.
    pub fn too_large(format: Format) -> Self {
        Self {
            is_too_large: true,
            ..Self::new(format, "becomes too large")
        }
    }
}
