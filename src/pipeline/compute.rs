//! The compute pool: CPU work beside the network's threads, as many jobs as cores, and a panic costs one job.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::Poll;

use tokio::sync::Semaphore;

/// Jobs over at most so many bytes run where they are: handing them over would cost more.
const INLINE_BYTES: usize = 32 << 10;

/// Runs CPU work.
#[derive(Clone, Debug)]
pub struct Compute {
    permits: Arc<Semaphore>,
}

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked at {fingerprint}")]
pub struct Panicked {
    /// Hash of the place in the code. Never the message: it may hold payload text.
    pub fingerprint: String,
}

impl Default for Compute {
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Compute {
    /// A pool of `jobs` jobs at once.
    pub fn new(jobs: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(jobs.max(1))),
        }
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
        // the semaphore is never closed
        let permit = self.permits.clone().acquire_owned().await.ok();
        let job = tokio::task::spawn_blocking(move || {
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
    done.map_err(|_| Panicked {
        fingerprint: PLACE.take().unwrap_or_else(|| "unknown".to_owned()),
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
    async fn a_panic_costs_one_job_and_tells_only_its_place() {
        let compute = Compute::new(1);
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
