//! `__name__`: what Pyroscope's own clients would call a profile of these types.

use crate::exporters::contention::contention;
use crate::profile::{Dictionary, Profile, Value};

/// The profile attribute that holds the name under which a Pyroscope client sent it.
const RECEIVED: &str = "pyroscope.name";

/// The name as received, else the one that the server gives such a pprof when it comes without: by the first type that tells.
pub(super) fn name(dictionary: &Dictionary, profile: &Profile) -> String {
    if let Some(Value::String(id)) = dictionary.attribute(profile.attributes, RECEIVED)
        && id.is_set()
    {
        // the server writes a `:` behind the name, and no query finds one that has its own
        return dictionary.str(*id).replace(':', "_");
    }
    let types = || profile.sample_types.iter().map(|of| dictionary.str(of.kind));
    for name in ["wall", "off_cpu"] {
        if types().any(|kind| kind.contains(name)) {
            return name.to_owned();
        }
    }
    match types().find_map(|kind| of_type(dictionary, profile, kind)) {
        Some(name) => name.to_owned(),
        None => plain(types().next_back().unwrap_or_default()),
    }
}

/// The name that one type gives the whole profile; none if it tells nothing.
fn of_type(dictionary: &Dictionary, profile: &Profile, kind: &str) -> Option<&'static str> {
    let holds = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    match kind {
        "samples" => Some("process_cpu"),
        "space" | "objects" => Some("memory"),
        "goroutine" => Some("goroutines"),
        "contentions" | "delay" => Some(contention(dictionary, profile)),
        _ if holds(&["cpu", "itimer"]) => Some("process_cpu"),
        _ if holds(&["alloc_", "inuse_", "heap_"]) => Some("memory"),
        _ if holds(&["mutex_"]) => Some("mutex"),
        _ if holds(&["block_"]) => Some("block"),
        _ if holds(&["lock_"]) => Some("lock"),
        _ if holds(&["goroutines"]) => Some("goroutines"),
        _ => None,
    }
}

fn plain(kind: &str) -> String {
    if kind.is_empty() {
        return "other".to_owned();
    }
    let of = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    kind.chars().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, any};
    use crate::profile::{Id, Profiles, ValueType};

    fn recording(file: &str) -> Profiles {
        let Ok(read) = any::decode_any(crate::testing::data(file).into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        read.decoded.profiles
    }

    fn name_of(profiles: &Profiles) -> String {
        name(profiles.dictionary(), profiles.iter().next().unwrap().profile)
    }

    #[test]
    fn types_have_the_names_that_pyroscopes_clients_give_them() {
        for (types, period, expected) in [
            (&["samples", "wall", "cpu"][..], "wall", "wall"),
            (&["samples", "cpu"], "cpu", "process_cpu"),
            (&["samples"], "", "process_cpu"),
            (&["itimer"], "itimer", "process_cpu"),
            (&["alloc_objects", "inuse_space"], "space", "memory"),
            (&["alloc_in_new_tlab_bytes"], "space", "memory"),
            (&["objects", "space"], "space", "memory"),
            (&["goroutine"], "goroutine", "goroutines"),
            (&["contentions", "delay"], "mutex", "mutex"),
            (&["contentions", "delay"], "block", "block"),
            (&["delay"], "", "mutex"),
            (&["contentions"], "", "mutex"),
            (&["block_count", "block_duration"], "", "block"),
            (&["mutex_duration"], "", "mutex"),
            (&["lock_count", "lock_time"], "", "lock"),
            (&["cpu", "alloc_size", "lock_count"], "cpu", "process_cpu"),
            (&["samples", "off_cpu"], "", "off_cpu"),
            (&["locks"], "", "locks"),
            (&["threadcreate"], "threadcreate", "threadcreate"),
            (&["allocations", "exceptions"], "", "exceptions"),
            (&["time spent"], "", "time_spent"),
            (&[""], "", "other"),
            (&[], "", "other"),
        ] {
            let mut d = Dictionary::default();
            let mut of = |kind: &&str| ValueType {
                kind: d.strings.push(kind),
                unit: Id::UNSET,
            };
            let profile = Profile {
                sample_types: types.iter().map(&mut of).collect(),
                period_type: of(&period),
                ..Profile::default()
            };
            assert_eq!(name(&d, &profile), expected, "{types:?} by {period}");
        }
    }

    #[test]
    fn the_stacks_of_go_tell_who_waits_from_who_lets_go() {
        let (mutex, block) = (recording("go123-mutex.pb.gz"), recording("go123-block.pb.gz"));
        assert_eq!((name_of(&mutex).as_str(), name_of(&block).as_str()), ("mutex", "block"));
        // names that redaction took away tell nothing
        for mut profiles in [mutex, block] {
            profiles.replace_strings(|_, role, id| match role {
                crate::profile::Role::FunctionName => Id::UNSET,
                _ => id,
            });
            assert_eq!(name_of(&profiles), "mutex");
        }
    }
}
