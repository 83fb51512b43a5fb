//! What is known of a span, and what becomes of one that comes.

use std::sync::Arc;

use crate::processors::processes::Process;
use crate::processors::ring::{OfSpan, Ring, SpanId};

/// Spans that may have one id: by chance there is hardly a second one, so more are somebody's mistake or intent.
const MOST_OF_ONE_ID: usize = 16;

/// What is known of a span.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: SpanId,
    /// All zero for a span that has no parent.
    pub(super) parent_span_id: SpanId,
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    /// Nanoseconds since 1970.
    pub(super) end: u64,
    pub(super) process: Arc<Process>,
    pub(super) name: Option<Arc<str>>,
    pub(super) route: Option<Arc<str>>,
    /// Seconds since the index began.
    pub(super) arrived: u32,
    pub(super) is_local_root: bool,
}

impl OfSpan for Entry {
    fn span_id(&self) -> SpanId {
        self.span_id
    }
}

/// What becomes of a span that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    New,
    Again,
    /// Too many have its id.
    Crowded,
}

impl Entry {
    /// Adds it to those that are known, if it is not among them.
    pub(super) fn join(self, ring: &mut Ring<Self>) -> Came {
        let mut of_its_id = 0;
        for known in ring.of(self.span_id) {
            if known.trace_id == self.trace_id && known.process == self.process {
                return Came::Again;
            }
            of_its_id += 1;
        }
        if of_its_id >= MOST_OF_ONE_ID {
            return Came::Crowded;
        }
        ring.push(self);
        Came::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_known_once_and_an_id_belongs_to_few() {
        let entry = |trace: u8| Entry {
            trace_id: [trace; 16],
            span_id: [7; 8],
            parent_span_id: [0; 8],
            start: 0,
            end: 0,
            process: Arc::default(),
            name: None,
            route: None,
            arrived: 0,
            is_local_root: true,
        };
        let mut ring = Ring::default();
        for trace in 0..MOST_OF_ONE_ID as u8 {
            assert_eq!(entry(trace).join(&mut ring), Came::New);
            assert_eq!(entry(trace).join(&mut ring), Came::Again);
        }
        assert_eq!(entry(100).join(&mut ring), Came::Crowded);
        let other = Entry {
            span_id: [8; 8],
            ..entry(100)
        };
        assert_eq!(other.join(&mut ring), Came::New);
        assert_eq!(ring.len(), MOST_OF_ONE_ID + 1);
    }
}
