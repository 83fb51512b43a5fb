//! Waits for locks, of gperftools and of Go.

use super::draft::Draft;
use super::java;
use super::scan::{Scan, addresses, call};
use super::text::Text;
use crate::formats::DecodeError;
use crate::formats::lines::Line;

/// What stands above the samples.
struct Settings {
    cycles_per_second: i64,
    /// One wait in so many was sampled.
    period: i64,
}

pub(super) fn read(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    if java::is_contention(bytes) {
        return java::read_contention(bytes, draft);
    }
    draft.types(&[("contentions", "count"), ("delay", "nanoseconds")]);
    let mut settings = Settings {
        cycles_per_second: 0,
        period: 1,
    };
    let mut text = Text::new(bytes);
    // the heading, by which the form was told
    text.next(draft)?;
    while let Some(line) = text.next(draft)? {
        let told = line.text();
        if let Some((key, value)) = told.split_once('=') {
            settings.read(key.trim(), value, &line, draft)?;
        } else {
            let sample = settings.sample(&told);
            let (values, stack) = sample.ok_or_else(|| draft.malformed(&line, "no wait with a stack"))?;
            draft.sample(&values, &stack)?;
        }
    }
    draft.period("contentions", "count", settings.period);
    text.end(draft)
}

impl Settings {
    fn read(&mut self, key: &str, value: &str, line: &Line<'_>, draft: &mut Draft<'_>) -> Result<(), DecodeError> {
        let setting = match key {
            "cycles/second" => &mut self.cycles_per_second,
            "sampling period" => &mut self.period,
            "ms since reset" => {
                draft.profile.duration_nano = nanoseconds(value).ok_or_else(|| draft.malformed(line, "no time"))?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        *setting = Scan(value).number().ok_or_else(|| draft.malformed(line, "no number"))?;
        Ok(())
    }

    /// `19490304 27 @ 0x1 0x2`: how long it took in all, how often it was met; both become those of all waits.
    fn sample(&self, line: &str) -> Option<([i64; 2], Vec<u64>)> {
        let mut scan = Scan(line);
        let (mut delay, mut count) = (scan.number()?, scan.number()?);
        scan.expect("@")?;
        if self.period > 0 {
            if self.cycles_per_second > 0 {
                let per_nanosecond = self.cycles_per_second as f64 / 1e9;
                delay = (delay as f64 * self.period as f64 / per_nanosecond) as i64;
            }
            count = count.saturating_mul(self.period);
        }
        let stack = addresses(scan.0)?.into_iter().map(call).collect();
        Some(([count, delay], stack))
    }
}

/// Of milliseconds.
pub(super) fn nanoseconds(milliseconds: &str) -> Option<u64> {
    let milliseconds = u64::try_from(Scan(milliseconds).number()?).ok()?;
    milliseconds.checked_mul(1_000_000)
}
