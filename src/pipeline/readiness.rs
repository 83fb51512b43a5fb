//! Whether the gate is ready: a latch that opens when every receiver serves, and goes red when something is broken or stopping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::telemetry::Component;

/// Panics in a row, without a batch going well between them, that make a component count as broken.
const PANICS_IN_A_ROW: u32 = 3;

/// Shared word on whether requests should be sent here.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<Arc<str>>,
    panics: BTreeMap<Component, u32>,
    stopping: bool,
}

impl Readiness {
    /// Not ready until each of these said [`ready`](Self::ready).
    pub fn expecting(receivers: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self(Arc::new(Mutex::new(State {
            waiting: receivers.into_iter().collect(),
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receiver serves.
    pub fn ready(&self, receiver: &Arc<str>) {
        self.state().waiting.remove(receiver);
    }

    /// A component panicked.
    pub fn panicked(&self, component: &Component) {
        *self.state().panics.entry(component.clone()).or_default() += 1;
    }

    /// A component did its work: panics before do not count any more.
    pub fn worked(&self, component: &Component) {
        let mut state = self.state();
        if !state.panics.is_empty() {
            state.panics.remove(component);
        }
    }

    /// The process is going down.
    pub fn stopping(&self) {
        self.state().stopping = true;
    }

    /// Why requests should not be sent here; none if they should.
    pub fn problem(&self) -> Option<String> {
        let state = self.state();
        if state.stopping {
            return Some("stopping".to_owned());
        }
        if let Some((component, _)) = state.panics.iter().find(|(_, count)| **count >= PANICS_IN_A_ROW) {
            return Some(format!("{component} keeps panicking"));
        }
        state.waiting.first().map(|receiver| format!("{receiver} is starting"))
    }

    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.problem().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Kind;

    #[test]
    fn a_receiver_and_an_exporter_of_one_name_answer_for_themselves() {
        let readiness = Readiness::default();
        for _ in 0..3 {
            readiness.panicked(&Kind::Receiver.named("pyroscope"));
            readiness.worked(&Kind::Exporter.named("pyroscope"));
        }
        assert_eq!(readiness.problem().unwrap(), "receiver pyroscope keeps panicking");
    }
}
