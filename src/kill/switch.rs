//! All kills together: what is in force, what the engine is told of it, and what the log, the metrics and the audit trail say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value, json};

use super::entry::{Date, Ends};
use super::file::{Content, parse_text};
use super::store::{self, Kept, KeptKill, Seen};
use super::watch::Watched;
use super::{Asked, Kill, LONGEST, MOST, Now, Settings, Source, What, Wrong};
use crate::pipeline::Kills;
use crate::pipeline::kill::Order;
use crate::pipeline::units::Span;
use crate::telemetry::Metrics;

/// Id of the kill of everything that stands in for a file that cannot be read.
const FILE: &str = "broken-file";
/// The same for the storage.
const STORAGE: &str = "broken-storage";
/// Bytes of a number in an id.
const ID_BYTES: usize = 4;

/// The kill switch of a process.
pub struct Switch {
    kills: Kills,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// One writes at a time, and the last one what is true then.
    storing: Mutex<()>,
}

struct State {
    settings: Settings,
    /// By the route and by signals, as they were asked for.
    own: Vec<(Kill, Asked)>,
    /// Of the file. Those that are over stay: a clock that is set back does not bring them back.
    of_file: Vec<(Kill, Over)>,
    /// When each kill of the file was seen first that lasts from then on.
    seen: BTreeMap<String, Date>,
    /// In the place of what cannot be read.
    broken: BTreeMap<&'static str, Kill>,
    watched: Watched,
    /// What has happened and is not told yet.
    news: Vec<News>,
}

type Over = bool;

enum News {
    Made(Kill),
    Lifted(Kill, &'static str, String),
}

/// Why a kill cannot be lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLifted {
    /// There is none.
    #[error("there is no such kill")]
    Unknown,
    /// It is not for them to lift.
    #[error("it is another tenant's, or everybody's")]
    Denied,
    /// It stands in the file.
    #[error("it stands in the file of kills: take it out there")]
    InFile,
}

/// Whether a restart will know; if not, why.
pub type Stored = Result<(), String>;

impl Switch {
    /// A switch that says what is in `kills`, from when it is [begun](Self::begin).
    pub fn new(settings: Settings, kills: Kills, metrics: Arc<Metrics>) -> Self {
        Self {
            kills,
            metrics,
            state: Mutex::new(State {
                settings,
                own: Vec::new(),
                of_file: Vec::new(),
                seen: BTreeMap::new(),
                broken: BTreeMap::new(),
                watched: Watched::default(),
                news: Vec::new(),
            }),
            storing: Mutex::default(),
        }
    }

    /// Takes up what was in force before, and what the file says.
    pub fn begin(&self, now: Now) {
        let mut state = self.state();
        match store::load(&state.settings.storage) {
            Ok(kept) => state.restore(kept, now),
            Err(why) => state.distrust(STORAGE, &why, now),
        }
        self.publish(&mut state, now);
        state
            .in_force()
            .for_each(|kill| warn_of_strangers(kill, &state.settings));
        drop(state);
        self.look(now);
        let _ = self.finish();
    }

    /// Heeds other settings from now on. What is in force stays, but for the kills of a file that is not watched any more.
    pub fn configure(&self, settings: Settings, now: Now) {
        let mut state = self.state();
        if state.settings == settings {
            return;
        }
        if state.settings.file != settings.file {
            state.watched = Watched::default();
            if settings.file.is_none() {
                state.take_file(Vec::new(), now);
            }
        }
        let before = std::mem::replace(&mut state.settings, settings);
        self.publish(&mut state, now);
        if before.components != state.settings.components {
            state
                .in_force()
                .for_each(|kill| warn_of_strangers(kill, &state.settings));
        }
        drop(state);
        self.look(now);
        // storage may be another one, and kills of a file that is not watched any more are lifted
        let _ = self.finish();
    }

    /// Looks at the file, and at the clock. Waits on the disk.
    pub fn look(&self, now: Now) {
        let (file, unread) = {
            let state = self.state();
            let is_broken = state.broken.contains_key(STORAGE);
            (
                state.settings.file.clone(),
                is_broken.then(|| state.settings.storage.clone()),
            )
        };
        let content = file.as_deref().map(Content::look);
        let mended = unread.and_then(|storage| store::mended(&storage));
        let mut state = self.state();
        let mut changed = state.expire(now);
        if let Some(kept) = mended
            && let Some(broken) = state.broken.remove(STORAGE)
        {
            state.restore(kept, now);
            state
                .news
                .push(News::Lifted(broken, "mended", Source::Gate.name().to_owned()));
            changed = true;
        }
        if state.settings.file == file
            && let Some(content) = content.and_then(|content| state.watched.look(content))
        {
            state.take_content(content, now);
            changed = true;
        }
        if !changed {
            return;
        }
        self.publish(&mut state, now);
        drop(state);
        // whoever cannot be told has been by the log
        let _ = self.finish();
    }

    /// Kills. The kill is in force when this returns, also where it cannot be stored.
    pub fn kill(&self, mut asked: Asked, source: Source, now: Now) -> Result<(Kill, Stored), Wrong> {
        let wrong = |path: &str, message: String| Wrong {
            path: path.to_owned(),
            message,
        };
        let order = asked.check()?;
        let left = asked.expires.map(|date| date.0.duration_since(now.wall));
        match left {
            Some(Err(_)) => return Err(wrong("expires", "lies in the past".to_owned())),
            Some(Ok(left)) if left > LONGEST => {
                return Err(wrong("expires", "lies more than 30 days ahead".to_owned()));
            }
            _ => {}
        }
        let mut state = self.state();
        if asked.expires.is_none() {
            asked.lasts.get_or_insert(Span(state.settings.default_ttl));
        }
        if source == Source::Signal {
            // a second signal is the same wish, from now on
            state.own.retain(|(kill, _)| kill.source != Source::Signal);
        }
        if state.own.len() >= MOST {
            return Err(wrong("", format!("there are {MOST} kills already; lift some")));
        }
        let since = Date::of(now.wall);
        let kill = made(new_id(), source, &asked, since, Arc::new(order), now, LONGEST);
        state.own.push((kill.clone(), asked));
        state.news.push(News::Made(kill.clone()));
        self.publish(&mut state, now);
        drop(state);
        Ok((kill, self.finish()))
    }

    /// Lifts a kill, if `may` says so.
    pub fn lift(&self, id: &str, by: &str, may: impl Fn(&Kill) -> bool, now: Now) -> Result<(Kill, Stored), NotLifted> {
        let mut state = self.state();
        let found = state.in_force().find(|kill| kill.id == id).cloned();
        let kill = found.filter(|kill| !kill.ends.is_over(now)).ok_or(NotLifted::Unknown)?;
        if !may(&kill) {
            return Err(NotLifted::Denied);
        }
        if kill.source == Source::File || kill.id == FILE {
            return Err(NotLifted::InFile);
        }
        state.own.retain(|(own, _)| own.id != kill.id);
        state.broken.retain(|_, broken| broken.id != kill.id);
        state.news.push(News::Lifted(kill.clone(), "lifted", by.to_owned()));
        self.publish(&mut state, now);
        drop(state);
        Ok((kill, self.finish()))
    }

    /// Lifts what a signal killed; how many there were.
    pub fn lift_signals(&self, by: &str, now: Now) -> usize {
        let of_signals = |kill: &Kill| kill.source == Source::Signal;
        let ids: Vec<String> = self
            .kills()
            .into_iter()
            .filter(of_signals)
            .map(|kill| kill.id)
            .collect();
        let lifted = ids.iter().filter(|id| self.lift(id, by, |_| true, now).is_ok());
        lifted.count()
    }

    /// What is in force, the eldest first.
    pub fn kills(&self) -> Vec<Kill> {
        let mut kills: Vec<Kill> = self.state().in_force().cloned().collect();
        kills.sort_by_key(|kill| kill.since.0);
        kills
    }

    /// Whether who shows the credential of a tenant may kill and lift everything; none shows one without a tenant.
    pub fn is_operator(&self, tenant: Option<&str>) -> bool {
        tenant.is_none_or(|tenant| self.state().settings.operators.iter().any(|name| name == tenant))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the engine and the metrics what is in force.
    fn publish(&self, state: &mut State, now: Now) {
        state.expire(now);
        let mut scopes = BTreeMap::new();
        for kill in state.in_force() {
            *scopes.entry(kill.what.scope()).or_default() += 1;
        }
        self.kills
            .set(state.in_force().map(|kill| kill.order.clone()).collect());
        self.metrics.killed(&scopes);
        for (id, what) in [(FILE, "file"), (STORAGE, "storage")] {
            self.metrics.kill_switch_broken(what, state.broken.contains_key(id));
        }
    }

    /// Tells what has happened, and keeps what a restart must know.
    fn finish(&self) -> Stored {
        let turn = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let news = std::mem::take(&mut state.news);
        let (kept, settings) = (state.kept(), state.settings.clone());
        let is_readable = !state.broken.contains_key(STORAGE);
        drop(state);
        news.iter().for_each(|news| self.tell(news, &settings));
        let stored = match (settings.dry_run, is_readable) {
            (true, _) => Err("a dry run keeps nothing".to_owned()),
            (false, false) => Err("what is stored cannot be read, and stays".to_owned()),
            (false, true) => store::save(&settings.storage, &kept),
        };
        drop(turn);
        if let (Err(why), false) = (&stored, settings.dry_run) {
            tracing::error!("kills cannot be stored, and a restart would forget them: {why}");
            self.metrics.kill_switch_broken("storage", true);
        }
        stored
    }

    fn tell(&self, news: &News, settings: &Settings) {
        let (News::Made(kill) | News::Lifted(kill, ..)) = news;
        let mut about = about(kill);
        let (id, what, source, reason) = (&kill.id, &kill.what, kill.source.name(), &kill.reason);
        match news {
            News::Made(_) if kill.source == Source::Gate => {
                tracing::error!(id, why = reason, "everything is killed until this can be read");
                self.metrics.audit.event("killed", about);
            }
            News::Made(_) => {
                let expires = kill.expires.map(|date| date.to_string());
                tracing::warn!(id, %what, source, reason, actor = kill.actor, expires, "killed");
                warn_of_strangers(kill, settings);
                self.metrics.audit.event("killed", about);
            }
            News::Lifted(_, cause, by) => {
                tracing::warn!(id, %what, source, reason, cause, by, "not killed any more");
                about.insert("cause".to_owned(), (*cause).into());
                about.insert("by".to_owned(), by.as_str().into());
                self.metrics.audit.event("lifted", about);
            }
        }
    }
}

/// Says of a kill that it kills nothing: it may be a slip of the pen, and somebody believes that it works.
fn warn_of_strangers(kill: &Kill, settings: &Settings) {
    if let Some(key) = kill.what.stranger(&settings.components) {
        let (id, what) = (&kill.id, &kill.what);
        tracing::warn!(id, %what, "this kills nothing: no {key} of this configuration goes by that name");
    }
}

/// What the audit trail says of a kill.
fn about(kill: &Kill) -> Map<String, Value> {
    match serde_json::to_value(kill) {
        Ok(Value::Object(about)) => about,
        _ => Map::from_iter([("id".to_owned(), json!(kill.id))]),
    }
}

impl State {
    fn in_force(&self) -> impl Iterator<Item = &Kill> {
        let own = self.own.iter().map(|(kill, _)| kill);
        let of_file = self.of_file.iter().filter(|(_, over)| !over).map(|(kill, _)| kill);
        own.chain(of_file).chain(self.broken.values())
    }

    /// What was in force when the process ended before.
    fn restore(&mut self, kept: Kept, now: Now) {
        for Seen { id, since } in kept.seen {
            let known = self.seen.entry(id).or_insert(since);
            known.0 = known.0.min(since.0);
        }
        for KeptKill {
            id,
            source,
            since,
            kill,
        } in kept.kills
        {
            match kill.check() {
                Ok(order) => {
                    let ttl = self.settings.default_ttl;
                    let made = made(id, source, &kill, since, Arc::new(order), now, ttl);
                    self.own.push((made, kill));
                }
                Err(wrong) => self.distrust(STORAGE, &wrong.to_string(), now),
            }
        }
    }

    /// Takes what the file says now. What cannot be read takes nothing away, and adds a kill of everything.
    fn take_content(&mut self, content: Content, now: Now) {
        let name = self
            .settings
            .file
            .as_deref()
            .unwrap_or(Path::new(""))
            .display()
            .to_string();
        let parsed = match content {
            Content::Missing => {
                tracing::info!(file = name, "there is no file of kills: it kills nothing");
                Ok(Vec::new())
            }
            Content::Unreadable(why) => Err(format!("{name}: {why}")),
            Content::Text(text) => parse_text(&text, &name),
        };
        match parsed {
            Ok(asked) => self.take_file(asked, now),
            Err(why) => self.distrust(FILE, &why, now),
        }
    }

    fn take_file(&mut self, asked: Vec<(Asked, Arc<Order>)>, now: Now) {
        if let Some(mended) = self.broken.remove(FILE) {
            self.news
                .push(News::Lifted(mended, "mended", Source::File.name().to_owned()));
        }
        let mut before = std::mem::take(&mut self.of_file);
        for (asked, order) in asked {
            let id = file_id(&asked);
            if self.of_file.iter().any(|(kill, _)| kill.id == id) {
                continue;
            }
            if let Some(known) = before.iter().position(|(kill, _)| kill.id == id) {
                self.of_file.push(before.swap_remove(known));
                continue;
            }
            let since = match asked.expires {
                None => *self.seen.entry(id.clone()).or_insert(Date::of(now.wall)),
                Some(_) => Date::of(now.wall),
            };
            let ttl = self.settings.default_ttl;
            let kill = made(id, Source::File, &asked, since, order, now, ttl);
            let over = kill.ends.is_over(now);
            if !over {
                self.news.push(News::Made(kill.clone()));
            }
            self.of_file.push((kill, over));
        }
        for (kill, over) in before {
            if !over {
                self.news
                    .push(News::Lifted(kill, "lifted", Source::File.name().to_owned()));
            }
        }
        let of_file = &self.of_file;
        self.seen.retain(|id, _| of_file.iter().any(|(kill, _)| kill.id == *id));
    }

    /// Kills everything, because something cannot be read that may say to.
    fn distrust(&mut self, id: &'static str, why: &str, now: Now) {
        let known = self.broken.get(id).is_some_and(|kill| kill.reason == why);
        if known {
            return;
        }
        let kill = Kill {
            id: id.to_owned(),
            source: Source::Gate,
            what: What::All,
            reason: why.to_owned(),
            actor: "flamegate".to_owned(),
            since: Date::of(now.wall),
            expires: None,
            ends: Ends::Never,
            order: Arc::new(Order::everything()),
        };
        self.news.push(News::Made(kill.clone()));
        self.broken.insert(id, kill);
    }

    /// Lets go of what is over; whether there was any.
    fn expire(&mut self, now: Now) -> bool {
        let before = self.news.len();
        let news = &mut self.news;
        let mut expired = |kill: &Kill| news.push(News::Lifted(kill.clone(), "expired", "the clock".to_owned()));
        self.own.retain(|(kill, _)| {
            let over = kill.ends.is_over(now);
            if over {
                expired(kill);
            }
            !over
        });
        for (kill, over) in &mut self.of_file {
            if !*over && kill.ends.is_over(now) {
                *over = true;
                expired(kill);
            }
        }
        self.news.len() > before
    }

    fn kept(&self) -> Kept {
        let kills = self.own.iter().map(|(kill, asked)| KeptKill {
            id: kill.id.clone(),
            source: kill.source,
            since: kill.since,
            kill: asked.clone(),
        });
        let seen = self.seen.iter().map(|(id, since)| Seen {
            id: id.clone(),
            since: *since,
        });
        Kept::of(kills.collect(), seen.collect())
    }
}

/// A kill in force, of what was asked for.
fn made(id: String, source: Source, asked: &Asked, since: Date, order: Arc<Order>, now: Now, ttl: Duration) -> Kill {
    let lasts = asked.lasts.map_or(ttl, |lasts| lasts.0);
    let (ends, expires) = match asked.expires {
        Some(date) => (Ends::At(date.0), date),
        None => (Ends::after(lasts, since.0, now), Date(since.0 + lasts)),
    };
    Kill {
        id,
        source,
        what: asked.what.clone(),
        reason: asked.reason.clone(),
        actor: asked.actor.clone(),
        since,
        expires: Some(expires),
        ends,
        order,
    }
}

fn new_id() -> String {
    let mut number = [0; ID_BYTES];
    if SystemRandom::new().fill(&mut number).is_err() {
        // one is as good as another: a number only has to differ from the others
        let nanos = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        number = nanos.subsec_nanos().to_be_bytes();
    }
    hex(&number)
}

/// A kill of the file goes by what it says: whoever changes that makes another one.
fn file_id(asked: &Asked) -> String {
    let text = serde_json::to_vec(asked).unwrap_or_default();
    let digest = digest(&SHA256, &text);
    format!("file-{}", hex(digest.as_ref().get(..ID_BYTES).unwrap_or_default()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
