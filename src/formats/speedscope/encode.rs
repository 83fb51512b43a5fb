//! The model to speedscope.

use std::borrow::Cow;

use hashbrown::HashMap;
use serde::Serialize;

use super::{EXPORTER, SCHEMA, unit_out};
use crate::formats::any::default_column;
use crate::formats::{Bounded, EncodeError, Format, frames};
use crate::profile::{Dictionary, LocationId, Profile, StackId};

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'a str,
    exporter: &'static str,
    /// The one that is shown when the file is opened.
    #[serde(rename = "activeProfileIndex")]
    active: usize,
    shared: Shared<'a>,
    profiles: Vec<Sampled<'a>>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<Frame<'a>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
struct Frame<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
    #[serde(skip_serializing_if = "is_unset")]
    line: i64,
    #[serde(skip_serializing_if = "is_unset")]
    col: i64,
}

fn is_unset(number: &i64) -> bool {
    *number <= 0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'a> {
    r#type: &'static str,
    name: &'a str,
    unit: &'static str,
    start_value: i64,
    end_value: i64,
    samples: Vec<&'a [u32]>,
    weights: Vec<i64>,
}

/// Writes one file with a `sampled` profile for each sample type, named like the type. Samples that are 0 in it stay out. It
/// is written in `most` bytes.
pub fn encode(dictionary: &Dictionary, profile: &Profile, most: usize) -> Result<Vec<u8>, EncodeError> {
    let mut table = FrameTable::new(dictionary, most);
    let mut stacks: Stacks = HashMap::default();
    for stack in &profile.samples.stacks {
        if !stacks.contains_key(stack) {
            let frames = table.stack(*stack).ok_or_else(too_large)?;
            stacks.insert(*stack, frames);
        }
    }
    let types = profile.sample_types.len();
    let mut profiles = Vec::with_capacity(types);
    for (column, sample_type) in profile.sample_types.iter().enumerate() {
        let (samples, weights) = weighted(profile, &stacks, column)?;
        let end = weights.iter().try_fold(0i64, |sum, weight| sum.checked_add(*weight));
        profiles.push(Sampled {
            r#type: "sampled",
            name: dictionary.str(sample_type.kind),
            unit: unit_out(dictionary.str(sample_type.unit)),
            start_value: 0,
            end_value: end.ok_or_else(|| unrepresentable("a sum beyond 64 bits"))?,
            samples,
            weights,
        });
    }
    let active = default_column(dictionary, profile);
    let file = File {
        schema: SCHEMA,
        name: profiles.get(active).map_or("", |one| one.name),
        exporter: EXPORTER,
        active,
        shared: Shared { frames: table.frames },
        profiles,
    };
    let mut out = Bounded::new(most);
    serde_json::to_writer(&mut out, &file).map_err(|error| match error.is_io() {
        true => too_large(),
        false => unrepresentable("a text that JSON cannot hold"),
    })?;
    Ok(out.into_inner())
}

/// The frames of each stack.
type Stacks = HashMap<StackId, Vec<u32>, foldhash::fast::RandomState>;

fn too_large() -> EncodeError {
    EncodeError::too_large(Format::Speedscope)
}

/// The samples of one type that are not 0, with their values.
fn weighted<'a>(
    profile: &Profile,
    stacks: &'a Stacks,
    column: usize,
) -> Result<(Vec<&'a [u32]>, Vec<i64>), EncodeError> {
    let mut samples = Vec::new();
    let mut weights = Vec::new();
    for (row, stack) in profile.samples.stacks.iter().enumerate() {
        let weight = profile.samples.total(row, column, profile.sample_types.len());
        if weight < 0 {
            return Err(unrepresentable(
                "a negative value, which speedscope does not open; write pprof or collapsed",
            ));
        }
        if weight > 0 {
            samples.push(stacks.get(stack).map(Vec::as_slice).unwrap_or_default());
            weights.push(weight);
        }
    }
    Ok((samples, weights))
}

fn unrepresentable(problem: &'static str) -> EncodeError {
    EncodeError::new(Format::Speedscope, problem)
}

/// The frames of a file, each once.
struct FrameTable<'a> {
    dictionary: &'a Dictionary,
    frames: Vec<Frame<'a>>,
    numbers: HashMap<Frame<'a>, u32, foldhash::fast::RandomState>,
    /// Bytes that may still be written.
    left: usize,
}

impl<'a> FrameTable<'a> {
    fn new(dictionary: &'a Dictionary, most: usize) -> Self {
        Self {
            dictionary,
            frames: Vec::new(),
            numbers: HashMap::default(),
            left: most,
        }
    }

    /// None if it comes to more than may be written: each number takes two bytes and more, each frame its name.
    fn stack(&mut self, stack: StackId) -> Option<Vec<u32>> {
        let dictionary = self.dictionary;
        let mut numbers = Vec::new();
        for (location, line) in frames::root_first(dictionary, stack) {
            self.left = self.left.checked_sub(2)?;
            numbers.push(self.number(location, line)?);
        }
        Some(numbers)
    }

    fn number(&mut self, location: LocationId, line: Option<&crate::profile::Line>) -> Option<u32> {
        let dictionary = self.dictionary;
        let frame = Frame {
            name: frames::name(dictionary, location, line),
            file: line.map_or("", |line| dictionary.str(dictionary.functions[line.function].filename)),
            line: line.map_or(0, |line| line.line),
            col: line.map_or(0, |line| line.column),
        };
        if let Some(known) = self.numbers.get(&frame) {
            return Some(*known);
        }
        self.left = self.left.checked_sub(frame.name.len() + frame.file.len())?;
        let number = u32::try_from(self.frames.len()).ok()?;
        self.frames.push(frame.clone());
        self.numbers.insert(frame, number);
        Some(number)
    }
}
