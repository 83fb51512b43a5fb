//! Half of the cores for the gate, half for its senders and backends: what sending costs does not weigh on what is measured.

/// Whose half.
#[derive(Clone, Copy)]
pub enum Half {
    /// The process under test.
    Gate,
    /// All that is around it.
    Load,
}

/// Keeps the calling thread, and all that it starts from now on, to its half. A machine of one core has no halves.
#[cfg(target_os = "linux")]
pub fn keep_to(half: Half) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let all = ALL.get_or_init(|| {
        let allowed = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
    });
    if all.len() < 2 {
        return;
    }
    let (gate, load) = all.split_at(all.len() / 2);
    let mut cores = CpuSet::new();
    for core in match half {
        Half::Gate => gate,
        Half::Load => load,
    } {
        cores.set(*core);
    }
    sched_setaffinity(None, &cores).unwrap();
}

/// Other systems give no such promise.
#[cfg(not(target_os = "linux"))]
pub fn keep_to(_half: Half) {}
