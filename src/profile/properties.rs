//! What compacting, merging, splitting and renaming promise, over random profiles.

use std::collections::HashSet;

use proptest::prelude::*;

use super::testing::{Told, any_profiles, tell, tell_mappings};
use super::*;

/// Every row but the zero value is referred to, and no row stands twice.
fn assert_compact(profiles: &Profiles) {
    let d = profiles.dictionary();
    let strings: HashSet<&str> = d.strings.ids().map(|id| d.str(id)).collect();
    assert_eq!(strings.len(), d.strings.len(), "a string stands twice");
    let mut used = HashSet::from([StringId::UNSET]);
    profiles.strings_by_role(|_, id| {
        used.insert(id);
    });
    assert_eq!(used.len(), d.strings.len(), "a string is an orphan");
    let stacks: HashSet<StackId> = profiles.iter().flat_map(|p| p.profile.samples.stacks.clone()).collect();
    let lists: HashSet<_> = d.stacks.ids().map(|id| &d.stacks[id]).collect();
    assert_eq!(lists.len(), d.stacks.len(), "a stack stands twice");
    let in_table = d.stacks.ids().filter(|id| id.is_set()).count();
    assert_eq!(
        stacks.iter().filter(|id| id.is_set()).count(),
        in_table,
        "a stack is an orphan"
    );
    let locations: HashSet<LocationId> = d.stacks.items().iter().copied().filter(|id| id.is_set()).collect();
    assert_eq!(locations.len() + 1, d.locations.len(), "a location is an orphan");
    let listed = profiles.iter().flat_map(|p| p.profile.mappings.to_vec());
    let mappings: HashSet<MappingId> = d.locations.rows().iter().map(|row| row.mapping).chain(listed).collect();
    let in_table = d.mappings.ids().filter(|id| id.is_set()).count();
    assert_eq!(
        mappings.iter().filter(|id| id.is_set()).count(),
        in_table,
        "a mapping is an orphan"
    );
    for p in profiles.iter() {
        let list = &p.profile.mappings;
        assert!(
            list.iter().skip(1).all(|id| id.is_set()),
            "a mapping that says nothing is listed"
        );
        assert_eq!(
            list.iter().collect::<HashSet<_>>().len(),
            list.len(),
            "a mapping is listed twice"
        );
        let s = &p.profile.samples;
        if let Observations::Totals(values) = &s.observations {
            assert_eq!(values.len(), s.len() * p.profile.sample_types.len());
            let identities: HashSet<_> = (0..s.len())
                .map(|i| (s.stacks[i], s.attributes[i], s.links[i]))
                .collect();
            assert_eq!(identities.len(), s.len(), "equal samples stand apart");
        }
    }
}

fn add(mut a: Told, b: Told) -> Told {
    for (key, sums) in b {
        let into = a.entry(key).or_default();
        into.resize(sums.len(), 0);
        for (to, from) in into.iter_mut().zip(sums) {
            *to += from;
        }
    }
    a
}

proptest! {
    #[test]
    fn prop_compact_keeps_what_is_told(profiles in any_profiles()) {
        let before = tell(&profiles);
        let mut compacted = profiles.clone();
        compacted.compact();
        assert_compact(&compacted);
        prop_assert_eq!(&tell(&compacted), &before);
        prop_assert_eq!(tell_mappings(&compacted), tell_mappings(&profiles));
        let mut again = Profiles::new(compacted.dictionary().clone(), compacted.resources().to_vec());
        again.compact();
        prop_assert_eq!(tell(&again), before);
        prop_assert_eq!(tell_mappings(&again), tell_mappings(&profiles));
        prop_assert_eq!(again.dictionary().strings.text_bytes(), compacted.dictionary().strings.text_bytes());
        prop_assert_eq!(again.dictionary().attribute_sets.len(), compacted.dictionary().attribute_sets.len());
        prop_assert_eq!(again.sample_count(), compacted.sample_count());
    }

    #[test]
    fn prop_compacting_in_place_leaves_what_carrying_over_does(profiles in any_profiles()) {
        let carried = Profiles::merge([&profiles]);
        let mut compacted = profiles.clone();
        compacted.compact();
        let rows = |profiles: &Profiles| {
            let d = profiles.dictionary();
            let lists = [d.lines.len(), d.stacks.len(), d.attribute_sets.len()];
            let tables = [d.functions.len(), d.mappings.len(), d.locations.len(), d.attributes.len(), d.links.len()];
            (lists, tables, d.strings.len(), d.strings.text_bytes(), d.stacks.items().len())
        };
        prop_assert_eq!(rows(&compacted), rows(&carried));
        prop_assert_eq!(compacted.sample_count(), carried.sample_count());
    }

    #[test]
    fn prop_orphans_that_refer_to_orphans_go(profiles in any_profiles()) {
        let mut compacted = profiles.clone();
        compacted.compact();
        let mut with_orphans = compacted.clone();
        let (d, _) = with_orphans.edit();
        let text = d.strings.push("nobody refers to it");
        let rows = [0, 1].map(|n| d.attributes.push(Attribute { key: text, value: Value::Int(n), unit: text }));
        let attributes = d.attribute_sets.push(&rows);
        let mapping = d.mappings.push(Mapping { filename: text, attributes, ..Mapping::default() });
        let function = d.functions.push(Function { name: text, ..Function::default() });
        let line = Line { function, ..Line::default() };
        let location = d.push_location(Location { mapping, attributes, address: 1 }, &[line]);
        d.stacks.push(&[location, location]);
        d.links.push(Link { trace_id: [9; 16], span_id: [9; 8] });
        prop_assert!(with_orphans.compact());
        prop_assert_eq!(with_orphans.dictionary(), compacted.dictionary());
        prop_assert_eq!(with_orphans.resources(), compacted.resources());
    }

    #[test]
    fn prop_merge_adds_up(parts in proptest::collection::vec(any_profiles(), 0..4)) {
        let merged = Profiles::merge(&parts);
        assert_compact(&Profiles::merge([&merged]));
        let sum = parts.iter().map(tell).fold(Told::new(), add);
        prop_assert_eq!(tell(&merged), sum);
        let count: usize = parts.iter().map(Profiles::profile_count).sum();
        prop_assert_eq!(merged.profile_count(), count);
        let mut lists: Vec<_> = parts.iter().flat_map(tell_mappings).collect();
        lists.sort();
        prop_assert_eq!(tell_mappings(&merged), lists);
    }

    #[test]
    fn prop_halves_add_up(profiles in any_profiles()) {
        // a profile without samples takes room as well
        let weigh = |profiles: &Profiles| profiles.iter().map(|p| p.profile.samples.len().max(1)).sum::<usize>();
        let weight = weigh(&profiles);
        match profiles.halve() {
            None => prop_assert!(weight < 2),
            Some((left, right)) => {
                assert_compact(&left);
                assert_compact(&right);
                prop_assert_eq!(add(tell(&left), tell(&right)), tell(&profiles));
                prop_assert!(weigh(&left) < weight && weigh(&right) < weight);
            }
        }
    }

    #[test]
    fn prop_parts_can_be_taken_in_any_order(profiles in any_profiles(), step in 1usize..5) {
        let (splitter, mut scratch) = (Splitter::new(profiles.clone()), Scratch::default());
        let starts: Vec<usize> = (0..splitter.steps()).step_by(step).collect();
        let (mut sum, mut count) = (Told::new(), 0);
        for start in starts.into_iter().rev() {
            let range = start..(start + step).min(splitter.steps());
            let part = splitter.part(range.clone(), &mut scratch).expect("a part that is not empty");
            assert_compact(&part);
            prop_assert_eq!(part.received_count(), splitter.received_in(&range));
            // samples that became equal are one
            prop_assert!(part.sample_count() <= splitter.samples_in(&range));
            count += part.sample_count();
            sum = add(sum, tell(&part));
        }
        prop_assert!(count <= profiles.sample_count());
        prop_assert_eq!(sum, tell(&profiles));
    }

    #[test]
    fn prop_parts_add_up(profiles in any_profiles()) {
        for parts in [profiles.by_resource(), profiles.by_profile()] {
            let sum = parts.iter().map(tell).fold(Told::new(), add);
            prop_assert_eq!(sum, tell(&profiles));
            prop_assert_eq!(parts.iter().map(Profiles::profile_count).sum::<usize>(), profiles.profile_count());
            let mut lists: Vec<_> = parts.iter().flat_map(tell_mappings).collect();
            lists.sort();
            prop_assert_eq!(lists, tell_mappings(&profiles));
        }
    }

    #[test]
    fn prop_parts_of_a_profile_share_its_mappings(profiles in any_profiles(), step in 1usize..5) {
        for whole in profiles.by_profile() {
            let (splitter, mut scratch) = (Splitter::new(whole.clone()), Scratch::default());
            let starts = (0..splitter.steps()).step_by(step);
            let parts = starts.map(|start| start..(start + step).min(splitter.steps()));
            let parts: Vec<Profiles> = parts.filter_map(|part| splitter.part(part, &mut scratch)).collect();
            let mut all: Vec<String> = Vec::new();
            for list in parts.iter().flat_map(tell_mappings) {
                let mut list = list.into_iter();
                let main = list.next();
                match all.first() {
                    None => all.extend(main),
                    first => prop_assert_eq!(first, main.as_ref(), "the main binary is first"),
                }
                all.extend(list);
            }
            prop_assert_eq!(vec![all], tell_mappings(&whole), "each of the others is in one part");
        }
    }

    #[test]
    fn prop_mappings_without_frames_can_go_from_the_lists(profiles in any_profiles()) {
        let mut unlisted = profiles.clone();
        let (d, resources) = unlisted.edit();
        let count = d.unlist_unused_mappings(resources);
        prop_assert_eq!(count > 0, profiles.lists_unused_mappings());
        prop_assert!(!unlisted.lists_unused_mappings());
        unlisted.compact();
        assert_compact(&unlisted);
        prop_assert_eq!(tell(&unlisted), tell(&profiles));
        let d = unlisted.dictionary();
        let shown: HashSet<MappingId> = d.locations.rows().iter().map(|row| row.mapping).collect();
        prop_assert_eq!(shown.len(), d.mappings.len(), "a mapping without frames is left");
        for (before, after) in profiles.iter().zip(unlisted.iter()) {
            prop_assert_eq!(before.profile.mappings.is_empty(), after.profile.mappings.is_empty());
        }
    }

    #[test]
    fn prop_replaced_strings_are_gone(profiles in any_profiles()) {
        let mut renamed = profiles.clone();
        renamed.replace_strings(|dictionary, role, id| match role {
            Role::FunctionName if id.is_set() => dictionary.strings.push("hidden"),
            _ => id,
        });
        renamed.compact();
        let d = renamed.dictionary();
        prop_assert!(d.strings.ids().all(|id| !d.str(id).starts_with("function-")));
        prop_assert_eq!(renamed.profile_count(), profiles.profile_count());
        let sums = |p: &Profiles| -> i128 { tell(p).values().flatten().sum() };
        prop_assert_eq!(sums(&renamed), sums(&profiles));
    }
}
