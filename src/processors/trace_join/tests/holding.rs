//! Profiles that wait for their spans.

use super::*;

#[test]
fn what_lacks_its_span_waits_and_is_joined_when_it_is_due() {
    let mut joins = Joins::new(json!({"hold": "10s"}));
    assert!(
        joins
            .hold(profile(SHOP, (0, 60), &[active(7), Ids::default()]))
            .is_empty()
    );
    joins.take(spans(&[SPAN]));
    // what lacks nothing does not wait
    joins.join(profile(SHOP, (0, 60), &[active(7)]));
    joins.join(profile(SHOP, (0, 60), &[Ids::default()]));
    assert_eq!(joins.of_profiles.due(), Some(joins.now + Duration::from_secs(10)));
    joins.wait(Duration::from_secs(9));
    assert!(joins.of_profiles.flush_at(false, joins.now).is_empty());
    joins.wait(Duration::from_secs(1));
    let gone = joins.of_profiles.flush_at(false, joins.now);
    assert_eq!(
        (gone.len(), gone[0].weight(), told(&gone[0])[0].0),
        (1, 1, Some((1, 7)))
    );
    assert_eq!(joins.of_profiles.due(), None);
    assert_eq!(joins.results(), BTreeMap::from([("joined", 2)]));
    let held = (joins.metrics.held_profiles().get(), joins.metrics.held_bytes().get());
    assert_eq!(held, (0, 0));
}

#[test]
fn what_never_finds_its_span_goes_on_as_it_came() {
    let mut joins = Joins::new(json!({"hold": "10s"}));
    joins.take(spans(&[Told {
        tenant: "b",
        span: 8,
        ..SPAN
    }]));
    let came = profile(SHOP, (0, 60), &[active(7), active(8), linked(3, 3)]);
    let expected = told(&came);
    joins.hold(came);
    joins.wait(Duration::from_secs(10));
    assert_eq!(told(&joins.of_profiles.flush_at(false, joins.now)[0]), expected);
    let results = BTreeMap::from([("expired", 1), ("tenant_mismatch", 1), ("linked", 1)]);
    assert_eq!(joins.results(), results);
    // and at the end nobody waits
    joins.hold(profile(SHOP, (0, 60), &[active(7)]));
    assert_eq!(joins.of_profiles.flush_at(true, joins.now).len(), 1);
    assert_eq!(joins.metrics.samples_count("no_span_yet"), 1);
}

#[test]
fn what_finds_no_room_to_wait_goes_on_the_oldest_first() {
    let joins = Joins::new(json!({"hold": "10s", "max_held_bytes": "1MiB"}));
    let many = |first: u64| profile(SHOP, (0, 60), &(first..first + 4_000).map(active).collect::<Vec<_>>());
    let bytes = many(1).held_bytes();
    let room = (1 << 20) / bytes;
    assert!((1..100).contains(&room), "{bytes} bytes each");
    for n in 0..room as u64 {
        assert!(joins.hold(many(1 + n)).is_empty());
    }
    let gone = joins.hold(many(1_000_000));
    assert!(!gone.is_empty());
    let (last, _) = told(&gone[0])[3_999].clone();
    assert_eq!(last, None);
    assert_eq!(label(&told(&gone[0])[0], "span id"), Some("1"), "the oldest");
    assert!(joins.metrics.held_bytes().get() <= 1 << 20);
}

#[test]
fn it_holds_as_it_is_configured() {
    let holds_profiles = |config| holds(&config, Signal::Profiles);
    assert!(!holds_profiles(json!({})) && !holds_profiles(json!({"hold": "0s"})) && !holds_profiles(json!(null)));
    assert!(holds_profiles(json!({"hold": "5s"})) && !holds(&json!({"hold": "5s"}), Signal::Traces));
}
