//! Spans that an application or its agent writes as events of its own: a thread, from when to when, and the ids of the span, or what
//! it is called.
//!
//! Samples of the thread in that time belong to the span. An event is written as its span ends: one that began in another chunk is
//! found by looking [`ahead`](super::ahead).

use hashbrown::HashMap;

use super::events::{Plan, Slot, span};
use super::layout::Kept;
use super::pools::Pools;
use crate::profile::{AttributeId, Interner, Link, LinkId};

/// The spans of a chunk, by thread.
#[derive(Debug, Default)]
pub(super) struct Spans {
    by_thread: HashMap<u64, Vec<Span>, foldhash::fast::RandomState>,
    len: usize,
    /// Whether any has ids, and whether any has a name.
    has_links: bool,
    has_names: bool,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
    within: Within,
}

/// What is known of the span that a sample is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Within {
    /// Its ids.
    pub link: LinkId,
    /// What it is called, as a label.
    pub name: AttributeId,
}

impl Within {
    /// What this does not tell, as `around` tells it.
    pub fn or(self, around: Self) -> Self {
        Self {
            link: if self.link.is_set() { self.link } else { around.link },
            name: if self.name.is_set() { self.name } else { around.name },
        }
    }
}

/// What a span takes in a list that doubles.
pub(super) const SPAN_BYTES: usize = 2 * size_of::<Span>();
/// So many spans that began later and are over are looked past for the one that is not.
const MOST_PASSED: usize = 64;

impl Spans {
    /// Notes the span of an event, `shift` nanoseconds later than it says, if it tells anything: text in the place of an id that is none is
    /// not kept.
    pub fn learn(&mut self, plan: &Plan, kept: &Kept, shift: i64, pools: &Pools<'_>, interner: &mut Interner) {
        let text = |slot: Slot| pools.told(plan, slot, kept);
        let mut within = Within::default();
        if let (Some(trace_id), Some(span_id)) = (hex(&text(span::TRACE)), hex(&text(span::SPAN))) {
            within.link = interner.link(Link { trace_id, span_id });
        }
        let name = text(span::TAG);
        if !name.is_empty() {
            within.name = interner.text_attribute("span_name", &name);
        }
        if within == Within::default() {
            return;
        }
        self.has_links |= within.link.is_set();
        self.has_names |= within.name.is_set();
        let start = Slot::Start.of(kept).saturating_add(shift);
        let end = start.saturating_add(Slot::Duration.of(kept).max(0));
        let spans = self.by_thread.entry(Slot::Thread.of(kept) as u64).or_default();
        spans.push(Span { start, end, within });
        self.len += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All of a chunk are known.
    pub fn sort(&mut self) {
        for spans in self.by_thread.values_mut() {
            spans.sort_by_key(|span| span.start);
        }
    }

    /// What the innermost spans of a thread at a time tell.
    pub fn at(&self, thread: u64, time: i64) -> Within {
        let spans = self.by_thread.get(&thread).map_or(&[][..], Vec::as_slice);
        let begun = spans.partition_point(|span| span.start <= time);
        let begun = spans.get(..begun).unwrap_or_default().iter().rev().take(MOST_PASSED);
        let mut within = Within::default();
        for span in begun.filter(|span| time <= span.end) {
            within = within.or(span.within);
            if within.link.is_set() == self.has_links && within.name.is_set() == self.has_names {
                break;
            }
        }
        within
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
    use crate::profile::Id;

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
        let span = |start, end, link| Span {
            start,
            end,
            within: Within { link, name: Id::UNSET },
        };
        let mut spans = Spans {
            has_links: true,
            ..Spans::default()
        };
        let list = vec![span(50, 60, later), span(20, 30, inner), span(10, 40, outer)];
        spans.by_thread.insert(7, list);
        spans.sort();
        let at = |time| spans.at(7, time).link;
        assert_eq!(
            [5, 10, 25, 35, 45, 55].map(at),
            [Id::UNSET, outer, inner, outer, Id::UNSET, later]
        );
        assert_eq!(spans.at(8, 25), Within::default());
    }

    #[test]
    fn only_ids_are_ids() {
        assert_eq!(hex("00ff"), Some([0, 255]));
        for none in ["0000", "00f", "00fg", "", "00ff00", "é0"] {
            assert_eq!(hex::<2>(none), None, "{none}");
        }
    }
}
