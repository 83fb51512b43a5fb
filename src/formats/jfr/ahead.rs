//! What later chunks tell of samples: an event is written as what it tells of ends, and the chunk with the samples may be over by then.

use hashbrown::HashMap;

use super::chunk::Header;
use super::events::{Plan, endpoint};
use super::layout::Kept;
use super::pools::Pools;
use super::spans::{SPAN_BYTES, Spans, Within};
use crate::profile::{AttributeId, Id, Interner};

/// Spans that began before the chunk that they ended in, and the endpoints of requests.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The chunk by whose clock the spans are told: the first that was looked at.
    clock: Option<Header>,
    spans: Spans,
    /// By the span at the root of the local trace.
    endpoints: HashMap<u64, AttributeId, foldhash::fast::RandomState>,
}

/// What an endpoint takes in a map that doubles.
const ENDPOINT_BYTES: usize = 2 * size_of::<(u64, AttributeId)>();

impl Ahead {
    /// Notes the span of an event of a chunk, if it began before that.
    pub fn learn_span(&mut self, plan: &Plan, kept: &Kept, chunk: &Header, pools: &Pools<'_>, interner: &mut Interner) {
        let shift = chunk.shift_to(self.clock.get_or_insert(*chunk));
        self.spans.learn(plan, kept, shift, pools, interner);
    }

    /// Notes the endpoint that a request came to.
    pub fn learn_endpoint(&mut self, plan: &Plan, kept: &Kept, pools: &Pools<'_>, interner: &mut Interner) {
        let root_span = endpoint::ROOT_SPAN.of(kept) as u64;
        let name = pools.told(plan, endpoint::NAME, kept);
        if root_span != 0 && !name.is_empty() {
            let label = interner.text_attribute("trace endpoint", &name);
            self.endpoints.insert(root_span, label);
        }
    }

    /// All chunks were looked at.
    pub fn sort(&mut self) {
        self.spans.sort();
    }

    /// What the innermost spans of a thread at a time of a chunk tell.
    pub fn at(&self, thread: u64, time: i64, chunk: &Header) -> Within {
        let shift = self.clock.map_or(0, |clock| chunk.shift_to(&clock));
        self.spans.at(thread, time.saturating_add(shift))
    }

    /// The endpoint of a request as a label, by the span at the root of its trace here.
    pub fn endpoint(&self, root_span: u64) -> AttributeId {
        self.endpoints.get(&root_span).copied().unwrap_or(Id::UNSET)
    }

    /// How many spans and endpoints there are.
    pub fn len(&self) -> usize {
        self.spans.len() + self.endpoints.len()
    }

    /// About the bytes that they take.
    pub fn bytes(&self) -> usize {
        self.spans.len() * SPAN_BYTES + self.endpoints.len() * ENDPOINT_BYTES
    }
}
