//! The kill switch: who stops what, why and until when.
//!
//! Kills come from a file that somebody else keeps ([`watch`]) and from the gate's own doors: a route, a signal. The latter are kept
//! in a file of the gate's own ([`store`]), so that a restart lifts nothing. [`Switch`] has them all, tells the engine what is in
//! force, and lets them expire. Whatever is in doubt is killed: a file that cannot be read kills everything until it can.

mod entry;
mod file;
mod store;
mod switch;
#[cfg(test)]
mod tests;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

pub use entry::{Asked, Date, Kill, Source, What, Wrong};
pub use file::{add_to, read, remove_from};
pub use store::unreadable;
pub use switch::{NotLifted, Stored, Switch};

pub use crate::pipeline::clock::Now;

/// Kills that there may be at once from the file, and as many from the other doors.
pub const MOST: usize = 256;
/// Largest file of kills.
pub const MOST_BYTES: u64 = 1 << 20;
/// Longest time for which a route, a signal or a command kills.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often the file is looked at.
pub const EVERY: Duration = Duration::from_millis(100);

/// Where kills come from and are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The watched file.
    pub file: Option<PathBuf>,
    /// The directory that other kills are kept in.
    pub storage: PathBuf,
    /// How long a kill lasts that does not say.
    pub default_ttl: Duration,
    /// Tenants whose credentials may kill and lift everything by the route, as those without a tenant may.
    pub operators: Vec<String>,
    /// Ids of what there is to kill.
    pub components: Components,
    /// Nothing is written to the storage.
    pub dry_run: bool,
}

/// Ids of the configured receivers and exporters: a kill of any other kills nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Components {
    /// Receivers.
    pub receivers: Vec<String>,
    /// Exporters.
    pub exporters: Vec<String>,
}
