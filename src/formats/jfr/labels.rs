//! What a sample says besides its stack: thread, state, class, context.

use hashbrown::{HashMap, HashSet};

use super::context::Contexts;
use super::defect::Defect;
use super::events::{Event, Plan, exception};
use super::layout::Kept;
use super::pools::Pools;
use super::schema::PoolName;
use super::symbols::class_name;
use crate::formats::attributes;
use crate::profile::{Attribute, AttributeId, AttributeSetId, Id, Interner, Link, LinkId, StringId, Value};

type Map<Key, Value> = HashMap<Key, Value, foldhash::fast::RandomState>;

/// What tells the labels of one sample from those of another. Zero is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub thread: u64,
    /// The number of its state, if the event says one: zero is one of the JDK's.
    pub state: Option<u64>,
    pub class: u64,
    pub class_is: ClassIs,
    /// Which wait it was.
    pub reason: Option<&'static str>,
    pub context: Context,
    /// Attributes with names of the application's.
    pub attributes: AttributeSetId,
    /// The name of the span that the thread was in.
    pub span_name: AttributeId,
    /// The endpoint of the request that it belongs to.
    pub endpoint: AttributeId,
}

/// What the class of a sample is the class of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum ClassIs {
    #[default]
    None,
    Object,
    Monitor,
    Exception,
}

impl ClassIs {
    const fn label(self) -> &'static str {
        match self {
            Self::None | Self::Object => "object.class",
            Self::Monitor => "monitor.class",
            Self::Exception => "exception.type",
        }
    }
}

/// Which request a sample belongs to, as agents that trace write it into their events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Context {
    pub context: u64,
    pub span: u64,
    pub span_name: u64,
    pub trace: [u64; 2],
    pub root_span: u64,
    /// Whether it is Datadog's, whose ids are told in decimal.
    pub is_datadog: bool,
}

/// The labels of a chunk that were resolved so far.
#[derive(Debug, Default)]
pub(super) struct Labels {
    sets: Map<Key, (AttributeSetId, LinkId)>,
    threads: Map<u64, Vec<AttributeId>>,
    /// Texts of attributes with names of the application's, by constant: unset if empty.
    values: Map<u64, StringId>,
    scratch: Vec<AttributeId>,
    seen: HashSet<StringId, foldhash::fast::RandomState>,
    /// Labels of a sample: one too many is enough for whoever counts them.
    most: usize,
}

impl Labels {
    /// None yet, of samples of at most so many.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.saturating_add(1),
            ..Self::default()
        }
    }

    /// About the bytes that they take.
    pub fn bytes(&self) -> usize {
        let sets = self.sets.capacity() * size_of::<(Key, (AttributeSetId, LinkId))>();
        let threads = self.threads.capacity() * (size_of::<(u64, Vec<AttributeId>)>() + 4 * size_of::<AttributeId>());
        let values = self.values.capacity() * size_of::<(u64, StringId)>();
        2 * (sets + threads + values)
    }

    /// Labels and link of a sample.
    pub fn of(
        &mut self,
        key: &Key,
        pools: &Pools<'_>,
        contexts: &Contexts,
        interner: &mut Interner,
    ) -> Result<(AttributeSetId, LinkId), Defect> {
        if let Some(known) = self.sets.get(key) {
            return Ok(*known);
        }
        self.scratch.clear();
        self.thread(key.thread, pools, interner)?;
        if let Some(number) = key.state
            && let Some(state) = state_name(number, pools)?
        {
            self.scratch.push(interner.text_attribute("thread.state", &state));
        }
        if key.class_is != ClassIs::None {
            let class = class_name(key.class, pools)?;
            if !class.is_empty() {
                self.scratch.push(interner.text_attribute(key.class_is.label(), &class));
            }
        }
        if let Some(reason) = key.reason {
            self.scratch.push(interner.text_attribute("off_cpu.reason", reason));
        }
        let link = self.context(&key.context, contexts, interner);
        let names = [key.endpoint, key.span_name];
        self.scratch.extend(names.iter().filter(|name| name.is_set()));
        self.scratch
            .extend_from_slice(&interner.dictionary().attribute_sets[key.attributes]);
        self.drop_repeated(interner);
        let found = (interner.attribute_set(&self.scratch), link);
        self.sets.insert(*key, found);
        Ok(found)
    }

    /// The attributes of an event that have names of the application's.
    pub fn attributes(
        &mut self,
        plan: &Plan,
        kept: &Kept,
        pools: &Pools<'_>,
        interner: &mut Interner,
    ) -> Result<AttributeSetId, Defect> {
        self.scratch.clear();
        if plan.event == Event::DatadogException {
            let class = pools.told(plan, exception::TYPE, kept);
            if !class.is_empty() {
                self.scratch
                    .push(interner.text_attribute(ClassIs::Exception.label(), &class));
            }
        }
        for (name, number) in plan.attributes(kept).filter(|(_, number)| *number != 0) {
            let text = match self.values.get(&number) {
                Some(known) => *known,
                None => {
                    let text = interner.string(&pools.constant(PoolName::Attribute, number)?);
                    self.values.insert(number, text);
                    text
                }
            };
            if text.is_set() {
                let (key, value) = (interner.string(name), Value::String(text));
                let unit = Id::UNSET;
                self.scratch.push(interner.attribute(Attribute { key, value, unit }));
            }
        }
        Ok(match self.scratch.is_empty() {
            true => Id::UNSET,
            false => interner.attribute_set(&self.scratch),
        })
    }

    /// Of labels under one key the first stays: applications give theirs any name.
    fn drop_repeated(&mut self, interner: &Interner) {
        self.seen.clear();
        let seen = &mut self.seen;
        self.scratch
            .retain(|label| seen.insert(interner.dictionary().attributes[*label].key));
        self.scratch.truncate(self.most);
    }

    fn thread(&mut self, number: u64, pools: &Pools<'_>, interner: &mut Interner) -> Result<(), Defect> {
        if let Some(known) = self.threads.get(&number) {
            self.scratch.extend(known);
            return Ok(());
        }
        let Some(kept) = pools.get(PoolName::Thread, number) else {
            return Ok(());
        };
        let [os_name, java_name, os_id, is_virtual, ..] = kept;
        // a thread has no name where its type has no such field
        let mut name = std::borrow::Cow::Borrowed("");
        for place in [java_name, os_name] {
            if name.is_empty() && place > 0 {
                name = pools.text(place)?;
            }
        }
        let mut labels = Vec::new();
        if !name.is_empty() {
            labels.push(interner.text_attribute("thread.name", &name));
        }
        if is_virtual != 0 {
            // there may be millions of them: their ids would tell nothing and cost much
            labels.push(interner.text_attribute("thread.kind", "virtual"));
        } else if os_id > 0 {
            labels.push(attributes::number(interner, "thread.id", os_id));
        }
        self.scratch.extend(&labels);
        self.threads.insert(number, labels);
        Ok(())
    }

    fn context(&mut self, context: &Context, contexts: &Contexts, interner: &mut Interner) -> LinkId {
        let labels = &mut self.scratch;
        for (key, value) in contexts.labels(context.context).take(self.most) {
            labels.push(interner.text_attribute(key, value));
        }
        if let Some(name) = contexts.string(context.span_name) {
            labels.push(interner.text_attribute("span_name", name));
        }
        let ids = [("local root span id", context.root_span), ("span id", context.span)];
        for (key, id) in ids.into_iter().filter(|(_, id)| context.is_datadog && *id != 0) {
            labels.push(interner.text_attribute(key, &id.to_string()));
        }
        if context.is_datadog || context.span == 0 {
            return Id::UNSET;
        }
        if context.trace == [0, 0] {
            labels.push(interner.text_attribute("profile_id", &format!("{:016x}", context.span)));
            return Id::UNSET;
        }
        let [high, low] = context.trace.map(u128::from);
        interner.link(Link {
            trace_id: (high << 64 | low).to_be_bytes(),
            span_id: context.span.to_be_bytes(),
        })
    }
}

/// `sleeping` of `STATE_SLEEPING`.
fn state_name(number: u64, pools: &Pools<'_>) -> Result<Option<String>, Defect> {
    let name = pools.constant(PoolName::ThreadState, number)?;
    let short = name.strip_prefix("STATE_").unwrap_or(&name);
    Ok((!short.is_empty()).then(|| short.to_lowercase()))
}
