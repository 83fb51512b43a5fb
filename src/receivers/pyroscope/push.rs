//! `push.v1.PusherService/Push`: several series of pprof profiles in one request, as protobuf or JSON.

mod json;

pub(super) use json::parse_json;

use std::sync::Arc;

use bytes::Bytes;

use crate::formats::any::decode_as_within;
use crate::formats::compress::Inflation;
use crate::formats::wire::{Field, Reader, WireError};
use crate::formats::{CompressError, DecodeError, Decoded, Fault, Format, Limit, Limits, OutOfBudget, Room};
use crate::pipeline::Refusal;
use crate::receivers::series::{Series, SeriesError};

/// Profiles of one request, each of which becomes a batch of its own; and series, with profiles or without.
const MAX_PROFILES: usize = 4_096;

/// One profile with the labels of its series.
#[derive(Debug)]
pub(super) struct Pushed {
    series: Arc<Series>,
    profile: Bytes,
}

/// A request that is not a `PushRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PushError {
    #[error("push: {0}")]
    Wire(#[from] WireError),
    #[error("push: {0}")]
    Series(#[from] SeriesError),
    #[error("push: a label that is not UTF-8 at byte {0}")]
    Text(usize),
    #[error("push: not the JSON of a PushRequest, at line {line} column {column}")]
    Json { line: usize, column: usize },
    #[error("push: a rawProfile that is not base64")]
    Base64,
    #[error("push: more than {MAX_PROFILES} profiles or series; send fewer in one request")]
    TooMany,
    #[error("push: a label longer than a string may be")]
    LongLabel,
    #[error("push: {0}")]
    NoRoom(#[from] OutOfBudget),
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Self {
        match error {
            PushError::TooMany => Self::too_large(Limit::Payloads, error.to_string()),
            PushError::LongLabel => Self::too_large(Limit::String, error.to_string()),
            PushError::Series(SeriesError::TooMany) => Self::too_large(Limit::Attributes, error.to_string()),
            PushError::NoRoom(why) => why.into(),
            _ => Self::Invalid(error.to_string()),
        }
    }
}

/// The profiles of a request as they are read. Memory for labels is asked for before they are copied.
struct Request<'a> {
    pushed: Vec<Pushed>,
    series: usize,
    limits: &'a Limits,
    room: &'a dyn Room,
}

impl<'a> Request<'a> {
    fn new(limits: &'a Limits, room: &'a dyn Room) -> Self {
        Self {
            pushed: Vec::new(),
            series: 0,
            limits,
            room,
        }
    }

    /// Whether there may be one series more.
    fn series(&mut self) -> Result<(), PushError> {
        self.series += 1;
        match self.series <= MAX_PROFILES {
            true => Ok(()),
            false => Err(PushError::TooMany),
        }
    }

    fn label(&self, to: &mut Unfinished, name: &str, value: &str) -> Result<(), PushError> {
        if name.len().max(value.len()) > self.limits.string_bytes {
            return Err(PushError::LongLabel);
        }
        self.room.take(Series::label_bytes(name, value))?;
        Ok(to.series.label(name, value)?)
    }

    /// Whether there may be one profile more.
    fn profile(&self, of: &Unfinished) -> Result<(), PushError> {
        match self.pushed.len() + of.profiles.len() < MAX_PROFILES {
            true => Ok(()),
            false => Err(PushError::TooMany),
        }
    }

    fn finish(&mut self, of: Unfinished) {
        let series = Arc::new(of.series);
        let pushed = of.profiles.into_iter().map(|profile| Pushed {
            series: series.clone(),
            profile,
        });
        self.pushed.extend(pushed);
    }
}

/// A series that is being read.
#[derive(Default)]
struct Unfinished {
    series: Series,
    profiles: Vec<Bytes>,
}

/// Reads the protobuf form.
pub(super) fn parse_protobuf(body: &Bytes, limits: &Limits, room: &dyn Room) -> Result<Vec<Pushed>, PushError> {
    let mut request = Request::new(limits, room);
    let mut message = Reader::new(body);
    while let Some((number, field)) = message.field()? {
        if let (1, Field::Bytes(series)) = (number, field) {
            read_series(body, series, &mut request)?;
        }
    }
    Ok(request.pushed)
}

/// `RawProfileSeries`: labels (1) and samples (2), in any order.
fn read_series(body: &Bytes, mut message: Reader<'_>, request: &mut Request<'_>) -> Result<(), PushError> {
    request.series()?;
    let mut series = Unfinished::default();
    while let Some((number, field)) = message.field()? {
        match (number, field) {
            (1, Field::Bytes(label)) => {
                let (name, value) = read_label(label)?;
                request.label(&mut series, name, value)?;
            }
            (2, Field::Bytes(sample)) => {
                request.profile(&series)?;
                series.profiles.push(body.slice_ref(raw_profile(sample)?));
            }
            _ => {}
        }
    }
    request.finish(series);
    Ok(())
}

/// `LabelPair`: name (1) and value (2).
fn read_label(mut pair: Reader<'_>) -> Result<(&str, &str), PushError> {
    let (mut name, mut value) = ("", "");
    while let Some((number, field)) = pair.field()? {
        match (number, field) {
            (1, Field::Bytes(text)) => name = utf8(text)?,
            (2, Field::Bytes(text)) => value = utf8(text)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn utf8(text: Reader<'_>) -> Result<&str, PushError> {
    std::str::from_utf8(text.bytes()).map_err(|_| PushError::Text(text.offset()))
}

/// `RawSample`: the profile (1); its ID says nothing to us.
fn raw_profile(mut sample: Reader<'_>) -> Result<&[u8], PushError> {
    let mut profile = &[][..];
    while let Some((number, field)) = sample.field()? {
        if let (1, Field::Bytes(bytes)) = (number, field) {
            profile = bytes.bytes();
        }
    }
    Ok(profile)
}

impl Pushed {
    /// Decodes the profile. A defective one costs itself; one that is too large costs the request.
    pub(super) fn decode(
        self,
        inflation: &mut Inflation<'_>,
        limits: &Limits,
        room: &dyn Room,
    ) -> Result<Result<(Decoded, Bytes), DecodeError>, Refusal> {
        let plain = match inflation.unwrap_sibling(self.profile) {
            Ok(plain) => plain,
            Err(error) if concerns_all(error.fault()) => return Err(error.into()),
            Err(error) => return Ok(Err(defect(error))),
        };
        match decode_as_within(Format::Pprof, &plain, limits, room) {
            Ok(mut decoded) => {
                // every profile has a dictionary of its own
                room.take(self.series.heap_bytes())?;
                self.series.write_to(&mut decoded.profiles);
                decoded.exact = false; // the bytes do not hold the labels
                Ok(Ok((decoded, plain)))
            }
            Err(error) if concerns_all(error.fault) => Err(error.into()),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// Whether it is the request that is at fault, and not one of its profiles.
fn concerns_all(fault: Fault) -> bool {
    matches!(fault, Fault::TooLarge(_) | Fault::NoRoom(_))
}

fn defect(error: CompressError) -> DecodeError {
    DecodeError::malformed(Format::Pprof, 0, error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::formats::room::Unlimited;
    use crate::formats::room::tests::Counted;
    use crate::formats::wire::Writer;

    /// Labels and profiles of one series.
    type Named<'a> = (&'a [(&'a str, &'a str)], &'a [&'a [u8]]);

    /// A request as an SDK writes it.
    pub(in crate::receivers::pyroscope) fn request(series: &[Named<'_>]) -> Vec<u8> {
        let mut w = Writer::default();
        for (labels, profiles) in series {
            w.message(1, |w| {
                // samples first: the order of fields says nothing
                for profile in *profiles {
                    w.message(2, |w| {
                        w.bytes(1, profile);
                        w.bytes(2, b"c9b9c1b5-5e0a-4e6a-9b6e-3a6a3f6f5d0e");
                    });
                }
                for (name, value) in *labels {
                    w.message(1, |w| {
                        w.bytes(1, name.as_bytes());
                        w.bytes(2, value.as_bytes());
                    });
                }
            });
        }
        w.finish()
    }

    fn protobuf(body: &Bytes) -> Result<Vec<Pushed>, PushError> {
        parse_protobuf(body, &Limits::USUAL, &Unlimited)
    }

    fn json(body: &[u8]) -> Result<Vec<Pushed>, PushError> {
        parse_json(body, &Limits::USUAL, &Unlimited)
    }

    #[test]
    fn both_forms_say_the_same() {
        let labels: [(&str, &str); 2] = [("service_name", "shop"), ("__name__", "process_cpu")];
        let body = Bytes::from(request(&[(&labels, &[b"\xfb\xff", b"two"]), (&[], &[b"three"])]));
        let from_protobuf = protobuf(&body).unwrap();
        let text = br#"{"series":[
            {"labels":[{"name":"service_name","value":"shop"},{"name":"__name__","value":"process_cpu"}],
             "samples":[{"rawProfile":"-_8","ID":"x"},{"rawProfile":"dHdv"}]},
            {"samples":[{"raw_profile":"dGhyZWU="}],"annotations":[]}]}"#;
        let from_json = json(text).unwrap();
        assert_eq!(from_protobuf.len(), 3);
        for (a, b) in from_protobuf.iter().zip(&from_json) {
            assert_eq!((&a.series, &a.profile), (&b.series, &b.profile));
        }
        assert_ne!(from_protobuf[1].series, from_protobuf[2].series);
        assert!(protobuf(&Bytes::new()).unwrap().is_empty());
        assert!(json(b"{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_request_is_told_without_quoting_it() {
        for body in [
            &b"\x0a\x05"[..],
            b"\x0a\x04\x0a\x02\x12\x00",
            b"\x0a\x07\x0a\x05\x0a\x03a\xff\xfe",
        ] {
            assert!(protobuf(&Bytes::from_static(body)).is_err(), "{body:?}");
        }
        for body in [
            "",
            "[hunter2]",
            r#"{"series":[{"samples":[{"rawProfile":"hunter2!"}]}]}"#,
        ] {
            let why = json(body.as_bytes()).unwrap_err().to_string();
            assert!(!why.contains("hunter2"), "{why}");
        }
        let many = vec![&b""[..]; MAX_PROFILES + 1];
        let body = Bytes::from(request(&[(&[], &many)]));
        assert_eq!(protobuf(&body).unwrap_err(), PushError::TooMany);
        assert!(protobuf(&Bytes::from(request(&[(&[], &many[1..])]))).is_ok());
    }

    #[test]
    fn what_is_read_is_asked_for_and_counted_before_it_is_copied() {
        let value = "v".repeat(10_000);
        let labels = [("region", value.as_str())];
        let body = Bytes::from(request(&[(&labels, &[b"one", b"two"]), (&[("a", "b")], &[])]));
        let text = serde_json::json!({ "series": [
            { "labels": [{ "name": "region", "value": value }], "samples": [{ "rawProfile": "b25l" }, {}] },
            { "labels": [{ "name": "a", "value": "b" }] }] });
        let text = text.to_string();
        let few = Limits {
            string_bytes: 9_999,
            ..Limits::USUAL
        };
        type Read<'a> = &'a dyn Fn(&Limits, &dyn Room) -> Result<Vec<Pushed>, PushError>;
        let reads: [Read<'_>; 2] = [&|limits, room| parse_protobuf(&body, limits, room), &|limits, room| {
            parse_json(text.as_bytes(), limits, room)
        }];
        for read in reads {
            let room = Counted::new(11_000);
            let pushed = read(&Limits::USUAL, &room).unwrap();
            assert!(Arc::ptr_eq(&pushed[0].series, &pushed[1].series));
            assert!(room.used.get() > 10_000);
            assert!(matches!(
                read(&Limits::USUAL, &Counted::new(9_999)),
                Err(PushError::NoRoom(_))
            ));
            assert_eq!(read(&few, &Unlimited).unwrap_err(), PushError::LongLabel);
        }
        let endless = vec![(&[] as &[(&str, &str)], &[] as &[&[u8]]); MAX_PROFILES + 1];
        assert_eq!(
            protobuf(&Bytes::from(request(&endless))).unwrap_err(),
            PushError::TooMany
        );
        let endless = format!("{{\"series\":[{}{{}}]}}", "{},".repeat(MAX_PROFILES));
        assert_eq!(json(endless.as_bytes()).unwrap_err(), PushError::TooMany);
        let endless = format!("{{\"series\":[{{\"samples\":[{}{{}}]}}]}}", "{},".repeat(MAX_PROFILES));
        assert_eq!(json(endless.as_bytes()).unwrap_err(), PushError::TooMany);
    }
}
