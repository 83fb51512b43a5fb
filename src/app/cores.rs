//! No core dump: what a crashed process held in memory is what redaction has not seen yet.

/// Switches core dumps off for good, for this process and what it starts.
///
/// The limit is 1 on Linux: with 0 the kernel still hands the core to the program that `core_pattern` pipes to, and 1 is its word
/// for no dump of either kind. The process stays readable to its own user, because taking that away (`PR_SET_DUMPABLE`) hides
/// `/proc/PID` from the profilers and monitors of that user too; it is taken only where the limit cannot be set.
#[cfg(target_os = "linux")]
pub(super) fn forbid() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    // a hard limit of 0 cannot be raised to 1 again
    if !limit(1) && set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        tracing::warn!("core dumps could not be switched off");
    }
}

/// Switches core dumps off for good, for this process and what it starts.
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) fn forbid() {
    if !limit(0) {
        tracing::warn!("core dumps could not be switched off");
    }
}

/// Elsewhere it is the system's to decide.
#[cfg(not(unix))]
pub(super) fn forbid() {}

#[cfg(unix)]
fn limit(bytes: u64) -> bool {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::Core, limit).is_ok()
}
