//! Events as samples: what each counts, and in which sort of profile.

use super::columns::Values;
use super::events::{Event, Plan, Slot};
use super::labels::{ClassIs, Context, Key};
use super::layout::Kept;
use super::settings::{Clock, Settings};
use super::sorts::Sort;

/// How the samples of a chunk are counted.
#[derive(Clone, Debug)]
pub(super) struct Counting {
    pub settings: Settings,
    pub is_async_profiler: bool,
    /// The number of the state of threads that run in samples of running threads, where a profiler marks those that do not.
    pub running: Option<u64>,
    /// The same in samples of all threads.
    pub runnable: Option<u64>,
    /// Whether waits other than for monitors and in `park` are counted.
    pub off_cpu: bool,
}

/// A sample for a profile.
pub(super) type Count = (Sort, Values);

impl Counting {
    /// What an event amounts to: in one profile, in two, or in none.
    pub fn counts(&self, plan: &Plan, kept: &Kept) -> [Option<Count>; 2] {
        let once = |sort, value| [Some((sort, [1, value])), None];
        let duration = Slot::Duration.of(kept);
        let size = Slot::Size.of(kept);
        match plan.event {
            Event::Execution => self.execution(kept),
            Event::Native => once(Sort::Native, self.settings.native()),
            Event::CpuTime => once(Sort::CpuTime, Slot::Period.of(kept)),
            Event::Wall => self.wall(kept),
            Event::InNewTlab => once(Sort::Tlab, Slot::TlabSize.of(kept)),
            Event::OutsideTlab => once(Sort::Tlab, size),
            Event::AllocationSample => once(Sort::AllocationSample, Slot::Weight.of(kept)),
            Event::Live => once(Sort::Live, size),
            Event::OldObject => once(Sort::OldObject, size),
            Event::Malloc => once(Sort::Malloc, size),
            Event::Monitor => once(Sort::Monitor, duration),
            Event::NativeLock => once(Sort::NativeLock, duration),
            Event::Park => once(Sort::Park, duration),
            Event::OffCpu(_) if self.off_cpu => once(Sort::OffCpu, duration),
            Event::Exception => once(Sort::Exception, 0),
            Event::Error => once(Sort::Error, 0),
            Event::MethodTrace => once(Sort::Method, duration),
            Event::DatadogExecution => [
                Some(weighted(plan, kept, Sort::DatadogCpu, self.settings.execution(true))),
                None,
            ],
            Event::DatadogWall => [Some(weighted(plan, kept, Sort::Wall, self.settings.wall())), None],
            Event::DatadogAllocation => [Some(weighted(plan, kept, Sort::DatadogAllocation, size)), None],
            Event::DatadogLive => [Some(weighted(plan, kept, Sort::Live, size)), None],
            Event::DatadogMalloc => [Some(weighted(plan, kept, Sort::Malloc, size)), None],
            Event::DatadogSocket if self.off_cpu => [Some(weighted(plan, kept, Sort::OffCpu, duration)), None],
            Event::DatadogException => once(Sort::DatadogException, 0),
            Event::OffCpu(_)
            | Event::DatadogSocket
            | Event::CpuTimeLost
            | Event::Free
            | Event::Setting
            | Event::Span
            | Event::Endpoint => [None, None],
        }
    }

    /// async-profiler samples by whichever clock it was told to, and of old all threads, running or not.
    fn execution(&self, kept: &Kept) -> [Option<Count>; 2] {
        let period = self.settings.execution(self.is_async_profiler);
        let count = |sort| Some((sort, [1, period]));
        if !self.is_async_profiler {
            return [count(Sort::Execution), None];
        }
        let running = is(self.running, kept);
        match self.settings.clock() {
            Clock::Cpu => [count(Sort::Execution).filter(|_| running), None],
            Clock::Counter => [count(Sort::Counter), None],
            Clock::Wall => [count(Sort::Wall), count(Sort::Execution).filter(|_| running)],
        }
    }

    /// Where nothing else samples what runs, samples of running threads do.
    fn wall(&self, kept: &Kept) -> [Option<Count>; 2] {
        let samples = Slot::Samples.of(kept).max(0);
        let time = samples.saturating_mul(self.settings.wall());
        let count = |sort| Some((sort, [samples, time]));
        let alone = self.settings.clock() == Clock::Wall;
        [
            count(Sort::Wall),
            count(Sort::Execution).filter(|_| alone && is(self.runnable, kept)),
        ]
    }

    /// What lies between two samples of a sort, where that is a setting.
    pub fn period(&self, sort: Sort) -> Option<i64> {
        match sort {
            Sort::Execution | Sort::Counter => Some(self.settings.execution(self.is_async_profiler)),
            Sort::DatadogCpu => Some(self.settings.execution(true)),
            Sort::Wall => Some(self.settings.wall()),
            Sort::Native => Some(self.settings.native()),
            _ => None,
        }
    }
}

/// Whether a sample is of a state, if there is such a state.
fn is(state: Option<u64>, kept: &Kept) -> bool {
    state.is_none_or(|state| state == Slot::State.of(kept) as u64)
}

/// As many samples as the event weighs, each of so much.
fn weighted(plan: &Plan, kept: &Kept, sort: Sort, each: i64) -> Count {
    let weight = Slot::Weight.of(kept);
    let weight = match plan.weight_is_float {
        true => f64::from_bits(weight as u64),
        false => weight as f64,
    };
    let weight = if weight.is_finite() { weight.max(0.0) } else { 0.0 };
    // beyond 64 bits it stays at the most of those
    let count = |number: f64| number.round() as i64;
    (sort, [count(weight), count(weight * each as f64)])
}

/// What the labels of an event depend on.
pub(super) fn key(plan: &Plan, kept: &Kept) -> Key {
    let id = |slot: Slot| slot.of(kept) as u64;
    let is_datadog = matches!(
        plan.event,
        Event::DatadogExecution | Event::DatadogWall | Event::DatadogAllocation | Event::DatadogLive
    );
    let class_is = class_is(plan.event);
    let second = id(Slot::SecondId);
    let (root_span, low) = if plan.has_root_span { (second, 0) } else { (0, second) };
    Key {
        thread: id(Slot::Thread),
        state: plan.has_state.then(|| id(Slot::State)),
        class: match class_is {
            ClassIs::None => 0,
            _ => id(Slot::Class),
        },
        class_is,
        reason: match plan.event {
            Event::OffCpu(reason) => Some(reason),
            Event::DatadogSocket => Some("socket"),
            _ => None,
        },
        context: Context {
            context: id(Slot::ContextId),
            span: id(Slot::SpanId),
            span_name: id(Slot::SpanName),
            trace: [id(Slot::TraceId), low],
            root_span,
            is_datadog: is_datadog || plan.has_root_span,
        },
        ..Key::default()
    }
}

const fn class_is(event: Event) -> ClassIs {
    match event {
        Event::InNewTlab
        | Event::OutsideTlab
        | Event::AllocationSample
        | Event::Live
        | Event::OldObject
        | Event::DatadogAllocation
        | Event::DatadogLive => ClassIs::Object,
        Event::Monitor | Event::Park => ClassIs::Monitor,
        Event::Exception | Event::Error => ClassIs::Exception,
        _ => ClassIs::None,
    }
}
