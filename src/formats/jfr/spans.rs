//! Spans that an application or its agent writes as events of its own: a trace id, a span id, a thread, and from when to when.
//!
//! Samples of the thread in that time belong to the span. An event is written as its span ends, so of a span over several chunks only
//! the last part is joined.

use hashbrown::HashMap;

use super::events::{Slot, span};
use super::layout::Kept;
use super::pools::Pools;
use crate::profile::{Id, Interner, Link, LinkId};

/// The spans of a chunk, by thread.
#[derive(Debug, Default)]
pub(super) struct Spans {
    by_thread: HashMap<u64, Vec<Span>, foldhash::fast::RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
    link: LinkId,
}

/// What a span takes in a list that doubles.
pub(super) const SPAN_BYTES: usize = 2 * size_of::<Span>();
/// So many spans that began later and are over are looked past for the one that is not.
const MOST_PASSED: usize = 64;

impl Spans {
    /// Notes the span of an event, if its ids are ids: other text in their place is not kept.
    pub fn learn(&mut self, kept: &Kept, pools: &Pools<'_>, interner: &mut Interner) {
        let [trace_id, span_id] = [span::TRACE, span::SPAN].map(|slot| pools.text(slot.of(kept)));
        let (Ok(trace_id), Ok(span_id)) = (trace_id, span_id) else {
            return;
        };
        let (Some(trace_id), Some(span_id)) = (hex(&trace_id), hex(&span_id)) else {
            return;
        };
        let start = Slot::Start.of(kept);
        let span = Span {
            start,
            end: start.saturating_add(Slot::Duration.of(kept).max(0)),
            link: interner.link(Link { trace_id, span_id }),
        };
        self.by_thread
            .entry(Slot::Thread.of(kept) as u64)
            .or_default()
            .push(span);
    }

    /// All of a chunk are known.
    pub fn sort(&mut self) {
        for spans in self.by_thread.values_mut() {
            spans.sort_by_key(|span| span.start);
        }
    }

    /// The innermost span of a thread at a time.
    pub fn at(&self, thread: u64, time: i64) -> LinkId {
        let spans = self.by_thread.get(&thread).map_or(&[][..], Vec::as_slice);
        let begun = spans.partition_point(|span| span.start <= time);
        let mut begun = spans.get(..begun).unwrap_or_default().iter().rev().take(MOST_PASSED);
        begun.find(|span| time <= span.end).map_or(Id::UNSET, |span| span.link)
    }
}

/// An id of so many bytes in hexadecimal digits, unless it is all zero.
fn hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != BYTES || !rest.is_empty() {
        return None;
    }
    let mut id = [0; BYTES];
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        let digit = |of: u8| char::from(of).to_digit(16).map(|digit| digit as u8);
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    (id != [0; BYTES]).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_span_of_the_thread_is_found() {
        let mut interner = Interner::new();
        let mut link = |n: u8| {
            interner.link(Link {
                trace_id: [n; 16],
                span_id: [n; 8],
            })
        };
        let [outer, inner, later] = [link(1), link(2), link(3)];
        let span = |start, end, link| Span { start, end, link };
        let mut spans = Spans::default();
        let list = vec![span(50, 60, later), span(20, 30, inner), span(10, 40, outer)];
        spans.by_thread.insert(7, list);
        spans.sort();
        let at = |time| spans.at(7, time);
        assert_eq!(
            [5, 10, 25, 35, 45, 55].map(at),
            [Id::UNSET, outer, inner, outer, Id::UNSET, later]
        );
        assert_eq!(spans.at(8, 25), Id::UNSET);
    }

    #[test]
    fn only_ids_are_ids() {
        assert_eq!(hex("00ff"), Some([0, 255]));
        for none in ["0000", "00f", "00fg", "", "00ff00", "é0"] {
            assert_eq!(hex::<2>(none), None, "{none}");
        }
    }
}
