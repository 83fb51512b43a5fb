//! What is put together of a file: tables that are bounded, in memory that was asked for.

use super::room::{Room, Tab};
use super::{DecodeError, Format, Limit, Limits};
use crate::profile::{Interner, Profile, Profiles, ValueType};

/// The tables under construction, and what they may hold.
pub(super) struct Building<'a> {
    pub format: Format,
    pub limits: &'a Limits,
    pub interner: Interner,
    tab: Tab<'a>,
    /// Nodes, numbers, samples and events so far, and what they take beside the tables.
    elements: usize,
    bytes: usize,
    /// Steps from nodes to their roots so far.
    steps: usize,
}

/// What a node takes, in a list, a column that doubles and a map.
const NODE_BYTES: usize = 160;
/// So many steps may be made for each element that there may be.
const STEPS_FOR_ELEMENT: usize = 4;
/// What a number of a list takes, and the sample that it becomes.
const NUMBER_BYTES: usize = 48;

impl<'a> Building<'a> {
    /// Nothing yet.
    pub fn new(format: Format, limits: &'a Limits, room: &'a dyn Room) -> Self {
        Self {
            format,
            limits,
            interner: Interner::new(),
            tab: Tab::new(room),
            elements: 0,
            bytes: 0,
            steps: 0,
        }
    }

    /// Counts one node, row or event more.
    pub fn node(&mut self) -> Result<(), DecodeError> {
        self.element(NODE_BYTES)
    }

    /// Counts one number more.
    pub fn number(&mut self) -> Result<(), DecodeError> {
        self.element(NUMBER_BYTES)
    }

    /// Counts one of anything more, with what it takes beside the tables.
    pub fn element(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.elements += 1;
        self.bytes += bytes;
        let rows = self.elements.max(self.interner.dictionary().stacks.items().len());
        if rows > self.limits.elements {
            return Err(self.too_large(Limit::Elements, "too many nodes, samples or frames"));
        }
        let tables = 2 * self.interner.dictionary().heap_bytes();
        let held = self.tab.hold(tables + self.bytes);
        held.map_err(|why| DecodeError::no_room(self.format, why))
    }

    /// Counts the steps from a node to its root. Stacks that come again add no frames, and would cost time all the same.
    pub fn walked(&mut self, steps: usize) -> Result<(), DecodeError> {
        self.steps = self.steps.saturating_add(steps);
        match self.steps > self.limits.elements.saturating_mul(STEPS_FOR_ELEMENT) {
            true => Err(self.too_large(Limit::Elements, "too many nodes too far from their roots")),
            false => Ok(()),
        }
    }

    /// The same text, if it is not too long.
    pub fn text<'t>(&self, text: &'t str) -> Result<&'t str, DecodeError> {
        match text.len() > self.limits.string_bytes {
            true => Err(self.too_large(Limit::String, "a name or an address too long")),
            false => Ok(text),
        }
    }

    /// More than a limit allows.
    pub fn too_large(&self, limit: Limit, problem: &'static str) -> DecodeError {
        DecodeError::too_large(self.format, limit, problem, "record for a shorter time")
    }

    /// Wrong bytes, in no place of their own.
    pub fn malformed(&self, problem: &'static str) -> DecodeError {
        DecodeError {
            offset: None,
            ..DecodeError::malformed(self.format, 0, problem)
        }
    }

    /// What is counted, and in which unit.
    pub fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType {
            kind: self.interner.string(kind),
            unit: self.interner.string(unit),
        }
    }

    /// All profiles, of one resource.
    pub fn finish(self, profiles: Vec<Profile>) -> Profiles {
        Profiles::of(self.interner.finish(), profiles)
    }
}
