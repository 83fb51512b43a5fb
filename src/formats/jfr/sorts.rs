//! The profiles that a recording becomes: one for each sort of thing that was measured.

/// A sort of profile. Of those that measure the same in different ways the first is listed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sort {
    CpuTime,
    DatadogCpu,
    Execution,
    Counter,
    Wall,
    Native,
    Tlab,
    AllocationSample,
    DatadogAllocation,
    Live,
    OldObject,
    Malloc,
    MallocInUse,
    Monitor,
    NativeLock,
    Park,
    OffCpu,
    Exception,
    Error,
    DatadogException,
    Method,
}

/// Names and units of the values of a sample.
pub(super) type Types = &'static [(&'static str, &'static str)];

/// How a sort of profile is told.
#[derive(Debug)]
pub(super) struct Spec {
    pub sort: Sort,
    /// What its values are.
    pub types: Types,
    /// What they are called beside a profile of the same types that measures the same in a better way: nobody must add them up.
    pub beside: Option<Types>,
    /// What happens between two samples.
    pub period_type: (&'static str, &'static str),
}

const CPU: Types = &[("samples", "count"), ("cpu", "nanoseconds")];
/// Between two samples of what runs.
pub(super) const CPU_PERIOD: (&str, &str) = ("cpu", "nanoseconds");
const ALLOCATIONS: Types = &[("alloc_objects", "count"), ("alloc_space", "bytes")];
const SPACE_PERIOD: (&str, &str) = ("space", "bytes");
const NO_PERIOD: (&str, &str) = ("", "");

const fn spec(sort: Sort, types: Types, period_type: (&'static str, &'static str)) -> Spec {
    Spec {
        sort,
        types,
        beside: None,
        period_type,
    }
}

/// All sorts, in the order of [`Sort`].
pub(super) static SORTS: [Spec; 21] = [
    spec(Sort::CpuTime, CPU, CPU_PERIOD),
    Spec {
        beside: Some(&[("datadog_samples", "count"), ("datadog_execution", "nanoseconds")]),
        ..spec(Sort::DatadogCpu, CPU, CPU_PERIOD)
    },
    Spec {
        beside: Some(&[("execution_samples", "count"), ("execution", "nanoseconds")]),
        ..spec(Sort::Execution, CPU, CPU_PERIOD)
    },
    spec(
        Sort::Counter,
        &[("samples", "count"), ("events", "count")],
        ("events", "count"),
    ),
    spec(
        Sort::Wall,
        &[("samples", "count"), ("wall", "nanoseconds")],
        ("wall", "nanoseconds"),
    ),
    spec(
        Sort::Native,
        &[("native_samples", "count"), ("native", "nanoseconds")],
        ("native", "nanoseconds"),
    ),
    spec(Sort::Tlab, ALLOCATIONS, SPACE_PERIOD),
    Spec {
        beside: Some(&[("alloc_sample_objects", "count"), ("alloc_sample_space", "bytes")]),
        ..spec(Sort::AllocationSample, ALLOCATIONS, SPACE_PERIOD)
    },
    Spec {
        beside: Some(&[("datadog_alloc_objects", "count"), ("datadog_alloc_space", "bytes")]),
        ..spec(Sort::DatadogAllocation, ALLOCATIONS, SPACE_PERIOD)
    },
    spec(
        Sort::Live,
        &[("inuse_objects", "count"), ("inuse_space", "bytes")],
        SPACE_PERIOD,
    ),
    spec(
        Sort::OldObject,
        &[("old_objects", "count"), ("old_space", "bytes")],
        NO_PERIOD,
    ),
    spec(
        Sort::Malloc,
        &[("malloc_objects", "count"), ("malloc_bytes", "bytes")],
        SPACE_PERIOD,
    ),
    spec(
        Sort::MallocInUse,
        &[("malloc_inuse_objects", "count"), ("malloc_inuse_bytes", "bytes")],
        SPACE_PERIOD,
    ),
    spec(
        Sort::Monitor,
        &[("contentions", "count"), ("delay", "nanoseconds")],
        ("mutex", "count"),
    ),
    spec(
        Sort::NativeLock,
        &[("native_lock_count", "count"), ("native_lock_time", "nanoseconds")],
        NO_PERIOD,
    ),
    spec(
        Sort::Park,
        &[("park_count", "count"), ("park_duration", "nanoseconds")],
        NO_PERIOD,
    ),
    spec(
        Sort::OffCpu,
        &[("off_cpu_count", "count"), ("off_cpu", "nanoseconds")],
        NO_PERIOD,
    ),
    spec(Sort::Exception, &[("exceptions", "count")], NO_PERIOD),
    Spec {
        beside: Some(&[("errors", "count")]),
        ..spec(Sort::Error, &[("exceptions", "count")], NO_PERIOD)
    },
    Spec {
        beside: Some(&[("datadog_exceptions", "count")]),
        ..spec(Sort::DatadogException, &[("exceptions", "count")], NO_PERIOD)
    },
    spec(
        Sort::Method,
        &[("method_calls", "count"), ("method_time", "nanoseconds")],
        NO_PERIOD,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_has_its_row() {
        for (row, spec) in SORTS.iter().enumerate() {
            assert_eq!(spec.sort as usize, row);
        }
        assert_eq!(Sort::Method as usize + 1, SORTS.len());
    }
}
