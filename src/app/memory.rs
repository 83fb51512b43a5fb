//! How much memory batches may hold: as configured, else half of what the container has; and what the process keeps for the next ones.

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigErrors, Loaded, Service};
use crate::pipeline::Levels;
use crate::processors::memory_limiter;

/// Where nothing is configured and nothing limits the process.
const DEFAULT: usize = 256 << 20;
/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Memory that was freed is kept if all threads together keep no more than such a part of the budget.
const KEPT_PART: usize = 4;
/// The largest block that is kept.
const KEPT_BLOCK: usize = 8 << 20;
/// For each core one thread that waits and one that works, each of which may keep two blocks.
const BLOCKS_OF_CORE: usize = 4;

/// Has the process keep what a budget of this size can spare; it is not undone.
pub(super) fn keep_freed(levels: Levels) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if can_spare(levels.hard, cores) {
        keep_freed_blocks();
    }
}

fn can_spare(budget: usize, cores: usize) -> bool {
    cores * BLOCKS_OF_CORE * KEPT_BLOCK <= budget / KEPT_PART
}

/// Has the allocator keep freed memory instead of giving it back to the system, which hands it out again page by page: glibc keeps
/// blocks as large as the largest that it has seen freed, up to 32 MiB, and twice as much for each arena. So it sees one of 8 MiB,
/// as after the first large request. Other allocators do as they do.
pub fn keep_freed_blocks() {
    std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BLOCK));
}

/// The levels of a configuration.
pub(super) fn levels(config: &Config) -> Levels {
    let memory = || container_limit().or_else(machine_memory).unwrap_or(DEFAULT);
    let limited = limiters(config).map(|(_, limiter)| limiter.levels(memory()));
    match limited.min_by_key(|levels| levels.hard) {
        Some(levels) => levels,
        None => of_service(&config.service),
    }
}

/// Whether the budget is set in one place only.
pub(super) fn check(loaded: &Loaded, config: &Config) -> Result<(), ConfigErrors> {
    let service = &config.service;
    let at = |key: &str, message: String| -> Result<(), ConfigErrors> {
        Err(loaded.error_at(&["service", key], message).into())
    };
    for (key, size) in [
        ("memory_budget", service.memory_budget),
        ("memory_soft_limit", service.memory_soft_limit),
    ] {
        if size.is_some_and(|size| size.0 == 0) {
            return at(
                key,
                "nothing would be let in; leave it out, or write a size such as 256MiB".to_owned(),
            );
        }
    }
    let keys = [
        ("memory_budget", service.memory_budget.is_some()),
        ("memory_soft_limit", service.memory_soft_limit.is_some()),
    ];
    let set = keys.iter().find(|(_, set)| *set);
    if let (Some((key, _)), Some((id, _))) = (set, limiters(config).next()) {
        let message =
            format!("the processor {id} sets the memory budget too; drop this key, or `{id}` from the pipelines");
        return at(key, message);
    }
    Ok(())
}

/// The memory limiters that stand in pipelines.
fn limiters(config: &Config) -> impl Iterator<Item = (&str, memory_limiter::Config)> {
    let stands = |id: &String| {
        config
            .pipelines
            .iter()
            .any(|(_, pipeline)| pipeline.processors.contains(id))
    };
    let limiters = config.processors.iter();
    limiters
        .filter(move |one| one.type_name == memory_limiter::SPEC.about.name && stands(&one.id))
        .filter_map(|one| Some((one.id.as_str(), memory_limiter::Config::read(one.raw.clone()).ok()?)))
}

/// The memory of the machine.
fn machine_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

fn of_service(service: &Service) -> Levels {
    let hard = match service.memory_budget {
        Some(budget) => budget.as_usize(),
        None => container_limit().map_or(DEFAULT, |limit| limit / 2),
    };
    let usual = Levels::of(hard);
    match service.memory_soft_limit {
        Some(soft) => Levels {
            soft: soft.as_usize().min(hard),
            ..usual
        },
        None => usual,
    }
}

/// The memory limit of the control group of this process; none if there is none.
fn container_limit() -> Option<usize> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    smallest_limit(Path::new(GROUPS), &groups)
}

/// The smallest limit of the groups that `/proc/self/cgroup` names and of those above them. Inside a container the path may be
/// that of the host, while only the group itself is mounted: then the root stands for it.
fn smallest_limit(root: &Path, groups: &str) -> Option<usize> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let inside = PathBuf::from(path.trim_start_matches('/'));
        for group in inside.ancestors() {
            limits.extend(read_limit(&mount.join(group).join(file)));
        }
    }
    limits.into_iter().min()
}

/// A limit in bytes; `max`, and the number that the first version of control groups writes for it, are none.
fn read_limit(file: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let bytes: usize = text.trim().parse().ok()?;
    (bytes < usize::MAX / 4).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_smallest_limit_above_the_process_counts() {
        let root = groups(&[("a/memory.max", "1000\n"), ("a/b/memory.max", "max\n")]);
        assert_eq!(smallest_limit(root.path(), "0::/a/b\n"), Some(1000));
        let root = groups(&[("memory.max", "500\n")]);
        assert_eq!(smallest_limit(root.path(), "0::/kubepods/pod1\n"), Some(500));
        assert_eq!(smallest_limit(root.path(), ""), None);
        let root = groups(&[
            ("memory/c/memory.limit_in_bytes", "700\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(
            smallest_limit(root.path(), "5:cpu:/c\n4:hugetlb,memory:/c\n"),
            Some(700)
        );
    }

    #[test]
    fn memory_is_kept_where_a_quarter_of_the_budget_is_enough_for_all_cores() {
        let mib = |budget: usize, cores| can_spare(budget << 20, cores);
        assert!(mib(128, 1) && mib(256, 2) && mib(1024, 8) && mib(8192, 64));
        assert!(!mib(64, 1) && !mib(255, 2) && !mib(1024, 64));
    }

    #[test]
    fn what_is_configured_wins() {
        let mut service = Service {
            memory_budget: Some(crate::pipeline::units::ByteSize::mib(10)),
            ..Service::default()
        };
        assert_eq!(of_service(&service), Levels::of(10 << 20));
        service.memory_soft_limit = Some(crate::pipeline::units::ByteSize::mib(5));
        assert_eq!(
            of_service(&service),
            Levels {
                soft: 5 << 20,
                hard: 10 << 20
            }
        );
    }
}
