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
pub const MOST_FINGERPRINTS: usize = 32;
/// Refused bodies that are told one by one between two writes; what comes on top is counted.
const MOST_REFUSED: usize = 64;
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
    /// Lines about what was refused.
    refused: Vec<String>,
    /// How many more there were than there is room for.
    more_refused: u64,
    marker: Option<Marker>,
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

impl Counted {
    fn limit(&mut self) {
        while self.fingerprints.len() > MOST_FINGERPRINTS {
            self.fingerprints.pop_last();
        }
    }
}

/// Makes fingerprints: whoever holds both key and text can tell that it was this one. Never of what a person could be known by.
#[derive(Clone, Debug)]
pub struct Marker(hmac::Key);

impl Marker {
    fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The first 80 bits, in hexadecimal digits.
    pub fn mark(&self, text: &[u8]) -> String {
        let tag = hmac::sign(&self.0, text);
        tag.as_ref().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
    }
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
        counts.marker = key.map(Marker::new);
        if next.is_none() {
            counts.take();
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

    /// What makes fingerprints, if the configuration asks for them.
    pub fn marker(&self) -> Option<Marker> {
        match self.is_on() {
            true => lock(&self.counts).marker.clone(),
            false => None,
        }
    }

    /// Remembers which texts they were by their fingerprints.
    pub fn marked(&self, policy_digest: &str, service: &str, rule: &str, carrier: &str, marks: BTreeSet<String>) {
        if self.is_on() && !marks.is_empty() {
            let mut counts = lock(&self.counts);
            let row = counts.row(policy_digest, service, rule, carrier);
            row.fingerprints.extend(marks);
            row.limit();
        }
    }

    /// A component could not work on so many bytes: they did not pass, and this is what stays of them. `reason` says format and
    /// place, never text of a payload.
    pub fn refused(&self, component: &str, bytes: usize, reason: &str, fingerprint: Option<&str>) {
        if !self.is_on() {
            return;
        }
        let mut counts = lock(&self.counts);
        if counts.refused.len() >= MOST_REFUSED {
            counts.more_refused += 1;
            return;
        }
        let mut line = json!({
            "time": time(SystemTime::now()), "event": "refused", "component": component, "bytes": bytes, "reason": reason,
        });
        if let (Some(line), Some(fingerprint)) = (line.as_object_mut(), fingerprint) {
            line.insert("fingerprint".to_owned(), fingerprint.into());
        }
        counts.refused.push(line.to_string());
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
        let taken = lock(&self.counts).take();
        let text = taken.lines();
        if !text.is_empty()
            && let Err(error) = trail.append(text.as_bytes())
        {
            tracing::warn!(kind = %error.kind(), "the audit trail cannot be written; its counts are kept");
            lock(&self.counts).put_back(taken);
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

    /// What is to be written, and counts begin anew.
    fn take(&mut self) -> Self {
        let marker = self.marker.clone();
        std::mem::replace(
            self,
            Self {
                marker,
                ..Self::default()
            },
        )
    }

    /// What could not be written, with what was counted meanwhile.
    fn put_back(&mut self, before: Self) {
        for (row, old) in before.rows {
            let counted = self.counted(row);
            counted.count += old.count;
            counted.fingerprints.extend(old.fingerprints);
            counted.limit();
        }
        let mut refused = before.refused;
        refused.append(&mut self.refused);
        let more = refused.len().saturating_sub(MOST_REFUSED);
        refused.truncate(MOST_REFUSED);
        self.refused = refused;
        self.more_refused += before.more_refused + more as u64;
        self.since = before.since.or(self.since);
    }

    fn lines(&self) -> String {
        let now = SystemTime::now();
        let (now, since) = (time(now), time(self.since.unwrap_or(now)));
        let mut text = String::new();
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        self.refused.iter().for_each(|refused| line(refused));
        if self.more_refused > 0 {
            line(&json!({ "time": now, "event": "refused", "more": self.more_refused }).to_string());
        }
        for (row, counted) in &self.rows {
            let mut removed = json!({
                "time": now, "since": since, "event": "redacted", "policy": row.policy, "service": row.service,
                "rule": row.rule, "carrier": row.carrier, "count": counted.count,
            });
            if let (Some(removed), false) = (removed.as_object_mut(), counted.fingerprints.is_empty()) {
                removed.insert("fingerprints".to_owned(), json!(counted.fingerprints));
            }
            line(&removed.to_string());
        }
        text
    }
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
        let marker = audit.marker().unwrap();
        let marks = |range: std::ops::Range<u32>| {
            range
                .map(|i| marker.mark(format!("hunter{i}EXAMPLE").as_bytes()))
                .collect()
        };
        audit.marked("p", "shop", "jwt", "comment", marks(2..3));
        audit.marked("p", "shop", "jwt", "comment", marks(2..3));
        audit.marked("p", "shop", "jwt", "scope", marks(0..100));
        audit.flush();
        let lines = read(&settings);
        let prints = lines[0]["fingerprints"].as_array().unwrap();
        assert_eq!(prints.len(), 1);
        assert_eq!(lines[1]["fingerprints"].as_array().unwrap().len(), MOST_FINGERPRINTS);
        assert_eq!(prints[0].as_str().unwrap().len(), 20);
        assert!(
            !std::fs::read_to_string(&settings.path)
                .unwrap()
                .contains("hunter2EXAMPLE")
        );
    }

    #[test]
    fn refusals_are_told_one_by_one_and_then_counted() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory);
        let audit = Audit::default();
        audit.configure(Some(&settings)).unwrap();
        assert!(audit.marker().is_none(), "no key, no fingerprint");
        audit.refused("otlp", 7, "pprof: cut short at byte 7", Some("0011"));
        for _ in 0..MOST_REFUSED + 9 {
            audit.refused("otlp", 7, "pprof: cut short at byte 7", None);
        }
        audit.flush();
        audit.flush();
        let lines = read(&settings);
        assert_eq!(lines.len(), MOST_REFUSED + 1);
        assert_eq!(
            (&lines[0]["bytes"], &lines[0]["fingerprint"]),
            (&json!(7), &json!("0011"))
        );
        assert!(lines[1].get("fingerprint").is_none());
        assert_eq!(lines[MOST_REFUSED]["more"], 10);
    }

    #[test]
    fn what_cannot_be_written_is_kept_for_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory);
        let audit = Audit::default();
        audit.configure(Some(&settings)).unwrap();
        audit.redacted("p", "shop", "jwt", "comment", 1);
        audit.refused("otlp", 7, "pprof: cut short", None);
        // a directory in the way of the file
        std::fs::remove_file(&settings.path).unwrap();
        std::fs::create_dir(&settings.path).unwrap();
        audit.flush();
        std::fs::remove_dir(&settings.path).unwrap();
        audit.redacted("p", "shop", "jwt", "comment", 1);
        audit.flush();
        let lines = read(&settings);
        assert_eq!((&lines[0]["event"], &lines[1]["count"]), (&json!("refused"), &json!(2)));
    }

    #[test]
    fn an_audit_that_is_off_keeps_nothing() {
        let audit = Audit::default();
        audit.redacted("p", "shop", "jwt", "comment", 1);
        audit.refused("otlp", 7, "pprof: cut short", None);
        audit.event("started", Map::new());
        assert!(audit.marker().is_none());
        let counts = lock(&audit.counts);
        assert!(counts.rows.is_empty() && counts.refused.is_empty());
    }
}
