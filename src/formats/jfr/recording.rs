//! A recording as it is read, chunk by chunk.

use std::sync::Arc;

use super::Options;
use super::ahead::Ahead;
use super::chunk::Header;
use super::columns::{Columns, Identity};
use super::context::Contexts;
use super::defect::{Defect, is_of_one_chunk};
use super::events::{Event, Plan, Slot, setting};
use super::heap::Heap;
use super::labels::Labels;
use super::layout::{self, Kept, SLOTS};
use super::memory::Memory;
use super::pools::Pools;
use super::primitives::Cursor;
use super::samples::{self, Counting};
use super::schema::{PoolName, Schema, slot};
use super::settings::Settings;
use super::sorts::Sort;
use super::spans::{SPAN_BYTES, Spans, Within};
use super::symbols::{Stacks, Symbols};
use super::walk::{Events, event_at};
use crate::formats::room::Room;
use crate::formats::{DecodeError, Decoded, Limit, Limits, Rejected, overflow};
use crate::profile::{Interner, Profiles, ResourceProfiles, ScopeProfiles, StackId};

/// What was read so far.
#[derive(Debug)]
pub(super) struct Recording<'a> {
    limits: &'a Limits,
    memory: Memory<'a>,
    off_cpu: bool,
    contexts: Contexts,
    ahead: Ahead,
    has_looked_ahead: bool,
    interner: Interner,
    columns: Columns,
    heap: Heap,
    settings: Settings,
    /// The metadata of the last chunk, and what it came to.
    schema: (Vec<u8>, Arc<Schema>),
    /// The stacks of the last chunk and when it ended, if the JDK wrote it.
    before: Option<(Stacks, u64)>,
    /// Beginning and end, nanoseconds since the Unix epoch.
    window: Option<(u64, u64)>,
    rejected: Rejected,
    repairs: u64,
}

/// The dictionary, and the maps that find what is in it already.
const WITH_MAPS: usize = 2;
/// The stack of samples that were taken while no stack could be walked.
const FAILED: &str = "[failed]";

impl<'a> Recording<'a> {
    /// Nothing yet.
    pub fn new(options: &Options<'_>, limits: &'a Limits, room: &'a dyn Room) -> Result<Self, DecodeError> {
        let mut memory = Memory::new(room);
        let for_labels = memory.take(options.labels.len().saturating_mul(Contexts::MEMORY));
        for_labels.map_err(|defect| defect.told(0))?;
        Ok(Self {
            limits,
            memory,
            off_cpu: options.off_cpu,
            contexts: Contexts::read(options.labels, limits)?,
            ahead: Ahead::default(),
            has_looked_ahead: false,
            interner: Interner::new(),
            columns: Columns::new(),
            heap: Heap::default(),
            settings: Settings::default(),
            schema: Default::default(),
            before: None,
            window: None,
            rejected: Rejected::default(),
            repairs: 0,
        })
    }

    /// Whether the chunk that `bytes` begin with, and those behind it, are to be looked at before it is read: from it on there may be events
    /// that tell of samples in chunks before their own.
    pub fn must_look_ahead(&mut self, bytes: &[u8]) -> bool {
        if self.has_looked_ahead {
            return false;
        }
        let schema = whole(bytes).and_then(|(header, chunk)| self.schema(&header, chunk));
        schema.is_ok_and(|schema| schema.has_context())
    }

    /// Learns from the chunk that `bytes` begin with what it tells of samples in other chunks. Returns its size, or none if nothing can
    /// follow.
    pub fn look_ahead(&mut self, bytes: &[u8], at: usize) -> Result<Option<usize>, DecodeError> {
        let Ok((header, chunk)) = whole(bytes) else {
            return Ok(None);
        };
        let learnt = self.learn_ahead(&header, chunk);
        self.memory.end_of_chunk();
        match learnt {
            // what is wrong with it is told when it is read
            Ok(()) | Err(Defect::Malformed { .. }) => Ok(Some(header.size)),
            Err(defect) => Err(defect.told(at)),
        }
    }

    /// The last chunk was looked at.
    pub fn looked_ahead(&mut self) {
        self.ahead.sort();
        self.has_looked_ahead = true;
    }

    /// Reads the chunk that `bytes` begin with; `at` is where that is in the recording. Returns the size of the chunk, or none if it is cut
    /// and nothing can follow. A chunk that is defective is rejected, and what was read of it before that shows stays.
    pub fn chunk(&mut self, bytes: &[u8], at: usize) -> Result<Option<usize>, DecodeError> {
        let (header, chunk) = match whole(bytes) {
            Ok(chunk) => chunk,
            Err(defect) => return self.reject(defect, at).map(|()| None),
        };
        let read = self.read(&header, chunk);
        self.memory.end_of_chunk();
        if let Err(defect) = read {
            self.reject(defect, at)?;
        }
        Ok(Some(header.size))
    }

    /// Counts a defective chunk; fails if it is too much rather than defective.
    pub fn reject(&mut self, defect: Defect, at: usize) -> Result<(), DecodeError> {
        let error = defect.told(at);
        if !is_of_one_chunk(&error) {
            return Err(error);
        }
        self.rejected.add(error);
        Ok(())
    }

    /// The profiles, if any chunk could be read.
    pub fn finish(mut self) -> Result<Decoded, DecodeError> {
        let Some((start, end)) = self.window else {
            let nothing = Defect::Malformed {
                at: 0,
                problem: "no chunk in it",
            };
            return Err(self.rejected.first.unwrap_or_else(|| nothing.told(0)));
        };
        self.heap.write_to(&mut self.columns);
        let mut profiles = self.columns.profiles(&mut self.interner);
        for profile in &mut profiles {
            profile.time_unix_nano = start;
            profile.duration_nano = end.saturating_sub(start);
        }
        let resources = match profiles.is_empty() {
            true => Vec::new(),
            false => vec![ResourceProfiles {
                scopes: vec![ScopeProfiles {
                    profiles,
                    ..ScopeProfiles::default()
                }],
                ..ResourceProfiles::default()
            }],
        };
        let decoded = Decoded {
            profiles: Profiles::new(self.interner.finish(), resources),
            rejected: self.rejected,
            repairs: self.repairs,
            ..Decoded::default()
        };
        Ok(overflow::bound(decoded, self.limits))
    }

    fn read(&mut self, header: &Header, chunk: Cursor<'_>) -> Result<(), Defect> {
        let schema = self.schema(header, chunk)?;
        let pools = Pools::read(chunk, header, &schema, self.limits.string_bytes, &mut self.memory)?;
        let mut spans = self.learn(header, chunk, &schema, &pools)?;
        spans.sort();
        let counting = Counting {
            settings: self.settings.clone(),
            is_async_profiler: schema.is_async_profiler,
            running: state(&pools, "STATE_DEFAULT").or_else(|| state(&pools, "STATE_RUNNABLE")),
            runnable: state(&pools, "STATE_RUNNABLE"),
            off_cpu: self.off_cpu,
        };
        let before = self.before.take().filter(|(_, end)| *end == header.start_nanos);
        let before = before.filter(|_| !schema.is_async_profiler);
        let before = before.map_or_else(Stacks::default, |(stacks, _)| stacks);
        let mut looked_up = LookedUp {
            symbols: Symbols::new(schema.is_async_profiler, self.limits.stack_depth, before),
            labels: Labels::new(self.limits.labels),
            spans,
            header: *header,
        };
        let mut events = Events::of(chunk);
        let mut kept: Kept = [0; SLOTS];
        while let Some((type_id, mut event)) = events.next()? {
            let Some(plan) = schema.plan(type_id) else {
                continue;
            };
            kept.fill(0);
            match layout::read(&mut event, &plan.layout, header.clock, &mut kept) {
                Ok(()) => self.event(plan, &kept, &counting, &pools, &mut looked_up)?,
                Err(_) => self.repairs += 1,
            }
        }
        self.heap.end_of_chunk();
        let end = header.start_nanos.saturating_add(header.duration_nanos);
        if !schema.is_async_profiler {
            self.before = Some((looked_up.symbols.into_stacks(), end));
        }
        let (first, last) = self.window.unwrap_or((header.start_nanos, end));
        self.window = Some((first.min(header.start_nanos), last.max(end)));
        Ok(())
    }

    /// What the metadata of a chunk comes to; that of the chunk before if it is the same.
    fn schema(&mut self, header: &Header, chunk: Cursor<'_>) -> Result<Arc<Schema>, Defect> {
        let (type_id, mut cursor) = event_at(chunk.moved_to(header.metadata))?;
        if type_id != 0 {
            return Err(Defect::Malformed {
                at: header.metadata,
                problem: "no metadata where it should be",
            });
        }
        // start, duration, id
        cursor.skip_integers(3, 24)?;
        let bytes = cursor.bytes_left();
        let (known, schema) = &self.schema;
        if known != bytes {
            // what it comes to is about as large as what it is made from, times what types in types repeat
            self.memory.schema(bytes.len().saturating_mul(METADATA))?;
            self.schema = (bytes.to_vec(), Arc::new(Schema::read(cursor)?));
        } else {
            return Ok(schema.clone());
        }
        Ok(self.schema.1.clone())
    }

    /// What must be known before samples can be counted and joined.
    fn learn(
        &mut self,
        header: &Header,
        chunk: Cursor<'_>,
        schema: &Schema,
        pools: &Pools<'_>,
    ) -> Result<Spans, Defect> {
        let mut spans = Spans::default();
        let mut events = Events::of(chunk);
        while let Some((type_id, mut event)) = events.next()? {
            let plan = schema.plan(type_id);
            let Some(plan) = plan.filter(|plan| matches!(plan.event, Event::Setting | Event::Span)) else {
                continue;
            };
            let mut kept: Kept = [0; SLOTS];
            if layout::read(&mut event, &plan.layout, header.clock, &mut kept).is_err() {
                continue;
            }
            if plan.event == Event::Span {
                self.memory.take(SPAN_BYTES)?;
                spans.learn(plan, &kept, 0, pools, &mut self.interner);
                continue;
            }
            let [name, value] = [setting::NAME, setting::VALUE].map(|slot| pools.text(slot.of(&kept)));
            let about = schema.name(setting::ABOUT.of(&kept) as u64);
            if let (Ok(name), Ok(value)) = (name, value) {
                self.settings.learn(schema.is_async_profiler, about, &name, &value);
            }
        }
        Ok(spans)
    }

    /// The same of what tells of samples in other chunks.
    fn learn_ahead(&mut self, header: &Header, chunk: Cursor<'_>) -> Result<(), Defect> {
        let schema = self.schema(header, chunk)?;
        if !schema.has_context() {
            return Ok(());
        }
        let mut pools = None;
        let mut events = Events::of(chunk);
        while let Some((type_id, mut event)) = events.next()? {
            let plan = schema.plan(type_id).filter(|plan| plan.event.is_context());
            let mut kept: Kept = [0; SLOTS];
            let Some(plan) =
                plan.filter(|plan| layout::read(&mut event, &plan.layout, header.clock, &mut kept).is_ok())
            else {
                continue;
            };
            if plan.event == Event::Span && Slot::Start.of(&kept) >= header.begin() {
                continue;
            }
            let pools = match &mut pools {
                Some(pools) => pools,
                none => none.insert(Pools::read(
                    chunk,
                    header,
                    &schema,
                    self.limits.string_bytes,
                    &mut self.memory,
                )?),
            };
            match plan.event {
                Event::Span => self.ahead.learn_span(plan, &kept, header, pools, &mut self.interner),
                _ => self.ahead.learn_endpoint(plan, &kept, pools, &mut self.interner),
            }
            if self.ahead.len() > self.limits.elements {
                return Err(Defect::TooLarge(Limit::Elements));
            }
            self.keep()?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        plan: &Plan,
        kept: &Kept,
        counting: &Counting,
        pools: &Pools<'_>,
        looked_up: &mut LookedUp,
    ) -> Result<(), Defect> {
        match plan.event {
            Event::CpuTimeLost => self.columns.lose(Sort::CpuTime, Slot::Lost.of(kept)),
            Event::Free => self.heap.free(Slot::Start.of(kept), Slot::Address.of(kept) as u64),
            _ => {}
        }
        let counts = counting.counts(plan, kept);
        if counts.iter().all(Option::is_none) {
            return self.pay(looked_up);
        }
        let mut key = samples::key(plan, kept);
        let within = looked_up.within(&self.ahead, key.thread, Slot::Start.of(kept));
        key.span_name = within.name;
        key.endpoint = self.ahead.endpoint(key.context.root_span);
        key.attributes = looked_up.labels.attributes(plan, kept, pools, &mut self.interner)?;
        if plan.event == Event::OldObject {
            let object = pools.get(PoolName::OldObject, Slot::Object.of(kept) as u64);
            key.class = object
                .and_then(|object| object.get(slot::TYPE).copied())
                .unwrap_or_default() as u64;
        }
        let stack = self.stack(plan, kept, pools, looked_up)?;
        let (attributes, link) = looked_up.labels.of(&key, pools, &self.contexts, &mut self.interner)?;
        let identity = Identity {
            stack,
            attributes,
            link: match link.is_set() {
                true => link,
                false => within.link,
            },
        };
        for (sort, values) in counts.into_iter().flatten() {
            self.columns.add(sort, identity, values);
            if let Some(period) = counting.period(sort) {
                self.columns.period(sort, period);
            }
        }
        if plan.event == Event::Malloc {
            let (time, address) = (Slot::Start.of(kept), Slot::Address.of(kept) as u64);
            self.heap.malloc(time, address, identity, Slot::Size.of(kept));
        }
        self.pay(looked_up)
    }

    fn stack(
        &mut self,
        plan: &Plan,
        kept: &Kept,
        pools: &Pools<'_>,
        looked_up: &mut LookedUp,
    ) -> Result<StackId, Defect> {
        let (symbols, interner) = (&mut looked_up.symbols, &mut self.interner);
        let number = Slot::Stack.of(kept) as u64;
        match plan.event {
            Event::CpuTime if Slot::Failed.of(kept) != 0 => Ok(symbols.only(FAILED, interner)),
            Event::MethodTrace => symbols.called(Slot::Method.of(kept) as u64, number, pools, interner),
            _ => symbols.stack(number, pools, interner),
        }
    }

    /// Asks for the memory that it has come to, and sees that it is not too much.
    fn pay(&mut self, looked_up: &LookedUp) -> Result<(), Defect> {
        let dictionary = self.interner.dictionary();
        let rows = self
            .columns
            .rows()
            .max(dictionary.stacks.items().len())
            .max(self.heap.len());
        if rows > self.limits.elements {
            return Err(Defect::TooLarge(Limit::Elements));
        }
        self.memory
            .look_up(looked_up.symbols.bytes() + looked_up.labels.bytes())?;
        self.keep()
    }

    /// Asks for the memory of what stays.
    fn keep(&mut self) -> Result<(), Defect> {
        let dictionary = self.interner.dictionary().heap_bytes() * WITH_MAPS;
        self.memory
            .keep(dictionary + self.columns.bytes() + self.heap.bytes() + self.ahead.bytes())
    }
}

/// Bytes that a schema takes for each byte of metadata.
const METADATA: usize = 8;

/// What was looked up in a chunk.
struct LookedUp {
    symbols: Symbols,
    labels: Labels,
    spans: Spans,
    /// Of the chunk.
    header: Header,
}

impl LookedUp {
    /// What the innermost spans of the thread of a sample tell. Those that end in later chunks are around those that end in this one.
    fn within(&self, ahead: &Ahead, thread: u64, time: i64) -> Within {
        self.spans.at(thread, time).or(ahead.at(thread, time, &self.header))
    }
}

/// The chunk that `bytes` begin with.
fn whole(bytes: &[u8]) -> Result<(Header, Cursor<'_>), Defect> {
    let header = Header::read(bytes)?;
    let whole = bytes.get(..header.size);
    let whole = whole.filter(|whole| u32::try_from(whole.len()).is_ok());
    let whole = whole.ok_or(Defect::Malformed {
        at: 0,
        problem: "a chunk that is cut: it is longer than what is left",
    })?;
    Ok((header, Cursor::new(whole, header.compressed)))
}

/// The number of a state of threads.
fn state(pools: &Pools<'_>, wanted: &str) -> Option<u64> {
    pools.numbers(PoolName::ThreadState).find(|number| {
        let kept = pools.get(PoolName::ThreadState, *number);
        let name = kept.and_then(|kept| pools.text(*kept.get(slot::NAME)?).ok());
        name.as_deref() == Some(wanted)
    })
}
