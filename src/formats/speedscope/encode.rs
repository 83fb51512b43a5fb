//! The model to speedscope.

use std::borrow::Cow;

use hashbrown::HashMap;
use serde::Serialize;

use super::{EXPORTER, SCHEMA, unit_out};
use crate::formats::{EncodeError, Format, frames};
use crate::profile::{Dictionary, LocationId, Profile, StackId};

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'a str,
    exporter: &'static str,
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
    samples: Vec<&'a [usize]>,
    weights: Vec<i64>,
}

/// Writes one file with a `sampled` profile for each sample type, named like the type. Samples that are 0 in it stay out.
pub fn encode(dictionary: &Dictionary, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
    let mut table = FrameTable::new(dictionary);
    let stacks: Vec<Vec<usize>> = profile.samples.stacks.iter().map(|stack| table.stack(*stack)).collect();
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
    let shown = profiles
        .iter()
        .find(|one| one.name == dictionary.str(profile.default_sample_type));
    let file = File {
        schema: SCHEMA,
        name: shown.or(profiles.first()).map_or("", |one| one.name),
        exporter: EXPORTER,
        shared: Shared { frames: table.frames },
        profiles,
    };
    serde_json::to_vec(&file).map_err(|_| unrepresentable("a text that JSON cannot hold"))
}

/// The samples of one type that are not 0, with their values.
fn weighted<'a>(
    profile: &Profile,
    stacks: &'a [Vec<usize>],
    column: usize,
) -> Result<(Vec<&'a [usize]>, Vec<i64>), EncodeError> {
    let mut samples = Vec::new();
    let mut weights = Vec::new();
    for (row, stack) in stacks.iter().enumerate() {
        let weight = profile.samples.total(row, column, profile.sample_types.len());
        if weight < 0 {
            return Err(unrepresentable(
                "a negative value, which speedscope does not open; write pprof or collapsed",
            ));
        }
        if weight > 0 {
            samples.push(stack.as_slice());
            weights.push(weight);
        }
    }
    Ok((samples, weights))
}

fn unrepresentable(problem: &'static str) -> EncodeError {
    EncodeError {
        format: Format::Speedscope,
        problem: problem.into(),
    }
}

/// The frames of a file, each once.
struct FrameTable<'a> {
    dictionary: &'a Dictionary,
    frames: Vec<Frame<'a>>,
    numbers: HashMap<Frame<'a>, usize, foldhash::fast::RandomState>,
}

impl<'a> FrameTable<'a> {
    fn new(dictionary: &'a Dictionary) -> Self {
        Self {
            dictionary,
            frames: Vec::new(),
            numbers: HashMap::default(),
        }
    }

    fn stack(&mut self, stack: StackId) -> Vec<usize> {
        let dictionary = self.dictionary;
        frames::root_first(dictionary, stack)
            .map(|(location, line)| self.number(location, line))
            .collect()
    }

    fn number(&mut self, location: LocationId, line: Option<&crate::profile::Line>) -> usize {
        let dictionary = self.dictionary;
        let frame = Frame {
            name: frames::name(dictionary, location, line),
            file: line.map_or("", |line| dictionary.str(dictionary.functions[line.function].filename)),
            line: line.map_or(0, |line| line.line),
            col: line.map_or(0, |line| line.column),
        };
        let frames = &mut self.frames;
        *self.numbers.entry(frame).or_insert_with_key(|frame| {
            frames.push(frame.clone());
            frames.len() - 1
        })
    }
}
