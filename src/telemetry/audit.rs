//! The audit trail: what was removed from whom, when and by which policy, as JSON lines in a file of their own. Counts, never
//! the text.
//!
//! Whoever removes something adds to counts in memory; the counts are written at intervals and at the end, one line for each
//! policy, service, rule and carrier. A trail that cannot be written keeps counting, and writes once it can again.

mod trail;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ring::hmac;
use serde_json::{Map, Value, json};

use trail::Trail;

/// Rows between two writes; what comes on top is counted for the service [`OTHERS`].
const MOST_ROWS: usize = 4096;
/// Fingerprints of one row between two writes.
const MOST_FINGERPRINTS: usize = 32;
/// Letters of a service's name that are kept.
const LONGEST_NAME: usize = 256;
/// The service that the rows on top of [`MOST_ROWS`] are counted for.
const OTHERS: &str = "(others)";

/// Where the trail is kept and how long it may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file that is written now; earlier ones are `PATH.1`, `PATH.2` and so on, the newest first.
    pub path: PathBuf,
    /// Bytes at which the next file is begun.
    pub max_bytes: u64,
    /// Earlier files that are kept.
    pub max_files: usize,
    /// The key of fingerprints; none are made without it.
    pub fingerprint_key: Option<Vec<u8>>,
}

impl Settings {
    /// Whether the file can be written.
    pub fn try_open(&self) -> std::io::Result<()> {
        Trail::open(self).map(drop)
    }
}

/// Counts what was removed, and writes it down.
#[derive(Debug, Default)]
pub struct Audit {
    /// Read before anything else: an audit that is off costs this look.
    on: AtomicBool,
    counts: Mutex<Counts>,
    /// Apart from the counts: nobody who counts waits for the disk.
    trail: Mutex<Option<Trail>>,
}

#[derive(Debug, Default)]
struct Counts {
    rows: BTreeMap<Row, Counted>,
    /// When counting of `rows` began.
    since: Option<SystemTime>,
    fingerprints: Option<hmac::Key>,
}

/// What one count is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    policy: String,
    service: String,
    rule: String,
    carrier: String,
}

#[derive(Debug, Default)]
struct Counted {
    count: u64,
    fingerprints: BTreeSet<String>,
}

impl Audit {
    /// Begins, goes on elsewhere, or ends (`None`). The file is opened here, so that one that cannot be written is told at once.
    pub fn configure(&self, settings: Option<&Settings>) -> std::io::Result<()> {
        let next = settings.map(Trail::open).transpose()?;
        // what was counted for the trail before belongs there
        self.flush();
        let mut trail = lock(&self.trail);
        let mut counts = lock(&self.counts);
        let key = settings.and_then(|settings| settings.fingerprint_key.as_deref());
        counts.fingerprints = key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key));
        if next.is_none() {
            counts.rows.clear();
            counts.since = None;
        }
        self.on.store(next.is_some(), Ordering::Relaxed);
        *trail = next;
        Ok(())
    }

    /// Whether anything is written down: who would have to compute what it says may ask first.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// A rule of a policy removed so many texts of one carrier from a service. `service` is its name after redaction.
    pub fn redacted(&self, policy_digest: &str, service: &str, rule: &str, carrier: &str, count: u64) {
        if self.is_on() && count > 0 {
            lock(&self.counts).row(policy_digest, service, rule, carrier).count += count;
        }
    }

    /// Remembers which text it was by a keyed fingerprint, if the configuration asks for that: so that an owner who holds both
    /// key and text can tell that it is this one. Never call it for what a person could be known by.
    pub fn fingerprint(&self, policy_digest: &str, service: &str, rule: &str, carrier: &str, text: &[u8]) {
        if !self.is_on() {
            return;
        }
        let mut counts = lock(&self.counts);
        let Some(key) = &counts.fingerprints else { return };
        let tag = hmac::sign(key, text);
        let tag: String = tag.as_ref().iter().take(10).map(|byte| format!("{byte:02x}")).collect();
        let row = counts.row(policy_digest, service, rule, carrier);
        if row.fingerprints.len() < MOST_FINGERPRINTS {
            row.fingerprints.insert(tag);
        }
    }

    /// Writes down at once that something happened, such as a start or a reload. `about` holds names from the configuration
    /// only, never text of a payload.
    pub fn event(&self, event: &str, about: Map<String, Value>) {
        if !self.is_on() {
            return;
        }
        let mut line = Map::new();
        line.insert("time".to_owned(), time(SystemTime::now()).into());
        line.insert("event".to_owned(), event.into());
        line.extend(about);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        if let Some(trail) = lock(&self.trail).as_mut()
            && let Err(error) = trail.append(text.as_bytes())
        {
            tracing::warn!(kind = %error.kind(), event, "the audit trail cannot be written");
        }
    }

    /// Writes what was counted since the last time.
    pub fn flush(&self) {
        let mut trail = lock(&self.trail);
        let Some(trail) = trail.as_mut() else { return };
        let (rows, since) = lock(&self.counts).take();
        if rows.is_empty() {
            return;
        }
        if let Err(error) = trail.append(lines(&rows, since).as_bytes()) {
            tracing::warn!(kind = %error.kind(), "the audit trail cannot be written; its counts are kept");
            lock(&self.counts).put_back(rows, since);
        }
    }
}

impl Counts {
    fn row(&mut self, policy: &str, service: &str, rule: &str, carrier: &str) -> &mut Counted {
        let row = Row {
            policy: policy.to_owned(),
            service: service.chars().take(LONGEST_NAME).collect(),
            rule: rule.to_owned(),
            carrier: carrier.to_owned(),
        };
        self.counted(row)
    }

    fn counted(&mut self, mut row: Row) -> &mut Counted {
        self.since.get_or_insert_with(SystemTime::now);
        if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&row) {
            row.service = OTHERS.to_owned();
        }
        self.rows.entry(row).or_default()
    }

    fn take(&mut self) -> (BTreeMap<Row, Counted>, Option<SystemTime>) {
        (std::mem::take(&mut self.rows), self.since.take())
    }

    /// What could not be written, with what was counted meanwhile.
    fn put_back(&mut self, rows: BTreeMap<Row, Counted>, since: Option<SystemTime>) {
        for (row, before) in rows {
            let counted = self.counted(row);
            counted.count += before.count;
            counted.fingerprints.extend(before.fingerprints);
            while counted.fingerprints.len() > MOST_FINGERPRINTS {
                counted.fingerprints.pop_last();
            }
        }
        self.since = since;
    }
}

fn lines(rows: &BTreeMap<Row, Counted>, since: Option<SystemTime>) -> String {
    let now = SystemTime::now();
    let (now, since) = (time(now), time(since.unwrap_or(now)));
    let mut text = String::new();
    for (row, counted) in rows {
        let mut line = json!({
            "time": now, "since": since, "event": "redacted", "policy": row.policy, "service": row.service,
            "rule": row.rule, "carrier": row.carrier, "count": counted.count,
        });
        if let (Some(line), false) = (line.as_object_mut(), counted.fingerprints.is_empty()) {
            line.insert("fingerprints".to_owned(), json!(counted.fingerprints));
        }
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directory: &tempfile::TempDir) -> Settings {
        Settings {
            path: directory.path().join("audit.jsonl"),
            max_bytes: 1 << 20,
            max_files: 2,
            fingerprint_key: None,
        }
    }

    fn read(settings: &Settings) -> Vec<Value> {
        let text = std::fs::read_to_string(&settings.path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn counts_of_one_kind_are_one_line_and_begin_anew_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory);
        let audit = Audit::default();
        audit.redacted("p", "before", "jwt", "label_value", 9);
        audit.configure(Some(&settings)).unwrap();
        for _ in 0..3 {
            audit.redacted("p", "shop", "jwt", "label_value", 2);
        }
        audit.redacted("p", "shop", "email", "comment", 1);
        audit.flush();
        audit.flush();
        let lines = read(&settings);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((&lines[0]["rule"], &lines[0]["count"]), (&json!("email"), &json!(1)));
        assert_eq!((&lines[1]["rule"], &lines[1]["count"]), (&json!("jwt"), &json!(6)));
        assert_eq!(lines[1]["policy"], "p");
        assert!(lines[1]["time"].as_str() >= lines[1]["since"].as_str());
        assert!(lines[1].get("fingerprints").is_none());
    }

    #[test]
    fn more_rows_than_there_is_room_for_are_counted_together() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory);
        let audit = Audit::default();
        audit.configure(Some(&settings)).unwrap();
        for number in 0..MOST_ROWS + 100 {
            audit.redacted("p", &format!("service-{number}"), "jwt", "comment", 1);
        }
        audit.flush();
        let lines = read(&settings);
        assert_eq!(lines.len(), MOST_ROWS + 1);
        let others = lines.iter().find(|line| line["service"] == OTHERS).unwrap();
        assert_eq!(others["count"], 100);
    }

    #[test]
    fn fingerprints_need_a_key_and_tell_nothing_without_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings(&directory);
        settings.fingerprint_key = Some(b"a key of thirty-two bytes, planted".to_vec());
        let audit = Audit::default();
        audit.configure(Some(&settings)).unwrap();
        audit.redacted("p", "shop", "jwt", "comment", 1);
        audit.fingerprint("p", "shop", "jwt", "comment", b"hunter2EXAMPLE");
        audit.fingerprint("p", "shop", "jwt", "comment", b"hunter2EXAMPLE");
        audit.flush();
        let lines = read(&settings);
        let prints = lines[0]["fingerprints"].as_array().unwrap();
        assert_eq!(prints.len(), 1);
        assert_eq!(prints[0].as_str().unwrap().len(), 20);
        assert!(
            !std::fs::read_to_string(&settings.path)
                .unwrap()
                .contains("hunter2EXAMPLE")
        );
    }

    #[test]
    fn what_cannot_be_written_is_kept_for_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory);
        let audit = Audit::default();
        audit.configure(Some(&settings)).unwrap();
        audit.redacted("p", "shop", "jwt", "comment", 1);
        // a directory in the way of the file
        std::fs::remove_file(&settings.path).unwrap();
        std::fs::create_dir(&settings.path).unwrap();
        audit.flush();
        std::fs::remove_dir(&settings.path).unwrap();
        audit.redacted("p", "shop", "jwt", "comment", 1);
        audit.flush();
        assert_eq!(read(&settings)[0]["count"], 2);
    }

    #[test]
    fn an_audit_that_is_off_keeps_nothing() {
        let audit = Audit::default();
        audit.redacted("p", "shop", "jwt", "comment", 1);
        audit.fingerprint("p", "shop", "jwt", "comment", b"x");
        audit.event("started", Map::new());
        assert!(lock(&audit.counts).rows.is_empty());
    }
}
