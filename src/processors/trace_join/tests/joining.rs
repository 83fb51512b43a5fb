//! Which link a sample gets, and what is written of its span.

use super::*;

#[test]
fn a_span_id_gets_the_trace_of_its_span() {
    let joins = Joins::new(json!({"attributes": []}));
    joins.take(spans(&[SPAN]));
    let came = [
        active(7),
        Ids {
            span: Some(7),
            ..Ids::default()
        },
        Ids {
            local_root: Some(7),
            ..Ids::default()
        },
    ];
    let came = came.map(|ids| Ids {
        other: vec![("thread", "main")],
        ..ids
    });
    let joined = told(&joins.join(profile(SHOP, (0, 60), &came)));
    for (says, mark) in joined.iter().zip([Some("active"), None, Some("local_root")]) {
        let mut expected = BTreeMap::from([("thread".to_owned(), "main".to_owned())]);
        expected.extend(mark.map(|mark| ("flamegate.link.span".to_owned(), mark.to_owned())));
        assert_eq!(*says, (Some((1, 7)), expected));
    }
    assert_eq!(joins.results(), BTreeMap::from([("joined", 3)]));
}

#[test]
fn labels_may_stay() {
    let joins = Joins::new(json!({"attributes": [], "labels": "keep"}));
    joins.take(spans(&[SPAN]));
    let joined = told(&joins.join(profile(SHOP, (0, 60), &[active(7)])));
    assert_eq!((joined[0].0, label(&joined[0], "span id")), (Some((1, 7)), Some("7")));
}

#[test]
fn each_way_to_miss_a_span_is_told_and_makes_no_link() {
    let joins = Joins::new(json!({}));
    joins.take(spans(&[
        SPAN,
        Told {
            service: "other",
            span: 8,
            ..SPAN
        },
        Told { span: 9, ..SPAN },
        Told {
            span: 9,
            trace: 2,
            ..SPAN
        },
    ]));
    joins.take(spans(&[Told {
        tenant: "b",
        span: 10,
        ..SPAN
    }]));
    let both = Ids {
        trace: Some(1),
        ..Ids::default()
    };
    let late = Ids {
        times: vec![3, 60],
        ..active(7)
    };
    for (ids, result) in [
        (active(1), "no_span_yet"),
        (active(8), "process_mismatch"),
        (active(9), "ambiguous"),
        (active(10), "tenant_mismatch"),
        (both.clone(), "no_span"),
        (late, "time_mismatch"),
        // its labels name another trace than the span is of
        (
            Ids {
                trace: Some(5),
                span: Some(7),
                ..both
            },
            "no_span_yet",
        ),
    ] {
        let before = joins.metrics.samples_count(result);
        let came = profile(SHOP, (0, 60), &[ids]);
        let expected = told(&came);
        assert_eq!(told(&joins.join(came)), expected, "{result}");
        assert_eq!(joins.metrics.samples_count(result), before + 1, "{result}");
    }
}

#[test]
fn clocks_may_be_apart_by_the_slack() {
    let joins = Joins::new(json!({"attributes": []}));
    joins.take(spans(&[Told {
        start: 100,
        end: 110,
        ..SPAN
    }]));
    let at = |times: &[u64]| {
        let ids = Ids {
            times: times.to_vec(),
            ..active(7)
        };
        told(&joins.join(profile(SHOP, (90, 60), &[ids])))[0].0.is_some()
    };
    assert!(at(&[95]) && at(&[115]) && at(&[98, 112]));
    assert!(!at(&[94]) && !at(&[116]) && !at(&[105, 116]));
    let within = |window| told(&joins.join(profile(SHOP, window, &[active(7)])))[0].0.is_some();
    assert!(within((35, 60)) && within((115, 60)) && within((0, 500)));
    assert!(!within((34, 60)) && !within((116, 60)));
}

#[test]
fn a_span_that_is_not_known_has_the_trace_of_its_local_root() {
    let joins = Joins::new(json!({"spans": "local_roots"}));
    let child = Told {
        span: 8,
        parent: 7,
        ..SPAN
    };
    let root = Told {
        route: Some("/cart"),
        ..SPAN
    };
    joins.take(spans(&[root, child]));
    assert_eq!(joins.metrics.spans_count("left_out"), 1);
    let ids = Ids {
        local_root: Some(7),
        ..active(8)
    };
    let says = &told(&joins.join(profile(SHOP, (0, 60), &[ids])))[0];
    assert_eq!(says.0, Some((1, 8)));
    assert_eq!(
        (label(says, "http.route"), label(says, "span.name")),
        (Some("/cart"), None)
    );
    assert_eq!(label(says, "flamegate.link.span"), Some("active"));
}

#[test]
fn what_spans_are_is_written_at_samples_with_links() {
    let joins = Joins::new(json!({}));
    let root = Told {
        route: Some("/cart/{id}"),
        end: 2,
        ..SPAN
    };
    let child = Told {
        span: 8,
        parent: 7,
        name: "SELECT",
        end: 0,
        ..SPAN
    };
    let grandchild = Told {
        span: 9,
        parent: 8,
        name: "parse",
        ..child
    };
    joins.take(spans(&[grandchild, child, root]));
    let own = Ids {
        other: vec![("span.name", "mine"), ("http.route", "")],
        ..linked(1, 7)
    };
    let came = [linked(1, 7), active(8), linked(1, 9), own, linked(1, 10), linked(2, 7)];
    let joined = told(&joins.join(profile(SHOP, (0, 60), &came)));
    let written = |at: usize| ["span.name", "http.route", "span.duration"].map(|key| label(&joined[at], key));
    let route = Some("/cart/{id}");
    assert_eq!(written(0), [Some("GET /cart"), route, Some("1s..3s")]);
    assert_eq!(written(1), [Some("SELECT"), route, Some("..1ms")]);
    assert_eq!(written(2), [Some("parse"), route, Some("..1ms")]);
    assert_eq!(written(3), [Some("mine"), Some(""), Some("1s..3s")]);
    assert_eq!((written(4), written(5)), ([None; 3], [None; 3]));
    assert_eq!(joins.results(), BTreeMap::from([("joined", 1), ("linked", 5)]));
}

#[test]
fn only_what_is_configured_is_written() {
    let joins = Joins::new(json!({"attributes": ["span.duration"], "buckets": ["1s", "1m"]}));
    joins.take(spans(&[Told {
        route: Some("/cart"),
        ..SPAN
    }]));
    let joined = told(&joins.join(profile(SHOP, (0, 60), &[linked(1, 7)])));
    assert_eq!(
        joined[0].1,
        BTreeMap::from([("span.duration".to_owned(), "1s..1m".to_owned())])
    );
}

#[test]
fn parents_in_a_circle_end() {
    let joins = Joins::new(json!({}));
    let round = |span, parent| Told { span, parent, ..SPAN };
    joins.take(spans(&[round(7, 8), round(8, 7), round(9, 9)]));
    let joined = told(&joins.join(profile(SHOP, (0, 60), &[active(7), active(9)])));
    assert!(
        joined
            .iter()
            .all(|says| says.0.is_some() && label(says, "http.route").is_none())
    );
}

#[test]
fn what_has_no_ids_is_not_touched() {
    let joins = Joins::new(json!({"links": "only_exported", "hold": "5s"}));
    let came = profile(SHOP, (0, 60), &[Ids::default()]);
    let before: *const _ = came.as_profiles().unwrap().dictionary();
    let joined = joins.join(came);
    assert!(std::ptr::eq(before, joined.as_profiles().unwrap().dictionary()));
}

#[test]
fn what_cannot_be_used_is_told_where_it_stands() {
    for (config, path) in [
        (json!({"hold": "31s"}), "hold"),
        (json!({"window": "0s"}), "window"),
        (json!({"clock_slack": "2m"}), "clock_slack"),
        (json!({"max_spans": 0}), "max_spans"),
        (json!({"max_bytes": "1KiB"}), "max_bytes"),
        (json!({"max_held_bytes": "1KiB"}), "max_held_bytes"),
        (json!({"max_names": 0}), "max_names"),
        (json!({"buckets": []}), "buckets"),
        (json!({"buckets": ["0s"]}), "buckets"),
        (json!({"buckets": ["2s", "1s"]}), "buckets"),
        (json!({"dialects": [{"name": "x"}]}), "dialects[0]"),
    ] {
        let built = TraceJoin::new(config.clone(), &BuildContext::new("trace_join", Arc::default()));
        assert_eq!(built.err().unwrap().path, path, "{config}");
    }
}
