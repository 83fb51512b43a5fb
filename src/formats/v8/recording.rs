//! Nodes and samples of one thread, before they are a profile.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::frames::Frame;
use crate::formats::building::Building;
use crate::formats::{DecodeError, Limit};
use crate::profile::{AttributeSetId, Id, Interner, LocationId, Observations, Profile, Samples, StackId, ValueType};

/// A position in [`Nodes`].
pub(super) type Position = usize;

/// The nodes of a call tree.
#[derive(Default)]
pub(super) struct Nodes {
    rows: Vec<Node>,
    /// By the numbers that V8 gives them.
    positions: HashMap<u64, Position, RandomState>,
}

struct Node {
    frame: Frame,
    parent: Option<Position>,
    /// What was measured in the node itself: hits or bytes.
    own: i64,
}

impl Nodes {
    /// Adds a node of which more is said later.
    pub fn add(&mut self, parent: Option<Position>) -> Position {
        self.rows.push(Node {
            frame: Frame::Root,
            parent,
            own: 0,
        });
        self.rows.len() - 1
    }

    /// Says what a node is, and the number that V8 gives it.
    pub fn describe(&mut self, node: Position, id: Option<u64>, frame: Frame, own: i64) {
        if let Some(row) = self.rows.get_mut(node) {
            row.frame = frame;
            row.own = own.max(0);
        }
        if let Some(id) = id {
            self.positions.insert(id, node);
        }
    }

    /// Says whose child a node is; where one of them is not there, it stays as it is.
    pub fn adopt(&mut self, child: u64, parent: u64) {
        let (child, parent) = (self.position(child), self.position(parent));
        if let Some(row) = child.and_then(|child| self.rows.get_mut(child)) {
            row.parent = parent;
        }
    }

    pub fn position(&self, id: u64) -> Option<Position> {
        self.positions.get(&id).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What was measured in each node itself.
    pub fn own(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.own).collect()
    }

    /// The stack that ends in a node, and whether the thread was idle in it.
    pub fn stack(&self, building: &mut Building<'_>, node: Position) -> Result<(StackId, bool), DecodeError> {
        let mut locations: Vec<LocationId> = Vec::new();
        let mut above = self.rows.get(node);
        let is_idle = above.is_some_and(|row| matches!(row.frame, Frame::Idle(_)));
        let mut steps = 0;
        while let Some(row) = above {
            if steps > building.limits.stack_depth {
                return Err(building.too_large(Limit::StackDepth, "a stack too deep, or nodes in a circle"));
            }
            steps += 1;
            locations.extend(row.frame.location());
            above = row.parent.and_then(|parent| self.rows.get(parent));
        }
        building.walked(steps)?;
        Ok((building.interner.stack(&locations), is_idle))
    }
}

/// The sums of every node that has any, in the order of the nodes, as the samples of a profile.
pub(super) fn samples(
    building: &mut Building<'_>,
    nodes: &Nodes,
    sums: &[Vec<i64>],
    thread: Option<&str>,
) -> Result<Samples, DecodeError> {
    let mut samples = Samples::default();
    let mut values = Vec::new();
    let labels = [false, true].map(|idle| labels(&mut building.interner, idle, thread));
    for node in 0..nodes.rows.len() {
        let row = sums.iter().map(|column| column.get(node).copied().unwrap_or_default());
        if row.clone().all(|value| value == 0) {
            continue;
        }
        values.extend(row);
        let (stack, is_idle) = nodes.stack(building, node)?;
        let [busy, idle] = labels;
        samples.stacks.push(stack);
        samples.attributes.push(if is_idle { idle } else { busy });
        samples.links.push(Id::UNSET);
        building.node()?;
    }
    samples.observations = Observations::Totals(values);
    Ok(samples)
}

fn labels(interner: &mut Interner, idle: bool, thread: Option<&str>) -> AttributeSetId {
    let mut labels = Vec::new();
    if let Some(name) = thread {
        labels.push(interner.text_attribute("thread.name", name));
    }
    if idle {
        labels.push(interner.text_attribute("thread.state", "idle"));
    }
    interner.attribute_set(&labels)
}

/// For each node how often it was met, and how long it lasted in nanoseconds; and the median pause between two samples.
type Sums = (Vec<i64>, Vec<i64>, i64);

/// What one thread did over a time: times in microseconds of a clock of V8's.
#[derive(Default)]
pub(super) struct Recording {
    pub nodes: Nodes,
    /// The node of each sample, by number.
    pub samples: Vec<u64>,
    /// When each sample was taken; empty if that was not written down.
    pub times: Vec<f64>,
    pub start: f64,
    pub end: f64,
    /// What our own files say was measured, if it is not samples and time.
    pub ours: Option<(String, String)>,
}

impl Recording {
    /// As a profile of samples and wall time, or of what our own file says.
    pub fn profile(self, building: &mut Building<'_>, thread: Option<&str>) -> Result<Profile, DecodeError> {
        let (counts, lasted, period) = self.sums(building)?;
        let wall = building.value_type("wall", "nanoseconds");
        let duration_nano = nanoseconds(self.end - self.start).unwrap_or_default().unsigned_abs();
        let mut profile = match &self.ours {
            None => Profile {
                sample_types: vec![building.value_type("samples", "count"), wall],
                default_sample_type: wall.kind,
                samples: Arc::new(samples(building, &self.nodes, &[counts, lasted], thread)?),
                ..Profile::default()
            },
            Some((kind, unit)) => {
                let of = building.value_type(kind, unit);
                Profile {
                    sample_types: vec![of],
                    default_sample_type: of.kind,
                    samples: Arc::new(samples(building, &self.nodes, &[lasted], thread)?),
                    ..Profile::default()
                }
            }
        };
        if self.ours.is_none() {
            profile.duration_nano = duration_nano;
            profile.period = period;
            profile.period_type = if period > 0 { wall } else { ValueType::default() };
        }
        Ok(profile)
    }

    fn sums(&self, building: &Building<'_>) -> Result<Sums, DecodeError> {
        if self.samples.is_empty() {
            return self.sums_of_hits(building);
        }
        let (mut counts, mut lasted) = (vec![0i64; self.nodes.rows.len()], vec![0i64; self.nodes.rows.len()]);
        let whole_units = self.ours.as_ref().is_some_and(|(_, unit)| unit != "nanoseconds");
        let scale = if whole_units { 1e-3 } else { 1.0 };
        let taken = self.taken();
        let ends = taken.iter().skip(1).map(|(time, _)| *time).chain([self.end]);
        let mut pauses = Vec::with_capacity(taken.len());
        for ((time, id), end) in taken.iter().zip(ends) {
            let position = self.nodes.position(*id);
            let position = position.ok_or_else(|| building.malformed("a sample of a node that is not there"))?;
            let time = nanoseconds((end - time).max(0.0) * scale).ok_or_else(|| building.malformed(TOO_LONG))?;
            pauses.push(time);
            if let (Some(count), Some(sum)) = (counts.get_mut(position), lasted.get_mut(position)) {
                *count += 1;
                *sum = sum.saturating_add(time);
            }
        }
        pauses.sort_unstable();
        let median = pauses.get(pauses.len() / 2).copied().unwrap_or_default();
        Ok((counts, lasted, median))
    }

    /// The same where nothing but the hits of each node were written down: all last as long.
    fn sums_of_hits(&self, building: &Building<'_>) -> Result<Sums, DecodeError> {
        let hits = self.nodes.own();
        let all: f64 = hits.iter().map(|hits| *hits as f64).sum();
        let each = (self.end - self.start).max(0.0) / all.max(1.0);
        let lasted = hits
            .iter()
            .map(|hits| nanoseconds(*hits as f64 * each))
            .collect::<Option<_>>();
        let lasted = lasted.ok_or_else(|| building.malformed(TOO_LONG))?;
        Ok((hits, lasted, nanoseconds(each).unwrap_or_default()))
    }

    /// The samples by their times, which V8 does not always write in order; evenly over the recording where it wrote none.
    fn taken(&self) -> Vec<(f64, u64)> {
        let each = (self.end - self.start).max(0.0) / self.samples.len() as f64;
        let evenly = (0..self.samples.len()).map(|index| self.start + index as f64 * each);
        let mut taken: Vec<(f64, u64)> = match self.times.len() == self.samples.len() {
            true => self.times.iter().copied().zip(self.samples.iter().copied()).collect(),
            false => evenly.zip(self.samples.iter().copied()).collect(),
        };
        taken.sort_by(|a, b| a.0.total_cmp(&b.0));
        taken
    }
}

const TOO_LONG: &str = "a time beyond 64 bits";

/// Of microseconds; none if it is too much for a number of 64 bits.
pub(super) fn nanoseconds(microseconds: f64) -> Option<i64> {
    let exact = (microseconds * 1e3).round();
    (exact.abs() < i64::MAX as f64).then_some(exact as i64)
}
