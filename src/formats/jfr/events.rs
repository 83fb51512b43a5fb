//! The events that are read, by name. All others of a recording, and with them system properties, the environment, command lines
//! and what applications log of themselves, are passed over by their size alone.

use super::defect::Defect;
use super::layout::{Kept, Layout, Layouts, SLOTS, Step};
use super::metadata::{Field, Type};
use super::schema::ATTRIBUTE;

/// An event that becomes samples, or tells how to count those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Execution,
    Native,
    CpuTime,
    CpuTimeLost,
    Wall,
    InNewTlab,
    OutsideTlab,
    AllocationSample,
    Live,
    OldObject,
    Malloc,
    Free,
    Monitor,
    NativeLock,
    Park,
    /// Waits of another kind, which are read if asked for: the label that tells them apart.
    OffCpu(&'static str),
    Exception,
    Error,
    MethodTrace,
    DatadogExecution,
    DatadogWall,
    DatadogAllocation,
    DatadogLive,
    DatadogMalloc,
    DatadogSocket,
    DatadogException,
    /// How something was set while the recording ran.
    Setting,
    /// From when to when a thread worked for a span.
    Span,
    /// Which endpoint a request came to.
    Endpoint,
}

impl Event {
    /// Whether it tells of samples in its own chunk and in those before it.
    pub const fn is_context(self) -> bool {
        matches!(self, Self::Span | Self::Endpoint)
    }
}

/// Names of events in the metadata.
const EVENTS: [(&str, Event); 35] = [
    ("jdk.ExecutionSample", Event::Execution),
    ("jdk.NativeMethodSample", Event::Native),
    ("jdk.CPUTimeSample", Event::CpuTime),
    ("jdk.CPUTimeSamplesLost", Event::CpuTimeLost),
    ("jdk.ObjectAllocationInNewTLAB", Event::InNewTlab),
    ("jdk.ObjectAllocationOutsideTLAB", Event::OutsideTlab),
    ("jdk.ObjectAllocationSample", Event::AllocationSample),
    ("jdk.OldObjectSample", Event::OldObject),
    ("jdk.JavaMonitorEnter", Event::Monitor),
    ("jdk.ThreadPark", Event::Park),
    ("jdk.JavaMonitorWait", Event::OffCpu("wait")),
    ("jdk.ThreadSleep", Event::OffCpu("sleep")),
    ("jdk.FileRead", Event::OffCpu("file_read")),
    ("jdk.FileWrite", Event::OffCpu("file_write")),
    ("jdk.FileForce", Event::OffCpu("file_force")),
    ("jdk.SocketRead", Event::OffCpu("socket_read")),
    ("jdk.SocketWrite", Event::OffCpu("socket_write")),
    ("jdk.JavaExceptionThrow", Event::Exception),
    ("jdk.JavaErrorThrow", Event::Error),
    ("jdk.MethodTrace", Event::MethodTrace),
    ("jdk.ActiveSetting", Event::Setting),
    ("profiler.WallClockSample", Event::Wall),
    ("profiler.LiveObject", Event::Live),
    ("profiler.Malloc", Event::Malloc),
    ("profiler.Free", Event::Free),
    ("profiler.NativeLock", Event::NativeLock),
    ("profiler.Span", Event::Span),
    ("datadog.ExecutionSample", Event::DatadogExecution),
    ("datadog.MethodSample", Event::DatadogWall),
    ("datadog.ObjectSample", Event::DatadogAllocation),
    ("datadog.HeapLiveObject", Event::DatadogLive),
    ("datadog.NativeMemoryAllocation", Event::DatadogMalloc),
    ("datadog.NativeSocketEvent", Event::DatadogSocket),
    ("datadog.ExceptionSample", Event::DatadogException),
    ("datadog.Endpoint", Event::Endpoint),
];

/// What is kept of an event, whatever its type calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Start,
    Duration,
    Stack,
    Thread,
    State,
    /// The class of an object, a monitor or an exception.
    Class,
    Size,
    TlabSize,
    Weight,
    Samples,
    TimeSpan,
    Period,
    Failed,
    Lost,
    Method,
    Object,
    Address,
    ContextId,
    SpanId,
    SpanName,
    TraceId,
    /// The lower half of a trace id, or the span at the root of the local trace.
    SecondId,
}

impl Slot {
    /// What it is in what was kept.
    #[inline]
    pub fn of(self, kept: &Kept) -> i64 {
        kept.get(self as usize).copied().unwrap_or_default()
    }
}

fn slot(field: &str) -> Option<usize> {
    Some(match field {
        "startTime" => Slot::Start,
        "duration" => Slot::Duration,
        "stackTrace" => Slot::Stack,
        "sampledThread" | "eventThread" => Slot::Thread,
        "state" => Slot::State,
        "objectClass" | "monitorClass" | "parkedClass" | "thrownClass" => Slot::Class,
        "allocationSize" | "objectSize" | "size" => Slot::Size,
        "tlabSize" => Slot::TlabSize,
        "weight" => Slot::Weight,
        "samples" => Slot::Samples,
        "timeSpan" => Slot::TimeSpan,
        "samplingPeriod" => Slot::Period,
        "failed" => Slot::Failed,
        "lostSamples" => Slot::Lost,
        "method" => Slot::Method,
        "object" => Slot::Object,
        "address" => Slot::Address,
        "contextId" => Slot::ContextId,
        "spanId" => Slot::SpanId,
        "spanName" => Slot::SpanName,
        "traceIdHi" => Slot::TraceId,
        "traceIdLo" | "localRootSpanId" => Slot::SecondId,
        _ => return None,
    } as usize)
}

/// A setting is kept in these.
pub(super) mod setting {
    use super::Slot;

    /// The id of the type of events that it is about.
    pub const ABOUT: Slot = Slot::Start;
    /// Where its name stands.
    pub const NAME: Slot = Slot::Duration;
    /// Where its value stands.
    pub const VALUE: Slot = Slot::Stack;

    pub(super) fn slot(field: &str) -> Option<usize> {
        Some(match field {
            "id" => ABOUT,
            "name" => NAME,
            "value" => VALUE,
            _ => return None,
        } as usize)
    }
}

/// The first of the slots that are left for attributes with names of the application's.
const FIRST_ATTRIBUTE: usize = Slot::SecondId as usize + 1;
/// More than Datadog's profiler allows are not read.
const MOST_ATTRIBUTES: usize = SLOTS - FIRST_ATTRIBUTE;

/// A span is kept in these, and in those for start, duration and thread.
pub(super) mod span {
    use super::Slot;

    /// Where the id of its trace stands.
    pub const TRACE: Slot = Slot::TraceId;
    /// Where its own id stands.
    pub const SPAN: Slot = Slot::SpanId;
    /// Where what async-profiler calls it stands, or the number of that.
    pub const TAG: Slot = Slot::SpanName;

    pub(super) fn slot(field: &str) -> Option<usize> {
        Some(match field {
            "startTime" => Slot::Start,
            "duration" => Slot::Duration,
            "eventThread" => Slot::Thread,
            "traceId" | "trace_id" => TRACE,
            "spanId" | "span_id" => SPAN,
            "tag" => TAG,
            _ => return None,
        } as usize)
    }

    /// What makes an event a span, whatever it is called.
    pub(super) const ESSENTIAL: [Slot; 5] = [Slot::Start, Slot::Duration, Slot::Thread, TRACE, SPAN];
}

/// An exception that an agent of Datadog's tells is kept in this and in those of other samples.
pub(super) mod exception {
    use super::Slot;

    /// Where the name of its class stands.
    pub const TYPE: Slot = Slot::Class;

    pub(super) fn slot(field: &str) -> Option<usize> {
        match field {
            "type" => Some(TYPE as usize),
            _ => super::slot(field),
        }
    }
}

/// An endpoint is kept in these.
pub(super) mod endpoint {
    use super::Slot;

    /// The span at the root of the trace here.
    pub const ROOT_SPAN: Slot = Slot::SecondId;
    /// Where its name stands, or the number of that.
    pub const NAME: Slot = Slot::SpanName;

    pub(super) fn slot(field: &str) -> Option<usize> {
        Some(match field {
            "localRootSpanId" => ROOT_SPAN,
            "endpoint" => NAME,
            _ => return None,
        } as usize)
    }
}

/// How to read the events of a type.
#[derive(Debug)]
pub(super) struct Plan {
    pub event: Event,
    pub layout: Layout,
    /// Whether the weight is the bits of a double.
    pub weight_is_float: bool,
    /// Whether its second id is that of the local root span and not half a trace id.
    pub has_root_span: bool,
    /// Whether it says the state of the thread.
    pub has_state: bool,
    /// Names of the attributes in the last slots.
    attributes: Box<[Box<str>]>,
}

impl Plan {
    /// How to read the events of a type, if they are read at all.
    pub fn of(of: &Type, layouts: &mut Layouts<'_>) -> Result<Option<Self>, Defect> {
        let named = EVENTS.iter().find(|(name, _)| *name == &*of.name);
        let event = match named {
            Some((_, event)) => event,
            None if is_span(of) => &Event::Span,
            None => return Ok(None),
        };
        let attributes = attributes(of, layouts);
        let attribute = |field: &str| attributes.iter().position(|name| **name == *field);
        let layout = match event {
            Event::Setting => layouts.keep(of, &setting::slot)?,
            Event::Span => layouts.keep(of, &span::slot)?,
            Event::Endpoint => layouts.keep(of, &endpoint::slot)?,
            Event::DatadogException => layouts.keep(of, &exception::slot)?,
            _ => layouts.keep(of, &|field| {
                slot(field).or_else(|| attribute(field).map(|at| FIRST_ATTRIBUTE + at))
            })?,
        };
        let is_float = |step: &Step| matches!(step, Step::KeepFloat { slot, .. } if *slot == Slot::Weight as usize);
        Ok(Some(Self {
            event: *event,
            weight_is_float: layout.iter().any(is_float),
            has_root_span: of.fields.iter().any(|field| &*field.name == "localRootSpanId"),
            has_state: of.fields.iter().any(|field| &*field.name == "state"),
            attributes,
            layout,
        }))
    }

    /// The attributes of an event, by name: the number of each.
    pub fn attributes<'a>(&'a self, kept: &'a Kept) -> impl Iterator<Item = (&'a str, u64)> {
        let numbers = kept.get(FIRST_ATTRIBUTE..).unwrap_or_default();
        let attributes = self.attributes.iter().zip(numbers);
        attributes.map(|(name, number)| (&**name, *number as u64))
    }

    /// Whether a text is kept as the number of a constant and not as the place where it stands.
    pub fn is_constant(&self, of: Slot) -> bool {
        let is_number = |step: &Step| matches!(step, Step::Keep { slot, .. } if *slot == of as usize);
        self.layout.iter().any(is_number)
    }
}

/// The names of the fields that are attributes, as far as there are slots for them.
fn attributes(of: &Type, layouts: &Layouts<'_>) -> Box<[Box<str>]> {
    let is_attribute = |field: &&Field| {
        let type_of = layouts.type_of(field);
        field.is_reference && type_of.is_some_and(|of| &*of.name == ATTRIBUTE) && slot(&field.name).is_none()
    };
    let attributes = of.fields.iter().filter(is_attribute).take(MOST_ATTRIBUTES);
    attributes.map(|field| field.name.clone()).collect()
}

/// Whether the events of a type are spans, whatever it is called: applications have their own.
fn is_span(of: &Type) -> bool {
    let has = |wanted: &Slot| {
        let mut slots = of.fields.iter().filter_map(|field| span::slot(&field.name));
        slots.any(|slot| slot == *wanted as usize)
    };
    span::ESSENTIAL.iter().all(has)
}
