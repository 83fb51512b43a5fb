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
    let _ = json.deserialize_any(Outermost(&mut verdict));
    verdict.transpose()
}

struct Outermost<'a>(&'a mut Option<Verdict>);

impl<'de> Visitor<'de> for Outermost<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Cow<'de, str>>()? {
            *self.0 = by_key(&key);
            if self.0.is_some() {
                return Err(A::Error::custom("enough seen"));
            }
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if list.next_element::<ChromeEvent>()?.is_some() {
            *self.0 = Some(Err(CHROME_TRACE));
        }
        Err(A::Error::custom("enough seen"))
    }
}

#[derive(serde::Deserialize)]
struct ChromeEvent {
    #[serde(rename = "ph")]
    _phase: IgnoredAny,
}

fn by_key(key: &str) -> Option<Verdict> {
    Some(match key {
        "resourceProfiles" | "resource_profiles" | "dictionary" => Ok(Format::OtlpJson),
        "$schema" | "shared" | "profiles" => Ok(Format::Speedscope),
        "nodes" | "timeDeltas" => Err(unsupported(
            "a V8 .cpuprofile",
            "open it in speedscope and export it, or record with the pprof module",
        )),
        "head" => Err(unsupported(
            "a V8 .heapprofile",
            "open it in speedscope and export it, or record with the pprof module",
        )),
        "traceEvents" => Err(CHROME_TRACE),
        "flamebearer" => Err(unsupported("Pyroscope's render answer", "ask for pprof instead")),
        "resourceSpans" | "resourceMetrics" | "resourceLogs" => {
            Err(unsupported("OTLP of another signal", "send profiles here"))
        }
        _ => return None,
    })
}

const CHROME_TRACE: UnknownFormat = unsupported(
    "a Chrome trace",
    "record in another format; py-spy: --format raw or --format speedscope",
);
