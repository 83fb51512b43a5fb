//! The JSON as it is read. Lists are read into flat columns: their memory stays in proportion to the text, however it is nested.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

#[derive(Deserialize)]
pub(super) struct File<'a> {
    #[serde(borrow)]
    pub shared: Shared<'a>,
    #[serde(borrow)]
    pub profiles: Vec<Profile<'a>>,
    #[serde(borrow, default)]
    pub exporter: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Shared<'a> {
    #[serde(borrow)]
    pub frames: Vec<Frame<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub file: Option<Cow<'a, str>>,
    #[serde(default)]
    pub line: Option<i64>,
    #[serde(default)]
    pub col: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub unit: Cow<'a, str>,
    #[serde(default)]
    pub end_value: Option<Amount>,
    #[serde(default)]
    pub samples: Stacks,
    #[serde(default)]
    pub weights: Vec<Amount>,
    #[serde(default)]
    pub events: Vec<Event>,
}

#[derive(Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub kind: EventKind,
    pub at: Amount,
    pub frame: u32,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
pub(super) enum EventKind {
    #[serde(rename = "O")]
    Open,
    #[serde(rename = "C")]
    Close,
}

/// A number, whole where it was written so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    Whole(i64),
    Fraction(f64),
}

impl Amount {
    /// In a unit `scale` times smaller; none if it does not fit.
    ///
    /// What rounding takes from one number `carry` gives to the next, so that the sum of many small ones stays true.
    pub fn scaled(self, scale: i64, carry: &mut f64) -> Option<i64> {
        let exact = match self {
            Self::Whole(whole) => return whole.checked_mul(scale),
            Self::Fraction(fraction) => fraction * scale as f64 + *carry,
        };
        let rounded = exact.round();
        if rounded.abs() >= i64::MAX as f64 {
            return None;
        }
        *carry = exact - rounded;
        Some(rounded as i64)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_i64<E: Error>(self, whole: i64) -> Result<Amount, E> {
                Ok(Amount::Whole(whole))
            }
            fn visit_u64<E: Error>(self, whole: u64) -> Result<Amount, E> {
                i64::try_from(whole).map(Amount::Whole).map_err(E::custom)
            }
            fn visit_f64<E: Error>(self, fraction: f64) -> Result<Amount, E> {
                Ok(Amount::Fraction(fraction))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Lists of frame numbers, one after the other.
#[derive(Default)]
pub(super) struct Stacks {
    ends: Vec<usize>,
    frames: Vec<u32>,
}

impl Stacks {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.frames.get(*start..*end).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Stacks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> Visitor<'de> for Lists {
            type Value = Stacks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of lists of frame numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut lists: A) -> Result<Stacks, A::Error> {
                let mut stacks = Stacks::default();
                while lists.next_element_seed(Append(&mut stacks.frames))?.is_some() {
                    stacks.ends.push(stacks.frames.len());
                }
                Ok(stacks)
            }
        }
        deserializer.deserialize_seq(Lists)
    }
}

struct Append<'a>(&'a mut Vec<u32>);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Append<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of frame numbers")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut frames: A) -> Result<(), A::Error> {
        while let Some(frame) = frames.next_element()? {
            self.0.push(frame);
        }
        Ok(())
    }
}
