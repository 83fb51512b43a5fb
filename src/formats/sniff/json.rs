//! Tells JSON formats apart by the first telling key of the outermost object, without reading further.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{UnknownFormat, unsupported};
use crate::formats::Format;

type Verdict = Result<Format, UnknownFormat>;

/// The format of text that begins like JSON; none if nothing in it tells.
pub(super) fn sniff(text: &[u8]) -> Result<Option<Format>, UnknownFormat> {
    let mut verdict = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    // how it ends does not matter: a verdict stops the parser by an error
    let _ = json.deserialize_any(Outermost {
        text,
        verdict: &mut verdict,
    });
    verdict.transpose()
}

struct Outermost<'a> {
    text: &'a [u8],
    verdict: &'a mut Option<Verdict>,
}

impl<'de> Visitor<'de> for Outermost<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Cow<'de, str>>()? {
            *self.verdict = by_key(&key, self.text);
            if self.verdict.is_some() {
                return Err(A::Error::custom("enough seen"));
            }
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if list.next_element::<ChromeEvent>()?.is_some() {
            *self.verdict = Some(Ok(Format::ChromeTrace));
        }
        Err(A::Error::custom("enough seen"))
    }
}

#[derive(serde::Deserialize)]
struct ChromeEvent {
    #[serde(rename = "ph")]
    _phase: IgnoredAny,
}

fn by_key(key: &str, text: &[u8]) -> Option<Verdict> {
    Some(match key {
        "resourceProfiles" | "resource_profiles" | "dictionary" => Ok(Format::OtlpJson),
        "$schema" | "shared" | "profiles" => Ok(Format::Speedscope),
        "nodes" | "timeDeltas" => Ok(Format::CpuProfile),
        "head" if holds_sizes(text) => Ok(Format::HeapProfile),
        "head" => Ok(Format::CpuProfile),
        // `code` before it would tell as little as any answer of a server
        "ticks" => Ok(Format::V8Prof),
        "traceEvents" => Ok(Format::ChromeTrace),
        "snapshot" => Err(HEAP_SNAPSHOT),
        "flamebearer" => Err(unsupported("Pyroscope's render answer", "ask for pprof instead")),
        "resourceSpans" | "resourceMetrics" | "resourceLogs" => {
            Err(unsupported("OTLP of another signal", "send profiles here"))
        }
        _ => return None,
    })
}

/// Trees of V8 are of bytes, or of hits: the first node says which.
fn holds_sizes(text: &[u8]) -> bool {
    let beginning = text.get(..4096).unwrap_or(text);
    memchr::memmem::find(beginning, b"\"selfSize\"").is_some()
}

const HEAP_SNAPSHOT: UnknownFormat = unsupported(
    "a V8 heap snapshot, which holds every string of the process",
    "record with --heap-prof instead, and take care where the snapshot goes",
);
