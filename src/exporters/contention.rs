//! What profiles of contentions and delays are about: Go has two kinds of them.

use crate::profile::{Dictionary, Profile, StackId};

/// Go gives its mutex and its block profiles the same types and period. The stacks tell: a mutex profile shows who let go of
/// the lock, a block profile who waited. Without names, or from elsewhere, it is what Pyroscope takes it for: `mutex`.
pub(super) fn contention(dictionary: &Dictionary, profile: &Profile) -> &'static str {
    match dictionary.str(profile.period_type.kind) {
        "block" => return "block",
        "contentions" => {}
        _ => return "mutex",
    }
    let mut leaves = profile
        .samples
        .stacks
        .iter()
        .filter_map(|stack| leaf(dictionary, *stack));
    let Some(first) = leaves.next() else { return "mutex" };
    match lets_go(first) || leaves.any(lets_go) {
        true => "mutex",
        false => "block",
    }
}

/// The name of the function on top of a stack, if it has one.
fn leaf(dictionary: &Dictionary, stack: StackId) -> Option<&str> {
    let location = dictionary.stacks[stack].first()?;
    let line = dictionary.lines[*location].first()?;
    let name = dictionary.str(dictionary.functions[line.function].name);
    Some(name).filter(|name| !name.is_empty())
}

/// `sync.(*Mutex).Unlock`, `sync.(*RWMutex).RUnlock`, `runtime.unlock`, and Go's word for those it lost.
fn lets_go(function: &str) -> bool {
    let last = function.rsplit('.').next().unwrap_or_default();
    last.to_ascii_lowercase().contains("unlock") || last == "_LostContendedRuntimeLock"
}
