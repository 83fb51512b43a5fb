//! Whole profiles whose frames are hidden.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::pipeline::spec::parse;
use crate::processors::redaction::Policy;
use crate::profile::testing::any_profiles;
use crate::profile::{
    Attribute, Dictionary, Function, Interner, Line, Location, LocationId, Mapping, MappingId, Observations, Profile,
    Profiles, ResourceProfiles, Samples, ScopeProfiles, StackId, Value,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn policy(frames: &Json) -> Policy {
    let config = json!({"detectors": [], "frames": frames, "pseudonyms": {"keys": [{"id": "k1", "key": KEY}]}});
    Policy::new(parse(config).unwrap()).unwrap()
}

/// The names of a stack, the leaf first; pseudonyms without what differs.
fn names(d: &Dictionary, stack: StackId) -> Vec<String> {
    let lines = d.stacks[stack].iter().flat_map(|location| &d.lines[*location]);
    let name = |line: &Line| d.str(d.functions[line.function].name).to_owned();
    lines.map(name).collect()
}

/// Totals by stack, labels and link, with the names of the stack changed by `change`.
fn told(profiles: &Profiles, change: impl Fn(Vec<String>) -> Vec<String>) -> BTreeMap<String, Vec<i128>> {
    let d = profiles.dictionary();
    let mut told: BTreeMap<String, Vec<i128>> = BTreeMap::new();
    for (at, p) in profiles.iter().enumerate() {
        let types = p.profile.sample_types.len();
        for row in 0..p.profile.samples.len() {
            let samples = &p.profile.samples;
            let stack = change(names(d, samples.stacks[row]));
            let mut labels: Vec<String> = d
                .attributes_of(samples.attributes[row])
                .map(|a| match a.value {
                    Value::String(id) => format!("{}={}", d.str(a.key), d.str(id)),
                    _ => d.str(a.key).to_owned(),
                })
                .collect();
            labels.sort();
            let key = format!("{at} {stack:?} {labels:?} {:?}", d.links[samples.links[row]]);
            let sums = told.entry(key).or_insert_with(|| vec![0; types]);
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum += i128::from(samples.total(row, column, types));
            }
        }
    }
    told
}

const ACTIONS: [&str; 6] = ["keep", "mask", "hash", "drop", "collapse", "other"];

/// What the rules say of a stack, done the slow way.
fn by_the_book(actions: &[usize], stack: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for name in stack {
        let number: usize = name.trim_start_matches("function-").parse().unwrap();
        match ACTIONS[actions[number]] {
            "keep" => out.push(name),
            "mask" => out.push("[REDACTED:frame]".to_owned()),
            "hash" => out.push(format!("hash of {name}")),
            "drop" => {}
            run => {
                if out.last().map(String::as_str) != Some(run) {
                    out.push(run.to_owned());
                }
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn prop_frames_become_what_the_rules_say_and_totals_stay(
        profiles in any_profiles(), actions in proptest::collection::vec(0usize..6, 12)
    ) {
        let rules: Vec<Json> = actions.iter().enumerate().map(|(i, action)| {
            let function = json!({"eq": format!("function-{i}")});
            match ACTIONS[*action] {
                run @ ("collapse" | "other") => json!({"function": function, "action": "collapse", "name": run}),
                action => json!({"function": function, "action": action}),
            }
        }).collect();
        let policy = policy(&json!({"rules": rules}));
        let mut profiles = profiles;
        profiles.compact();
        let before = told(&profiles, |stack| by_the_book(&actions, stack));
        let keys = super::Pseudonyms::new(&parse(json!({"keys": [{"id": "k1", "key": KEY}]})).unwrap()).unwrap();
        let hashes: BTreeMap<String, String> = (0..12).map(|i| format!("function-{i}")).map(|name| {
            (keys.of(super::super::pseudonym::Kind::Function, &name).unwrap(), format!("hash of {name}"))
        }).collect();
        policy.redact(&mut profiles);
        profiles.compact();
        let after = told(&profiles, |stack| {
            stack.into_iter().map(|name| hashes.get(&name).cloned().unwrap_or(name)).collect()
        });
        prop_assert_eq!(after, before);
        let d = profiles.dictionary();
        for row in d.functions.rows().iter().filter(|row| !d.str(row.name).starts_with("function-")) {
            prop_assert_eq!((d.str(row.system_name), d.str(row.filename), row.start_line), ("", "", 0));
        }
        // all frames lie in one binary: if one of them is hidden, no address of it is told
        let hides = d.functions.rows().iter().any(|row| row.name.is_set() && !d.str(row.name).starts_with("function-"));
        if hides {
            prop_assert!(d.locations.rows().iter().all(|row| row.address == 0 && !row.mapping.is_set()));
        }
        // what no frame lies in goes with the names that a rule hides
        if actions.iter().any(|action| ACTIONS[*action] != "keep") {
            let used: BTreeSet<MappingId> = d.locations.rows().iter().map(|row| row.mapping).collect();
            prop_assert!(d.mappings.ids().skip(1).all(|id| used.contains(&id)));
        }
        let once = told(&profiles, |stack| stack);
        policy.redact(&mut profiles);
        profiles.compact();
        prop_assert_eq!(told(&profiles, |stack| stack), once);
    }
}

/// One sample whose stack is, the leaf first: `memmove` inlined into `acme::price`, an unsymbolised address of the same binary,
/// another of libc, and `main` of Rust's runtime in the same binary.
fn native() -> Profiles {
    let mut d = Dictionary::default();
    let id = d.strings.push("feedfacefeedface");
    let key = d.strings.push("process.executable.build_id.gnu");
    let build_id = d.attributes.push(Attribute {
        key,
        value: Value::String(id),
        ..Attribute::default()
    });
    let attributes = d.attribute_sets.push(&[build_id]);
    let mut mapping = |file: &str, start: u64, attributes| {
        let filename = d.strings.push(file);
        d.mappings.push(Mapping {
            memory_start: start,
            memory_limit: start + 0x1000,
            file_offset: 0x100,
            filename,
            attributes,
        })
    };
    let shop = mapping("/opt/acme/bin/shop", 0x1000, attributes);
    let again = mapping("/opt/acme/bin/shop", 0x5000, attributes);
    let libc = mapping("/lib/libc.so.6", 0x9000, Default::default());
    let mut line = |name: &str, system_name: &str| {
        let function = Function {
            name: d.strings.push(name),
            system_name: d.strings.push(system_name),
            filename: d.strings.push("/src/acme/price.rs"),
            start_line: 7,
        };
        Line {
            function: d.functions.push(function),
            line: 9,
            column: 3,
        }
    };
    let lines = [line("memmove", "memmove"), line("acme::price", "_ZN4acme5priceE")];
    let runtime = [line("std::rt::lang_start", "_ZN3std2rt10lang_startE")];
    let at = |mapping, address| Location {
        mapping,
        address,
        ..Location::default()
    };
    let frames = [
        d.push_location(at(shop, 0x1010), &lines),
        d.push_location(at(shop, 0x1020), &[]),
        d.push_location(at(libc, 0x9030), &[]),
        d.push_location(at(again, 0x5040), &runtime),
    ];
    one_stack(d, &frames)
}

/// A profile of one sample.
fn one_stack(mut d: Dictionary, frames: &[LocationId]) -> Profiles {
    let stack = d.stacks.push(frames);
    let samples = Samples {
        stacks: vec![stack],
        attributes: vec![Default::default()],
        links: vec![Default::default()],
        observations: Observations::Totals(vec![5]),
    };
    let profile = Profile {
        sample_types: vec![Default::default()],
        samples: samples.into(),
        ..Profile::default()
    };
    let scope = ScopeProfiles {
        profiles: vec![profile],
        ..ScopeProfiles::default()
    };
    let resource = ResourceProfiles {
        scopes: vec![scope],
        ..ResourceProfiles::default()
    };
    Profiles::new(d, vec![resource])
}

#[test]
fn what_a_backend_could_look_up_again_goes_with_the_names() {
    let mut profiles = native();
    policy(&json!({"default": "hash", "allow": ["public"]})).redact(&mut profiles);
    profiles.compact();
    let d = profiles.dictionary();
    let text: String = d.strings.ids().map(|id| format!("{}\n", d.str(id))).collect();
    for gone in ["acme::price", "_ZN4acme5priceE", "shop", "feedface"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    let stack = profiles.iter().next().unwrap().profile.samples.stacks[0];
    let told: Vec<(u64, &str, Vec<String>)> = d.stacks[stack]
        .iter()
        .map(|id| {
            let location = d.locations[*id];
            let names = d.lines[*id].iter().map(|line| {
                let row = d.functions[line.function];
                let name: String = d.str(row.name).chars().take(6).collect();
                format!("{name} {} {}", d.str(row.system_name), line.line)
            });
            let mapping = d.str(d.mappings[location.mapping].filename);
            (location.address, mapping, names.collect())
        })
        .collect();
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            // the inlined one is public and stays, without the address that would tell its caller
            (0, "", lines(&["memmov memmove 9", "fn_k1_  0"])),
            (0, "", lines(&["fn_k1_  0"])),
            (0x9030, "/lib/libc.so.6", lines(&[])),
            // another piece of the same binary; its mangled name says no more than the public one
            (0, "", lines(&["std::r  9"])),
        ]
    );
}

/// The same, listing all its mappings and one in which no frame lies.
fn native_with_list() -> Profiles {
    let mut profiles = native();
    let (d, resources) = profiles.edit();
    let filename = d.strings.push("/home/alice/plugin.so");
    d.mappings.push(Mapping {
        filename,
        ..Mapping::default()
    });
    resources[0].scopes[0].profiles[0].mappings = d.mappings.ids().skip(1).collect();
    profiles.compact();
    profiles
}

fn listed(profiles: &Profiles) -> Vec<&str> {
    let d = profiles.dictionary();
    let list = profiles.iter().flat_map(|at| at.profile.mappings.iter());
    list.map(|id| d.str(d.mappings[*id].filename)).collect()
}

#[test]
fn a_list_of_mappings_tells_of_no_binary_without_shown_frames() {
    let frames = json!({"default": "hash", "allow": ["public"]});
    // nothing is hidden by the second, but it might be
    let nobody = json!({"rules": [{"function": "nobody", "action": "mask"}]});
    let shop = "/opt/acme/bin/shop";
    for (frames, left) in [
        (frames, vec!["", "/lib/libc.so.6"]),
        (nobody, vec![shop, shop, "/lib/libc.so.6"]),
    ] {
        let mut profiles = native_with_list();
        let report = policy(&frames).redact(&mut profiles);
        profiles.compact();
        assert_eq!(listed(&profiles), left);
        assert!(report.hits.contains_key(&("frame_mapping", "frame")));
        assert!(policy(&frames).redact(&mut profiles).is_empty());
    }
}

#[test]
fn a_list_of_mappings_is_redacted_as_other_mappings_are() {
    let mut profiles = native_with_list();
    Policy::new(parse(json!({})).unwrap()).unwrap().redact(&mut profiles);
    profiles.compact();
    let shop = "/opt/acme/bin/shop";
    assert_eq!(listed(&profiles), [shop, shop, "/lib/libc.so.6", "/home/_/plugin.so"]);
}

#[test]
fn a_rule_hides_unsymbolised_frames_of_its_binary_too() {
    let mut profiles = native();
    policy(&json!({"rules": [{"package": "acme", "action": "drop"}]})).redact(&mut profiles);
    profiles.compact();
    let d = profiles.dictionary();
    let stack = profiles.iter().next().unwrap().profile.samples.stacks[0];
    let names = names(d, stack);
    assert_eq!(
        (names.len(), names[0].as_str(), names[2].as_str()),
        (3, "memmove", "std::rt::lang_start")
    );
    assert!(names[1].starts_with("fn_k1_"), "{names:?}");
    // the same place in another process, mapped elsewhere, has the same pseudonym
    let mut other = native();
    let (d, _) = other.edit();
    d.mappings.rows_mut()[1].memory_start += 0x1000;
    d.locations.rows_mut()[2].address += 0x1000;
    policy(&json!({"rules": [{"package": "acme", "action": "drop"}]})).redact(&mut other);
    let stack = other.iter().next().unwrap().profile.samples.stacks[0];
    assert_eq!(self::names(other.dictionary(), stack)[1], names[1]);
}

#[test]
fn a_stack_that_loses_all_frames_keeps_its_samples() {
    let mut profiles = native();
    let rules = json!({"rules": [{"function": "*", "action": "drop"}, {"mapping": "*", "action": "drop"}]});
    policy(&rules).redact(&mut profiles);
    profiles.compact();
    let samples = &profiles.iter().next().unwrap().profile.samples;
    assert!(profiles.dictionary().stacks[samples.stacks[0]].is_empty());
    assert_eq!(samples.sum(0, 1), 5);
}

#[test]
fn what_is_public_by_its_binary_stays_public_beside_what_is_hidden_there() {
    let mut interner = Interner::new();
    let filename = interner.string("libjvm.so");
    let mapping = interner.mapping(Mapping {
        filename,
        memory_start: 0x1000,
        ..Mapping::default()
    });
    let mut locations = Vec::new();
    for (address, name) in [
        (0x1234, "PhaseIdealLoop::build_loop_late"),
        (0x2345, "planted(\"x=1\")"),
    ] {
        let function = Function {
            name: interner.string(name),
            ..Function::default()
        };
        let line = Line {
            function: interner.function(function),
            line: 0,
            column: 0,
        };
        let location = Location {
            mapping,
            address,
            ..Location::default()
        };
        locations.push(interner.location(location, &[line]));
    }
    let mut profiles = one_stack(interner.finish(), &locations);
    let policy = policy(&json!({"default": "hash", "allow": ["public"]}));
    assert!(!policy.redact(&mut profiles).is_empty());
    profiles.compact();
    let d = profiles.dictionary();
    let stack = profiles.iter().next().unwrap().profile.samples.stacks[0];
    let told: Vec<_> = (d.stacks[stack].iter())
        .map(|id| {
            (
                d.locations[*id].address,
                d.str(d.mappings[d.locations[*id].mapping].filename),
            )
        })
        .collect();
    assert_eq!(told, [(0, "libjvm.so"), (0, "")]);
    assert_eq!(names(d, stack)[0], "PhaseIdealLoop::build_loop_late");
    let once = profiles.clone();
    assert!(policy.redact(&mut profiles).is_empty());
    profiles.compact();
    assert_eq!(profiles.resources(), once.resources());
}
