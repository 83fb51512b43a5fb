//! CPU profiles of gperftools: machine words, however wide and in whichever order, and text behind them.
//!
//! The heading is 0, 3, 0 (1 for Java), the period in microseconds, 0; a sample is how often it was met, the length of its
//! stack, and the stack; the last one is 0, 1, 0.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::draft::Draft;
use super::java;
use super::scan::call;
use crate::formats::lines::Lines;
use crate::formats::{DecodeError, Format, Limit};

/// Words behind a heading.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    rest: &'a [u8],
    bytes: usize,
    is_big_endian: bool,
    is_java: bool,
    period_microseconds: u64,
}

impl<'a> Words<'a> {
    /// None if the bytes do not begin with the heading.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        [(4, false), (4, true), (8, false), (8, true)]
            .into_iter()
            .find_map(|(width, is_big_endian)| {
                let mut words = Self {
                    rest: bytes,
                    bytes: width,
                    is_big_endian,
                    is_java: false,
                    period_microseconds: 0,
                };
                words.heading()?;
                Some(words)
            })
    }

    fn heading(&mut self) -> Option<()> {
        let [zero, three, java, period, end] = [self.next()?, self.next()?, self.next()?, self.next()?, self.next()?];
        (self.is_java, self.period_microseconds) = (java == 1, period);
        (zero == 0 && three == 3 && java <= 1 && period > 0 && end == 0).then_some(())
    }

    fn next(&mut self) -> Option<u64> {
        let (word, rest) = self.rest.split_at_checked(self.bytes)?;
        self.rest = rest;
        let push = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.is_big_endian {
            true => word.iter().fold(0, push),
            false => word.iter().rev().fold(0, push),
        })
    }
}

pub(super) fn read(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    let malformed = |words: &Words<'_>, problem| {
        let offset = bytes.len() - words.rest.len();
        DecodeError::malformed(Format::PprofLegacy, offset, problem)
    };
    let mut words = Words::of(bytes).ok_or_else(|| DecodeError::malformed(Format::PprofLegacy, 0, "no heading"))?;
    let period = i64::try_from(words.period_microseconds)
        .ok()
        .and_then(|period| period.checked_mul(1_000));
    let period = period.ok_or_else(|| malformed(&words, "a period beyond 64 bits"))?;
    draft.types(&[("samples", "count"), ("cpu", "nanoseconds")]);
    draft.period("cpu", "nanoseconds", period);
    let mut stack = Vec::new();
    while !words.rest.is_empty() {
        let cut = |words: &Words<'_>| malformed(words, "cut short within a sample");
        let (Some(count), Some(depth)) = (words.next(), words.next()) else {
            return Err(cut(&words));
        };
        if depth > draft.building.limits.stack_depth as u64 {
            return Err(draft.building.too_large(Limit::StackDepth, "a stack too deep"));
        }
        stack.clear();
        for _ in 0..depth {
            let address = words.next().ok_or_else(|| cut(&words))?;
            // the leaf is no call, and Java's addresses are numbers
            stack.push(if stack.is_empty() || words.is_java {
                address
            } else {
                call(address)
            });
        }
        if count == 0 && stack == [0] {
            break;
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        draft.sample(&[count, count.saturating_mul(period)], &stack)?;
    }
    let behind = Lines::new(words.rest);
    if words.is_java {
        return java::symbols(behind, draft);
    }
    drop_handlers(draft);
    draft.drop_leaves_told_twice();
    draft.mappings.read(behind, &mut draft.building)
}

/// As many samples may differ from the others as one in so many.
const ALIKE: usize = 32;

/// Where nearly all stacks have the same frame below the leaf, it is the handler of the signal that took the sample; there may
/// be two.
fn drop_handlers(draft: &mut Draft<'_>) {
    for _ in 0..2 {
        let mut counts: HashMap<u64, usize, RandomState> = HashMap::default();
        for second in draft.stacks().filter_map(|stack| stack.get(1)) {
            *counts.entry(*second).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let enough = draft.samples() - draft.samples() / ALIKE;
        match most {
            Some((handler, count)) if count >= enough => draft.drop_second_frames(|_, second| second == handler),
            _ => return,
        }
    }
}
