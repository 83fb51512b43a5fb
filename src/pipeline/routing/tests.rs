use proptest::prelude::*;
use serde_json::json;

use std::sync::Arc;

use super::*;
use crate::pipeline::Permit;
use crate::pipeline::matcher::MatchConfig;
use crate::profile::testing::{any_profiles, attach_originals, has_no_more};

fn when(items: serde_json::Value) -> Route {
    let items: Vec<MatchConfig> = serde_json::from_value(items).unwrap();
    Route::When(items.iter().map(|item| Matcher::new("", item).unwrap()).collect())
}

fn batch(profiles: Profiles) -> Batch {
    let weight = profiles.received_count();
    Batch::made(profiles, weight, Arc::new(Origin::local("door")), Permit::unlimited())
}

/// Sums of all values of what a pipeline gets.
fn total(part: &Option<Batch>) -> i128 {
    let profiles = part.iter().filter_map(Batch::as_profiles);
    profiles
        .flat_map(|profiles| profiles.iter().map(|p| p.profile.samples.clone()).collect::<Vec<_>>())
        .map(|samples| (0..samples.len()).map(|row| values(&samples, row)).sum::<i128>())
        .sum()
}

fn values(samples: &crate::profile::Samples, row: usize) -> i128 {
    match &samples.observations {
        crate::profile::Observations::Series(series) => {
            1 + series.values(row).iter().map(|value| i128::from(*value)).sum::<i128>()
        }
        crate::profile::Observations::Totals(all) => {
            let types = all.len() / samples.len();
            all[row * types..(row + 1) * types]
                .iter()
                .map(|value| i128::from(*value))
                .sum()
        }
    }
}

proptest! {
    /// Under `first` the shares are disjoint and, with a default, together they are the whole.
    #[test]
    fn prop_first_shares_every_sample_out_once(profiles in any_profiles()) {
        let routes = [
            when(json!([{"resource.service.name": "service-1"}, {"sample.key-1": "*"}])),
            when(json!([{"sample.key-2": "*"}])),
            Route::Rest,
        ];
        let whole = batch(profiles);
        let shares = share(routes.iter(), Mode::First, &whole);
        prop_assert_eq!(shares.unrouted, 0);
        prop_assert_eq!(shares.parts.iter().map(total).sum::<i128>(), total(&Some(whole.clone())));
        for (at, part) in shares.parts.iter().enumerate().skip(1) {
            for p in part.iter().filter_map(Batch::as_profiles).flat_map(|p| p.iter().collect::<Vec<_>>()) {
                let d = part.as_ref().unwrap().as_profiles().unwrap().dictionary();
                prop_assert_ne!(p.resource.attribute_str(d, "service.name"), Some("service-1"));
                for set in &p.profile.samples.attributes {
                    let has = |key: &str| d.attributes_of(*set).any(|a| d.str(a.key) == key);
                    prop_assert!(!has("key-1"));
                    prop_assert!(at == 1 || !has("key-2"));
                }
            }
        }
    }

    /// Under `all` each pipeline gets what matches it, whatever the others get; without a default the rest is counted.
    #[test]
    fn prop_all_gives_each_what_matches(profiles in any_profiles()) {
        let routes = [when(json!([{"resource.service.name": "service-1"}])), Route::Everything];
        let whole = batch(profiles.clone());
        let shares = share(routes.iter(), Mode::All, &whole);
        prop_assert_eq!(total(&shares.parts[1]), total(&Some(whole.clone())));
        let d = profiles.dictionary();
        let named = |p: &ProfileRef<'_>| p.resource.attribute_str(d, "service.name") == Some("service-1");
        let matching = profiles.iter().filter(named).count() as u64;
        prop_assert_eq!(shares.parts[0].as_ref().map_or(0, Batch::weight), matching);
        let alone = share(routes.iter().take(1), Mode::All, &whole);
        prop_assert_eq!(alone.unrouted, whole.weight() - matching);
    }
}

proptest! {
    #[test]
    fn prop_no_part_has_the_original_of_more_than_it_has(mut profiles in any_profiles()) {
        attach_originals(&mut profiles);
        let routes = [when(json!([{"sample.key-1": "*"}])), Route::Rest];
        let shares = share(routes.iter(), Mode::First, &batch(profiles));
        let parts = shares.parts.iter().flatten().filter_map(Batch::as_profiles);
        prop_assert!(parts.flat_map(Profiles::iter).all(|p| has_no_more(p.profile)));
    }
}

#[test]
fn a_batch_taken_whole_is_not_copied() {
    let whole = batch(crate::pipeline::testing::profiles(2));
    let routes = [when(json!([{"receiver": "door"}])), Route::Rest];
    let shares = share(routes.iter(), Mode::First, &whole);
    let same = shares.parts[0].as_ref().unwrap().as_profiles().unwrap();
    assert!(std::ptr::eq(
        same.dictionary(),
        whole.as_profiles().unwrap().dictionary()
    ));
    assert!(shares.parts[1].is_none());
}

fn pipeline(receivers: &[&str], when: serde_json::Value, default: bool) -> (String, PipelineSpec) {
    let spec = PipelineSpec {
        receivers: receivers.iter().map(ToString::to_string).collect(),
        when: serde_json::from_value(when).unwrap(),
        default,
        ..PipelineSpec::default()
    };
    ("profiles".to_owned(), spec)
}

#[test]
fn pipelines_that_nothing_reaches_are_found() {
    let shop = || json!([{"tenant": "shop"}]);
    let none = || json!(null);
    let cases = [
        (
            Mode::First,
            vec![pipeline(&["a"], none(), false), pipeline(&["a"], shop(), false)],
            Some(1),
        ),
        (
            Mode::All,
            vec![pipeline(&["a"], none(), false), pipeline(&["a"], shop(), false)],
            None,
        ),
        (
            Mode::First,
            vec![pipeline(&["a"], none(), false), pipeline(&["a", "b"], shop(), false)],
            None,
        ),
        (
            Mode::First,
            vec![pipeline(&["a", "b"], shop(), false), pipeline(&["a"], shop(), false)],
            Some(1),
        ),
        (
            Mode::All,
            vec![pipeline(&["a"], none(), true), pipeline(&["a"], none(), false)],
            Some(0),
        ),
        (
            Mode::All,
            vec![pipeline(&["a"], none(), true), pipeline(&["a"], shop(), false)],
            None,
        ),
        (
            Mode::First,
            vec![pipeline(&["a"], none(), true), pipeline(&["a"], none(), true)],
            Some(1),
        ),
        (
            Mode::All,
            vec![pipeline(&["a"], json!([{"receiver": "b*"}]), false)],
            Some(0),
        ),
        (
            Mode::All,
            vec![pipeline(&["a"], json!([{"receiver": "b*"}, {"tenant": "x"}]), false)],
            None,
        ),
    ];
    for (n, (mode, pipelines, expected)) in cases.iter().enumerate() {
        let found = (0..pipelines.len()).find(|at| unreachable(pipelines, *mode, *at).is_some());
        assert_eq!(found, *expected, "case {n}");
    }
}

#[test]
fn pieces_of_one_profile_in_two_pipelines_can_be_told_apart() {
    let Ok(read) = crate::formats::any::decode_any(
        crate::testing::data("go123-heap.pb.gz").into(),
        &crate::formats::Limits::default(),
    ) else {
        panic!("a recording of our own")
    };
    let whole = batch(read.decoded.profiles);
    let small = [when(json!([{"sample.bytes": {"regex": "^.{1,3}$"}}])), Route::Rest];
    let shares = share(small.iter(), Mode::All, &whole);
    let parts: Vec<&Batch> = shares.parts.iter().flatten().collect();
    assert_eq!(parts.iter().map(|part| part.piece()).collect::<Vec<_>>(), [1, 2]);
    let everything = [Route::Everything, Route::Rest];
    let shares = share(everything.iter(), Mode::First, &whole);
    assert_eq!(shares.parts[0].as_ref().map(Batch::piece), Some(0), "nothing was cut");
}
