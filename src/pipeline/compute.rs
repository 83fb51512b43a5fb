//! The compute pool: CPU work beside the network's threads, as many jobs as cores, and a panic costs one job.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::task::Poll;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

/// Jobs over at most so many bytes run where they are: handing them over would cost more.
const INLINE_BYTES: usize = 32 << 10;

/// Jobs that may wait for each one that runs. Beyond it waiting only makes answers late: senders should come again instead.
const WAITING_PER_JOB: usize = 32;

/// Pools of a process with a job for each core: intake and delivery.
const POOLS: usize = 2;
/// And one with a single job: what is shown of profiles.
const PAGES: usize = 1;

/// Runs CPU work.
#[derive(Clone, Debug)]
pub struct Compute {
    /// Where its threads are.
    threads: Handle,
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
}

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked at {fingerprint}")]
pub struct Panicked {
    /// Hash of the place in the code. Never the message: it may hold payload text.
    pub fingerprint: String,
}

/// Jobs at once in one pool.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(1024)
}

/// A runtime for the jobs of a process alone: with the pools' jobs it has as many threads, and never more. In a runtime that
/// does other things too, every moment in which no thread is idle makes another one, with memory of the allocator for itself.
pub fn threads() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(POOLS * cores() + PAGES)
        .thread_name("compute")
        .build()
}

impl Compute {
    /// A pool of so many jobs at once, on blocking threads of the runtime of `threads`.
    pub fn new(threads: Handle, jobs: usize) -> Self {
        Self {
            threads,
            permits: Arc::new(Semaphore::new(jobs)),
            waiting: Arc::default(),
            most_waiting: jobs * WAITING_PER_JOB,
        }
    }

    /// Whether so many jobs wait already that new work should not be taken on.
    pub fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= self.most_waiting
    }

    /// Whether as many jobs run as may.
    pub fn is_busy(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Runs a job over about `bytes` bytes. Runs on when the caller goes away.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        if bytes <= INLINE_BYTES {
            return guard(job);
        }
        let waiting = Waiting::one(&self.waiting);
        // the semaphore is never closed
        let permit = self.permits.clone().acquire_owned().await.ok();
        drop(waiting);
        let job = self.threads.spawn_blocking(move || {
            let _permit = permit;
            guard(job)
        });
        match job.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Err(Panicked {
                fingerprint: "runtime stopped".to_owned(),
            }),
        }
    }
}

/// One job that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn one(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs component code; a panic in it is caught, and its message, which may hold payload text, is not printed.
pub fn guard<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    quiet_panics();
    let before = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    done.map_err(|panic| match panic.downcast::<Panicked>() {
        // it was caught on another thread, and goes on here
        Ok(panicked) => *panicked,
        Err(_) => Panicked {
            fingerprint: PLACE.take().unwrap_or_else(|| "unknown".to_owned()),
        },
    })
}

/// The same for component code that waits.
pub async fn guard_async<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match guard(|| work.as_mut().poll(cx)) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                return usual(info);
            }
            let mut hasher = DefaultHasher::new();
            if let Some(place) = info.location() {
                (place.file(), place.line(), place.column()).hash(&mut hasher);
            }
            let fingerprint = format!("{:016x}", hasher.finish());
            PLACE.set(Some(fingerprint));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_behind_while_too_many_wait() {
        let compute = Compute::new(Handle::current(), 1);
        let (go, stay) = std::sync::mpsc::channel::<()>();
        let large = INLINE_BYTES + 1;
        let first = tokio::spawn({
            let compute = compute.clone();
            async move { compute.run(large, move || stay.recv()).await }
        });
        let mut others = tokio::task::JoinSet::new();
        for _ in 0..WAITING_PER_JOB {
            assert!(!compute.is_behind());
            let compute = compute.clone();
            others.spawn(async move { compute.run(large, || ()).await });
            tokio::task::yield_now().await;
        }
        assert!(compute.is_behind());
        others.abort_all();
        while others.join_next().await.is_some() {}
        assert!(!compute.is_behind(), "who gives up waits no more");
        drop(go);
        assert!(first.await.unwrap().unwrap().is_err());
    }

    #[test]
    fn a_panic_that_goes_on_elsewhere_keeps_its_place() {
        let first = guard(|| panic!("planted")).unwrap_err();
        let again = guard(|| std::panic::resume_unwind(Box::new(first.clone())));
        assert_eq!(again.unwrap_err(), first);
    }

    #[test]
    fn there_are_no_more_threads_than_jobs() {
        let threads = threads().unwrap();
        let jobs = [cores(); POOLS].into_iter().chain([1; PAGES]);
        let pools: Vec<_> = jobs.map(|jobs| Compute::new(threads.handle().clone(), jobs)).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let seen: std::collections::HashSet<_> = runtime.block_on(async {
            let mut jobs = tokio::task::JoinSet::new();
            for pool in pools.iter().cycle().take(2_000) {
                let pool = pool.clone();
                jobs.spawn(async move { pool.run(INLINE_BYTES + 1, || std::thread::current().id()).await });
            }
            jobs.join_all().await.into_iter().map(Result::unwrap).collect()
        });
        assert!(seen.len() <= POOLS * cores() + PAGES, "{}", seen.len());
    }

    #[tokio::test]
    async fn a_panic_costs_one_job_and_tells_only_its_place() {
        let compute = Compute::new(Handle::current(), 1);
        for bytes in [0, INLINE_BYTES + 1] {
            let panicked = compute
                .run(bytes, || panic!("hunter2"))
                .await
                .map(|(): ()| ())
                .unwrap_err();
            assert_eq!(panicked.fingerprint.len(), 16);
            assert_eq!(compute.run(bytes, || 7).await, Ok(7));
        }
        let caught = guard_async(async { panic!("hunter2") }).await.map(|(): ()| ());
        assert!(caught.is_err());
    }
}
