//! Links to traces that somebody keeps.

use super::*;

#[test]
fn links_to_traces_that_nobody_keeps_go() {
    let joins = Joins::new(json!({"links": "only_exported", "attributes": ["span.name"]}));
    joins.take(spans(&[SPAN]));
    let marked = Ids {
        other: vec![("flamegate.link.span", "active"), ("thread", "main")],
        ..linked(2, 9)
    };
    let came = [linked(1, 99), linked(1, 7), marked];
    let joined = told(&joins.join(profile(SHOP, (0, 60), &came)));
    assert_eq!(
        joined.iter().map(|says| says.0).collect::<Vec<_>>(),
        [Some((1, 99)), Some((1, 7)), None]
    );
    assert_eq!(joined[2].1, BTreeMap::from([("thread".to_owned(), "main".to_owned())]));
    assert_eq!(
        (joins.metrics.unexported_count(), joins.metrics.samples_count("linked")),
        (1, 3)
    );
    // what another tenant keeps is of no use
    let other = told(&joins.join(profile(("b", "shop"), (0, 60), &[linked(1, 7)])));
    assert_eq!(other[0].0, None);
}

#[test]
fn links_to_traces_that_sampling_keeps_stay() {
    let joins = Joins::new(json!({"links": "only_exported", "attributes": []}));
    let keeps = |service, trace| {
        told(&joins.join(profile(("a", service), (0, 60), &[linked(trace, 9)])))[0]
            .0
            .is_some()
    };
    joins.take(spans(&[Told {
        state: "ot=th:8",
        trace: 0xc8,
        ..SPAN
    }]));
    assert!(keeps("shop", 0x80) && !keeps("shop", 0x7f));
    assert!(!keeps("other", 0x80), "nothing is known of how that is sampled");
    // the latest counts
    joins.take(spans(&[Told {
        state: "ot=th:c",
        trace: 0xc9,
        ..SPAN
    }]));
    assert!(keeps("shop", 0xc0) && !keeps("shop", 0x80));
    joins.take(spans(&[Told { trace: 3, ..SPAN }]));
    assert!(!keeps("shop", 0xff), "it is not sampled so any more");
    assert!(keeps("shop", 3));
}
