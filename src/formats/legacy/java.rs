//! What Java's agents of old wrote: stacks of numbers, and a list of what each stands for.

use super::contention::nanoseconds;
use super::draft::Draft;
use super::heap::unsampled;
use super::scan::{Scan, addresses, is_empty_or_comment};
use crate::formats::DecodeError;
use crate::formats::lines::Lines;

/// What all of these agents sampled at.
const HEAP_RATE: i64 = 512 << 10;

/// Whether a setting above the samples says that they are Java's.
pub(super) fn is_contention(bytes: &[u8]) -> bool {
    let lines = Lines::new(bytes).filter(|line| !is_empty_or_comment(line.bytes));
    let mut settings = lines
        .skip(1)
        .map(|line| line.text())
        .take_while(|text| text.contains('='));
    settings.any(|text| {
        let setting = text.split_once('=');
        setting.is_some_and(|(key, value)| key.trim() == "format" && value.trim() == "java")
    })
}

pub(super) fn read_heap(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    read(
        bytes,
        draft,
        ["inuse_objects", "inuse_space"],
        "bytes",
        |[count, bytes], _| {
            let (all, all_bytes) = unsampled(count, bytes, HEAP_RATE);
            Some(([all, all_bytes], bytes.checked_div(count)?))
        },
    )
}

pub(super) fn read_contention(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    read(
        bytes,
        draft,
        ["contentions", "delay"],
        "microseconds",
        |values, period| {
            let times = if period == 0 { 1 } else { period };
            Some((values.map(|value| value.saturating_mul(times)), 0))
        },
    )
}

/// Reads samples of two values, which `of_all` makes those of all that they stand for, with the size of one.
fn read(
    bytes: &[u8],
    draft: &mut Draft<'_>,
    types: [&str; 2],
    usual_unit: &str,
    of_all: impl Fn([i64; 2], i64) -> Option<([i64; 2], i64)>,
) -> Result<(), DecodeError> {
    let [counted, measured] = types;
    draft.types(&[(counted, "count"), (measured, usual_unit)]);
    let mut lines = Lines::new(bytes);
    let mut rest = lines.clone();
    let mut is_begun = false;
    while let Some(line) = lines.next() {
        let text = line.text();
        let text = text.trim();
        if text.is_empty() {
            // between the samples and the list
        } else if !is_begun {
            is_begun = true;
        } else if let Some((key, value)) = text.split_once('=').filter(|_| draft.samples() == 0) {
            let value = draft.building.text(value.trim())?.to_owned();
            match key.trim() {
                "resolution" => draft.types(&[(counted, "count"), (measured, &value)]),
                "sampling period" => {
                    let period = Scan(&value).number();
                    let period = period.ok_or_else(|| draft.malformed(&line, "no number"))?;
                    draft.period(counted, "count", period);
                }
                "ms since reset" => {
                    let length = nanoseconds(&value);
                    draft.profile.duration_nano = length.ok_or_else(|| draft.malformed(&line, "no time"))?;
                }
                _ => {}
            }
        } else if let Some((values, stack)) = sample(text) {
            let all = of_all(values, draft.profile.period);
            let (values, size) = all.ok_or_else(|| draft.malformed(&line, "a sample of nothing"))?;
            draft.sample(&values, &stack)?;
            if size != 0 {
                draft.number("bytes", size);
            }
        } else {
            break;
        }
        rest = lines.clone();
    }
    symbols(rest, draft)
}

/// `7048 1 @ 0x3 0x4`: what was measured, how often it was met, and the stack.
fn sample(line: &str) -> Option<([i64; 2], Vec<u64>)> {
    let mut scan = Scan(line);
    let (measured, count) = (scan.number()?, scan.number()?);
    scan.expect("@")?;
    Some(([count, measured], addresses(scan.0)?))
}

/// Reads what the numbers stand for: ` 0x0000004 com.example.work (Work.java:12)`.
pub(super) fn symbols(lines: Lines<'_>, draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    draft.addresses_are_numbers = true;
    for line in lines {
        let text = line.text();
        let Some((number, what)) = text.trim().strip_prefix("0x").and_then(|text| text.split_once(' ')) else {
            continue;
        };
        let Ok(number) = u64::from_str_radix(number, 16) else {
            return Err(draft.malformed(&line, "no number of a function"));
        };
        let (name, file, line) = function(what.trim());
        draft.symbol(number, name, file, line)?;
    }
    Ok(())
}

/// `com.example.work (Work.java:12)`, `read (/lib/libc.so)`, or the name of a state.
fn function(what: &str) -> (&str, &str, i64) {
    if what.contains("generated stub/JIT") {
        return ("STUB", "", 0);
    }
    let inside = what.strip_suffix(')').and_then(|what| what.rsplit_once(" ("));
    let Some((name, place)) = inside else {
        return (what, "", 0);
    };
    let with_line = place
        .rsplit_once(':')
        .and_then(|(file, line)| Some((file, line.parse::<i64>().ok()?)));
    match with_line {
        Some((file, line)) => (name.trim_end(), file, line.max(0)),
        None => (name.trim_end(), place.rsplit('/').next().unwrap_or_default(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_a_place_a_library_or_nothing() {
        for (text, expected) in [
            ("com.example.f (Source.java:03)", ("com.example.f", "Source.java", 3)),
            ("com.example.f (Source.java:-1)", ("com.example.f", "Source.java", 0)),
            ("read (/lib/x/libc.so)", ("read", "libc.so", 0)),
            ("GC", ("GC", "", 0)),
            ("generated stub/JIT", ("STUB", "", 0)),
        ] {
            assert_eq!(function(text), expected, "{text}");
        }
    }
}
