//! Profiles of Pyroscope's text formats: lines say how often, the application's last name says of what.

use std::sync::Arc;

use crate::profile::{Observations, Profiles, ValueType};

/// Samples in a second of whoever does not say, or says nonsense.
pub(super) const SAMPLE_RATE: u64 = 100;

/// What the lines of a text count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    kind: &'static str,
    unit: &'static str,
    /// Pyroscope's name for profiles of it.
    pub name: &'static str,
    /// Whether lines count samples of a clock, which become nanoseconds.
    clocked: bool,
}

const fn counted(kind: &'static str, unit: &'static str, name: &'static str) -> Counted {
    Counted {
        kind,
        unit,
        name,
        clocked: false,
    }
}

const fn clocked(kind: &'static str, name: &'static str) -> Counted {
    Counted {
        clocked: true,
        ..counted(kind, "nanoseconds", name)
    }
}

const CPU: Counted = clocked("cpu", "process_cpu");

const WALL: Counted = clocked("wall", "wall");

/// The last names that Pyroscope knows, with what a server makes of them.
const ENDINGS: [(&str, Counted); 26] = [
    ("cpu", CPU),
    ("wall", WALL),
    ("itimer", CPU),
    ("inuse_space", counted("inuse_space", "bytes", "memory")),
    ("inuse_objects", counted("inuse_objects", "count", "memory")),
    ("alloc_space", counted("alloc_space", "bytes", "memory")),
    ("alloc_objects", counted("alloc_objects", "count", "memory")),
    (
        "alloc_in_new_tlab_bytes",
        counted("alloc_in_new_tlab_bytes", "bytes", "memory"),
    ),
    (
        "alloc_in_new_tlab_objects",
        counted("alloc_in_new_tlab_objects", "count", "memory"),
    ),
    (
        "alloc_outside_tlab_bytes",
        counted("alloc_outside_tlab_bytes", "bytes", "memory"),
    ),
    (
        "alloc_outside_tlab_objects",
        counted("alloc_outside_tlab_objects", "count", "memory"),
    ),
    ("live", counted("live", "count", "memory")),
    ("bytes", counted("samples", "bytes", "memory")),
    ("goroutines", counted("goroutines", "count", "goroutine")),
    ("mutex_count", counted("contentions", "count", "mutex")),
    ("mutex_duration", counted("delay", "nanoseconds", "mutex")),
    ("block_count", counted("contentions", "count", "block")),
    ("block_duration", counted("delay", "nanoseconds", "block")),
    ("lock_count", counted("contentions", "count", "block")),
    ("lock_duration", counted("delay", "nanoseconds", "block")),
    ("exceptions", counted("samples", "count", "exceptions")),
    ("samples", counted("samples", "count", "")),
    ("seconds", WALL),
    ("milliseconds", WALL),
    ("microseconds", WALL),
    ("nanoseconds", WALL),
];

/// Takes the ending off an application's name. A name without a dot counts CPU; none for an ending that counts nothing.
pub(super) fn split_name(app: &str) -> Option<(&str, Counted)> {
    let Some((service, ending)) = app.rsplit_once('.') else {
        return Some((app, CPU));
    };
    let known = ENDINGS.iter().find(|(name, _)| *name == ending);
    known
        .filter(|_| !service.is_empty())
        .map(|(_, counted)| (service, *counted))
}

impl Counted {
    /// Makes profiles of plain counts into profiles of what was counted.
    pub(super) fn write_to(self, profiles: &mut Profiles, sample_rate: u64) {
        let (dictionary, resources) = profiles.edit();
        let sample_type = ValueType {
            kind: dictionary.strings.push(self.kind),
            unit: dictionary.strings.push(self.unit),
        };
        let clock = ValueType {
            kind: dictionary.strings.push(CPU.kind),
            unit: dictionary.strings.push(CPU.unit),
        };
        let period = i64::try_from(1_000_000_000 / sample_rate.max(1)).unwrap_or(1).max(1);
        let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
        for profile in scopes.flat_map(|scope| &mut scope.profiles) {
            profile.sample_types = vec![sample_type];
            if !self.clocked {
                continue;
            }
            // as a server has it, for `wall` too
            (profile.period_type, profile.period) = (clock, period);
            if let Observations::Totals(values) = &mut Arc::make_mut(&mut profile.samples).observations {
                for value in values {
                    *value = value.saturating_mul(period);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, collapsed};

    #[test]
    fn the_last_name_says_what_is_counted() {
        assert_eq!(split_name("app"), Some(("app", CPU)));
        assert_eq!(split_name("my.app.cpu"), Some(("my.app", CPU)));
        let (service, counted) = split_name("my.app.alloc_space").unwrap();
        assert_eq!(
            (service, counted.kind, counted.unit),
            ("my.app", "alloc_space", "bytes")
        );
        assert_eq!(split_name("my.awesome.app"), None);
        assert_eq!(split_name(".cpu"), None);
    }

    #[test]
    fn samples_of_a_clock_become_nanoseconds_and_others_stay() {
        for (name, rate, kind, sum, period) in [
            ("a.cpu", 100, "cpu", 7 * 10_000_000, 10_000_000),
            ("a.wall", 1_000, "wall", 7 * 1_000_000, 1_000_000),
            ("a.seconds", 1_000, "wall", 7 * 1_000_000, 1_000_000),
            ("a.itimer", 1_000, "cpu", 7 * 1_000_000, 1_000_000),
            ("a.inuse_objects", 100, "inuse_objects", 7, 0),
        ] {
            let mut profiles = collapsed::decode(b"main;work 3\nmain 4\n", &Limits::default())
                .unwrap()
                .profiles;
            split_name(name).unwrap().1.write_to(&mut profiles, rate);
            let profile = profiles.iter().next().unwrap().profile;
            assert_eq!(profiles.dictionary().str(profile.sample_types[0].kind), kind);
            assert_eq!((profile.samples.sum(0, 1), profile.period), (sum, period));
            let clock = profiles.dictionary().str(profile.period_type.kind);
            assert_eq!(clock, if period > 0 { "cpu" } else { "" }, "{name}");
        }
    }
}
