//! The oracle reads the same from the same bytes, and the same from what is written.

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use proptest::prelude::*;
use prost::Message;

use super::told::{by_model, by_oracle, in_any_order, sums};
use super::*;
use crate::profile::testing::{any_profiles, tell};

fn oracle(bytes: &[u8]) -> ExportProfilesServiceRequest {
    ExportProfilesServiceRequest::decode(bytes).expect("the oracle reads it")
}

#[test]
fn the_oracle_reads_the_same_from_real_files() {
    for (name, bytes) in good_files() {
        let decoded = read(&bytes);
        assert_eq!(decoded.rejected.profiles, 0, "{name}");
        assert_eq!(decoded.repairs, 0, "{name}");
        assert!(by_model(&decoded.profiles) == by_oracle(&oracle(&bytes)), "{name}");
    }
}

#[test]
fn the_oracle_reads_the_same_from_what_is_written() {
    for (name, bytes) in good_files() {
        let decoded = read(&bytes);
        let written = encode(&decoded.profiles);
        let told = by_oracle(&oracle(&written));
        assert!(sums(&told) == sums(&by_oracle(&oracle(&bytes))), "{name}");
        let again = read(&written);
        assert!(
            again.exact || decoded.profiles.iter().any(|p| p.profile.original_payload.is_some()),
            "{name}"
        );
        assert!(
            in_any_order(by_model(&again.profiles)) == in_any_order(by_model(&compacted(&decoded.profiles))),
            "{name}"
        );
        assert_eq!(
            again.profiles.profile_count(),
            decoded.profiles.profile_count(),
            "{name}"
        );
        assert!(encode(&again.profiles) == written, "{name}: a second round differs");
    }
}

proptest! {
    #[test]
    fn prop_the_oracle_reads_what_is_written(profiles in any_profiles()) {
        let written = encode(&profiles);
        let told = by_oracle(&oracle(&written));
        let expected = by_model(&compacted(&profiles));
        let total = |told: &[super::told::Told]| -> i128 {
            sums(told).iter().flat_map(|(_, sums)| sums.values()).map(|(sum, _)| sum).sum()
        };
        prop_assert_eq!(total(&told), total(&expected));
        let read_back = read(&written);
        // a single sample of one attribute and one timestamp may be of either version
        prop_assert!(read_back.exact || read_back.repairs == 1);
        prop_assert_eq!(by_model(&read_back.profiles), told);
    }

    #[test]
    fn prop_reading_back_is_the_identity(profiles in one_shape_profiles()) {
        let read_back = read(&encode(&profiles));
        prop_assert_eq!(tell(&read_back.profiles), tell(&profiles));
        let expected = in_any_order(by_model(&compacted(&profiles)));
        prop_assert_eq!(in_any_order(by_model(&read_back.profiles)), expected);
        prop_assert_eq!(read_back.profiles.profile_count(), profiles.profile_count());
    }
}

/// Random profiles that OTLP can say without change: one shape each, no key twice, no two of one time in a scope.
fn one_shape_profiles() -> impl Strategy<Value = Profiles> {
    any_profiles().prop_map(|profiles| {
        let mut profiles = profiles;
        let (dictionary, resources) = profiles.edit();
        let mut time = 1;
        for resource in resources.iter_mut() {
            for profile in resource.scopes.iter_mut().flat_map(|scope| &mut scope.profiles) {
                time += 1;
                profile.time_unix_nano = time;
                super::versions::make_simple(dictionary, profile);
            }
        }
        profiles.compact();
        profiles
    })
}
