//! The model to `.cpuprofile`.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::formats::tree::{Frames, Look, Tree};
use crate::formats::{Bounded, EncodeError, Format, frames};
use crate::profile::{Dictionary, Line, LocationId, Profile};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    nodes: Vec<Node<'a>>,
    start_time: Micros,
    end_time: Micros,
    samples: Vec<u32>,
    time_deltas: Vec<Micros>,
    flamegate: Measured<'a>,
}

/// What was measured, for us to read again.
#[derive(Serialize)]
struct Measured<'a> {
    r#type: &'a str,
    unit: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node<'a> {
    id: u32,
    call_frame: CallFrame<'a>,
    hit_count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<u32>,
}

#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
struct CallFrame<'a> {
    function_name: Cow<'a, str>,
    script_id: &'static str,
    url: &'a str,
    line_number: i64,
    column_number: i64,
}

impl<'a> Look<'a> for CallFrame<'a> {
    fn of(dictionary: &'a Dictionary, location: LocationId, line: Option<&Line>) -> Self {
        Self {
            function_name: frames::name(dictionary, location, line),
            script_id: "0",
            url: line.map_or("", |line| dictionary.str(dictionary.functions[line.function].filename)),
            line_number: line.map_or(-1, |line| line.line.max(0) - 1),
            column_number: line.map_or(-1, |line| line.column.max(0) - 1),
        }
    }

    fn bytes(&self) -> usize {
        self.function_name.len() + self.url.len()
    }
}

impl CallFrame<'_> {
    const ROOT: Self = Self {
        function_name: Cow::Borrowed("(root)"),
        script_id: "0",
        url: "",
        line_number: -1,
        column_number: -1,
    };
}

/// Thousandths of a microsecond, written as microseconds.
#[derive(Clone, Copy)]
struct Micros(i64);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1000 {
            0 => serializer.serialize_i64(self.0 / 1000),
            _ => serializer.serialize_f64(self.0 as f64 / 1e3),
        }
    }
}

/// Writes one sample type as if it were time: nanoseconds as what they are, of other units one as a microsecond. Every node with a
/// value is sampled once. It is written in `most` bytes.
pub fn encode(dictionary: &Dictionary, profile: &Profile, column: usize, most: usize) -> Result<Vec<u8>, EncodeError> {
    let Some(shown) = profile.sample_types.get(column) else {
        let problem = format!("sample type {column} of {}", profile.sample_types.len());
        return Err(EncodeError::new(Format::CpuProfile, problem));
    };
    let mut frames = Frames::new(Format::CpuProfile, dictionary, most);
    let tree = Tree::of(&mut frames, profile, &[column])?;
    let own = tree.own.first().map(Vec::as_slice).unwrap_or_default();
    let scale = if dictionary.str(shown.unit) == "nanoseconds" {
        1
    } else {
        1000
    };
    let (samples, time_deltas, end_time) =
        samples(own, scale).ok_or_else(|| EncodeError::new(Format::CpuProfile, "a sum beyond 64 bits"))?;
    let file = File {
        nodes: nodes(&tree, own, &frames.rows),
        start_time: Micros(0),
        end_time,
        samples,
        time_deltas,
        flamegate: Measured {
            r#type: dictionary.str(shown.kind),
            unit: dictionary.str(shown.unit),
        },
    };
    let mut out = Bounded::new(most);
    let written = serde_json::to_writer(&mut out, &file);
    written.map_err(|_| EncodeError::too_large(Format::CpuProfile))?;
    Ok(out.into_inner())
}

/// Numbers begin with 1, as V8's do.
fn nodes<'a>(tree: &Tree, own: &[i64], frames: &[CallFrame<'a>]) -> Vec<Node<'a>> {
    let mut nodes: Vec<Node<'a>> = Vec::with_capacity(own.len());
    for (position, ((parent, frame), own)) in tree.parents.iter().zip(&tree.frames).zip(own).enumerate() {
        let id = position as u32 + 1;
        let frame = frames.get(*frame as usize).filter(|_| position > 0);
        if position > 0
            && let Some(parent) = nodes.get_mut(*parent as usize)
        {
            parent.children.push(id);
        }
        nodes.push(Node {
            id,
            call_frame: frame.cloned().unwrap_or(CallFrame::ROOT),
            hit_count: u64::from(*own > 0),
            children: Vec::new(),
        });
    }
    nodes
}

/// Each lasts until the next one begins, the last one until the end.
fn samples(own: &[i64], scale: i64) -> Option<(Vec<u32>, Vec<Micros>, Micros)> {
    let (mut samples, mut deltas) = (Vec::new(), Vec::new());
    let (mut lasts, mut now) = (0i64, 0i64);
    for (position, value) in own.iter().enumerate().filter(|(_, value)| **value > 0) {
        samples.push(position as u32 + 1);
        deltas.push(Micros(lasts));
        lasts = value.checked_mul(scale)?;
        now = now.checked_add(lasts)?;
    }
    Some((samples, deltas, Micros(now)))
}
