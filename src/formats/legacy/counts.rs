//! Go's profiles that only count: goroutines, threads, and whatever a program counts by itself.

use super::draft::Draft;
use super::scan::{Scan, addresses, call, is_empty_or_comment};
use super::{below, end, maps};
use crate::formats::DecodeError;
use crate::formats::lines::Lines;

/// What is counted, by the first line: `goroutine profile: total 7`.
pub(super) fn name(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let (name, total) = line.split_once(" profile: total ")?;
    let is_total = !total.is_empty() && total.bytes().all(|byte| byte.is_ascii_digit());
    (is_total && !name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

pub(super) fn read(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    let mut lines = Lines::new(bytes);
    let mut is_begun = false;
    let mut last = None;
    for line in lines.by_ref() {
        let text = line.text();
        if is_empty_or_comment(line.bytes) {
            below::read(&text, draft)?;
            continue;
        }
        if is_begun && (text.starts_with("---") || maps::is_heading(&text)) {
            last = Some(line);
            break;
        }
        if is_begun {
            let (count, stack) = sample(&text).ok_or_else(|| draft.malformed(&line, "no count with a stack"))?;
            draft.sample(&[count], &stack)?;
            continue;
        }
        let kind = name(line.bytes.trim_ascii()).ok_or_else(|| draft.malformed(&line, "no heading of a count"))?;
        let kind = draft.building.text(kind)?;
        draft.types(&[(kind, "count")]);
        draft.period(kind, "count", 1);
        is_begun = true;
    }
    end(last, lines, draft)
}

/// `20 @ 0x46acee 0x5275b9`; a thread that Go did not make has no stack.
fn sample(line: &str) -> Option<(i64, Vec<u64>)> {
    let mut scan = Scan(line);
    let count = scan.number()?;
    scan.expect("@")?;
    let stack = addresses(scan.0)?.into_iter().map(call).collect();
    Some((count, stack))
}
