//! Everything that follows from the metadata of a chunk. The chunks of one writer have equal metadata, so it is worked out once.

use hashbrown::HashMap;

use super::defect::Defect;
use super::events::Plan;
use super::layout::{Layout, Layouts};
use super::metadata::{Type, Types};
use super::primitives::Cursor;

/// The pools whose constants are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolName {
    StackTrace,
    Method,
    Class,
    Symbol,
    Thread,
    FrameType,
    ThreadState,
    String,
    OldObject,
    Attribute,
}

/// How many of those there are.
pub(super) const POOLS: usize = 10;

const POOL_TYPES: [(&str, PoolName); 11] = [
    ("jdk.types.StackTrace", PoolName::StackTrace),
    ("jdk.types.Method", PoolName::Method),
    ("java.lang.Class", PoolName::Class),
    ("jdk.types.Symbol", PoolName::Symbol),
    ("java.lang.Thread", PoolName::Thread),
    ("jdk.types.FrameType", PoolName::FrameType),
    ("jdk.types.ThreadState", PoolName::ThreadState),
    ("datadog.types.ThreadState", PoolName::ThreadState),
    ("java.lang.String", PoolName::String),
    ("jdk.types.OldObject", PoolName::OldObject),
    (ATTRIBUTE, PoolName::Attribute),
];

/// The type of the attributes that Datadog's profiler adds to its events, each under a name that the application chose.
pub(super) const ATTRIBUTE: &str = "profiler.types.AttributeValue";

/// Where the fields of constants are kept. A constant has few, so the slots of one are those of another.
pub(super) mod slot {
    pub const TRUNCATED: usize = 0;
    pub const FRAMES: usize = 1;

    pub const METHOD: usize = 0;
    pub const LINE: usize = 1;
    pub const FRAME_TYPE: usize = 2;

    pub const TYPE: usize = 0;
    pub const NAME: usize = 1;
    pub const DESCRIPTOR: usize = 2;

    pub const OS_NAME: usize = 0;
    pub const JAVA_NAME: usize = 1;
    pub const OS_ID: usize = 2;
    pub const IS_VIRTUAL: usize = 3;
}

fn field_slot(pool: PoolName, field: &str) -> Option<usize> {
    Some(match (pool, field) {
        (PoolName::StackTrace, "truncated") => slot::TRUNCATED,
        (PoolName::StackTrace, "frames") => slot::FRAMES,
        (PoolName::Method | PoolName::OldObject, "type") => slot::TYPE,
        (PoolName::Method | PoolName::Class | PoolName::ThreadState, "name") => slot::NAME,
        (PoolName::Method, "descriptor") => slot::DESCRIPTOR,
        (PoolName::Symbol, "string") | (PoolName::FrameType, "description") => slot::NAME,
        (PoolName::Attribute, "value") => slot::NAME,
        (PoolName::Thread, "osName") => slot::OS_NAME,
        (PoolName::Thread, "javaName") => slot::JAVA_NAME,
        (PoolName::Thread, "osThreadId") => slot::OS_ID,
        (PoolName::Thread, "virtual") => slot::IS_VIRTUAL,
        _ => return None,
    })
}

fn frame_slot(field: &str) -> Option<usize> {
    Some(match field {
        "method" => slot::METHOD,
        "lineNumber" => slot::LINE,
        "type" => slot::FRAME_TYPE,
        _ => return None,
    })
}

/// How to pass over the constants of a type, and whether they are looked up.
#[derive(Debug)]
pub(super) struct Constants {
    pub over: Layout,
    pub pool: Option<PoolName>,
}

/// What the metadata of a chunk comes to.
#[derive(Debug, Default)]
pub(super) struct Schema {
    plans: HashMap<u64, Plan, foldhash::fast::RandomState>,
    constants: HashMap<u64, Constants, foldhash::fast::RandomState>,
    pools: [Layout; POOLS],
    /// Of one frame of a stack.
    pub frame: Layout,
    names: HashMap<u64, Box<str>, foldhash::fast::RandomState>,
    /// Whether it was async-profiler or a fork of it that wrote the chunk: that follows other customs than the JDK.
    pub is_async_profiler: bool,
}

impl Schema {
    /// Reads the metadata that `cursor` is at, behind its times and id.
    pub fn read(cursor: Cursor<'_>) -> Result<Self, Defect> {
        let types = Types::read(cursor)?;
        let mut layouts = Layouts::new(&types);
        let mut schema = Self::default();
        for of in types.iter() {
            schema.is_async_profiler |= of.name.starts_with("profiler.");
            if let Some(plan) = Plan::of(of, &mut layouts)? {
                schema.plans.insert(of.id, plan);
                schema.names.insert(of.id, of.name.clone());
            }
            schema.constants_of(of, &mut layouts)?;
            if &*of.name == "jdk.types.StackFrame" {
                schema.frame = layouts.keep_all_the_way(of, &frame_slot)?;
            }
        }
        Ok(schema)
    }

    fn constants_of(&mut self, of: &Type, layouts: &mut Layouts<'_>) -> Result<(), Defect> {
        let pool = POOL_TYPES.iter().find(|(name, _)| *name == &*of.name);
        let pool = pool.map(|(_, pool)| *pool);
        if let Some(pool) = pool
            && let Some(layout) = self.pools.get_mut(pool as usize)
        {
            *layout = layouts.keep(of, &|field| field_slot(pool, field))?;
        }
        // types of events, annotations and settings have no constants, but nothing forbids them to
        let over = layouts.skip(of)?;
        self.constants.insert(of.id, Constants { over, pool });
        Ok(())
    }

    /// How to read the events of a type, if they are read.
    #[inline]
    pub fn plan(&self, type_id: u64) -> Option<&Plan> {
        self.plans.get(&type_id)
    }

    /// Whether there may be events that tell of samples in other chunks.
    pub fn has_context(&self) -> bool {
        self.plans.values().any(|plan| plan.event.is_context())
    }

    /// The constants of a type.
    pub fn constants(&self, type_id: u64) -> Option<&Constants> {
        self.constants.get(&type_id)
    }

    /// How to read a constant of a pool.
    pub fn layout(&self, pool: PoolName) -> &Layout {
        static NONE: std::sync::LazyLock<Layout> = std::sync::LazyLock::new(Layout::default);
        self.pools.get(pool as usize).unwrap_or(&NONE)
    }

    /// The name of a type of events that are read.
    pub fn name(&self, type_id: u64) -> Option<&str> {
        self.names.get(&type_id).map(|name| &**name)
    }
}
