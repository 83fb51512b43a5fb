//! Which traces somebody keeps: those of which spans came, and those that consistent sampling will keep, as OpenTelemetry writes its
//! threshold into the state of a trace: `ot=th:c8` keeps what has a randomness of at least `c8000000000000`.

use std::hash::BuildHasher;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashSet};

use super::index::lock;
use crate::formats::otlp::spans::Span;
use crate::processors::processes::Process;

/// Services whose sampling is known at once.
const MOST_SERVICES: usize = 10_000;
/// Hexadecimal digits of a threshold, and of a randomness.
const DIGITS: usize = 14;
/// The bits of a trace id that are its randomness.
const RANDOM_BITS: u64 = (1 << 56) - 1;

/// How the spans of a service are sampled, as far as they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sampling {
    threshold: u64,
    /// Whether the randomness stands beside the threshold, and not in trace ids.
    is_explicit: bool,
}

impl Sampling {
    /// What the state of a trace says; none where nobody says that it was sampled so.
    fn of(trace_state: &[u8]) -> Option<Self> {
        let members = trace_state.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let ours = members.filter_map(|member| member.strip_prefix(b"ot=")).next()?;
        let value = |key: &[u8]| ours.split(|byte| *byte == b';').find_map(|pair| pair.strip_prefix(key));
        Some(Self {
            threshold: number(value(b"th:")?)?,
            is_explicit: value(b"rv:").is_some(),
        })
    }

    /// Whether a trace of which nothing is known but its id is kept; none where its id does not tell.
    fn keeps(self, trace_id: [u8; 16]) -> bool {
        let randomness = u128::from_be_bytes(trace_id) as u64 & RANDOM_BITS;
        self.threshold == 0 || !self.is_explicit && randomness >= self.threshold
    }
}

/// The number of hexadecimal digits of which zeros at the end may be missing.
fn number(digits: &[u8]) -> Option<u64> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(is_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    let number = u64::from_str_radix(text, 16).ok()?;
    Some(number << (4 * (DIGITS - digits.len())))
}

/// The traces that somebody keeps, as far as it is known.
pub(super) struct Exported {
    key: RandomState,
    traces: Mutex<Traces>,
    sampling: Mutex<Services>,
    /// Traces of each half.
    most: usize,
    window: Duration,
}

/// Hashes of traces of which spans came, in two halves: when one is full or old the other one is forgotten and begun anew.
struct Traces {
    young: HashSet<u64, RandomState>,
    old: HashSet<u64, RandomState>,
    since: Instant,
}

/// What services say of their sampling. When there are too many, further ones are not heard, and after a while all are asked anew:
/// whoever makes up names does not have others forgotten.
struct Services {
    sampling: HashMap<u64, Sampling, RandomState>,
    /// Since when there are too many.
    since: Instant,
}

impl Exported {
    pub(super) fn new(most: usize, window: Duration, now: Instant) -> Self {
        Self {
            key: RandomState::default(),
            traces: Mutex::new(Traces {
                young: HashSet::default(),
                old: HashSet::default(),
                since: now,
            }),
            sampling: Mutex::new(Services {
                sampling: HashMap::default(),
                since: now,
            }),
            most: (most / 2).max(1),
            window,
        }
    }

    /// A span came.
    pub(super) fn saw(&self, process: &Process, span: &Span<'_>, now: Instant) {
        let trace = self.trace(process, span.trace_id);
        let traces = &mut *lock(&self.traces);
        if traces.young.len() >= self.most || now.saturating_duration_since(traces.since) > self.window {
            traces.old = std::mem::take(&mut traces.young);
            traces.since = now;
        }
        traces.young.insert(trace);
        let (service, services) = (process.service(), &mut *lock(&self.sampling));
        let all = &mut services.sampling;
        if all.len() >= MOST_SERVICES && now.saturating_duration_since(services.since) > self.window {
            all.clear();
            services.since = now;
        }
        match Sampling::of(span.trace_state) {
            Some(_) if all.len() >= MOST_SERVICES && !all.contains_key(&service) => {}
            Some(sampling) => {
                all.insert(service, sampling);
                if all.len() < MOST_SERVICES {
                    services.since = now;
                }
            }
            None => {
                all.remove(&service);
            }
        }
    }

    /// Whether somebody keeps a trace, as far as it is known.
    pub(super) fn keeps(&self, process: &Process, trace_id: [u8; 16]) -> bool {
        self.knows(process, trace_id) || {
            let sampling = lock(&self.sampling).sampling.get(&process.service()).copied();
            sampling.is_some_and(|sampling| sampling.keeps(trace_id))
        }
    }

    fn knows(&self, process: &Process, trace_id: [u8; 16]) -> bool {
        let trace = self.trace(process, trace_id);
        let traces = lock(&self.traces);
        traces.young.contains(&trace) || traces.old.contains(&trace)
    }

    fn trace(&self, process: &Process, trace_id: [u8; 16]) -> u64 {
        self.key.hash_one((process.tenant(), trace_id))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let traces = lock(&self.traces);
        let traces = traces.young.allocation_size() + traces.old.allocation_size();
        traces + lock(&self.sampling).sampling.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(state: &str) -> Option<(u64, bool)> {
        Sampling::of(state.as_bytes()).map(|sampling| (sampling.threshold, sampling.is_explicit))
    }

    #[test]
    fn thresholds_are_read_as_the_specification_writes_them() {
        for (state, threshold) in [
            // the examples of the specification
            ("ot=th:4", 0x40_0000_0000_0000),
            ("ot=th:c", 0xc0_0000_0000_0000),
            ("ot=th:08", 0x08_0000_0000_0000),
            ("ot=th:0", 0),
            // all digits, and beside others
            ("ot=th:fffffffffffff8", 0xff_ffff_ffff_fff8),
            ("ot=th:00000000000001", 1),
            ("vendor=x, ot=p:8;th:8 ,other=ot=th:1", 0x80_0000_0000_0000),
        ] {
            assert_eq!(sampling(state), Some((threshold, false)), "{state}");
        }
        assert_eq!(sampling("ot=rv:6e6d1a75832a2f;th:8"), Some((0x80_0000_0000_0000, true)));
    }

    #[test]
    fn what_is_no_threshold_is_none() {
        for state in [
            "",
            "ot=",
            "ot=th:",
            "ot=th:xyz",
            "ot=th:C",
            "ot=th:+8",
            "ot=th:000000000000000",
            "ot=rv:6e6d1a75832a2f",
            "not=th:8",
            "tenant@ot=th:8",
            "th:8",
            "\u{fffd}ot=th:8",
        ] {
            assert_eq!(sampling(state), None, "{state}");
        }
    }

    #[test]
    fn traces_of_at_least_the_threshold_are_kept() {
        let keeps = |state: &str, randomness: u64| {
            let trace = (0xdead_beef_u128 << 96 | u128::from(randomness)).to_be_bytes();
            Sampling::of(state.as_bytes()).unwrap().keeps(trace)
        };
        assert!(keeps("ot=th:8", 0x80_0000_0000_0000) && !keeps("ot=th:8", 0x7f_ffff_ffff_ffff));
        // what stands before the last seven bytes is no part of it
        assert!(!keeps("ot=th:8", 0xff00_0000_0000_0001));
        assert!(keeps("ot=th:0", 0) && keeps("ot=th:0;rv:00000000000000", 0));
        assert!(
            !keeps("ot=th:8;rv:ffffffffffffff", 0xff_ffff_ffff_ffff),
            "its id does not tell"
        );
    }
}
