//! `trace_join`: spans that come in a pipeline of traces tell samples in a pipeline of profiles their trace, their name and their route.

mod attributes;
mod config;
mod entry;
mod exported;
mod index;
mod names;
mod search;
#[cfg(test)]
mod tests;
mod unlink;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::attributes::{Buckets, Writer};
use self::config::{Config, Known, Labels, Links, Written};
use self::exported::Exported;
use self::index::{Index, Limits, PART_OF_MEMORY};
use self::search::{RESULTS, Search};
use self::unlink::{dead_links, unlink};
use crate::formats::otlp::Traces;
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::processors::span_links::{Fresh, Linker};
use crate::processors::waiting::{Leaving, Queue, Room};
use crate::profile::Profiles;
use crate::profile::trace_ids::TraceKeys;
use crate::telemetry::{Signal, TraceJoinMetrics};

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "trace_join",
        aliases: &[],
        summary: "finds the trace, name and route of the span of a sample among the spans that pass",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles", "traces"],
        example: "trace_join: { attributes: [span.name, http.route, span.duration], hold: 0s, window: 150s }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: true,
    removes_text: None,
    holds: Some(holds),
    build,
};

const DOCS: &str = "\
Named in a pipeline of traces it remembers the spans that pass, which stay as they are; named in a pipeline of profiles it looks samples up among them. Both must be the same \
component: one id, one configuration. `docs/trace-join.md` tells where to put the gate and how long to hold.

Labels with a span id alone, as Datadog's, get a link where a span of this id is known that is of the same tenant and the same process and was running when the sample was taken. \
Where only the local root is known, the link has its trace and the active span. A process is told by `service.instance.id`; else `container.id`; else `host.id` or `host.name` with \
`process.pid`; else `service.name`: the first that spans and profiles both have decides. Samples with a link keep it. Nothing is guessed, and totals never change.

Of the span of a link `attributes` are written at the sample: `span.name`, `http.route` (that of the local root where the span has none) and `span.duration`, a bucket such as \
`10ms..30ms`. What a sample says under these keys itself stays. Names can hold what must not leave, so it stands before `redaction`, and behind `trace_links`. \
Pyroscope gets none of the three: they would be labels of series there.

`flamegate_trace_join_samples_total` counts samples with ids by `result`:

| result | what was found |
|---|---|
| `linked` | the sample has a link |
| `joined` | the span: the sample has a link now |
| `no_span_yet`, `expired` | no such span; with `hold`, also after waiting for it |
| `time_mismatch` | the span, but it was not running then, with clocks up to `clock_slack` apart |
| `process_mismatch`, `tenant_mismatch` | such a span of another process, or of another tenant alone |
| `ambiguous` | spans of two traces that fit, or labels that contradict each other |
| `no_span` | a trace in the labels, and no span |

With `hold` a batch with samples whose span is not known waits that long for it, then goes on, whatever came: at the end, at reloads and beyond `max_held_bytes` at once. \
Where the request is answered it is not on its way yet: `ack` can only be `enqueued`.

`links: only_exported` takes links to traces that nobody keeps: those of which no span came, unless consistent probability sampling (`ot=th:` in the state of the trace, as \
last seen of the service) will keep them. `flamegate_trace_join_unexported_samples_total` counts them. It wants the spans that are left behind sampling, and time: see `hold`.

Spans are forgotten after `window`, and the oldest beyond `max_spans` and `max_bytes`, which counts in the memory of the process: about 110 bytes each. \
`flamegate_trace_join_spans_total` counts those that came by `result` (`indexed`, `repeated`, `unusable`: no ids, no times, a process of which nothing is said, more processes or spans of one id than are told apart; `left_out` by \
`spans: local_roots`), `flamegate_trace_join_spans_gone_total` by `reason` (`expired`, `evicted`, `replaced` by another configuration). \
`flamegate_trace_join_live_spans` is the difference of `indexed` and all that are gone, and `flamegate_trace_join_index_bytes` the memory.
";

/// What there is of traces for each span that is known, where it must be known which are kept.
const SPANS_OF_A_TRACE: usize = 4;

/// How often what is too old is looked for, if nothing comes.
const TIDY: Duration = Duration::from_secs(5);

/// Spans never wait.
fn holds(raw: &RawConfig, signal: Signal) -> bool {
    signal == Signal::Profiles && parse::<Config>(raw.clone()).is_ok_and(|config| !config.hold.0.is_zero())
}

/// What all of one id and configuration share, in whichever pipelines they stand.
struct State {
    config: Config,
    keys: TraceKeys,
    buckets: Buckets,
    /// Nanoseconds.
    slack: u64,
    index: Index,
    exported: Option<Exported>,
    metrics: TraceJoinMetrics,
}

struct TraceJoin {
    state: Arc<State>,
    held: Queue,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    Ok(Box::new(TraceJoin::new(raw, cx)?))
}

impl TraceJoin {
    fn new(raw: RawConfig, cx: &BuildContext) -> Result<Self, BuildError> {
        let config: Config = parse(raw.clone())?;
        config.check()?;
        let (keys, metrics) = (config.keys()?, cx.metrics.trace_join(&cx.id));
        let held = Queue::new(metrics.held_profiles().clone(), metrics.held_bytes().clone());
        let state = cx
            .shared
            .get_or_make(&cx.id, &raw, || State::new(config, keys, metrics, Instant::now()));
        let tidied = state.clone();
        cx.feeders.register(TIDY, move || tidied.tidy(Instant::now()));
        Ok(Self { state, held })
    }

    fn process_at(&self, batch: Batch, now: Instant) -> Verdict {
        if let Some(traces) = batch.as_traces() {
            self.state.take(traces, &batch, now);
            return Verdict::pass(batch);
        }
        let hold = self.state.config.hold.0;
        let mut search = self.state.search(&batch, now, false);
        if hold.is_zero() || !search.as_ref().is_some_and(|search| search.lacks) {
            return Verdict::pass(self.state.join(batch, search.take()));
        }
        drop(search);
        let memory = batch.permit().limit() / PART_OF_MEMORY;
        let most_bytes = self.state.config.max_held_bytes.as_usize().min(memory);
        let room = Room {
            bytes: most_bytes,
            received: u64::MAX,
        };
        let gone = self.held.push(batch, now + hold, &room);
        Verdict::Hold(self.finish(gone, now))
    }

    fn flush_at(&self, all: bool, now: Instant) -> Vec<Batch> {
        self.finish(self.held.take(all, now), now)
    }

    /// Joins what waited with what is known now.
    fn finish(&self, gone: Vec<Leaving>, now: Instant) -> Vec<Batch> {
        let join = |leaving: Leaving| {
            let search = self.state.search(&leaving.batch, now, !leaving.is_early);
            self.state.join(leaving.batch, search)
        };
        gone.into_iter().map(join).collect()
    }
}

impl Processor for TraceJoin {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        self.process_at(batch, Instant::now())
    }

    fn due(&self) -> Option<Instant> {
        self.held.due()
    }

    fn flush(&self, all: bool) -> Vec<Batch> {
        self.flush_at(all, Instant::now())
    }

    fn awaits(&self) -> Vec<BuildError> {
        self.state.config.doubts()
    }
}

impl State {
    fn new(config: Config, keys: TraceKeys, metrics: TraceJoinMetrics, now: Instant) -> Self {
        let limits = Limits {
            spans: config.max_spans,
            bytes: config.max_bytes.as_usize(),
            window: config.window.0,
            names_of_service: config.max_names,
            only_local_roots: config.spans == Known::LocalRoots,
            names: config.writes(Written::Name),
            routes: config.writes(Written::Route),
        };
        let traces = config.max_spans / SPANS_OF_A_TRACE;
        let exported = || Exported::new(traces, config.window.0, now);
        Self {
            keys,
            buckets: Buckets::of(&config),
            slack: u64::try_from(config.clock_slack.0.as_nanos()).unwrap_or(u64::MAX),
            index: Index::new(limits, metrics.clone(), now),
            exported: (config.links == Links::OnlyExported).then(exported),
            metrics,
            config,
        }
    }

    fn writes(&self, written: Written) -> bool {
        self.config.writes(written)
    }

    /// Whether anything is to be known of the span of a link.
    fn looks_beyond_links(&self) -> bool {
        !self.config.attributes.is_empty() || self.exported.is_some()
    }

    fn tidy(&self, now: Instant) {
        self.index.tidy(now);
    }

    /// Remembers the spans of a request.
    fn take(&self, traces: &Traces, batch: &Batch, now: Instant) {
        let tenant = &batch.origin().tenant;
        self.index.add(traces, tenant, batch.permit(), now, |process, span| {
            if let Some(exported) = &self.exported {
                exported.saw(process, span, now);
            }
        });
        if let Some(exported) = &self.exported {
            self.index.book_beside(exported.heap_bytes());
        }
    }

    fn search(&self, batch: &Batch, now: Instant, has_waited: bool) -> Option<Search<'_>> {
        let profiles = batch.as_profiles()?;
        Search::of(self, profiles, &batch.origin().tenant, now, has_waited)
    }

    /// Writes what was found, and counts.
    fn join(&self, mut batch: Batch, search: Option<Search<'_>>) -> Batch {
        let Some(search) = search else { return batch };
        for (result, samples) in RESULTS.into_iter().zip(search.tally) {
            self.metrics.samples(result, samples);
        }
        if search.changes() {
            // what is made on the way is no larger than what came, and is counted before it is there
            let working = batch.permit().sibling();
            working.hold(batch.held_bytes() + search.heap_bytes());
            if let Some(profiles) = batch.edit() {
                self.write(profiles, &search);
            }
        }
        match &self.exported {
            Some(exported) => self.only_exported(batch, exported),
            None => batch,
        }
    }

    fn write(&self, profiles: &mut Profiles, search: &Search<'_>) {
        let (d, resources) = profiles.edit();
        let removes = self.config.labels == Labels::Remove;
        let (mut linker, mut writer) = (Linker::new(d, removes), Writer::default());
        let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
        let all = scopes.flat_map(|scope| &mut scope.profiles);
        for (profile, hits) in all.zip(search.hits()).filter(|(_, hits)| !hits.is_empty()) {
            let new = hits.iter().filter(|hit| hit.is_new);
            let fresh = new.filter_map(|hit| {
                let candidate = search.candidate(hit)?;
                Some(Fresh {
                    row: hit.row,
                    link: candidate.link,
                    kind: candidate.kind,
                })
            });
            linker.link(&search.ids, d, profile, &fresh.collect::<Vec<_>>(), &[]);
            let samples = Arc::make_mut(&mut profile.samples);
            for hit in hits {
                if let (Some(candidate), Some(set)) = (search.candidate(hit), samples.attributes.get_mut(hit.row)) {
                    *set = writer.set(d, *set, &candidate.texts);
                }
            }
        }
    }

    /// Takes links to traces that nobody keeps.
    fn only_exported(&self, mut batch: Batch, exported: &Exported) -> Batch {
        let tenant = batch.origin().tenant.clone();
        let dead = match batch.as_profiles() {
            Some(profiles) => dead_links(profiles, &tenant, exported),
            None => return batch,
        };
        if dead.iter().any(|links| !links.is_empty())
            && let Some(profiles) = batch.edit()
        {
            self.metrics.unexported(unlink(profiles, &dead));
        }
        batch
    }
}
