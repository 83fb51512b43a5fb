//! Heap profiles: what was allocated where, and what of it is left.

use super::draft::Draft;
use super::scan::{Scan, addresses, call};
use super::text::Text;
use crate::formats::DecodeError;

/// What the first line says.
#[derive(Debug, PartialEq)]
struct Heading {
    /// What was sampled at which rate, or 0 if all of it is there.
    rate: i64,
    period: i64,
    /// Whether more was allocated than is left.
    has_allocations: bool,
}

impl Heading {
    /// `heap profile: 3: 60 [7: 90] @ heap/1048576`
    fn parse(line: &str) -> Option<Self> {
        let mut scan = Scan(line);
        scan.expect("heap profile:")?;
        let [left, all] = sums(&mut scan)?;
        scan.expect("@")?;
        let kind = scan.0.trim();
        let (kind, rate) = kind.split_once('/').unwrap_or((kind, ""));
        let rate = Scan(rate).number().unwrap_or_default();
        let (rate, period) = match kind {
            "heapz_v2" | "heap_v2" => (rate, rate),
            // Go says twice the rate
            "heap" => (rate / 2, rate / 2),
            "heapprofile" | "growth" | "growthz" | "fragmentation" | "fragmentationz" => (0, 1),
            _ => return None,
        };
        let differs = |all: i64, left: i64| all != left && all != 0;
        Some(Self {
            rate,
            period,
            has_allocations: differs(all.0, left.0) || differs(all.1, left.1),
        })
    }
}

/// `3: 60 [7: 90]`: number and bytes of what is left, and of all.
fn sums(scan: &mut Scan<'_>) -> Option<[(i64, i64); 2]> {
    let left = pair(scan)?;
    scan.expect("[")?;
    let all = pair(scan)?;
    scan.expect("]")?;
    Some([left, all])
}

fn pair(scan: &mut Scan<'_>) -> Option<(i64, i64)> {
    let count = scan.number()?;
    scan.expect(":")?;
    Some((count, scan.number()?))
}

pub(super) fn read(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    let mut text = Text::new(bytes);
    let Some(first) = text.next(draft)? else {
        return text.end(draft);
    };
    let heading = Heading::parse(&first.text());
    let heading = heading.ok_or_else(|| draft.malformed(&first, "no heading of a heap profile"))?;
    begin(&heading, draft);
    while let Some(line) = text.next(draft)? {
        let sample = sample(&line.text(), &heading);
        let (values, size, stack) = sample.ok_or_else(|| draft.malformed(&line, "no sample of a heap"))?;
        draft.sample(&values, &stack)?;
        if size != 0 {
            draft.number("bytes", size);
        }
    }
    text.end(draft)
}

fn begin(heading: &Heading, draft: &mut Draft<'_>) {
    draft.period("space", "bytes", heading.period);
    match heading.has_allocations {
        true => draft.types(&[
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ]),
        false => draft.types(&[("objects", "count"), ("space", "bytes")]),
    }
}

/// Values, the size of a block, and the stack.
type Sample = (Vec<i64>, i64, Vec<u64>);

/// `1: 16 [3: 48] @ 0x1 0x2`
fn sample(line: &str, heading: &Heading) -> Option<Sample> {
    let mut scan = Scan(line);
    let [left, all] = sums(&mut scan)?;
    scan.expect("@")?;
    let (mut values, mut size) = (Vec::with_capacity(4), 0);
    let told = if heading.has_allocations {
        vec![all, left]
    } else {
        vec![left]
    };
    for (count, bytes) in told {
        if count == 0 && bytes != 0 {
            return None;
        }
        if count != 0 {
            size = bytes.checked_div(count)?;
        }
        let (count, bytes) = match heading.rate {
            0 => (count, bytes),
            rate => unsampled(count, bytes, rate),
        };
        values.extend([count, bytes]);
    }
    let stack = addresses(scan.0)?.into_iter().map(call).collect();
    Some((values, size, stack))
}

/// How sampling missed most of it: the chance of an allocation to be sampled grows with its size, so what was sampled is divided
/// by it. A rate of 1 or less misses nothing.
pub(super) fn unsampled(count: i64, bytes: i64, rate: i64) -> (i64, i64) {
    if count == 0 || bytes == 0 {
        return (0, 0);
    }
    if rate <= 1 {
        return (count, bytes);
    }
    let size = bytes as f64 / count as f64;
    let scale = 1.0 / (1.0 - (-size / rate as f64).exp());
    ((count as f64 * scale) as i64, (bytes as f64 * scale) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_allocations_stand_for_more() {
        assert_eq!(unsampled(1, 1 << 19, 1 << 19), (1, 829_411));
        assert_eq!(unsampled(1, 16, 1 << 19), (32_768, 524_296));
        assert_eq!(unsampled(3, 300, 1), (3, 300));
        assert_eq!(unsampled(0, 7, 1 << 19), (0, 0));
    }

    #[test]
    fn the_heading_says_how_much_was_sampled() {
        for (line, rate, period, has_allocations) in [
            (
                "heap profile:    144:  8498176 [   144:  8498176] @ heapz_v2/524288",
                524_288,
                524_288,
                false,
            ),
            ("heap profile: 3: 60 [7: 90] @ heap/1048576", 524_288, 524_288, true),
            ("heap profile: 3: 60 [0: 0] @ heapprofile", 0, 1, false),
            ("heap profile: 3: 60 [3: 60] @ growthz", 0, 1, false),
            ("heap profile: 3: 60 [7: 90] @ heap_v2/1", 1, 1, true),
        ] {
            let expected = Heading {
                rate,
                period,
                has_allocations,
            };
            assert_eq!(Heading::parse(line), Some(expected), "{line}");
        }
        for line in [
            "heap profile: 3: 60 @ heap/1",
            "heap profile: 3: 60 [7: 90] @ other/1",
            "heap profile:",
        ] {
            assert_eq!(Heading::parse(line), None, "{line}");
        }
    }
}
