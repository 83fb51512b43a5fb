//! What a recording says about how it was made: how much time one sample stands for.

/// Settings of the recording so far. A chunk that does not repeat them keeps those before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// Nanoseconds between samples of running Java code, and of native code.
    execution: Option<i64>,
    native: Option<i64>,
    /// async-profiler's option `event`.
    clock: Clock,
    /// Its option `interval`: nanoseconds, or events if it counts something else. Zero is its default.
    interval: i64,
    /// Its option `wall`: nanoseconds.
    wall: Option<i64>,
}

/// What makes async-profiler take a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Clock {
    /// Processor time.
    #[default]
    Cpu,
    /// Time.
    Wall,
    /// An event of the processor or the kernel.
    Counter,
}

const MILLISECOND: i64 = 1_000_000;
/// What the JDK does without a setting.
const JDK_EXECUTION: i64 = 20 * MILLISECOND;
/// What async-profiler does without one.
const ASYNC_CPU: i64 = 10 * MILLISECOND;
const ASYNC_WALL: i64 = 50 * MILLISECOND;

impl Settings {
    /// Takes one in: for the JDK it is about events of a type, for async-profiler about itself.
    pub fn learn(&mut self, is_async_profiler: bool, about: Option<&str>, name: &str, value: &str) {
        match (is_async_profiler, name) {
            (true, "event") => {
                self.clock = match value {
                    "" | "cpu" | "itimer" | "ctimer" | "cpu-clock" | "task-clock" => Clock::Cpu,
                    "wall" => Clock::Wall,
                    _ => Clock::Counter,
                }
            }
            (true, "interval") => match about {
                Some("jdk.ExecutionSample" | "datadog.ExecutionSample") => {
                    self.interval = value.parse().unwrap_or_default();
                }
                Some("datadog.MethodSample") => self.wall = value.parse().ok(),
                _ => {}
            },
            (true, "wall") => self.wall = value.parse().ok(),
            (false, "period") => match about {
                Some("jdk.ExecutionSample") => self.execution = nanos(value).or(self.execution),
                Some("jdk.NativeMethodSample") => self.native = nanos(value).or(self.native),
                _ => {}
            },
            _ => {}
        }
    }

    /// What a sample of running code stands for.
    pub fn execution(&self, is_async_profiler: bool) -> i64 {
        match (is_async_profiler, self.clock) {
            (true, Clock::Wall) => self.wall(),
            (true, _) => or(self.interval, ASYNC_CPU),
            (false, _) => self.execution.unwrap_or(JDK_EXECUTION),
        }
    }

    /// What a sample of native code stands for.
    pub fn native(&self) -> i64 {
        self.native.unwrap_or(JDK_EXECUTION)
    }

    /// What a sample of any thread stands for.
    pub fn wall(&self) -> i64 {
        match (self.wall, self.clock) {
            (Some(wall), _) => or(wall, ASYNC_WALL),
            (None, Clock::Wall) => or(self.interval, ASYNC_WALL),
            (None, _) => ASYNC_WALL,
        }
    }

    /// What async-profiler's samples are taken by.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

fn or(value: i64, default: i64) -> i64 {
    if value > 0 { value } else { default }
}

/// `20 ms` as nanoseconds.
fn nanos(value: &str) -> Option<i64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at_checked(digits)?;
    let scale = match unit.trim() {
        "ns" => 1,
        "us" => 1_000,
        "ms" => MILLISECOND,
        "s" => 1_000 * MILLISECOND,
        "m" => 60_000 * MILLISECOND,
        _ => return None,
    };
    number
        .parse::<i64>()
        .ok()?
        .checked_mul(scale)
        .filter(|nanos| *nanos > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_of_the_jdk_have_units() {
        assert_eq!(nanos("20 ms"), Some(20_000_000));
        assert_eq!(nanos("10ms"), Some(10_000_000));
        assert_eq!(nanos("1 s"), Some(1_000_000_000));
        for none in [
            "everyChunk",
            "",
            "20",
            "0 ms",
            "99999999999999999999 s",
            "9999999999999 s",
        ] {
            assert_eq!(nanos(none), None, "{none}");
        }
    }

    #[test]
    fn each_writer_has_its_defaults() {
        let mut settings = Settings::default();
        assert_eq!(
            (settings.execution(false), settings.execution(true)),
            (20_000_000, 10_000_000)
        );
        assert_eq!(settings.wall(), 50_000_000);
        settings.learn(false, Some("jdk.ExecutionSample"), "period", "10 ms");
        settings.learn(true, None, "event", "wall");
        settings.learn(true, Some("jdk.ExecutionSample"), "interval", "7");
        settings.learn(true, Some("datadog.ObjectSample"), "interval", "9");
        assert_eq!(
            (settings.execution(false), settings.execution(true), settings.wall()),
            (10_000_000, 7, 7)
        );
        settings.learn(true, None, "event", "cache-misses");
        assert_eq!((settings.clock(), settings.execution(true)), (Clock::Counter, 7));
    }
}
