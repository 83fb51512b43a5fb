//! Waits for locks, of gperftools and of Go.

use super::draft::Draft;
use super::scan::{Scan, addresses, call, is_empty_or_comment};
use super::{below, end, java, maps};
use crate::formats::DecodeError;
use crate::formats::lines::{Line, Lines};

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
    let mut lines = Lines::new(bytes);
    let mut is_begun = false;
    let mut last = None;
    for line in lines.by_ref() {
        let text = line.text();
        if is_empty_or_comment(line.bytes) {
            below::read(&text, draft)?;
        } else if !is_begun {
            // the heading, by which the form was told
            is_begun = true;
        } else if text.starts_with("---") || maps::is_heading(&text) {
            last = Some(line);
            break;
        } else if let Some((key, value)) = text.split_once('=') {
            settings.read(key.trim(), value, &line, draft)?;
        } else {
            let sample = settings.sample(&text);
            let (values, stack) = sample.ok_or_else(|| draft.malformed(&line, "no wait with a stack"))?;
            draft.sample(&values, &stack)?;
        }
    }
    draft.period("contentions", "count", settings.period);
    end(last, lines, draft)
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
