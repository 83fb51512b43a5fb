//! A push as JSON, read without a tree in between: things are counted, and memory asked for, before the next one is read.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{PushError, Pushed, Request, Unfinished};
use crate::formats::{Limits, Room, base64};

/// A text with escapes is held twice without them: by the parser, and by who reads it.
const COPIES: usize = 2;

/// Reads the JSON form.
pub(in crate::receivers::pyroscope) fn parse_json(
    body: &[u8],
    limits: &Limits,
    room: &dyn Room,
) -> Result<Vec<Pushed>, PushError> {
    if memchr::memchr(b'\\', body).is_some() {
        room.take(body.len() * COPIES)?;
    }
    let mut state = State {
        request: Request::new(limits, room),
        series: Unfinished::default(),
        stop: None,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Reading(&mut state, Place::Request).deserialize(&mut json);
    match (read.and_then(|()| json.end()), state.stop) {
        (Ok(()), _) => Ok(state.request.pushed),
        (Err(_), Some(why)) => Err(why),
        // the parser's own text may quote the payload
        (Err(error), None) => Err(PushError::Json {
            line: error.line(),
            column: error.column(),
        }),
    }
}

struct State<'a> {
    request: Request<'a>,
    /// The series that is being read.
    series: Unfinished,
    /// Why reading was given up, where it was not the JSON.
    stop: Option<PushError>,
}

impl State<'_> {
    fn series<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        self.series = Unfinished::default();
        if list.next_element_seed(Reading(self, Place::Series))?.is_none() {
            return Ok(false);
        }
        let series = std::mem::take(&mut self.series);
        self.request.finish(series);
        Ok(true)
    }

    fn label(&mut self, label: &Label<'_>) -> Result<(), PushError> {
        self.request.label(&mut self.series, &label.name, &label.value)
    }

    fn sample(&mut self, sample: &Sample<'_>) -> Result<(), PushError> {
        self.request.profile(&self.series)?;
        self.request.room.take(sample.raw_profile.len() / 4 * 3)?;
        let profile = base64::decode(&sample.raw_profile).ok_or(PushError::Base64)?;
        self.series.profiles.push(profile.into());
        Ok(())
    }

    fn checked<E: Error>(&mut self, result: Result<(), PushError>) -> Result<(), E> {
        result.map_err(|why| {
            self.stop = Some(why);
            E::custom("stopped")
        })
    }
}

#[derive(Deserialize)]
struct Label<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Sample<'a> {
    #[serde(borrow, default, rename = "rawProfile", alias = "raw_profile")]
    raw_profile: Cow<'a, str>,
}

/// The name of a field, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is being read: objects, and the lists in them.
#[derive(Clone, Copy)]
enum Place {
    Request,
    AllSeries,
    Series,
    Labels,
    Samples,
}

impl Place {
    /// The list that a field of an object holds.
    fn list(self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Request, "series") => Some(Self::AllSeries),
            (Self::Series, "labels") => Some(Self::Labels),
            (Self::Series, "samples") => Some(Self::Samples),
            _ => None,
        }
    }
}

struct Reading<'s, 'a>(&'s mut State<'a>, Place);

impl<'de> DeserializeSeed<'de> for Reading<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.1 {
            Place::Request => json.deserialize_map(self),
            Place::Series => {
                let counted = self.0.request.series();
                self.0.checked(counted)?;
                json.deserialize_map(self)
            }
            Place::AllSeries | Place::Labels | Place::Samples => json.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for Reading<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of a PushRequest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self(state, place) = self;
        while let Some(name) = object.next_key::<Name<'de>>()? {
            match place.list(&name.0) {
                Some(list) => object.next_value_seed(Reading(state, list))?,
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(state, place) = self;
        match place {
            Place::Labels => {
                while let Some(label) = list.next_element::<Label<'de>>()? {
                    let read = state.label(&label);
                    state.checked(read)?;
                }
            }
            Place::Samples => {
                while let Some(sample) = list.next_element::<Sample<'de>>()? {
                    let read = state.sample(&sample);
                    state.checked(read)?;
                }
            }
            _ => while state.series(&mut list)? {},
        }
        Ok(())
    }
}
