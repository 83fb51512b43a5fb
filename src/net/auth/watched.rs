//! What is made of one file, and made anew when the file changes: credentials are rotated while everything runs.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::pipeline::units::io_reason;

/// How often a file is looked at, at most, and only when it is needed.
const INTERVAL: Duration = Duration::from_secs(2);
/// Largest file.
const BYTES: u64 = 1 << 20;

type Make<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// The newest usable content of a file.
pub(super) struct Watched<T> {
    file: PathBuf,
    make: Make<T>,
    current: ArcSwap<T>,
    hasher: RandomState,
    looked: Mutex<(Instant, u64)>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file. The error says what is wrong, and nothing of what is in it.
    pub(super) fn new(file: PathBuf, make: Make<T>) -> Result<Self, String> {
        let hasher = RandomState::new();
        let text = read(&file);
        let fingerprint = hasher.hash_one(&text);
        Ok(Self {
            current: ArcSwap::from_pointee(make(&text?)?),
            file,
            make,
            hasher,
            looked: Mutex::new((Instant::now(), fingerprint)),
        })
    }

    /// The newest content, read again if it is time to look.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<T> {
        // whoever comes while another one looks takes what is there
        if let Ok(mut looked) = self.looked.try_lock()
            && looked.0.elapsed() >= INTERVAL
        {
            let (this, before) = (self.clone(), looked.1);
            let now = tokio::task::spawn_blocking(move || this.look(before)).await;
            *looked = (Instant::now(), now.unwrap_or(before));
        }
        self.current.load_full()
    }

    fn look(&self, before: u64) -> u64 {
        let text = read(&self.file);
        let now = self.hasher.hash_one(&text);
        if now != before {
            match text.and_then(|text| (self.make)(&text)) {
                Ok(made) => {
                    self.current.store(Arc::new(made));
                    tracing::info!(file = %self.file.display(), "credentials have changed");
                }
                Err(why) => {
                    tracing::warn!(file = %self.file.display(), "changed credentials are not used, the old ones stay: {why}");
                }
            }
        }
        now
    }
}

fn read(file: &PathBuf) -> Result<String, String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file);
    match opened.and_then(|file| file.take(BYTES + 1).read_to_string(&mut text)) {
        Ok(bytes) if bytes as u64 > BYTES => Err(format!("larger than {BYTES} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot be read: {}", io_reason(&error))),
    }
}
