//! Go's profiles that only count: goroutines, threads, and whatever a program counts by itself.

use super::draft::Draft;
use super::scan::{Scan, addresses, call};
use super::text::Text;
use crate::formats::DecodeError;

/// What is counted, by the first line: `goroutine profile: total 7`.
pub(super) fn name(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let (name, total) = line.split_once(" profile: total ")?;
    let is_total = !total.is_empty() && total.bytes().all(|byte| byte.is_ascii_digit());
    (is_total && !name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

pub(super) fn read(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    let mut text = Text::new(bytes);
    if let Some(heading) = text.next(draft)? {
        let kind = name(heading.bytes.trim_ascii());
        let kind = kind.ok_or_else(|| draft.malformed(&heading, "no heading of a count"))?;
        let kind = draft.building.text(kind)?;
        draft.types(&[(kind, "count")]);
        draft.period(kind, "count", 1);
    }
    while let Some(line) = text.next(draft)? {
        let sample = sample(&line.text());
        let (count, stack) = sample.ok_or_else(|| draft.malformed(&line, "no count with a stack"))?;
        draft.sample(&[count], &stack)?;
    }
    text.end(draft)
}

/// `20 @ 0x46acee 0x5275b9`; a thread that Go did not make has no stack.
fn sample(line: &str) -> Option<(i64, Vec<u64>)> {
    let mut scan = Scan(line);
    let count = scan.number()?;
    scan.expect("@")?;
    let stack = addresses(scan.0)?.into_iter().map(call).collect();
    Some((count, stack))
}
