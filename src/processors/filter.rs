//! `filter`: drops profiles, or single samples, that match.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::matcher::{MatchConfig, Matcher};
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Origin, Processor, Reason, Verdict};
use crate::profile::{Dictionary, Profile, ProfileRef, Profiles};

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
        if !batch
            .as_profiles()
            .is_some_and(|profiles| self.matches(profiles, &origin))
        {
            return Verdict::pass(batch);
        }
        let Some(profiles) = batch.edit() else {
            return Verdict::pass(batch);
        };
        let gone = self.remove(profiles, &origin);
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

impl Filter {
    fn matches(&self, profiles: &Profiles, origin: &Origin) -> bool {
        let d = profiles.dictionary();
        profiles.iter().any(|p| self.applying(d, p, origin).next().is_some())
    }

    fn applying<'a>(
        &'a self,
        d: &'a Dictionary,
        p: ProfileRef<'a>,
        o: &'a Origin,
    ) -> impl Iterator<Item = &'a Matcher> {
        self.drop.iter().filter(move |matcher| matcher.profile(d, p, o))
    }

    /// Removes what matches and says how many profiles, as received, went.
    fn remove(&self, profiles: &mut Profiles, origin: &Origin) -> u64 {
        // conditions are judged on an unchanged view; cloning it is cheap
        let view = profiles.clone();
        let d = view.dictionary();
        let mut kept = view.iter().map(|p| self.thin(d, p, origin));
        let mut gone = 0;
        let (_, resources) = profiles.edit();
        for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
            scope.profiles.retain_mut(|profile| match kept.next().flatten() {
                Some(thinned) => {
                    *profile = thinned;
                    true
                }
                None => {
                    gone += profile.received();
                    false
                }
            });
        }
        gone
    }

    /// The profile without the samples that match; none if it goes whole.
    fn thin(&self, d: &Dictionary, p: ProfileRef<'_>, origin: &Origin) -> Option<Profile> {
        let matchers: Vec<&Matcher> = self.applying(d, p, origin).collect();
        if matchers.iter().any(|matcher| !matcher.has_sample_conditions()) {
            return None;
        }
        let mut profile = p.profile.clone();
        if matchers.is_empty() {
            return Some(profile);
        }
        let sets = p.profile.samples.attributes.clone();
        let stays = |row: usize| match sets.get(row) {
            Some(set) => !matchers.iter().any(|matcher| matcher.sample(d, *set)),
            None => true,
        };
        let types = profile.sample_types.len();
        Arc::make_mut(&mut profile.samples).retain(types, stays);
        let emptied = profile.samples.is_empty() && !p.profile.samples.is_empty();
        (!emptied).then_some(profile)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::{Limits, any};
    use crate::pipeline::Permit;
    use crate::profile::testing::any_profiles;

    fn run(config: serde_json::Value, profiles: Profiles) -> Verdict {
        let cx = BuildContext {
            id: "filter".into(),
            metrics: Arc::default(),
            dry_run: false,
        };
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
