//! `filter`: drops profiles, or single samples, that match.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::matcher::{MatchConfig, Matcher};
use crate::pipeline::removal;
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Reason, Verdict};

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "filter",
        aliases: &[],
        summary: "drops profiles by resource attribute or type, and samples by attribute",
        docs: "Drops what matches one of the items of `drop`; within an item all conditions must hold. Keys are \
`resource.<key>`, `tenant`, `receiver`, `profile.type` and `sample.<key>`; values are a glob, `{eq: …}` or `{regex: …}`. \
An item with `sample.<key>` drops only the samples that match; a profile that loses all its samples is dropped. \
The sender gets OK with the number of dropped profiles.",
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "filter: { drop: [{ resource.service.name: \"test-*\" }, { profile.type: { regex: \"^wall\" } }] }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: None,
    build,
};

/// Configuration of `filter`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is dropped: "and" within an item, "or" between items.
    pub drop: Vec<MatchConfig>,
}

struct Filter {
    drop: Vec<Matcher>,
}

fn build(raw: RawConfig, _cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw)?;
    let matchers = config.drop.iter().enumerate();
    let drop: Result<_, _> = matchers
        .map(|(i, item)| Matcher::new(&format!("drop[{i}]"), item))
        .collect();
    Ok(Box::new(Filter { drop: drop? }))
}

impl Processor for Filter {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let origin = Arc::clone(batch.origin());
        let drop: Vec<&Matcher> = self.drop.iter().collect();
        if !batch
            .as_profiles()
            .is_some_and(|profiles| removal::touches(&drop, profiles, &origin))
        {
            return Verdict::pass(batch);
        }
        let Some(profiles) = batch.edit() else {
            return Verdict::pass(batch);
        };
        let gone = removal::remove(&drop, profiles, &origin);
        if profiles.is_empty() {
            return Verdict::Drop(Reason::Filtered);
        }
        let weight = batch.weight().saturating_sub(gone);
        Verdict::Pass {
            batch: batch.with_weight(weight),
            rejected: (gone > 0).then_some((gone, Reason::Filtered)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::{Limits, any};
    use crate::pipeline::{Origin, Permit};
    use crate::profile::Profiles;
    use crate::profile::testing::{any_profiles, attach_originals, has_no_more};

    fn run(config: serde_json::Value, profiles: Profiles) -> Verdict {
        let cx = BuildContext::new("filter", Arc::default());
        let weight = profiles.received_count();
        let batch = Batch::made(profiles, weight, Arc::new(Origin::local("test")), Permit::unlimited());
        let now = std::time::SystemTime::now();
        build(config, &cx).unwrap().process(batch, &Context { now })
    }

    #[test]
    fn a_profile_that_came_as_four_counts_as_four() {
        let heap = crate::testing::heap_by_otlp();
        let Ok(cpu) = any::decode_any(
            crate::testing::data("go123-cpu-labels.pb.gz").into(),
            &Limits::default(),
        ) else {
            panic!("a recording of our own")
        };
        let both = Profiles::merge([&heap, &cpu.decoded.profiles]);
        let drop_heap = serde_json::json!({"drop": [{"profile.type": "inuse_space"}]});
        let Verdict::Pass { batch, rejected } = run(drop_heap, both) else {
            panic!("something was kept")
        };
        assert_eq!((batch.weight(), rejected), (1, Some((4, Reason::Filtered))));
    }

    proptest! {
        #[test]
        fn prop_what_matches_is_not_in_an_original_either(mut profiles in any_profiles()) {
            attach_originals(&mut profiles);
            if let Verdict::Pass { batch, .. } = run(serde_json::json!({"drop": [{"sample.key-1": "*"}]}), profiles) {
                prop_assert!(batch.as_profiles().unwrap().iter().all(|p| has_no_more(p.profile)));
            }
        }

        #[test]
        fn prop_what_matches_is_gone_and_counted(profiles in any_profiles()) {
            let all = profiles.received_count();
            let config = serde_json::json!({"drop": [{"resource.service.name": "service-1"}, {"sample.key-1": "value-*"}]});
            match run(config, profiles) {
                Verdict::Pass { batch, rejected } => {
                    prop_assert_eq!(batch.weight() + rejected.map_or(0, |r| r.0), all);
                    let d = batch.as_profiles().unwrap().dictionary();
                    for p in batch.as_profiles().unwrap().iter() {
                        prop_assert_ne!(p.resource.attribute_str(d, "service.name"), Some("service-1"));
                        for set in &p.profile.samples.attributes {
                            prop_assert!(!d.attributes_of(*set).any(|a| d.str(a.key) == "key-1" && matches!(a.value, crate::profile::Value::String(_))));
                        }
                    }
                }
                Verdict::Drop(reason) => prop_assert_eq!(reason, Reason::Filtered),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
