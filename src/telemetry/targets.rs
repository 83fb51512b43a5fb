//! The targets of a receiver that fetches profiles, and how they fare: counted for the metrics, listed for the pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Number;

/// How a target fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nobody was there yet.
    #[default]
    New,
    /// The last visit brought a profile.
    Up,
    /// It brought none.
    Down,
}

impl Health {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What came of the last visit to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visited {
    /// How the target fares.
    pub health: Health,
    /// What went wrong; empty if nothing did. Never text of an answer.
    pub why: String,
    /// When the visit ended.
    pub at: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
}

/// The targets of one receiver.
#[derive(Debug)]
pub struct Targets {
    list: Mutex<List>,
    new: Number,
    up: Number,
    down: Number,
    left_out: Number,
}

#[derive(Debug, Default)]
struct List {
    known: BTreeMap<Arc<str>, Visited>,
    left_out: usize,
}

impl Targets {
    /// An empty list, counted in these numbers.
    pub(super) fn counting([new, up, down, left_out]: [Number; 4]) -> Self {
        Self {
            list: Mutex::default(),
            new,
            up,
            down,
            left_out,
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, health: Health) -> &Number {
        match health {
            Health::New => &self.new,
            Health::Up => &self.up,
            Health::Down => &self.down,
        }
    }

    /// There is a target at this address.
    pub fn add(&self, address: Arc<str>) {
        self.put(address, Visited::default());
    }

    /// It was visited.
    pub fn visited(&self, address: &Arc<str>, visited: Visited) {
        self.put(address.clone(), visited);
    }

    fn put(&self, address: Arc<str>, visited: Visited) {
        self.count(visited.health).add(1);
        if let Some(before) = self.list().known.insert(address, visited) {
            self.count(before.health).sub(1);
        }
    }

    /// There is none any more.
    pub fn remove(&self, address: &str) {
        if let Some(gone) = self.list().known.remove(address) {
            self.count(gone.health).sub(1);
        }
    }

    /// So many were found that cannot be visited, or that are more than may be.
    pub fn leave_out(&self, targets: usize) {
        let before = std::mem::replace(&mut self.list().left_out, targets);
        self.left_out.change(before, targets);
    }

    /// All of them, by address.
    pub fn all(&self) -> Vec<(Arc<str>, Visited)> {
        let list = self.list();
        let copy = |(address, visited): (&Arc<str>, &Visited)| (address.clone(), visited.clone());
        list.known.iter().map(copy).collect()
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        for (_, visited) in self.all() {
            self.count(visited.health).sub(1);
        }
        self.leave_out(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn counts_follow_the_list_and_go_with_it() {
        let metrics = Metrics::default();
        let receiver: Arc<str> = "scrape".into();
        let (old, new) = (metrics.targets(&receiver), metrics.targets(&receiver));
        let counts = || {
            let count = |health: &str| {
                let line = format!("flamegate_scrape_targets{{receiver=\"scrape\",health=\"{health}\"}} ");
                let text = metrics.text();
                let found = text
                    .lines()
                    .find_map(|known| known.strip_prefix(&line).map(str::to_owned));
                found.unwrap()
            };
            ["new", "up", "down", "left_out"].map(count).join(" ")
        };
        for address in ["http://a:1", "http://b:1", "http://c:1"] {
            old.add(address.into());
        }
        old.leave_out(7);
        let visited = |health| Visited {
            health,
            ..Visited::default()
        };
        old.visited(&"http://a:1".into(), visited(Health::Up));
        old.visited(&"http://b:1".into(), visited(Health::Down));
        assert_eq!(counts(), "1 1 1 7");
        old.visited(&"http://b:1".into(), visited(Health::Up));
        old.remove("http://c:1");
        old.remove("http://never.was.there:1");
        assert_eq!(counts(), "0 2 0 7");
        // a reload: the next one counts already when this one ends
        new.add("http://a:1".into());
        assert_eq!(metrics.all_targets().len(), 2);
        drop(old);
        assert_eq!(counts(), "1 0 0 0");
        assert_eq!(metrics.all_targets().len(), 1);
    }
}
