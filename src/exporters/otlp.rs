//! What both OTLP exporters read in a backend's answer.

use crate::formats::wire::{Field, Reader, WireError};
use crate::pipeline::Signal;
use crate::pipeline::batch::Batch;
use crate::pipeline::component::Sent;

/// `partial_success` of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    /// Profiles, or spans, that the backend did not keep.
    rejected: u64,
    /// Whether it said something about the request. What it said stays unread: it may quote the payload.
    warned: bool,
}

impl Partial {
    /// Reads an `ExportProfilesServiceResponse` or `ExportTraceServiceResponse`: they are alike. A backend that answers with something else has taken everything.
    pub(super) fn of_protobuf(answer: &[u8]) -> Self {
        read(answer).unwrap_or_default()
    }

    /// The same as OTLP/JSON.
    pub(super) fn of_json(answer: &[u8]) -> Self {
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
        let names = ["/partialSuccess/rejectedProfiles", "/partialSuccess/rejectedSpans"];
        let rejected = names.iter().find_map(|name| answer.pointer(name));
        let message = answer.pointer("/partialSuccess/errorMessage");
        Self {
            rejected: rejected
                .and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok()))
                .unwrap_or_default(),
            warned: message.and_then(|m| m.as_str()).is_some_and(|m| !m.is_empty()),
        }
    }

    /// What became of `part`, with a line in the log if not all of it is kept.
    pub(super) fn sent(self, exporter: &str, part: &Batch) -> Sent {
        let rejected = as_received(self.rejected, part);
        if rejected > 0 {
            match part.signal() {
                Signal::Profiles => {
                    tracing::warn!(exporter, rejected, "the backend rejected profiles of a request it took")
                }
                Signal::Traces => tracing::warn!(exporter, rejected, "the backend rejected spans of a request it took"),
            }
        } else if self.warned {
            tracing::warn!(exporter, "the backend took a request with a warning");
        }
        Sent { rejected }
    }
}

/// A backend counts profiles as we send them, one for each sample type, and spans as they are. One of which a part was rejected counts as rejected.
fn as_received(rejected: u64, part: &Batch) -> u64 {
    let sent: usize = part.as_profiles().map_or(0, |profiles| {
        profiles.iter().map(|p| p.profile.sample_types.len().max(1)).sum()
    });
    let sent = (sent as u64).max(part.weight()).max(1);
    let scaled = (u128::from(rejected.min(sent)) * u128::from(part.weight())).div_ceil(u128::from(sent));
    u64::try_from(scaled).unwrap_or(part.weight())
}

fn read(answer: &[u8]) -> Result<Partial, WireError> {
    let mut partial = Partial::default();
    let mut answer = Reader::new(answer);
    while let Some((number, field)) = answer.field()? {
        let (1, Field::Bytes(mut inside)) = (number, field) else {
            continue;
        };
        while let Some(part) = inside.field()? {
            match part {
                (1, Field::Varint(count)) => partial.rejected = i64::try_from(count).unwrap_or_default().unsigned_abs(),
                (2, Field::Bytes(message)) => partial.warned = !message.is_empty(),
                _ => {}
            }
        }
    }
    Ok(partial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Origin, Permit};
    use crate::profile::Profiles;

    #[test]
    fn what_a_backend_rejects_is_counted_as_it_was_received() {
        let heap = crate::testing::heap_by_otlp();
        let two = Profiles::merge([&heap, &heap]);
        let part = |weight| {
            let origin = std::sync::Arc::new(Origin::local("test"));
            Batch::made(two.clone(), weight, origin, Permit::unlimited())
        };
        let rejected = |rejected: u64, weight: u64| {
            let partial = Partial {
                rejected,
                warned: false,
            };
            partial.sent("test", &part(weight)).rejected
        };
        // they came as eight profiles, and leave as eight
        assert_eq!([0, 1, 8, 99].map(|n| rejected(n, 8)), [0, 1, 8, 8]);
        // they came as two, and leave as eight
        assert_eq!([0, 1, 4, 5, 99].map(|n| rejected(n, 2)), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn both_encodings_say_the_same() {
        let expected = Partial {
            rejected: 3,
            warned: true,
        };
        assert_eq!(Partial::of_protobuf(b"\x0a\x05\x08\x03\x12\x01x"), expected);
        for json in [
            r#"{"partialSuccess":{"rejectedProfiles":"3","errorMessage":"x"}}"#,
            r#"{"partialSuccess":{"rejectedProfiles":3,"errorMessage":"x"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#,
        ] {
            assert_eq!(Partial::of_json(json.as_bytes()), expected);
        }
    }

    #[test]
    fn an_answer_in_another_tongue_is_a_plain_success() {
        for text in [&b""[..], b"ok", b"<html>", b"\x0a\x7f", b"[1]"] {
            assert_eq!(Partial::of_protobuf(text), Partial::default());
            assert_eq!(Partial::of_json(text), Partial::default());
        }
    }
}
