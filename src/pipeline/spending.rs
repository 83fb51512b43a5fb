//! What exporters sent, for whoever keeps the accounts: bytes by exporter and tenant, since somebody took them down last.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// Tenants of one exporter that are counted apart.
pub const MOST_TENANTS: usize = 1_000;
/// Stands for all further ones.
pub const OTHER_TENANTS: &str = "__overflow__";

/// What was sent since it was last taken. It belongs to the process: reloads change nothing of it.
#[derive(Clone, Default)]
pub struct Spending(Arc<Mutex<BTreeMap<Arc<str>, Account>>>);

/// The bytes of one exporter.
#[derive(Clone, Default)]
pub struct Account(Arc<Tenants>);

#[derive(Default)]
struct Tenants {
    /// Read by every delivery, and replaced when a tenant is new.
    known: ArcSwap<HashMap<Arc<str>, Arc<AtomicU64>>>,
    growing: Mutex<()>,
}

/// Bytes that were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Id of the exporter.
    pub exporter: Arc<str>,
    /// Whose they were.
    pub tenant: Arc<str>,
    /// How many.
    pub bytes: u64,
}

impl Spending {
    /// The account of an exporter, whichever of its generations asks.
    pub fn account(&self, exporter: &Arc<str>) -> Account {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(exporter.clone()).or_default().clone()
    }

    /// What was sent since this was called last; whoever calls has to keep it.
    pub fn take(&self) -> Vec<Sum> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut sums = Vec::new();
        for (exporter, account) in accounts {
            for (tenant, sent) in account.0.known.load().iter() {
                let bytes = sent.swap(0, Ordering::Relaxed);
                if bytes > 0 {
                    let (exporter, tenant) = (exporter.clone(), tenant.clone());
                    sums.push(Sum {
                        exporter,
                        tenant,
                        bytes,
                    });
                }
            }
        }
        sums
    }
}

impl Account {
    /// So many bytes of a tenant arrived.
    pub fn add(&self, tenant: &Arc<str>, bytes: u64) {
        if let Some(sent) = self.0.known.load().get(tenant) {
            sent.fetch_add(bytes, Ordering::Relaxed);
            return;
        }
        self.entry(tenant).fetch_add(bytes, Ordering::Relaxed);
    }

    /// The counter of a tenant that was not there a moment ago.
    fn entry(&self, tenant: &Arc<str>) -> Arc<AtomicU64> {
        let _alone = self.0.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.0.known.load();
        let tenant = match known.contains_key(tenant) || known.len() < MOST_TENANTS {
            true => tenant.clone(),
            false => OTHER_TENANTS.into(),
        };
        if let Some(sent) = known.get(&tenant) {
            return sent.clone();
        }
        let sent = Arc::new(AtomicU64::new(0));
        let mut grown = HashMap::clone(&known);
        grown.insert(tenant, sent.clone());
        self.0.known.store(Arc::new(grown));
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_taken_once_and_none_of_it_is_lost_between_threads() {
        let spending = Spending::default();
        let exporter: Arc<str> = "otlp_http/vendor".into();
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                // each is another generation of the same exporter
                let account = spending.account(&exporter);
                std::thread::spawn(move || {
                    for n in 0..1_000u64 {
                        let tenant: Arc<str> = format!("tenant-{}", (n + sender) % 7).into();
                        account.add(&tenant, 3);
                    }
                })
            })
            .collect();
        let mut taken = 0;
        while senders.iter().any(|sender| !sender.is_finished()) {
            taken += spending.take().iter().map(|sum| sum.bytes).sum::<u64>();
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        taken += spending.take().iter().map(|sum| sum.bytes).sum::<u64>();
        assert_eq!(taken, 4 * 1_000 * 3);
        assert_eq!(spending.take(), []);
    }

    #[test]
    fn tenants_beyond_the_most_share_an_entry() {
        let spending = Spending::default();
        let account = spending.account(&"file".into());
        for n in 0..MOST_TENANTS + 500 {
            account.add(&n.to_string().into(), 1);
        }
        let sums = spending.take();
        assert_eq!(sums.len(), MOST_TENANTS + 1);
        let other = sums.iter().find(|sum| &*sum.tenant == OTHER_TENANTS);
        assert_eq!(other.map(|sum| sum.bytes), Some(500));
        // whoever had an entry keeps it
        account.add(&"7".into(), 2);
        assert_eq!(spending.take().first().map(|sum| sum.bytes), Some(2));
    }
}
