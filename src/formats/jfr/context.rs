//! Labels that Pyroscope's agent for Java sends beside a recording, whose events then hold only their numbers.

use hashbrown::HashMap;

use crate::formats::limits::{Limit, Limits};
use crate::formats::wire::{Field, Reader};
use crate::formats::{DecodeError, Format};

/// The message `LabelsSnapshot`: contexts (1) that are lists of labels by number, and the texts (2) of those.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    contexts: HashMap<u64, Vec<(u64, u64)>, foldhash::fast::RandomState>,
    strings: HashMap<u64, String, foldhash::fast::RandomState>,
}

impl Contexts {
    /// Reads a snapshot.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut contexts = Self::default();
        let mut message = Reader::new(bytes);
        while let Some(field) = next(&mut message)? {
            match field {
                (1, Field::Bytes(entry)) => {
                    let (number, context) = entry_of(entry)?;
                    contexts.contexts.insert(number, labels(context)?);
                }
                (2, Field::Bytes(entry)) => {
                    let (number, text) = entry_of(entry)?;
                    if text.bytes().len() > limits.string_bytes {
                        return Err(too_large(Limit::String));
                    }
                    let text = String::from_utf8_lossy(text.bytes()).into_owned();
                    contexts.strings.insert(number, text);
                }
                _ => {}
            }
        }
        Ok(contexts)
    }

    /// The labels of a context.
    pub fn labels(&self, number: u64) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.contexts.get(&number).into_iter().flatten();
        labels.filter_map(|(key, value)| Some((self.string(*key)?, self.string(*value)?)))
    }

    /// The text of a number.
    pub fn string(&self, number: u64) -> Option<&str> {
        self.strings.get(&number).map(String::as_str)
    }

    /// About the bytes that it takes for each byte that it is read from.
    pub const MEMORY: usize = 16;
}

fn next<'a>(message: &mut Reader<'a>) -> Result<Option<(u32, Field<'a>)>, DecodeError> {
    let at = message.offset();
    message.field().map_err(|_| malformed(at))
}

/// Key and value of an entry of a map whose values are messages or texts.
fn entry_of(mut entry: Reader<'_>) -> Result<(u64, Reader<'_>), DecodeError> {
    let (mut key, mut value) = (0, Reader::new(&[]));
    while let Some(field) = next(&mut entry)? {
        match field {
            (1, Field::Varint(number)) => key = number,
            (2, Field::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

fn labels(mut context: Reader<'_>) -> Result<Vec<(u64, u64)>, DecodeError> {
    let mut labels = Vec::new();
    while let Some(field) = next(&mut context)? {
        let (1, Field::Bytes(mut entry)) = field else {
            continue;
        };
        let (mut key, mut value) = (0, 0);
        while let Some(field) = next(&mut entry)? {
            match field {
                (1, Field::Varint(number)) => key = number,
                (2, Field::Varint(number)) => value = number,
                _ => {}
            }
        }
        labels.push((key, value));
    }
    Ok(labels)
}

fn malformed(at: usize) -> DecodeError {
    DecodeError::malformed(
        Format::Jfr,
        at,
        "the labels beside the recording are not a LabelsSnapshot",
    )
}

fn too_large(limit: Limit) -> DecodeError {
    let problem = "a label beside the recording is too long";
    DecodeError::too_large(Format::Jfr, limit, problem, "send shorter labels")
}
