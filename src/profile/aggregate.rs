//! Profiles of one resource that follow each other become one for each kind: equal samples are summed, and what tells how things
//! are at a moment is not.
//!
//! What is added is carried into one dictionary at once, so that many profiles of one program take little more than one of them.

mod covered;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::dictionary::Dictionary;
use super::intern::Interner;
use super::merge::{ScopeKey, scope_key};
use super::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use super::samples::{Observations, Samples};
use super::split::Scratch;
use super::transfer::Transfer;
use stream::Stream;

/// What becomes of the values of one sample type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// What happened: summed.
    Sum,
    /// How things are: those of the profile that ends last.
    Last,
    /// The same: the mean over the profiles; where a sample is not in one of them it counts 0.
    Mean,
}

/// What is kept of samples besides where the program was and its labels. What is not makes more of them equal.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// Which span was running.
    pub links: bool,
    /// When, where profilers wrote it down. Only where all columns are summed.
    pub timestamps: bool,
}

/// A profile to be added.
pub struct Addend<'a> {
    /// Who profiled.
    pub scope: &'a ScopeProfiles,
    /// The profile.
    pub profile: &'a Profile,
    /// What becomes of its sample types, one for each.
    pub columns: Vec<Column>,
}

/// Profiles of one resource, and what they have become so far.
#[derive(Default)]
pub struct Aggregate {
    interner: Interner,
    resource: Option<ResourceProfiles>,
    scopes: Vec<ScopeProfiles>,
    known_scopes: HashMap<ScopeKey, usize>,
    streams: Vec<Stream>,
    /// Streams by what they are of.
    known: HashTable<usize>,
    hasher: RandomState,
    stream_bytes: usize,
}

/// A profile that was carried over, and has not found its stream yet.
struct Carried {
    scope: ScopeProfiles,
    /// The profile without its samples.
    head: Profile,
    samples: Samples,
    columns: Vec<Column>,
    /// As how many it was received.
    received: u64,
}

impl Aggregate {
    /// Adds profiles that all are of one resource, the same at every call.
    ///
    /// Two of them become one if they say the same about themselves: scope, types, period, attributes, comments.
    pub fn add<'a>(
        &mut self,
        from: &Dictionary,
        resource: &ResourceProfiles,
        addends: impl IntoIterator<Item = Addend<'a>>,
        detail: Detail,
        scratch: &mut Scratch,
    ) {
        let mut transfer = Transfer::after(scratch.take(from), from, &mut self.interner);
        if self.resource.is_none() {
            self.resource = Some(transfer.resource_alone(resource));
        }
        let carried = addends
            .into_iter()
            .map(|addend| Carried::of(addend, detail, &mut transfer));
        let carried: Vec<Carried> = carried.collect();
        scratch.put(transfer.finish());
        for one in carried {
            self.put(one);
        }
    }

    fn put(&mut self, one: Carried) {
        let next = self.scopes.len();
        let scope = *self.known_scopes.entry(scope_key(&one.scope)).or_insert(next);
        if scope == next {
            self.scopes.push(one.scope);
        }
        let is_series = matches!(one.samples.observations, Observations::Series(_));
        let short = |scope: usize, head: &Profile| {
            let kind = head.sample_types.first().copied().unwrap_or_default();
            self.hasher.hash_one((scope, kind, head.attributes, head.period))
        };
        let (hash, streams) = (short(scope, &one.head), &self.streams);
        let is_same = |at: &usize| {
            let same = |stream: &Stream| stream.is_of(scope, &one.head, &one.columns, is_series);
            streams.get(*at).is_some_and(same)
        };
        let place = match self.known.find(hash, is_same) {
            Some(place) => *place,
            None => {
                let place = streams.len();
                let hash_of = |at: &usize| streams.get(*at).map_or(0, |stream| short(stream.scope, &stream.head));
                self.known.insert_unique(hash, place, hash_of);
                self.streams.push(Stream::new(scope, &one.head, one.columns));
                place
            }
        };
        if let Some(stream) = self.streams.get_mut(place) {
            let before = if stream.is_new() { 0 } else { stream.heap_bytes() };
            stream.add(&one.head, one.samples, one.received);
            self.stream_bytes = self.stream_bytes + stream.heap_bytes() - before;
        }
    }

    /// How many profiles it has become so far.
    pub fn profiles(&self) -> usize {
        self.streams.len()
    }

    /// About the bytes held: the tables, the maps that find what is in them already, and the profiles.
    pub fn heap_bytes(&self) -> usize {
        let scopes = self.scopes.len() * 2 * size_of::<ScopeProfiles>();
        size_of::<Self>() + 2 * self.interner.dictionary().heap_bytes() + scopes + self.stream_bytes
    }

    /// What they have become.
    pub fn finish(self) -> Profiles {
        if self.streams.is_empty() {
            return Profiles::new_compact(Dictionary::default(), Vec::new());
        }
        let mut resource = self.resource.unwrap_or_default();
        resource.scopes = self.scopes;
        let mut is_compact = true;
        for stream in self.streams {
            let place = stream.scope;
            let (profile, left_out) = stream.finish();
            is_compact &= !left_out;
            if let Some(scope) = resource.scopes.get_mut(place) {
                scope.profiles.push(profile);
            }
        }
        match is_compact {
            true => Profiles::new_compact(self.interner.finish(), vec![resource]),
            false => Profiles::new(self.interner.finish(), vec![resource]),
        }
    }
}

impl Carried {
    fn of(addend: Addend<'_>, detail: Detail, transfer: &mut Transfer<'_>) -> Self {
        let Addend {
            scope,
            profile,
            columns,
        } = addend;
        let alone = Profile {
            samples: Arc::default(),
            // of one profile, and not of what it becomes
            ids: Vec::new(),
            original_payload: None,
            siblings: 0,
            ..profile.clone()
        };
        let head = transfer.profile(&alone);
        let mut samples = transfer.samples_apart(&profile.samples, detail.links);
        let timestamps = detail.timestamps && columns.iter().all(|column| *column == Column::Sum);
        if let (Observations::Series(series), false) = (&samples.observations, timestamps) {
            samples.observations = Observations::Totals((0..samples.len()).map(|row| series.total(row)).collect());
        }
        Self {
            scope: transfer.scope_alone(scope),
            head,
            samples,
            columns,
            received: profile.received(),
        }
    }
}
