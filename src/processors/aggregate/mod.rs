//! `aggregate`: profiles of one resource in a window of time become one for each kind.

mod config;
mod identity;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::HashMap;
use std::time::Instant;

use self::config::{Config, Settings};
use self::identity::identity;
use self::windows::{Share, Windows};
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::profile::{Addend, Profile, Profiles, Scratch};
use crate::telemetry::AggregateMetrics;

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "aggregate",
        aliases: &[],
        summary: "makes one profile of those that a service sends within a window of time",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "aggregate: { window: 60s, gauges: last, timestamps: keep, links: keep }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: Some(|_, _| true),
    build,
};

const DOCS: &str = "\
Profiles that begin in the same `window` become one, where they are of one tenant and receiver and say the same about themselves: the whole resource, scope, sample \
types, period, attributes, comments. Samples of equal stack, labels and link are summed; all kinds of profiles of a resource leave in one \
request. Agents that send every few seconds so cost as many requests as there are windows. `docs/budgets.md` says what it saves.

What tells how things are (`gauge_types`: memory in use, goroutines, threads) is never summed: the profile that ends last tells, or the mean of all with `gauges: mean`. \
In one profile some types may be summed and others not, as in Go's heap. Go's counters are summed where they are differences: with `counters: by_duration` in profiles with a duration; \
without one they count from the start of the process, and the last tells. Two processes that call themselves by the same resource are one here: name instances.

The new profile begins with the first. Its duration is the time that they cover: gaps do not count, what overlaps counts once; where timestamps are kept it \
reaches from the first beginning to the last end. Where only the last profile tells, time and duration are its own. Ids and the `original_payload` are gone.

A window is sent on when its length has passed since its first profile came: that is how long a profile may be late at a backend, and what a crash can lose. At the end, and when a reload \
changes the processors, all of it is sent on at once. Windows lie along the clock, by the time that profiles say: old ones are not mixed with new ones, and what \
is late becomes another profile, never the same one twice. Profiles as long as the window, and those without a time, go on at once. Beyond `max_profiles` or \
`max_bytes` the oldest window is sent on early. What is killed meanwhile is discarded when it comes to the exporters.

Where the request is answered, nothing is on its way yet: `ack` can only be `enqueued`, exporters that are full drop what is late by five seconds, and files of a receiver that deletes \
them stay until the window is delivered. It stands behind `redaction`, so that nothing unredacted is kept, and before `downsample` and `compact`, which do better with more.

`flamegate_aggregate_profiles_total` counts by `result`: `taken`, `made` of them, `long` and `undated` (went on at once); `flamegate_aggregate_closed_total` by `reason`: `due`, \
`max_profiles`, `max_bytes`, `end`; `flamegate_aggregate_held_profiles` and `flamegate_aggregate_held_bytes` say what is held now.
";

/// Of the memory of the process no more than this part is held.
const PART_OF_MEMORY: usize = 4;

struct Hold {
    settings: Settings,
    windows: Windows,
    metrics: AggregateMetrics,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw)?;
    Ok(Box::new(Hold::new(config.check()?, cx.metrics.aggregate(&cx.id))))
}

impl Processor for Hold {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        self.process_at(batch, Instant::now())
    }

    fn due(&self) -> Option<Instant> {
        self.windows.due()
    }

    fn flush(&self, all: bool) -> Vec<Batch> {
        self.windows.flush(all, Instant::now())
    }
}

/// The profiles of one resource that go into one window.
struct Group<'a> {
    resource: usize,
    window: u64,
    addends: Vec<Addend<'a>>,
    /// As how many they were received.
    received: u64,
}

impl Hold {
    fn new(settings: Settings, metrics: AggregateMetrics) -> Self {
        let windows = Windows::new(metrics.clone());
        Self {
            settings,
            windows,
            metrics,
        }
    }

    fn process_at(&self, batch: Batch, now: Instant) -> Verdict {
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        let windows: Vec<Option<u64>> = profiles.iter().map(|at| self.window_of(at.profile)).collect();
        let groups = self.groups(profiles, &windows);
        if groups.is_empty() {
            return Verdict::pass(batch);
        }
        // what is made on the way is no larger than what came, and is counted before it is there
        let working = batch.permit().sibling();
        working.hold(profiles.heap_bytes());
        let left = self.take(&batch, profiles, groups, now);
        drop(working);
        let max_bytes = self.settings.max_bytes.min(batch.permit().limit() / PART_OF_MEMORY);
        let mut go_on = rest(batch, &windows, left);
        go_on.extend(self.windows.make_room(self.settings.max_profiles, max_bytes));
        Verdict::Hold(go_on)
    }

    /// The number of the window that a profile begins in; none if it is not to be held.
    fn window_of(&self, profile: &Profile) -> Option<u64> {
        let length = u64::try_from(self.settings.window.as_nanos()).unwrap_or(u64::MAX);
        let result = match profile {
            undated if undated.time_unix_nano == 0 => "undated",
            long if long.duration_nano >= length => "long",
            _ => "taken",
        };
        self.metrics.profiles(result, 1);
        (result == "taken").then(|| profile.time_unix_nano / length)
    }

    fn groups<'a>(&self, profiles: &'a Profiles, windows: &[Option<u64>]) -> Vec<Group<'a>> {
        let d = profiles.dictionary();
        let (mut groups, mut places) = (Vec::<Group<'a>>::new(), HashMap::new());
        let mut windows = windows.iter();
        for (resource, of) in profiles.resources().iter().enumerate() {
            for scope in &of.scopes {
                for (profile, window) in scope.profiles.iter().zip(&mut windows) {
                    let Some(window) = *window else { continue };
                    let place = *places.entry((resource, window)).or_insert(groups.len());
                    if place == groups.len() {
                        groups.push(Group {
                            resource,
                            window,
                            addends: Vec::new(),
                            received: 0,
                        });
                    }
                    if let Some(group) = groups.get_mut(place) {
                        group.received += profile.received();
                        group.addends.push(Addend {
                            scope,
                            profile,
                            columns: self.settings.columns(d, profile),
                        });
                    }
                }
            }
        }
        groups
    }

    /// Adds the groups to their windows. The answer is what is left of the batch's weight.
    fn take(&self, batch: &Batch, profiles: &Profiles, groups: Vec<Group<'_>>, now: Instant) -> u64 {
        let d = profiles.dictionary();
        let (all, due) = (profiles.received_count(), now + self.settings.window);
        let (mut seen, mut given) = (0, 0);
        let mut scratch = Scratch::default();
        for group in groups {
            let Some(resource) = profiles.resources().get(group.resource) else {
                continue;
            };
            seen += group.received;
            // of what was received some may have been taken out, and counted, before it came here
            let up_to_here = u128::from(batch.weight()) * u128::from(seen) / u128::from(all.max(1));
            let up_to_here = u64::try_from(up_to_here).unwrap_or(u64::MAX);
            let share = Share {
                batch,
                weight: up_to_here - given,
            };
            given = up_to_here;
            let identity = identity(d, resource, batch.origin(), group.window);
            self.windows.add(identity, due, &share, |aggregate| {
                aggregate.add(d, resource, group.addends, self.settings.detail, &mut scratch);
            });
        }
        batch.weight() - given
    }
}

/// What is left of a batch without what is held; none if that was all.
fn rest(mut batch: Batch, windows: &[Option<u64>], weight: u64) -> Vec<Batch> {
    if windows.iter().all(Option::is_some) {
        return Vec::new();
    }
    let Some(profiles) = batch.edit() else {
        return Vec::new();
    };
    let mut windows = windows.iter();
    let resources = profiles.edit_resources().iter_mut();
    for scope in resources.flat_map(|resource| &mut resource.scopes) {
        scope.profiles.retain(|_| windows.next().is_none_or(Option::is_none));
    }
    vec![batch.with_weight(weight)]
}
