//! `push.v1.PusherService/Push`: several series of pprof profiles in one request, as protobuf or JSON.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;

use crate::formats::any::decode_as_within;
use crate::formats::compress::Inflation;
use crate::formats::wire::{Field, Reader, WireError};
use crate::formats::{CompressError, DecodeError, Decoded, Fault, Format, Limit, Limits, Room};
use crate::pipeline::Refusal;
use crate::receivers::series::{Series, SeriesError};

/// Profiles of one request: each becomes a batch of its own.
const MAX_PROFILES: usize = 4_096;

/// One profile with the labels of its series.
#[derive(Debug)]
pub(super) struct Pushed {
    series: Series,
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
    #[error("push: more than {MAX_PROFILES} profiles; send fewer in one request")]
    TooMany,
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Self {
        match error {
            PushError::TooMany => Self::too_large(Limit::Payloads, error.to_string()),
            _ => Self::Invalid(error.to_string()),
        }
    }
}

/// Reads the protobuf form.
pub(super) fn parse_protobuf(body: &Bytes) -> Result<Vec<Pushed>, PushError> {
    let mut pushed = Vec::new();
    let mut request = Reader::new(body);
    while let Some((number, field)) = request.field()? {
        if let (1, Field::Bytes(series)) = (number, field) {
            read_series(body, series, &mut pushed)?;
        }
    }
    Ok(pushed)
}

/// `RawProfileSeries`: labels (1) and samples (2), in any order.
fn read_series(body: &Bytes, mut message: Reader<'_>, pushed: &mut Vec<Pushed>) -> Result<(), PushError> {
    let mut series = Series::default();
    let mut profiles = Vec::new();
    while let Some((number, field)) = message.field()? {
        match (number, field) {
            (1, Field::Bytes(label)) => read_label(label, &mut series)?,
            (2, Field::Bytes(sample)) => {
                if pushed.len() + profiles.len() == MAX_PROFILES {
                    return Err(PushError::TooMany);
                }
                profiles.push(body.slice_ref(raw_profile(sample)?));
            }
            _ => {}
        }
    }
    pushed.extend(profiles.into_iter().map(|profile| Pushed {
        series: series.clone(),
        profile,
    }));
    Ok(())
}

/// `LabelPair`: name (1) and value (2).
fn read_label(mut pair: Reader<'_>, series: &mut Series) -> Result<(), PushError> {
    let (mut name, mut value) = ("", "");
    while let Some((number, field)) = pair.field()? {
        match (number, field) {
            (1, Field::Bytes(text)) => name = utf8(text)?,
            (2, Field::Bytes(text)) => value = utf8(text)?,
            _ => {}
        }
    }
    Ok(series.label(name, value)?)
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

#[derive(Deserialize)]
struct JsonRequest {
    #[serde(default)]
    series: Vec<JsonSeries>,
}

#[derive(Deserialize)]
struct JsonSeries {
    #[serde(default)]
    labels: Vec<JsonLabel>,
    #[serde(default)]
    samples: Vec<JsonSample>,
}

#[derive(Deserialize)]
struct JsonLabel {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct JsonSample {
    #[serde(default, rename = "rawProfile", alias = "raw_profile")]
    raw_profile: String,
}

/// Reads the JSON form.
pub(super) fn parse_json(body: &[u8]) -> Result<Vec<Pushed>, PushError> {
    let request: JsonRequest = serde_json::from_slice(body).map_err(|error| PushError::Json {
        line: error.line(),
        column: error.column(),
    })?;
    let mut pushed = Vec::new();
    for from in request.series {
        let mut series = Series::default();
        for label in &from.labels {
            series.label(&label.name, &label.value)?;
        }
        for sample in from.samples {
            if pushed.len() == MAX_PROFILES {
                return Err(PushError::TooMany);
            }
            pushed.push(Pushed {
                series: series.clone(),
                profile: base64(&sample.raw_profile)?,
            });
        }
    }
    Ok(pushed)
}

/// Protobuf's JSON takes both alphabets, padded or not.
fn base64(text: &str) -> Result<Bytes, PushError> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = match text.contains(['-', '_']) {
        true => &alphabet::URL_SAFE,
        false => &alphabet::STANDARD,
    };
    let decoded = GeneralPurpose::new(alphabet, lenient).decode(text);
    decoded.map(Bytes::from).map_err(|_| PushError::Base64)
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

    #[test]
    fn both_forms_say_the_same() {
        let labels: [(&str, &str); 2] = [("service_name", "shop"), ("__name__", "process_cpu")];
        let body = Bytes::from(request(&[(&labels, &[b"\xfb\xff", b"two"]), (&[], &[b"three"])]));
        let protobuf = parse_protobuf(&body).unwrap();
        let json = br#"{"series":[
            {"labels":[{"name":"service_name","value":"shop"},{"name":"__name__","value":"process_cpu"}],
             "samples":[{"rawProfile":"-_8","ID":"x"},{"rawProfile":"dHdv"}]},
            {"samples":[{"raw_profile":"dGhyZWU="}],"annotations":[]}]}"#;
        let json = parse_json(json).unwrap();
        assert_eq!(protobuf.len(), 3);
        for (a, b) in protobuf.iter().zip(&json) {
            assert_eq!((&a.series, &a.profile), (&b.series, &b.profile));
        }
        assert_ne!(protobuf[1].series, protobuf[2].series);
        assert!(parse_protobuf(&Bytes::new()).unwrap().is_empty());
        assert!(parse_json(b"{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_request_is_told_without_quoting_it() {
        for body in [
            &b"\x0a\x05"[..],
            b"\x0a\x04\x0a\x02\x12\x00",
            b"\x0a\x07\x0a\x05\x0a\x03a\xff\xfe",
        ] {
            assert!(parse_protobuf(&Bytes::from_static(body)).is_err(), "{body:?}");
        }
        for body in [
            "",
            "[hunter2]",
            r#"{"series":[{"samples":[{"rawProfile":"hunter2!"}]}]}"#,
        ] {
            let why = parse_json(body.as_bytes()).unwrap_err().to_string();
            assert!(!why.contains("hunter2"), "{why}");
        }
        let many = vec![&b""[..]; MAX_PROFILES + 1];
        let body = Bytes::from(request(&[(&[], &many)]));
        assert_eq!(parse_protobuf(&body).unwrap_err(), PushError::TooMany);
        assert!(parse_protobuf(&Bytes::from(request(&[(&[], &many[1..])]))).is_ok());
    }
}
