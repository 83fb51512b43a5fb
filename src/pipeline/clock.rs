//! What time it is, for whoever keeps something over restarts and over changes of the date.

use std::time::{Instant, SystemTime};

/// A moment by both clocks: that of the wall may be set, the other one only ever goes on, and only while the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The date.
    pub wall: SystemTime,
    /// The steady one.
    pub steady: Instant,
}

impl Now {
    /// This moment.
    pub fn read() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }
}
