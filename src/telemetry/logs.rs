//! Logs: to stderr, console or JSON, so many per place in the code and no more.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tracing::callsite::Identifier;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Length of the window that lines are counted in.
const TICK: Duration = Duration::from_secs(10);
/// Lines of one place that pass in a window.
const INITIAL: u64 = 10;
/// After those, one in so many.
const THEREAFTER: u64 = 100;

/// The target of lines that were chosen by a sampling of their own.
pub const SAMPLED_BY_ITSELF: &str = "flamegate::debug";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// For people.
    #[default]
    Console,
    /// One JSON object a line.
    Json,
}

/// Starts logging. Only the first call of a process has an effect.
pub fn init(level: Level, encoding: Encoding) {
    CURRENT.store(Some(Arc::new(level)));
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    let (least, handle) = reload::Layer::new(targets(level));
    let lines: Box<dyn Layer<_> + Send + Sync> = match encoding {
        Encoding::Console => lines.with_filter(RateLimit::default()).boxed(),
        Encoding::Json => lines.json().with_filter(RateLimit::default()).boxed(),
    };
    let _ = tracing_subscriber::registry().with(lines.with_filter(least)).try_init();
    let _ = LEVEL.set(Box::new(move |level| {
        // it fails only when the logs have gone
        let _ = handle.reload(targets(level));
    }));
}

/// What is written at a level. What libraries say below `info` is about each frame of HTTP/2 and each handshake, and drowns the
/// rest: only `trace` asks for it.
fn targets(level: Level) -> Targets {
    let others = match level {
        Level::TRACE => level,
        _ => level.min(Level::INFO),
    };
    Targets::new()
        .with_default(others)
        .with_target(env!("CARGO_CRATE_NAME"), level)
}

/// The least severe level that is written.
pub fn level() -> Level {
    CURRENT.load().as_deref().copied().unwrap_or(Level::INFO)
}

/// Changes the least severe level that is written.
pub fn set_level(level: Level) {
    CURRENT.store(Some(Arc::new(level)));
    if let Some(set) = LEVEL.get() {
        set(level);
    }
}

static CURRENT: ArcSwapOption<Level> = ArcSwapOption::const_empty();

/// Reaches the filter that [`init`] made.
static LEVEL: OnceLock<Box<dyn Fn(Level) + Send + Sync>> = OnceLock::new();

/// Lets the first lines of each place in the code pass, then a few, as the Collector does. Its memory is bounded by the code itself.
#[derive(Debug, Default)]
struct RateLimit(Mutex<HashMap<Identifier, Window>>);

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u64,
}

impl Window {
    fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= TICK {
            *self = Self { since: now, lines: 0 };
        }
        self.lines += 1;
        self.lines <= INITIAL || (self.lines - INITIAL).is_multiple_of(THEREAFTER)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for RateLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &tracing::Event<'_>, _: &Context<'_, S>) -> bool {
        if event.metadata().target() == SAMPLED_BY_ITSELF {
            return true;
        }
        let now = Instant::now();
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows
            .entry(event.metadata().callsite())
            .or_insert(Window { since: now, lines: 0 })
            .admits(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_for_our_own_lines() {
        for (level, target, at, is_written) in [
            (Level::DEBUG, "flamegate::pipeline::sink", Level::DEBUG, true),
            (Level::DEBUG, "h2::codec", Level::DEBUG, false),
            (Level::DEBUG, "rustls", Level::INFO, true),
            (Level::TRACE, "h2::codec", Level::TRACE, true),
            (Level::WARN, "h2::codec", Level::INFO, false),
            (Level::WARN, "flamegate", Level::INFO, false),
        ] {
            assert_eq!(
                targets(level).would_enable(target, &at),
                is_written,
                "{level} {target} {at}"
            );
        }
    }

    #[test]
    fn ten_lines_then_one_in_a_hundred_until_the_window_ends() {
        let start = Instant::now();
        let mut window = Window { since: start, lines: 0 };
        let passed = (0..210).filter(|_| window.admits(start)).count();
        assert_eq!(passed, 12);
        assert!(window.admits(start + TICK));
    }
}
