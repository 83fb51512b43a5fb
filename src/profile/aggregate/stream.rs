//! Profiles of one kind that become one.

use std::sync::Arc;

use super::Column;
use super::covered::Covered;
use crate::profile::dictionary::MappingId;
use crate::profile::join::join_equal;
use crate::profile::mappings::list_of;
use crate::profile::profiles::Profile;
use crate::profile::samples::{Observations, Samples, Series};

/// Samples are joined when they have become twice as many as after the last time, and not before there are so many.
const FEW: usize = 64;

/// What has become of profiles that say the same about themselves.
pub(super) struct Stream {
    /// The number of their scope.
    pub(super) scope: usize,
    /// What they say: a profile without samples, mappings, time, and whatever else is of one of them alone.
    pub(super) head: Profile,
    columns: Vec<Column>,
    mappings: Arc<[MappingId]>,
    /// Not joined yet where that is not worth it.
    samples: Arc<Samples>,
    /// Samples after they were joined last.
    joined: usize,
    /// Samples were left out, and what they refer to may be unused.
    left_out: bool,
    covered: Covered,
    /// When the profile began and ended that ended last.
    last: (u64, u64),
    profiles: u64,
    received: u64,
}

/// What profiles of one kind have in common.
fn without_time(head: &Profile) -> Profile {
    Profile {
        time_unix_nano: 0,
        duration_nano: 0,
        mappings: Arc::default(),
        ..head.clone()
    }
}

impl Stream {
    pub(super) fn new(scope: usize, head: &Profile, columns: Vec<Column>) -> Self {
        Self {
            scope,
            head: without_time(head),
            columns,
            mappings: Arc::default(),
            samples: Arc::default(),
            joined: 0,
            left_out: false,
            covered: Covered::default(),
            last: (0, 0),
            profiles: 0,
            received: 0,
        }
    }

    /// Whether nothing was added yet.
    pub(super) fn is_new(&self) -> bool {
        self.profiles == 0
    }

    /// Whether a profile is one of these.
    pub(super) fn is_of(&self, scope: usize, head: &Profile, columns: &[Column], is_series: bool) -> bool {
        let alike = matches!(self.samples.observations, Observations::Series(_)) == is_series;
        alike && self.scope == scope && self.columns == columns && self.head == without_time(head)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let head = size_of_val(&*self.head.sample_types) + size_of_val(&*self.head.comments) + self.columns.len();
        let lists = size_of_val(&*self.mappings) + self.covered.heap_bytes();
        size_of::<Self>() + head + lists + self.samples.heap_bytes()
    }

    /// Adds one of these, received as so many.
    pub(super) fn add(&mut self, head: &Profile, mut samples: Samples, received: u64) {
        let (start, end) = (
            head.time_unix_nano,
            head.time_unix_nano.saturating_add(head.duration_nano),
        );
        let is_last = self.is_new() || end >= self.last.1;
        if is_last {
            self.last = (start, end);
        }
        if self.columns.contains(&Column::Last) {
            // how things were before is no matter
            match is_last {
                true => forget_last(Arc::make_mut(&mut self.samples), &self.columns),
                false => forget_last(&mut samples, &self.columns),
            }
        }
        match self.is_new() {
            true => self.samples = Arc::new(samples),
            false => append(Arc::make_mut(&mut self.samples), samples),
        }
        if self.mappings != head.mappings {
            self.mappings = list_of(self.mappings.iter().chain(head.mappings.iter()).copied());
        }
        self.covered.add(start, end);
        self.profiles += 1;
        self.received = self.received.saturating_add(received);
        if self.samples.len() >= 2 * self.joined.max(FEW) {
            self.join();
        }
    }

    /// Joins equal samples, and leaves out those of which nothing is to be told any more.
    fn join(&mut self) {
        let types = self.columns.len();
        join_equal(&mut self.samples, types);
        if self.columns.iter().any(|column| *column != Column::Sum) {
            let tells = |row: usize| (0..types).any(|column| self.samples.total(row, column, types) != 0);
            let rows: Vec<usize> = (0..self.samples.len()).filter(|row| tells(*row)).collect();
            if rows.len() < self.samples.len() {
                self.samples = Arc::new(self.samples.pick(types, &rows));
                self.left_out = true;
            }
        }
        self.joined = self.samples.len();
    }

    /// The profile that they have become, and whether samples were left out of it.
    pub(super) fn finish(mut self) -> (Profile, bool) {
        self.join();
        if self.columns.contains(&Column::Mean) {
            self.divide();
            self.join();
        }
        let has_last_alone = !self.columns.is_empty() && self.columns.iter().all(|column| *column == Column::Last);
        let (time_unix_nano, duration_nano) = match (&self.samples.observations, has_last_alone) {
            (_, true) => (self.last.0, self.last.1 - self.last.0),
            // moments have to lie inside
            (Observations::Series(_), _) => (self.covered.start(), self.covered.span()),
            (Observations::Totals(_), _) => (self.covered.start(), self.covered.total()),
        };
        let profile = Profile {
            samples: self.samples,
            mappings: self.mappings,
            time_unix_nano,
            duration_nano,
            siblings: u32::try_from(self.received.saturating_sub(1)).unwrap_or(u32::MAX),
            ..self.head
        };
        (profile, self.left_out)
    }

    /// Makes means of sums: each is off by less than 1, and so are all of them together.
    fn divide(&mut self) {
        let Observations::Totals(values) = &mut Arc::make_mut(&mut self.samples).observations else {
            return;
        };
        let (types, by) = (self.columns.len().max(1), i128::from(self.profiles.max(1)));
        for (column, _) in self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, what)| **what == Column::Mean)
        {
            let (mut sum, mut told) = (by / 2, 0);
            for value in values.iter_mut().skip(column).step_by(types) {
                sum += i128::from(*value);
                let mean = sum.div_euclid(by) - told;
                told += mean;
                *value = i64::try_from(mean).unwrap_or(i64::MAX);
            }
        }
    }
}

fn forget_last(samples: &mut Samples, columns: &[Column]) {
    if let Observations::Totals(values) = &mut samples.observations {
        for (value, column) in values.iter_mut().zip(columns.iter().cycle()) {
            if *column == Column::Last {
                *value = 0;
            }
        }
    }
}

/// Puts samples behind others of the same shape.
fn append(to: &mut Samples, more: Samples) {
    to.stacks.extend(more.stacks);
    to.attributes.extend(more.attributes);
    to.links.extend(more.links);
    match (&mut to.observations, more.observations) {
        (Observations::Totals(to), Observations::Totals(more)) => to.extend(more),
        (Observations::Series(to), Observations::Series(more)) => append_series(to, &more),
        // a stream has one shape
        (Observations::Totals(_), Observations::Series(_)) | (Observations::Series(_), Observations::Totals(_)) => {}
    }
}

fn append_series(to: &mut Series, more: &Series) {
    for row in 0..more.value_ends.len() {
        to.push(more.values(row), more.timestamps(row));
    }
}
