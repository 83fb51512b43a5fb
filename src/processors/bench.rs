//! A processor on a bench: what goes in, what comes out, and what it counted.

use std::sync::Arc;
use std::time::SystemTime;

use crate::pipeline::spec::{Build, BuildContext, RawConfig};
use crate::pipeline::{Batch, Context, Origin, Permit, Processor, Verdict};
use crate::profile::Profiles;
use crate::telemetry::Metrics;

/// A processor under test that lets everything pass, changed or not.
pub(super) struct Bench {
    id: Arc<str>,
    processor: Box<dyn Processor>,
    metrics: Arc<Metrics>,
}

impl Bench {
    /// Builds it.
    pub(super) fn of(build: Build<Box<dyn Processor>>, id: &str, config: RawConfig) -> Self {
        let metrics: Arc<Metrics> = Arc::default();
        let cx = BuildContext::new(id, metrics.clone());
        Self {
            id: id.into(),
            processor: build(config, &cx).unwrap(),
            metrics,
        }
    }

    /// What becomes of a batch.
    pub(super) fn batch(&self, batch: Batch) -> Batch {
        let now = SystemTime::now();
        match self.processor.process(batch, &Context { now }) {
            Verdict::Pass { batch, rejected: None } => batch,
            other => panic!("{other:?}"),
        }
    }

    /// What becomes of profiles at the end of the chain.
    pub(super) fn run(&self, profiles: &Profiles) -> Profiles {
        let weight = profiles.received_count();
        let origin = Arc::new(Origin::local("test"));
        let mut batch = self.batch(Batch::made(profiles.clone(), weight, origin, Permit::unlimited()));
        assert_eq!(batch.weight(), weight);
        batch.compact();
        batch.as_profiles().unwrap().clone()
    }

    /// Of how many profiles it counted a result.
    pub(super) fn counted(&self, result: &'static str) -> u64 {
        self.metrics.reduction(&self.id).result_count(result)
    }
}
