//! `.cpuprofile`: a list of nodes with samples (since 2016), or a tree under `head`.

use super::OURS;
use super::frames::{CallFrame, Frame};
use super::json::Json;
use super::recording::{Nodes, Position, Recording};
use crate::formats::building::Building;
use crate::formats::room::Room;
use crate::formats::{DecodeError, Decoded, Format, Limit, Limits};

/// Reads a `.cpuprofile`, with memory from `room`.
pub fn decode_within(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut building = Building::new(Format::CpuProfile, limits, room);
    let mut json = Json::new(Format::CpuProfile, text);
    let recording = read(&mut json, &mut building)?;
    json.end()?;
    let profile = recording.profile(&mut building, None)?;
    Ok(Decoded {
        profiles: building.finish(vec![profile]),
        ..Decoded::default()
    })
}

fn read(json: &mut Json<'_>, building: &mut Building<'_>) -> Result<Recording, DecodeError> {
    let mut recording = Recording::default();
    let mut deltas = Vec::new();
    let mut is_tree = false;
    json.open_object()?;
    while let Some(key) = json.field()? {
        match &*key {
            "nodes" => NodeList::read(json, building)?.join(&mut recording.nodes),
            "head" => {
                is_tree = true;
                tree(json, building, &mut recording.nodes)?;
            }
            "startTime" => recording.start = json.number()?,
            "endTime" => recording.end = json.number()?,
            "samples" => numbers(json, building, |id| recording.samples.push(id as u64))?,
            "timestamps" => numbers(json, building, |time| recording.times.push(time))?,
            "timeDeltas" => numbers(json, building, |delta| deltas.push(delta))?,
            OURS => recording.ours = Some(ours(json)?),
            _ => json.skip()?,
        }
    }
    if recording.nodes.is_empty() {
        return Err(building.malformed("no node in it"));
    }
    if is_tree {
        in_microseconds(&mut recording);
    }
    if deltas.len() == recording.samples.len() {
        recording.times = times(recording.start, &deltas);
    }
    if let Some(last) = recording.times.iter().copied().reduce(f64::max) {
        recording.end = recording.end.max(last);
    }
    Ok(recording)
}

/// When samples were taken, by the time between each and the one before.
pub(super) fn times(start: f64, deltas: &[f64]) -> Vec<f64> {
    let mut now = start;
    let sums = deltas.iter().map(|delta| {
        now += delta;
        now
    });
    sums.collect()
}

/// The first generation counted start and end in seconds, mostly. Nobody samples every 50 microseconds, so what would be
/// faster was.
fn in_microseconds(recording: &mut Recording) {
    let samples = match recording.samples.len() {
        0 => recording.nodes.own().iter().map(|hits| *hits as f64).sum(),
        samples => samples as f64,
    };
    if recording.end - recording.start < 50.0 * samples {
        recording.start *= 1e6;
        recording.end *= 1e6;
    }
    if let (Some(first), false) = (recording.times.first(), recording.samples.is_empty()) {
        // timestamps may be of another clock
        recording.end = first + (recording.end - recording.start);
        recording.start = *first;
    }
}

/// A list of nodes as it is written: each names its children, or its parent.
#[derive(Default)]
pub(super) struct NodeList {
    nodes: Vec<(u64, Frame, i64)>,
    /// Child and parent.
    families: Vec<(u64, u64)>,
}

impl NodeList {
    pub fn read(json: &mut Json<'_>, building: &mut Building<'_>) -> Result<Self, DecodeError> {
        let mut list = Self::default();
        json.open_list()?;
        while json.item()? {
            list.node(json, building)?;
        }
        Ok(list)
    }

    fn node(&mut self, json: &mut Json<'_>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        let (mut id, mut parent, mut hits) = (0, None, 0);
        let mut frame = CallFrame::NONE;
        let first = self.families.len();
        json.open_object()?;
        while let Some(key) = json.field()? {
            match &*key {
                "id" => id = json.number()? as u64,
                "parent" => parent = Some(json.number()? as u64),
                "hitCount" => hits = json.number()? as i64,
                "callFrame" => frame = CallFrame::read(json)?,
                "children" => numbers(json, building, |child| self.families.push((child as u64, 0)))?,
                _ => json.skip()?,
            }
        }
        for (_, of) in self.families.iter_mut().skip(first) {
            *of = id;
        }
        self.families.extend(parent.map(|parent| (id, parent)));
        let frame = frame.intern(building)?;
        self.nodes.push((id, frame, hits));
        building.node()
    }

    /// Adds them to those that are there.
    pub fn join(self, nodes: &mut Nodes) {
        for (id, frame, hits) in self.nodes {
            let node = nodes.add(None);
            nodes.describe(node, Some(id), frame, hits);
        }
        for (child, parent) in self.families {
            nodes.adopt(child, parent);
        }
    }
}

/// A node of a tree that has begun and not ended: its children may come before its own fields.
struct Open<'a> {
    node: Position,
    id: Option<u64>,
    frame: CallFrame<'a>,
    own: i64,
}

impl<'a> Open<'a> {
    fn begin(json: &mut Json<'a>, nodes: &mut Nodes, parent: Option<&Self>) -> Result<Self, DecodeError> {
        json.open_object()?;
        Ok(Self {
            node: nodes.add(parent.map(|parent| parent.node)),
            id: None,
            frame: CallFrame::NONE,
            own: 0,
        })
    }
}

/// A tree of nodes that hold their children.
pub(super) fn tree(json: &mut Json<'_>, building: &mut Building<'_>, nodes: &mut Nodes) -> Result<(), DecodeError> {
    let mut open = vec![Open::begin(json, nodes, None)?];
    while let Some(node) = open.last_mut() {
        let mut child_follows = false;
        match json.field()? {
            Some(key) => match &*key {
                "children" => {
                    json.open_list()?;
                    child_follows = json.item()?;
                }
                "id" => node.id = Some(json.number()? as u64),
                "hitCount" | "selfSize" => node.own = json.number()? as i64,
                "callFrame" => node.frame = CallFrame::read(json)?,
                key if node.frame.field(key, json)? => {}
                _ => json.skip()?,
            },
            None => {
                let frame = node.frame.intern(building)?;
                nodes.describe(node.node, node.id, frame, node.own);
                building.node()?;
                open.pop();
                child_follows = !open.is_empty() && json.item()?;
            }
        }
        if child_follows {
            if open.len() > building.limits.stack_depth {
                return Err(building.too_large(Limit::StackDepth, "a stack too deep"));
            }
            let child = Open::begin(json, nodes, open.last())?;
            open.push(child);
        }
    }
    Ok(())
}

/// A list of numbers.
pub(super) fn numbers(
    json: &mut Json<'_>,
    building: &mut Building<'_>,
    mut push: impl FnMut(f64),
) -> Result<(), DecodeError> {
    json.open_list()?;
    while json.item()? {
        push(json.number()?);
        building.number()?;
    }
    Ok(())
}

/// `{"type": "cpu", "unit": "nanoseconds"}`.
fn ours(json: &mut Json<'_>) -> Result<(String, String), DecodeError> {
    let (mut kind, mut unit) = (String::new(), String::new());
    json.open_object()?;
    while let Some(key) = json.field()? {
        match &*key {
            "type" => kind = json.text()?.into_owned(),
            "unit" => unit = json.text()?.into_owned(),
            _ => json.skip()?,
        }
    }
    Ok((kind, unit))
}
