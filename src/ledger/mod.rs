//! The ledger: what a month costs, by tenant and exporter, and what is done where it would cost more than it may.
//!
//! Sinks count what they really sent; every second that is booked ([`book`]) and every plan of a processor judged by it ([`assess`]).
//! What is booked is written down ([`store`]) well within a minute and at the end, so that a kill at any moment loses less than that
//! and never gives anything back. Alerts are written down before they are told.

mod alert;
mod assess;
mod book;
mod calendar;
mod forecast;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod volume;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use alert::{Alert, Key, Kind};
pub use view::{AccountView, MonthView, ScopeView, View};
pub use webhook::Hook;

use self::alert::Told;
use self::assess::{Scope, scopes};
use self::book::{Book, Key as Account};
use self::calendar::Day;
use self::store::{Fact, NAME, Store};
use self::volume::Directory;
use crate::pipeline::Spending;
pub use crate::pipeline::clock::Now;
use crate::pipeline::plan::{Allowance, Plan, Standing};
use crate::pipeline::spending::Sum;
use crate::pipeline::units::io_reason;
use crate::telemetry::{Metrics, Seldom};

/// How often it is looked at what was sent.
pub const EVERY: Duration = Duration::from_secs(1);
/// How often what is booked is brought to the disk.
const SAVED_EVERY: Duration = Duration::from_secs(20);
/// How often the log says that it cannot be.
const TOLD_EVERY: Duration = Duration::from_secs(600);
/// Alerts that are remembered, the latest: more than a month has. One that is forgotten is raised again.
const MOST_ALERTS: usize = 65_536;
/// Bytes after which the ratio of what is sent to what passes is known well enough.
const KNOWN_FROM: f64 = 65_536.0;
/// What is left of the weight of the past after a look: half of it after about ten minutes.
const FADING: f64 = 0.999;

/// What is wrong with a plan, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("processors.{processor}.{path}: {message}")]
pub struct Wrong {
    /// Id of the processor.
    pub processor: Arc<str>,
    /// Key below it, dotted.
    pub path: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Wrong {
    fn of(plan: &Plan, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            processor: plan.processor.clone(),
            path: path.into(),
            message: message.into(),
        }
    }
}

/// The ledger of a process.
pub struct Ledger {
    metrics: Arc<Metrics>,
    /// Nothing is counted, told or written.
    dry_run: bool,
    /// One looks at a time: what was taken is booked before anybody else looks.
    turn: Mutex<()>,
    state: Mutex<State>,
    /// Whoever has it writes; the state is not held meanwhile.
    store: Mutex<Option<Opened>>,
}

struct Opened {
    path: PathBuf,
    /// None in a dry run.
    store: Option<Store>,
}

#[derive(Default)]
struct State {
    book: Book,
    alerts: BTreeMap<Key, Told>,
    /// Alerts that are on their way, or were given up: this process does not tell them again.
    telling: BTreeSet<Key>,
    plans: BTreeMap<Arc<str>, Vec<Arc<Plan>>>,
    /// How what passes becomes what is sent, by processor.
    ratios: BTreeMap<Arc<str>, Ratio>,
    unsaved: BTreeSet<(Account, Day)>,
    unsaved_alerts: BTreeSet<Key>,
    saved: Option<Instant>,
    trouble: Option<String>,
    seldom: Option<Seldom>,
}

/// What passed a processor and what was sent, as of late.
#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    passed: f64,
    sent: f64,
}

impl Ratio {
    fn add(&mut self, passed: u64, sent: u64) {
        if self.passed + passed as f64 == 0.0 {
            // what is sent now did not pass since the beginning
            return;
        }
        self.passed = self.passed.mul_add(FADING, passed as f64);
        self.sent = self.sent.mul_add(FADING, sent as f64);
    }

    /// Bytes sent for each that passes.
    fn value(&self) -> f64 {
        match self.passed >= KNOWN_FROM && self.sent > 0.0 {
            true => (self.sent / self.passed).clamp(1e-3, 1e3),
            false => 1.0,
        }
    }
}

/// An alert that has to be told.
#[derive(Clone, Debug)]
pub struct Telling {
    /// The alert.
    pub alert: Alert,
    /// The plan that it is about.
    pub plan: Arc<Plan>,
    /// It is told for the first time; else an earlier process may have told it.
    pub is_new: bool,
}

/// What can be known of plans before anything runs: that one ledger can be kept for all of them, and their webhooks reached as they say.
pub fn check(plans: &[Arc<Plan>]) -> Result<(), Wrong> {
    for plan in plans {
        if let Some(other) = plans.iter().find(|other| other.terms.storage != plan.terms.storage) {
            let why = format!(
                "a gate keeps one ledger, and `{}` names another directory",
                other.processor
            );
            return Err(Wrong::of(plan, "monthly.storage", why));
        }
        if let Some(webhook) = &plan.terms.webhook {
            Hook::new(webhook)
                .map_err(|wrong| Wrong::of(plan, format!("monthly.webhook.{}", wrong.path), wrong.message))?;
        }
    }
    Ok(())
}

impl Ledger {
    /// A ledger without plans, which keeps nothing.
    pub fn new(metrics: Arc<Metrics>, dry_run: bool) -> Self {
        Self {
            metrics,
            dry_run,
            turn: Mutex::default(),
            state: Mutex::default(),
            store: Mutex::default(),
        }
    }

    /// Makes ready for plans that will run: opens what is kept, and says how they stand, so that nothing passes that may not.
    pub fn prepare(&self, plans: &[Arc<Plan>], now: Now) -> Result<(), Wrong> {
        check(plans)?;
        let Some(first) = plans.first() else { return Ok(()) };
        self.open(&first.terms.storage)
            .map_err(|why| Wrong::of(first, "monthly.storage", why))?;
        let state = self.state();
        for plans in by_processor(plans.to_vec()).values() {
            state.judge(plans, now.wall);
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<(), String> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match &*store {
            Some(open) if open.path == path => return Ok(()),
            Some(open) => {
                let path = open.path.display();
                return Err(format!(
                    "the ledger is kept in {path}; start the gate anew to keep it elsewhere"
                ));
            }
            None => {}
        }
        let wrong = |why: String| format!("{}: {why}", path.display());
        let (opened, read) = match self.dry_run {
            true => {
                let text = volume::read(path, NAME).map_err(|error| wrong(io_reason(&error)))?;
                let read = text.map(|text| store::parse(&text)).transpose();
                (None, read.map_err(|error| wrong(told(&error)))?.unwrap_or_default())
            }
            false => {
                let directory = Directory::open(path).map_err(|error| wrong(error.to_string()))?;
                let (store, read) = Store::open(Box::new(directory)).map_err(|error| wrong(told(&error)))?;
                (Some(store), read)
            }
        };
        if read.spoilt > 0 {
            let (path, lines) = (path.display(), read.spoilt);
            tracing::warn!(%path, lines, "the ledger has lines that a crash cut off or something damaged; they do not count");
        }
        self.state().learn(read.facts);
        *store = Some(Opened {
            path: path.to_owned(),
            store: opened,
        });
        Ok(())
    }

    /// The same in another place than a directory.
    #[cfg(test)]
    fn open_in(&self, volume: Box<dyn volume::Volume>) {
        let (store, read) = Store::open(volume).unwrap();
        self.state().learn(read.facts);
        *self.store.lock().unwrap() = Some(Opened {
            path: PathBuf::new(),
            store: Some(store),
        });
    }

    /// These plans run from now on, and no others.
    pub fn follow(&self, plans: Vec<Arc<Plan>>, now: Now) {
        let mut state = self.state();
        state.plans = by_processor(plans);
        self.metrics.ledger.clear();
        let State { plans, ratios, .. } = &mut *state;
        ratios.retain(|processor, _| plans.contains_key(processor));
        // alerts are raised by the next look, which tells them
        state.judge_all(now.wall);
        state.show_all(now.wall, &self.metrics);
    }

    /// Whether any plan runs.
    pub fn is_needed(&self) -> bool {
        !self.state().plans.is_empty()
    }

    /// Books what was sent, judges the plans by it, writes down what has to be. Gives the alerts that have to be told: by the log
    /// that is done.
    pub fn look(&self, spending: &Spending, now: Now) -> Vec<Telling> {
        self.look_and_save(spending, now, false)
    }

    /// The last look: everything is written down.
    pub fn finish(&self, spending: &Spending, now: Now) {
        self.look_and_save(spending, now, true);
    }

    fn look_and_save(&self, spending: &Spending, now: Now, at_once: bool) -> Vec<Telling> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = spending.take();
        let mut state = self.state();
        if self.dry_run {
            state.judge_all(now.wall);
            state.show_all(now.wall, &self.metrics);
            return Vec::new();
        }
        let today = Day::of(now.wall);
        for sum in &sums {
            let account = (sum.tenant.clone(), sum.exporter.clone());
            let (account, _) = state.book.add(account, today, sum.bytes);
            state.unsaved.insert((account, today));
        }
        state.take_passed(&sums);
        state.judge_all(now.wall);
        let telling = state.raise_all(now.wall);
        state.show_all(now.wall, &self.metrics);
        let since = |saved| now.steady.saturating_duration_since(saved);
        let is_due = state.saved.is_none_or(|saved| since(saved) >= SAVED_EVERY);
        // an alert is written down before it is told
        let is_urgent = !state.unsaved_alerts.is_empty() || at_once;
        drop(state);
        if is_due || is_urgent {
            self.save(now);
        }
        for Telling { alert, .. } in telling.iter().filter(|one| one.is_new) {
            tracing::warn!(id = alert.key.id(), "{}", alert.text());
        }
        telling
    }

    /// A webhook has taken an alert.
    pub fn told(&self, key: &Key) {
        self.metrics.ledger.webhook(&key.processor, "delivered");
        let mut state = self.state();
        if let Some(told) = state.alerts.get_mut(key) {
            *told = Told::Everywhere;
            state.unsaved_alerts.insert(key.clone());
        }
        state.telling.remove(key);
    }

    /// A webhook does not take an alert.
    pub fn not_told(&self, key: &Key, why: &str) {
        self.metrics.ledger.webhook(&key.processor, "given_up");
        let id = key.id();
        tracing::error!(
            id,
            why,
            "the webhook does not take an alert; it is told again after the next start"
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what is not. What cannot be written stays to be written, and counts all the same.
    fn save(&self, now: Now) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Opened {
            path,
            store: Some(store),
        }) = &mut *store
        else {
            return;
        };
        let mut state = self.state();
        if state.unsaved.is_empty() && state.unsaved_alerts.is_empty() {
            return;
        }
        let (days, alerts) = (
            std::mem::take(&mut state.unsaved),
            std::mem::take(&mut state.unsaved_alerts),
        );
        state.saved = Some(now.steady);
        let new = state.facts(&days, &alerts);
        drop(state);
        let saved = store.save(&new, || self.state().all_facts());
        let mut state = self.state();
        let Err(error) = saved else {
            if state.trouble.take().is_some() {
                tracing::info!(path = %path.display(), "the ledger is written again");
            }
            state.seldom = None;
            self.metrics.ledger.broken(false);
            return;
        };
        state.unsaved.extend(days);
        state.unsaved_alerts.extend(alerts);
        let why = told(&error);
        let seldom = state.seldom.get_or_insert_with(|| Seldom::every(TOLD_EVERY));
        if seldom.happened(now.steady).is_some() {
            let path = path.display();
            tracing::error!(%path, why, "the ledger cannot be written: it counts on, and a restart would forget what was sent since");
        }
        state.trouble = Some(why);
        self.metrics.ledger.broken(true);
    }
}

/// Why a file cannot be used: in our words, or those of the system.
fn told(error: &std::io::Error) -> String {
    match error.get_ref() {
        Some(ours) => ours.to_string(),
        None => io_reason(error),
    }
}

fn by_processor(plans: Vec<Arc<Plan>>) -> BTreeMap<Arc<str>, Vec<Arc<Plan>>> {
    let mut all: BTreeMap<Arc<str>, Vec<Arc<Plan>>> = BTreeMap::new();
    for plan in plans {
        all.entry(plan.processor.clone()).or_default().push(plan);
    }
    all
}

impl State {
    fn learn(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            match fact {
                Fact::Sent {
                    tenant,
                    exporter,
                    day,
                    bytes,
                } => {
                    if let Some(day) = Day::parse(&day) {
                        self.book.learn((tenant.into(), exporter.into()), day, bytes);
                    }
                }
                Fact::Alert { key, told } => {
                    let known = self.alerts.entry(key).or_insert(told);
                    *known = told.max(*known);
                }
            }
        }
    }

    /// What has passed processors, beside what was sent.
    fn take_passed(&mut self, sums: &[Sum]) {
        for (processor, plans) in &self.plans {
            let passed = plans.iter().map(|plan| plan.take_passed()).sum();
            let Some(plan) = plans.first() else { continue };
            let counts = |sum: &&Sum| plan.terms.prices.contains_key(&sum.exporter);
            let sent = sums.iter().filter(counts).map(|sum| sum.bytes).sum();
            self.ratios.entry(processor.clone()).or_default().add(passed, sent);
        }
    }

    /// How plans of one processor stand by now, which they learn.
    fn judge(&self, plans: &[Arc<Plan>], now: SystemTime) -> Standing {
        let Some(plan) = plans.first() else {
            return Standing::default();
        };
        let before = plan.standing().clone();
        let ratio = self.ratios.get(&plan.processor).copied().unwrap_or_default().value();
        let mut standing = Standing::default();
        for scope in scopes(&plan.terms) {
            let was = was(&before, &scope);
            let allowed = scope.allows(&scope.assess(&self.book, now), was, ratio, now);
            match scope.tenant {
                None => standing.all = allowed,
                Some(tenant) => drop(standing.tenants.insert(tenant.clone(), allowed)),
            }
        }
        plans.iter().for_each(|plan| plan.set_standing(standing.clone()));
        standing
    }

    /// The same for all. The log hears of what changes.
    fn judge_all(&mut self, now: SystemTime) {
        for (processor, plans) in &self.plans {
            let Some(plan) = plans.first() else { continue };
            let before = plan.standing().clone();
            let standing = self.judge(plans, now);
            for scope in scopes(&plan.terms) {
                let (was, is) = (was(&before, &scope).name(), was(&standing, &scope).name());
                if was != is {
                    let tenant = scope.tenant.map(|tenant| &**tenant);
                    tracing::warn!(%processor, tenant, was, is, "the monthly ceiling changes what passes");
                }
            }
        }
    }

    /// The alerts that are to be told, by how plans stand.
    fn raise_all(&mut self, now: SystemTime) -> Vec<Telling> {
        let mut telling = Vec::new();
        for (processor, plans) in self.plans.clone() {
            let Some(plan) = plans.first() else { continue };
            let standing = plan.standing();
            for scope in scopes(&plan.terms) {
                let action = was(&standing, &scope).name();
                for alert in scope.alerts(&processor, &scope.assess(&self.book, now), action) {
                    self.raise(alert, plan, &mut telling);
                }
            }
        }
        telling
    }

    /// Shows all plans in the metrics.
    fn show_all(&self, now: SystemTime, metrics: &Metrics) {
        for plan in self.plans.values().filter_map(|plans| plans.first()) {
            self.show(plan, &plan.standing(), now, metrics);
        }
    }

    /// Raises an alert once. The log hears of it once at most, as nobody knows what a crash let it say; a webhook hears until it says
    /// that it did.
    fn raise(&mut self, alert: Alert, plan: &Arc<Plan>, telling: &mut Vec<Telling>) {
        let key = alert.key.clone();
        let known = self.alerts.get(&key).copied();
        if known.is_none() {
            let told = match plan.terms.webhook {
                Some(_) => Told::Raised,
                None => Told::Everywhere,
            };
            self.alerts.insert(key.clone(), told);
            self.unsaved_alerts.insert(key.clone());
            while self.alerts.len() > MOST_ALERTS {
                self.alerts.pop_first();
            }
        }
        let is_to_tell = match known {
            None => true,
            Some(Told::Raised) => plan.terms.webhook.is_some() && !self.telling.contains(&key),
            Some(Told::Everywhere) => false,
        };
        if is_to_tell {
            self.telling.insert(key);
            telling.push(Telling {
                alert,
                plan: plan.clone(),
                is_new: known.is_none(),
            });
        }
    }

    fn facts(&self, days: &BTreeSet<(Account, Day)>, alerts: &BTreeSet<Key>) -> Vec<Fact> {
        let sent = days
            .iter()
            .map(|(account, day)| Fact::sent(account, *day, self.book.on(account, *day)));
        let alerts = alerts
            .iter()
            .filter_map(|key| Some((key.clone(), *self.alerts.get(key)?)));
        sent.chain(alerts.map(|(key, told)| Fact::Alert { key, told }))
            .collect()
    }

    fn all_facts(&self) -> Vec<Fact> {
        let days = self.book.accounts();
        let days = days.flat_map(|(account, days)| days.keys().map(|day| (account.clone(), *day)));
        self.facts(&days.collect(), &self.alerts.keys().cloned().collect())
    }
}

fn was(standing: &Standing, scope: &Scope<'_>) -> Allowance {
    match scope.tenant {
        None => standing.all,
        Some(tenant) => standing.tenants.get(tenant).copied().unwrap_or_default(),
    }
}
