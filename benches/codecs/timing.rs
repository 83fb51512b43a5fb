//! Two contestants, round by round in turn, by the clock of the thread: what neighbours on the machine take is not counted.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What the best rounds of a contestant took.
#[derive(Clone, Copy)]
pub struct Times {
    /// Until the result is there.
    pub alone: Duration,
    /// Until it is freed again.
    pub and_drop: Duration,
}

impl Times {
    const NONE: Self = Self {
        alone: Duration::MAX,
        and_drop: Duration::MAX,
    };

    fn add<T>(&mut self, work: &mut impl FnMut() -> T) {
        let (result, alone) = timed(|| black_box(work()));
        let ((), freeing) = timed(|| drop(result));
        self.alone = self.alone.min(alone);
        self.and_drop = self.and_drop.min(alone + freeing);
    }
}

/// What some work takes of the processor, in this thread.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    let result = work();
    (result, now() - start)
}

fn now() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// The best of `rounds` rounds of each.
pub fn in_turn<A, B>(rounds: usize, mut first: impl FnMut() -> A, mut second: impl FnMut() -> B) -> (Times, Times) {
    let (mut a, mut b) = (Times::NONE, Times::NONE);
    for _ in 0..rounds {
        a.add(&mut first);
        b.add(&mut second);
    }
    (a, b)
}

/// How many times as long `a` took.
pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
