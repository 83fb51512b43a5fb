//! Which pipelines of a receiver a profile takes: `when:` on a pipeline, `routing: all | first`, and the default for the rest.

use super::batch::{Batch, Origin};
use super::graph::PipelineSpec;
use super::matcher::Matcher;
use crate::profile::{Dictionary, ProfileRef, Profiles};
use crate::telemetry::Signal;

/// How many pipelines one profile takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every one whose condition holds.
    #[default]
    All,
    /// The first one whose condition holds, in the order in which they are written.
    First,
}

/// What one pipeline takes.
#[derive(Debug, Default)]
pub enum Route {
    /// Everything.
    #[default]
    Everything,
    /// What matches one of these; a profile of which only some samples match is split.
    When(Vec<Matcher>),
    /// What no other pipeline of the receiver takes.
    Rest,
}

/// What each pipeline gets of one batch.
#[derive(Debug)]
pub struct Shares {
    /// Pipeline by pipeline; none if nothing of the batch is for it.
    pub parts: Vec<Option<Batch>>,
    /// Received profiles, or spans, that no pipeline takes.
    pub unrouted: u64,
}

/// Shares a batch out among pipelines of its kind.
pub fn share<'a>(routes: impl Iterator<Item = &'a Route> + Clone, mode: Mode, batch: &Batch) -> Shares {
    if mode == Mode::All && routes.clone().all(|route| matches!(route, Route::Everything)) {
        return Shares {
            parts: routes.map(|_| Some(batch.clone())).collect(),
            unrouted: 0,
        };
    }
    let Some(profiles) = batch.as_profiles() else {
        return share_whole(routes, mode, batch);
    };
    let chosen: Vec<Vec<Rows>> = profiles
        .iter()
        .map(|p| choose(routes.clone(), mode, profiles.dictionary(), p, batch.origin()))
        .collect();
    let pipelines = routes.count();
    let parts = (0..pipelines)
        .map(|at| {
            let rows = chosen.iter().filter_map(|rows| rows.get(at));
            let cuts = rows.clone().any(|rows| matches!(rows, Rows::Some(_)));
            let part = part(batch, profiles, rows)?;
            Some(if cuts {
                part.with_piece(piece(pipelines, at))
            } else {
                part
            })
        })
        .collect();
    let nobody = |rows: &&Vec<Rows>| rows.iter().all(|rows| *rows == Rows::None);
    Shares {
        parts,
        unrouted: received_of(profiles, &chosen, nobody),
    }
}

/// Shares out what is not looked into: each pipeline takes all of it or nothing.
fn share_whole<'a>(routes: impl Iterator<Item = &'a Route> + Clone, mode: Mode, batch: &Batch) -> Shares {
    let origin = batch.origin();
    let all_of = |route: &Route| match route {
        Route::Everything => Rows::All,
        Route::When(items) if items.iter().any(|item| item.origin(origin)) => Rows::All,
        Route::When(_) | Route::Rest => Rows::None,
    };
    let chosen = shared(routes, mode, all_of);
    let nobody = chosen.iter().all(|rows| *rows == Rows::None);
    Shares {
        unrouted: if nobody { batch.weight() } else { 0 },
        parts: chosen
            .iter()
            .map(|rows| (*rows == Rows::All).then(|| batch.clone()))
            .collect(),
    }
}

/// Why a pipeline takes nothing, whatever comes, because of those before and beside it; none if something may reach it.
pub fn unreachable(pipelines: &[(String, PipelineSpec)], mode: Mode, at: usize) -> Option<String> {
    let (before, rest) = pipelines.split_at_checked(at)?;
    let ((id, this), behind) = rest.split_first()?;
    let is_of_kind = |other: &&(String, PipelineSpec)| Signal::of_pipeline(&other.0) == Signal::of_pipeline(id);
    let (before, behind) = (before.iter().filter(is_of_kind), behind.iter().filter(is_of_kind));
    let takes_all = |other: &PipelineSpec| other.when.is_none() && !other.default;
    if this.default {
        let twin = |other: &PipelineSpec| mode == Mode::First && other.default;
        let beside = before
            .map(|other| (other, true))
            .chain(behind.map(|other| (other, false)));
        let covers =
            |(other, before): (&&(String, PipelineSpec), bool)| takes_all(&other.1) || before && twin(&other.1);
        let covering = beside
            .filter(|(other, before)| covers((other, *before)))
            .map(|(other, _)| other);
        return covered(this, covering).then(|| "other pipelines leave nothing of its receivers over".to_owned());
    }
    if let Some(items) = &this.when {
        let from = || this.receivers.iter().map(String::as_str);
        let matchers = items.iter().filter_map(|item| Matcher::new("", item).ok());
        if !matchers.into_iter().any(|matcher| matcher.may_come_from(from())) {
            return Some("its `when` names a receiver that it does not have".to_owned());
        }
    }
    let same = |other: &PipelineSpec| takes_all(other) || (!other.default && other.when == this.when);
    let covering = before.filter(|(_, other)| mode == Mode::First && same(other));
    covered(this, covering).then(|| "pipelines before it take everything that it would".to_owned())
}

/// Whether each receiver of a pipeline also feeds one of the others.
fn covered<'a>(this: &PipelineSpec, others: impl Iterator<Item = &'a (String, PipelineSpec)>) -> bool {
    let theirs: Vec<&String> = others.flat_map(|(_, other)| &other.receivers).collect();
    this.receivers.iter().all(|receiver| theirs.contains(&receiver))
}

/// Samples of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rows {
    None,
    All,
    Some(Vec<bool>),
}

impl Rows {
    /// The rows of a mask; a profile without samples has nothing that a condition on samples could hold for.
    fn masked(mask: Vec<bool>) -> Self {
        if !mask.contains(&true) {
            return Self::None;
        }
        match mask.contains(&false) {
            true => Self::Some(mask),
            false => Self::All,
        }
    }

    fn or(self, other: &Self) -> Self {
        match (self, other) {
            (Self::None, _) => other.clone(),
            (mine, Self::None) => mine,
            (Self::Some(mine), Self::Some(theirs)) => {
                Self::masked(mine.iter().zip(theirs).map(|(mine, theirs)| *mine || *theirs).collect())
            }
            _ => Self::All,
        }
    }

    fn without(self, other: &Self) -> Self {
        match (self, other) {
            (mine, Self::None) => mine,
            (Self::None, _) | (_, Self::All) => Self::None,
            (Self::All, Self::Some(theirs)) => Self::masked(theirs.iter().map(|theirs| !theirs).collect()),
            (Self::Some(mine), Self::Some(theirs)) => {
                Self::masked(mine.iter().zip(theirs).map(|(mine, theirs)| *mine && !theirs).collect())
            }
        }
    }
}

/// What every pipeline takes of one profile.
fn choose<'a>(
    routes: impl Iterator<Item = &'a Route> + Clone,
    mode: Mode,
    d: &Dictionary,
    p: ProfileRef<'_>,
    origin: &Origin,
) -> Vec<Rows> {
    shared(routes, mode, |route| match route {
        Route::Everything => Rows::All,
        Route::When(items) => rows_of(items, d, p, origin),
        Route::Rest => Rows::None,
    })
}

/// What every pipeline takes, given what the conditions of each say.
fn shared<'a>(
    routes: impl Iterator<Item = &'a Route> + Clone,
    mode: Mode,
    matching: impl Fn(&Route) -> Rows,
) -> Vec<Rows> {
    let mut taken = Rows::None;
    let mut chosen = Vec::new();
    for route in routes.clone() {
        let mut rows = matching(route);
        if mode == Mode::First {
            rows = rows.without(&taken);
        }
        taken = taken.or(&rows);
        chosen.push(rows);
    }
    let mut rest = Rows::All.without(&taken);
    for (rows, _) in chosen
        .iter_mut()
        .zip(routes)
        .filter(|(_, route)| matches!(route, Route::Rest))
    {
        *rows = rest.clone();
        if mode == Mode::First {
            rest = Rows::None;
        }
    }
    chosen
}

fn rows_of(items: &[Matcher], d: &Dictionary, p: ProfileRef<'_>, origin: &Origin) -> Rows {
    let mut rows = Rows::None;
    for item in items.iter().filter(|item| item.profile(d, p, origin)) {
        if !item.has_sample_conditions() {
            return Rows::All;
        }
        let sets = &p.profile.samples.attributes;
        rows = rows.or(&Rows::masked(sets.iter().map(|set| item.sample(d, *set)).collect()));
    }
    rows
}

/// Profiles, as received, for which `holds` holds; there is one of `chosen` for each profile.
fn received_of<T>(profiles: &Profiles, chosen: impl IntoIterator<Item = T>, holds: impl Fn(&T) -> bool) -> u64 {
    let both = profiles.iter().zip(chosen);
    both.filter(|(_, chosen)| holds(chosen))
        .map(|(p, _)| p.profile.received())
        .sum()
}

/// The number of a pipeline's pieces: each is a leaf of one tree over all pipelines, below which a sink may cut further.
fn piece(pipelines: usize, at: usize) -> u32 {
    let leaves = pipelines.next_power_of_two();
    u32::try_from(leaves - 1 + at).unwrap_or(u32::MAX)
}

/// The batch of one pipeline: the whole one if it takes everything, else a new one over the same dictionary.
fn part<'a>(batch: &Batch, profiles: &Profiles, rows: impl Iterator<Item = &'a Rows> + Clone) -> Option<Batch> {
    if rows.clone().all(|rows| *rows == Rows::All) {
        return Some(batch.clone());
    }
    let weight = received_of(profiles, rows.clone(), |rows| *rows != &Rows::None);
    if weight == 0 {
        return None;
    }
    let mut profiles = profiles.clone();
    let mut rows = rows;
    for scope in profiles
        .edit_resources()
        .iter_mut()
        .flat_map(|resource| &mut resource.scopes)
    {
        scope.profiles.retain_mut(|profile| match rows.next() {
            None | Some(Rows::None) => false,
            Some(Rows::All) => true,
            Some(Rows::Some(mask)) => {
                let rows = 0..profile.samples.len();
                let rows = rows.filter(|row| mask.get(*row).copied().unwrap_or_default());
                profile.pick_samples(&rows.collect::<Vec<_>>());
                true
            }
        });
        // resources and scopes left empty go when the chain ends with a compact
    }
    let part = Batch::made(profiles, weight, batch.origin().clone(), batch.permit().clone());
    Some(part.followed_by(batch.followers().clone()))
}

#[cfg(test)]
mod tests;
