//! How many files, and with them connections, the process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit on open files as far as the process may. The usual one, 1024, is for programs that still use `select`; a
/// single listener may hold as many connections.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, highest).is_err() {
        tracing::debug!(limit = ?limit.current, "the limit on open files stays as it is");
    }
}
