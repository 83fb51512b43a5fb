//! The kill switch at work: its file is looked at, and its signals are heard, whatever else the process is busy with.

use std::sync::{Arc, Weak};

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Component, Config, ConfigError, ConfigErrors, Loaded};
use crate::kill::{Asked, Components, EVERY, LONGEST, Now, Settings, Source, Switch, What, unreadable};
use crate::pipeline::compute;

/// What the configuration says of it.
pub(super) fn settings(loaded: &Loaded, config: &Config, dry_run: bool) -> Result<Settings, ConfigErrors> {
    let asked = &config.service.kill_switch;
    let wrong = |key: &str, why: &str| Err(loaded.error_at(&["service", "kill_switch", key], why).into());
    if asked.default_ttl.0.is_zero() || asked.default_ttl.0 > LONGEST {
        return wrong("default_ttl", "write a duration of at most 30 days, such as 4h");
    }
    if asked.storage.is_empty() {
        return wrong("storage", "missing: the directory that kills are kept in");
    }
    if asked.file.as_ref().is_some_and(String::is_empty) {
        return wrong("file", "no path; leave it out where no file is to be watched");
    }
    Ok(Settings {
        file: asked.file.clone().map(Into::into),
        storage: asked.storage.clone().into(),
        default_ttl: asked.default_ttl.0,
        operators: asked.operators.clone(),
        components: components(config),
        dry_run,
    })
}

/// That everything would be killed here from the start.
pub(super) fn lacking(loaded: &Loaded, config: &Config) -> Option<ConfigError> {
    let why = unreadable(config.service.kill_switch.storage.as_ref())?;
    let path = ["service", "kill_switch", "storage"];
    let why = format!("`run` would kill everything here, as kills that were kept cannot be read: {why}");
    Some(loaded.error_at(&path, why))
}

/// What there is to kill.
pub fn components(config: &Config) -> Components {
    let ids = |components: &[Component]| components.iter().map(|component| component.id.clone()).collect();
    Components {
        receivers: ids(&config.receivers),
        exporters: ids(&config.exporters),
    }
}

/// Takes up what is killed, and heeds file and signals until nobody has the switch any more.
pub(super) fn start(switch: &Arc<Switch>) -> std::io::Result<()> {
    switch.begin(Now::read());
    let watched = Arc::downgrade(switch);
    let thread = std::thread::Builder::new().name("kill-switch".to_owned());
    thread.spawn(move || watch(&watched))?;
    let heard = Arc::downgrade(switch);
    let (mut kill, mut lift) = (
        signal(SignalKind::user_defined1())?,
        signal(SignalKind::user_defined2())?,
    );
    tokio::spawn(async move {
        loop {
            let kills = tokio::select! {
                Some(()) = kill.recv() => true,
                Some(()) = lift.recv() => false,
                else => return,
            };
            let Some(switch) = heard.upgrade() else { return };
            // storing waits on the disk
            let _ = tokio::task::spawn_blocking(move || heed(&switch, kills)).await;
        }
    });
    Ok(())
}

/// A thread of its own: neither requests nor disks that others wait for hold it up.
fn watch(switch: &Weak<Switch>) {
    while let Some(switch) = switch.upgrade() {
        // whoever kills must go on, whatever happens
        if let Err(panicked) = compute::guard(|| switch.look(Now::read())) {
            let fingerprint = panicked.fingerprint;
            tracing::error!(fingerprint, "the kill switch panicked, and goes on");
        }
        drop(switch);
        std::thread::sleep(EVERY);
    }
}

fn heed(switch: &Switch, kills: bool) {
    if !kills {
        if switch.lift_signals("SIGUSR2", Now::read()) == 0 {
            tracing::info!("SIGUSR2: no signal has killed anything; other kills stay");
        }
        return;
    }
    let all = Asked {
        what: What::All,
        reason: "SIGUSR1".to_owned(),
        actor: "a signal".to_owned(),
        lasts: None,
        expires: None,
    };
    if let Err(wrong) = switch.kill(all, Source::Signal, Now::read()) {
        tracing::error!("SIGUSR1 kills nothing: {wrong}");
    }
}

/// Says at the start what is killed.
pub(super) fn tell(switch: &Switch) {
    // what cannot be read was told when that was found
    let mut kills = switch.kills();
    kills.retain(|kill| kill.source != Source::Gate);
    if !kills.is_empty() {
        let all: Vec<String> = kills
            .iter()
            .map(|kill| format!("{} ({})", kill.what, kill.id))
            .collect();
        tracing::warn!(kills = kills.len(), "killed, as before the start: {}", all.join(", "));
    }
}
