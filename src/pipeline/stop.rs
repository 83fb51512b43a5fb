//! The word to stop, as receivers hear it.

use tokio_util::sync::CancellationToken;

/// Says when a receiver must stop taking on work.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// A word not yet said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says it.
    pub fn ask(&self) {
        self.0.cancel();
    }

    /// Whether it was said.
    pub fn is_asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is said.
    pub async fn asked(&self) {
        self.0.cancelled().await;
    }
}
