//! The ledger at work: what was sent is looked at on a thread of its own, and alerts are told from there.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use crate::config::{ConfigError, Loaded};
use crate::ledger::{EVERY, Hook, Ledger, Now, Telling, Wrong};
use crate::pipeline::{Spending, compute};

/// What is wrong with a plan, with the place where that was written.
pub(super) fn placed(loaded: &Loaded, wrong: &Wrong) -> ConfigError {
    let path = ["processors", &wrong.processor];
    let path: Vec<&str> = path.into_iter().chain(wrong.path.split('.')).collect();
    loaded.error_at(&path, wrong.message.clone())
}

/// Looks until nobody has the ledger any more. A disk that keeps it waiting keeps nobody else.
pub(super) fn start(ledger: &Arc<Ledger>, spending: Spending) -> std::io::Result<()> {
    let (ledger, runtime) = (Arc::downgrade(ledger), Handle::current());
    let thread = std::thread::Builder::new().name("ledger".to_owned());
    thread.spawn(move || watch(&ledger, &spending, &runtime))?;
    Ok(())
}

fn watch(ledger: &Weak<Ledger>, spending: &Spending, runtime: &Handle) {
    while let Some(kept) = ledger.upgrade() {
        match compute::guard(|| kept.look(spending, Now::read())) {
            Ok(telling) => telling.into_iter().for_each(|one| tell(&kept, one, runtime)),
            Err(panicked) => {
                let fingerprint = panicked.fingerprint;
                tracing::error!(fingerprint, "the ledger panicked, and goes on");
            }
        }
        drop(kept);
        std::thread::sleep(EVERY);
    }
}

/// Tells the webhook of a plan, if it has one.
fn tell(ledger: &Arc<Ledger>, Telling { alert, plan, .. }: Telling, runtime: &Handle) {
    let Some(webhook) = &plan.terms.webhook else { return };
    let hook = Hook::new(webhook);
    let ledger = Arc::downgrade(ledger);
    runtime.spawn(async move {
        let told = match hook {
            Ok(hook) => hook.tell(&alert).await,
            Err(wrong) => Err(wrong.to_string()),
        };
        let Some(ledger) = ledger.upgrade() else { return };
        match told {
            Ok(()) => ledger.told(&alert.key),
            Err(why) => ledger.not_told(&alert.key, &why),
        }
    });
}
