//! `budget`: what each service may have, shared out fairly, and kept without bending the numbers.
//!
//! A profile is weighed, its key's account says how much of it may be kept, the ladder finds the mildest step that is enough, and what
//! is left is weighed again and settled. One lock is held while the profiles of a batch are admitted, and once more to settle.

mod account;
mod accounts;
mod bucket;
pub mod config;
mod cut;
mod demand;
mod dry_run;
mod ladder;
pub mod matching;
pub mod month;
pub mod services;
mod sharing;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::accounts::{Accounts, Admitted, Offer, Outcome, Room, TenantLimits, Terms, Who};
use self::config::{Config, KeyPart, Limits, Rule};
use self::cut::{Left, cut};
use self::dry_run::DryRun;
use self::ladder::{Case, Ladder, Step};
use self::month::{Allowance, Month};
use self::services::Services;
use crate::formats::otlp::Scale;
use crate::pipeline::matcher::Matcher;
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Origin, Processor, Reason, Verdict};
use crate::profile::{Dictionary, Forecast, ProfileRef, Profiles, Value};
use crate::telemetry::BudgetMetrics;

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "budget",
        aliases: &[],
        summary: "keeps each service within bytes and profiles a second, shared fairly, and totals right until the last step",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "budget:\n  keys: [tenant, service.name]\n  default: { target_hz: 99, bytes_per_s: 64KiB, profiles_per_s: 2, burst: 30s }\n  services:\n    - match: { service.name: \"batch-*\" }\n      target_hz: 19\n  over_budget: [thin, compact, totals_only, drop]\n  floor: { every: 5m, profiles: 1 }\n",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    holds: None,
    removes_text: None,
    build,
};

const DOCS: &str = "\
Every key (by default each service of each tenant) may bring so many bytes and profiles a second. Bytes are those of a profile alone, as OTLP without \
compression, within a few hundredths.

What is over is made smaller by the mildest of `over_budget` that is enough: fewer counts (`thin`: CPU and wall profiles, to a fifth of `target_hz` at the \
least), fewer samples that stand for the others (`compact`), one sample with the totals and no stack (`totals_only`, said by the \
attribute `flamegate.sampling.totals_only`), nothing (`drop`). Totals are right up to the last. Steps that are not named are left out; the last one named is \
taken even where it is not enough, so a budget without `drop` may be exceeded. The sender hears OK, and over OTLP how many were dropped (`over_budget`).

Every ten seconds what there is is shared out by weight among who asks for it: `global` among tenants, each of `tenants` among its keys, a key's `bytes_per_s` among its \
types. Who asks for little gets it, the others share the rest. What a type keeps follows what was offered in the last minute: down at once, at twice as much also \
between two ticks, and up by a quarter a tick at the most. Up to `burst` may be saved and come at once; as that runs low less is kept.

A key that is new has the account of `newcomers` for one tick, and so have all keys beyond `max_keys`: who invents names gains nothing. Of a key \
that is known `floor.profiles` in every `floor.every` pass with stacks whatever the budget, compacted to 16 KiB where there is no room for more.

`target_hz` thins as `downsample` does, budget or not, so that is not needed beside it. The first item of `services` whose `match` holds sets other \
numbers and has an account of its own for each key; what it leaves out is as in `default`. Behind them stand the files of `services_dir`, by which teams own their \
numbers, held within `bounds`. A reload that changes the configuration \
begins anew. Put it behind `trace_links` and `redaction`. Budgets are of one process: behind a load balancer that spreads a service divide them by the replicas.

`dry_run` changes nothing, and logs once a minute what would be kept, with the expected errors of the ten largest functions of a profile, by rank and never by name. `flamegate_budget_profiles_total` counts by `outcome`: `full`, `at_target` (thinned to `target_hz`, and no more), `thinned`, `compacted`, \
`totals_only`, `dropped`.
";

/// Functions that a dry run says the expected error of.
const FORETOLD: usize = 10;

struct Budget {
    id: Arc<str>,
    parts: Vec<KeyPart>,
    default: Limits,
    rules: Vec<(Arc<str>, Rule)>,
    tenants: Vec<(Matcher, TenantLimits)>,
    /// The rules of teams.
    services: Option<Services>,
    month: Option<Month>,
    /// Bytes in a second of all together.
    global: f64,
    ladder: Ladder,
    accounts: Mutex<Accounts>,
    hasher: foldhash::fast::RandomState,
    dry_run: Option<DryRun>,
    metrics: BudgetMetrics,
    names: Names,
}

/// Names of rules that are not named by where they stand.
struct Names {
    default: Arc<str>,
    services_dir: Arc<str>,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    Ok(Box::new(Budget::new(parse(raw)?, cx)?))
}

/// A profile on its way through the budget.
struct Judged<'a> {
    who: Who,
    rule: Arc<str>,
    case: Case<'a>,
    offer: Offer,
}

impl Processor for Budget {
    fn process(&self, mut batch: Batch, cx: &Context) -> Verdict {
        let origin = batch.origin().clone();
        let Some(profiles) = batch.as_profiles().filter(|profiles| !profiles.is_empty()) else {
            return Verdict::pass(batch);
        };
        let allowance = self.allowance(&origin, cx);
        let judged = self.judge(profiles, &origin, allowance);
        let admitted = self.admit(&judged, cx);
        let both = judged.iter().zip(&admitted);
        let steps: Vec<Step> = both
            .map(|(judged, admitted)| self.step(&judged.case, admitted, allowance))
            .collect();
        self.count(&steps, &admitted);
        let before: Vec<Before> = judged
            .iter()
            .zip(&steps)
            .map(|(judged, step)| Before::of(judged, step))
            .collect();
        if let Some(dry_run) = &self.dry_run {
            self.tell(dry_run, profiles, &steps, &admitted);
        }
        if self.dry_run.is_some() || steps.iter().all(|step| matches!(step, Step::Keep)) {
            self.settle(&before, &admitted, None);
            return Verdict::pass(batch);
        }
        // what is made on the way is up to four times as large, where stacks are short, and is counted before it is there
        let working = batch.permit().sibling();
        working.hold(4 * profiles.heap_bytes());
        drop(judged);
        let Some(profiles) = batch.edit() else {
            return Verdict::pass(batch);
        };
        let left = cut(profiles, steps, &self.id);
        self.settle(&before, &admitted, Some(&left));
        verdict(batch, left.iter().map(|left| left.dropped).sum())
    }

    fn awaits(&self) -> Vec<BuildError> {
        let services = self.services.iter().flat_map(Services::doubts);
        let month = self.month.iter().flat_map(Month::doubts);
        services.chain(month).cloned().collect()
    }
}

fn verdict(batch: Batch, dropped: u64) -> Verdict {
    if batch.as_profiles().is_none_or(Profiles::is_empty) {
        return Verdict::Drop(Reason::OverBudget);
    }
    let weight = batch.weight().saturating_sub(dropped);
    Verdict::Pass {
        batch: batch.with_weight(weight),
        rejected: (dropped > 0).then_some((dropped, Reason::OverBudget)),
    }
}

/// What is to be known of a profile once it was changed.
struct Before {
    who: Who,
    rule: Arc<str>,
    bytes: f64,
    rows: f64,
    keeps_stacks: bool,
}

impl Before {
    fn of(judged: &Judged<'_>, step: &Step) -> Self {
        Self {
            who: judged.who,
            rule: judged.rule.clone(),
            bytes: judged.case.bytes,
            rows: judged.case.rows(),
            keeps_stacks: !matches!(step, Step::Totals | Step::Drop),
        }
    }

    /// By which power of the share of rows that are left bytes are left.
    fn bend(&self, left: &Left) -> Option<f64> {
        let (rows, bytes) = (left.rows / self.rows, left.bytes / self.bytes);
        // of fewer than a few rows what belongs to no row is most
        let tells = left.rows > 4.0 && rows < 0.9 && bytes > 0.0;
        tells.then(|| bytes.ln() / rows.ln())
    }
}

impl Budget {
    fn new(config: Config, cx: &BuildContext) -> Result<Self, BuildError> {
        config.check()?;
        let default = config.limits()?;
        let rules = config.rules()?.into_iter().enumerate();
        let rules = rules.map(|(i, rule)| (format!("services[{i}]").into(), rule)).collect();
        let global = config.global.bytes_per_s;
        let global = global.map_or(f64::INFINITY, |bytes| bytes.0 as f64);
        Ok(Self {
            id: cx.id.clone(),
            parts: config.parts()?,
            rules,
            ladder: Ladder::of(&config.over_budget),
            accounts: Mutex::new(Accounts::new(Terms {
                max_keys: config.max_keys,
                global,
                newcomers: Limits {
                    bytes_per_s: config.newcomers.bytes_per_s.0 as f64,
                    profiles_per_s: config.newcomers.profiles_per_s,
                    weight: 1.0,
                    ..default
                },
                floor_every: config.floor.every.0.as_secs_f64(),
                floor_profiles: config.floor.profiles,
            })),
            services: config
                .services_dir
                .as_deref()
                .map(|path| Services::open(path, &config.bounds, cx))
                .transpose()?,
            month: config.monthly.as_ref().map(|month| Month::of(month, cx)).transpose()?,
            global,
            default,
            tenants: config.tenant_limits()?,
            hasher: foldhash::fast::RandomState::default(),
            dry_run: config.dry_run.then(DryRun::new),
            metrics: cx.metrics.budget(&cx.id),
            names: Names {
                default: "default".into(),
                services_dir: "services_dir".into(),
            },
        })
    }

    /// Weighs the profiles of a batch, and finds out whose they are.
    fn judge<'a>(&self, profiles: &'a Profiles, origin: &Origin, allowance: Allowance) -> Vec<Judged<'a>> {
        let d = profiles.dictionary();
        let mut scale = Scale::new(d);
        let mut tenant = self.tenant(d, profiles.iter().next(), origin);
        if let Allowance::Pace { bytes_per_s } = allowance {
            tenant.bytes_per_s = tenant.bytes_per_s.min(bytes_per_s);
        }
        let own = self.services.as_ref().map(Services::current);
        let judged = profiles.iter().map(|at| {
            let holds = |rule: &&Rule| rule.matcher.profile(d, at, origin);
            let ours = self.rules.iter().find(|(_, rule)| holds(&rule));
            let teams = || own.as_deref().and_then(|own| own.iter().find(holds));
            let (name, rule) = match ours {
                Some((name, rule)) => (name, Some(rule)),
                None => match teams() {
                    Some(rule) => (&self.names.services_dir, Some(rule)),
                    None => (&self.names.default, None),
                },
            };
            let limits = rule.map_or(self.default, |rule| rule.limits(&self.default));
            let case = Case::new(d, at.profile, scale.bytes(at) as f64, &limits);
            let who = self.who(d, at, origin, rule.map_or(0, |rule| rule.id));
            let offer = Offer {
                who,
                limits,
                tenant,
                bytes: case.bytes,
                rows: case.rows_at_target(),
                profiles: at.profile.received() as f64,
            };
            Judged {
                who,
                rule: name.clone(),
                case,
                offer,
            }
        });
        judged.collect()
    }

    fn tenant(&self, d: &Dictionary, at: Option<ProfileRef<'_>>, origin: &Origin) -> TenantLimits {
        let of = |(matcher, _): &&(Matcher, TenantLimits)| at.is_some_and(|at| matcher.profile(d, at, origin));
        let found = self.tenants.iter().find(of);
        found.map_or(TenantLimits::default(), |(_, limits)| *limits)
    }

    fn who(&self, d: &Dictionary, at: ProfileRef<'_>, origin: &Origin, rule: u64) -> Who {
        let kind = at.profile.sample_types.first().map_or("", |kind| d.str(kind.kind));
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(rule);
        for part in &self.parts {
            match part {
                KeyPart::Tenant => hasher.write(origin.tenant.as_bytes()),
                KeyPart::Receiver => hasher.write(origin.receiver.as_bytes()),
                KeyPart::Type => hasher.write(kind.as_bytes()),
                KeyPart::Resource(key) => match at.resource.attribute(d, key) {
                    Some(Value::String(id)) => hasher.write(d.str(*id).as_bytes()),
                    Some(Value::Int(number)) => hasher.write_i64(*number),
                    Some(Value::Bool(truth)) => hasher.write_u8(u8::from(*truth)),
                    // what has no text is one key
                    _ => {}
                },
            }
            // so that `ab` and `c` are not `a` and `bc`
            hasher.write_u8(0xff);
        }
        let has_tenants = self.parts.contains(&KeyPart::Tenant);
        Who {
            tenant: if has_tenants {
                self.hasher.hash_one(&*origin.tenant)
            } else {
                0
            },
            key: hasher.finish(),
            kind: self.hasher.hash_one(kind),
        }
    }

    /// What the month leaves to a tenant.
    fn allowance(&self, origin: &Origin, cx: &Context) -> Allowance {
        let month = self.month.as_ref();
        month.map_or(Allowance::Free, |month| month.allows(&origin.tenant, cx.now))
    }

    fn step(&self, case: &Case<'_>, admitted: &Admitted, allowance: Allowance) -> Step {
        match allowance {
            Allowance::Stop => Step::Drop,
            Allowance::TotalsOnly => Step::Totals,
            Allowance::Free | Allowance::Pace { .. } => {
                self.ladder.step(case, admitted.room, admitted.is_due, admitted.bend)
            }
        }
    }

    fn admit(&self, judged: &[Judged<'_>], cx: &Context) -> Vec<Admitted> {
        let mut accounts = self.accounts();
        if let Some(month) = &self.month {
            accounts.limit_all(match month.allows_all() {
                Allowance::Pace { bytes_per_s } => self.global.min(bytes_per_s),
                _ => self.global,
            });
        }
        accounts.go_on(cx.now);
        let admitted = judged.iter().map(|judged| accounts.admit(&judged.offer)).collect();
        self.metrics.keys(accounts.keys());
        admitted
    }

    /// Settles what profiles came to; without `left` they come to what was taken for them.
    fn settle(&self, before: &[Before], admitted: &[Admitted], left: Option<&[Left]>) {
        let mut accounts = self.accounts();
        let mut passed = 0.0;
        for (i, (before, admitted)) in before.iter().zip(admitted).enumerate() {
            let left = left.and_then(|left| left.get(i));
            let bytes = left.map_or(admitted.expected(), |left| left.bytes);
            let outcome = Outcome {
                bytes,
                bend: left.and_then(|left| before.bend(left)),
                has_stacks: before.keeps_stacks,
            };
            accounts.settle(before.who, admitted, outcome);
            self.metrics.kept(&before.rule, admitted.offered as u64, bytes as u64);
            passed += if self.dry_run.is_some() { before.bytes } else { bytes };
        }
        if let Some(month) = &self.month {
            month.passed(passed as u64);
        }
    }

    fn count(&self, steps: &[Step], admitted: &[Admitted]) {
        for (step, admitted) in steps.iter().zip(admitted) {
            let is_whole = admitted.room == Room::Whole;
            self.metrics.judged(step.outcome(is_whole));
            if admitted.is_due && !is_whole {
                self.metrics.was_due();
            }
            if admitted.is_new {
                self.metrics.was_new();
            }
        }
    }

    /// Says what would be kept, and how far off a profile would be: of a few of those that would change the one of which the fewest samples are left.
    fn tell(&self, dry_run: &DryRun, profiles: &Profiles, steps: &[Step], admitted: &[Admitted]) {
        for (step, admitted) in steps.iter().zip(admitted) {
            let outcome = step.outcome(admitted.room == Room::Whole);
            dry_run.note(outcome, admitted.offered, admitted.expected());
        }
        let Some(summary) = dry_run.summary() else { return };
        let d = profiles.dictionary();
        let forecasts = profiles.iter().zip(steps).filter_map(|(at, step)| match step {
            Step::Thin(thinning) => Some(Forecast::of_thinning(d, at.profile, thinning, FORETOLD)),
            Step::Compact { rows, keep_linked } => Forecast::of_leaving(d, at.profile, *rows, *keep_linked, FORETOLD),
            Step::Keep | Step::Totals | Step::Drop => None,
        });
        let least = forecasts.take(FORETOLD).min_by(|a, b| a.kept.total_cmp(&b.kept));
        let forecast = least.map_or_else(|| "nothing is estimated".to_owned(), |forecast| forecast.to_string());
        tracing::info!(processor = %self.id, forecast, "a dry run: the budget would keep {summary}");
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
