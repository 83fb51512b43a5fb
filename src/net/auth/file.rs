//! What is made of one file of users or tokens, which may change at any time.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::net::reload::{Recipe, Reloading};
use crate::pipeline::units::io_reason;

/// How often a file is looked at, at most.
const INTERVAL: Duration = Duration::from_secs(2);
/// Largest file.
const BYTES: u64 = 1 << 20;

type Make<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// The newest usable content of a file.
pub(super) type Watched<T> = Arc<Reloading<File<T>>>;

/// A file and how it is read.
pub(super) struct File<T> {
    path: PathBuf,
    make: Make<T>,
}

/// Reads a file, now and whenever it changes. The error says what is wrong, and nothing of what is in it.
pub(super) fn watched<T: Send + Sync + 'static>(path: PathBuf, make: Make<T>) -> Result<Watched<T>, String> {
    Reloading::new(File { path, make }, Some(INTERVAL)).map(Arc::new)
}

impl<T> File<T> {
    fn read(&self) -> Result<String, String> {
        let mut text = String::new();
        let opened = std::fs::File::open(&self.path);
        match opened.and_then(|file| file.take(BYTES + 1).read_to_string(&mut text)) {
            Ok(bytes) if bytes as u64 > BYTES => Err(format!("larger than {BYTES} bytes")),
            Ok(_) => Ok(text),
            Err(error) => Err(format!("cannot be read: {}", io_reason(&error))),
        }
    }
}

impl<T: Send + Sync + 'static> Recipe for File<T> {
    type Product = T;
    type Error = String;

    fn contents(&self) -> Vec<Result<Vec<u8>, String>> {
        vec![self.read().map(String::into_bytes)]
    }

    fn make(&self) -> Result<T, String> {
        (self.make)(&self.read()?)
    }

    fn tell(&self, changed: Result<(), String>) {
        let file = self.path.display();
        match changed {
            Ok(()) => tracing::info!(%file, "credentials have changed"),
            Err(why) => tracing::warn!(%file, "changed credentials are not used, the old ones stay: {why}"),
        }
    }
}
