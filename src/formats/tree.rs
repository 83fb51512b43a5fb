//! All stacks of a profile as one tree.

use std::borrow::Cow;
use std::hash::Hash;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{EncodeError, Format, frames};
use crate::profile::{Dictionary, Line, LocationId, Profile, StackId};

/// Bytes that a node takes at least where it is written.
const NODE_BYTES: usize = 6;

/// A frame as a reader of some format sees it; frames that look equal are one.
pub(super) trait Look<'a>: Clone + Eq + Hash {
    /// What is seen of one line of a location.
    fn of(dictionary: &'a Dictionary, location: LocationId, line: Option<&Line>) -> Self;

    /// About the bytes that it is written in.
    fn bytes(&self) -> usize;
}

/// Name and file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct NameAndFile<'a> {
    pub name: Cow<'a, str>,
    pub file: &'a str,
}

impl<'a> Look<'a> for NameAndFile<'a> {
    fn of(dictionary: &'a Dictionary, location: LocationId, line: Option<&Line>) -> Self {
        Self {
            name: frames::name(dictionary, location, line),
            file: line.map_or("", |line| dictionary.str(dictionary.functions[line.function].filename)),
        }
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.file.len()
    }
}

/// The frames of one output, each once.
pub(super) struct Frames<'a, Frame> {
    format: Format,
    dictionary: &'a Dictionary,
    pub rows: Vec<Frame>,
    numbers: HashMap<Frame, u32, RandomState>,
    /// Bytes that may still be written, of nodes too.
    left: usize,
}

impl<'a, Frame: Look<'a>> Frames<'a, Frame> {
    pub fn new(format: Format, dictionary: &'a Dictionary, most: usize) -> Self {
        Self {
            format,
            dictionary,
            rows: Vec::new(),
            numbers: HashMap::default(),
            left: most,
        }
    }

    fn number(&mut self, location: LocationId, line: Option<&Line>) -> Result<u32, EncodeError> {
        let frame = Frame::of(self.dictionary, location, line);
        if let Some(known) = self.numbers.get(&frame) {
            return Ok(*known);
        }
        self.take(frame.bytes())?;
        let number = self.rows.len() as u32;
        self.rows.push(frame.clone());
        self.numbers.insert(frame, number);
        Ok(number)
    }

    fn take(&mut self, bytes: usize) -> Result<(), EncodeError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| EncodeError::too_large(self.format))?;
        Ok(())
    }
}

/// Nodes by number: 0 is the root, and parents come before their children.
pub(super) struct Tree {
    /// The parent of every node, the root being its own.
    pub parents: Vec<u32>,
    /// The frame of every node; the root's says nothing.
    pub frames: Vec<u32>,
    /// For each sample type, what was measured in every node itself.
    pub own: Vec<Vec<i64>>,
}

impl Tree {
    /// Of the given sample types of a profile.
    pub fn of<'a, Frame: Look<'a>>(
        frames: &mut Frames<'a, Frame>,
        profile: &Profile,
        types: &[usize],
    ) -> Result<Self, EncodeError> {
        let mut tree = Self {
            parents: vec![0],
            frames: vec![0],
            own: Vec::new(),
        };
        let leaves = tree.grow(frames, profile)?;
        for column in types {
            let own = tree.weigh(profile, *column, &leaves);
            tree.own.push(own.map_err(|why| EncodeError::new(frames.format, why))?);
        }
        Ok(tree)
    }

    /// Adds all stacks. Returns the node at the end of each row's.
    fn grow<'a, Frame: Look<'a>>(
        &mut self,
        frames: &mut Frames<'a, Frame>,
        profile: &Profile,
    ) -> Result<Vec<u32>, EncodeError> {
        let mut children: HashMap<(u32, u32), u32, RandomState> = HashMap::default();
        let mut ends: HashMap<StackId, u32, RandomState> = HashMap::default();
        let mut leaves = Vec::with_capacity(profile.samples.len());
        let dictionary = frames.dictionary;
        for stack in &profile.samples.stacks {
            if let Some(end) = ends.get(stack) {
                leaves.push(*end);
                continue;
            }
            let mut node = 0;
            for (location, line) in frames::root_first(dictionary, *stack) {
                let frame = frames.number(location, line)?;
                node = match children.get(&(node, frame)) {
                    Some(child) => *child,
                    None => {
                        frames.take(NODE_BYTES)?;
                        let child = self.parents.len() as u32;
                        self.parents.push(node);
                        self.frames.push(frame);
                        children.insert((node, frame), child);
                        child
                    }
                };
            }
            ends.insert(*stack, node);
            leaves.push(node);
        }
        Ok(leaves)
    }

    /// What every node has of one sample type.
    fn weigh(&self, profile: &Profile, column: usize, leaves: &[u32]) -> Result<Vec<i64>, &'static str> {
        let types = profile.sample_types.len();
        let mut own = vec![0i64; self.parents.len()];
        for (row, leaf) in leaves.iter().enumerate() {
            let value = profile.samples.total(row, column, types);
            if value < 0 {
                return Err("a negative value, which nothing of this form can show; write pprof or collapsed");
            }
            if let Some(sum) = own.get_mut(*leaf as usize) {
                *sum = sum.checked_add(value).ok_or("a sum beyond 64 bits")?;
            }
        }
        Ok(own)
    }

    /// What every node has with all below it.
    pub fn totals(&self, own: &[i64]) -> Vec<i128> {
        let mut totals: Vec<i128> = own.iter().map(|value| i128::from(*value)).collect();
        for node in (1..totals.len()).rev() {
            let (before, from) = totals.split_at_mut(node);
            let parent = self.parents.get(node).map_or(0, |parent| *parent as usize);
            if let (Some(parent), Some(total)) = (before.get_mut(parent), from.first()) {
                *parent += total;
            }
        }
        totals
    }
}
