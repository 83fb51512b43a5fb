//! What outlives a configuration: the metrics, and what processors of one id share wherever they stand.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::spec::RawConfig;
use crate::telemetry::Metrics;

/// What all graphs of a process are built with.
#[derive(Clone, Default)]
pub struct Common {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What processors share.
    pub shared: SharedStates,
}

/// States of processors that are named in several pipelines, as one that joins spans to profiles is. Those of one id and one
/// configuration have one state, over reloads too; it ends with the last of them.
#[derive(Clone, Default)]
pub struct SharedStates(Arc<Mutex<Vec<Shared>>>);

struct Shared {
    id: Arc<str>,
    raw: RawConfig,
    state: Weak<dyn Any + Send + Sync>,
}

impl SharedStates {
    /// The state of the processors that are configured so, made if there is none.
    pub fn get_or_make<State>(&self, id: &Arc<str>, raw: &RawConfig, make: impl FnOnce() -> State) -> Arc<State>
    where
        State: Any + Send + Sync,
    {
        let all = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.state.strong_count() > 0);
        let of_these = |known: &&Shared| known.id == *id && known.raw == *raw;
        let known = all.iter().filter(of_these).filter_map(|known| known.state.upgrade());
        if let Some(state) = known.filter_map(|state| state.downcast().ok()).next() {
            return state;
        }
        let state = Arc::new(make());
        let weak: Weak<State> = Arc::downgrade(&state);
        all.push(Shared {
            id: id.clone(),
            raw: raw.clone(),
            state: weak,
        });
        state
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use serde_json::json;

    use super::*;

    #[test]
    fn one_state_for_one_id_and_configuration_until_nobody_has_it() {
        let shared = SharedStates::default();
        let state = |id: &str, raw: RawConfig| shared.get_or_make(&id.into(), &raw, || AtomicUsize::new(1));
        let first = state("trace_join", json!({}));
        assert!(Arc::ptr_eq(&first, &state("trace_join", json!({}))));
        assert!(!Arc::ptr_eq(&first, &state("trace_join/other", json!({}))));
        assert!(!Arc::ptr_eq(&first, &state("trace_join", json!({"hold": "5s"}))));
        let ended = Arc::downgrade(&first);
        drop(first);
        assert!(ended.upgrade().is_none(), "the registry keeps nothing alive");
        state("trace_join", json!({}));
        assert_eq!(shared.0.lock().unwrap().len(), 1, "what ended is forgotten");
    }

    #[test]
    fn states_of_two_types_are_two() {
        let (shared, id, raw) = (SharedStates::default(), "same".into(), json!({}));
        let number = shared.get_or_make(&id, &raw, || 1_u32);
        let text = shared.get_or_make(&id, &raw, || "one");
        assert_eq!((*number, *text), (1, "one"));
        assert!(Arc::ptr_eq(&number, &shared.get_or_make(&id, &raw, || 2_u32)));
    }
}
