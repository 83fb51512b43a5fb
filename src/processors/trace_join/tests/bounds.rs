//! What is known stays within its bounds, whoever sends spans.

use super::*;

#[test]
fn names_are_few_and_text() {
    let joins = Joins::new(json!({"max_names": 2}));
    let named = |span, name| Told { span, name, ..SPAN };
    joins.take(spans(&[named(1, "a"), named(2, "b"), named(3, "c")]));
    // what no library writes: a name and a route that are no text
    let mut bytes = ExportTraceServiceRequest {
        resource_spans: vec![
            Told {
                route: Some("~~~~"),
                ..named(4, "~~~~")
            }
            .message(),
        ],
    }
    .encode_to_vec();
    bytes
        .iter_mut()
        .filter(|byte| **byte == b'~')
        .for_each(|byte| *byte = 0xff);
    joins.take(raw_spans("a", bytes));
    let joined = told(&joins.join(profile(SHOP, (0, 60), &[1, 2, 3, 4].map(active))));
    let names: Vec<_> = joined.iter().map(|says| label(says, "span.name")).collect();
    assert_eq!(names, [Some("a"), Some("b"), Some("other"), None]);
    assert_eq!((joined[3].0, label(&joined[3], "http.route")), (Some((1, 4)), None));
}

#[test]
fn spans_that_are_of_no_use_are_counted() {
    let joins = Joins::new(json!({}));
    let unusable = [
        Told { span: 0, ..SPAN },
        Told { trace: 0, ..SPAN },
        Told {
            start: 10,
            end: 9,
            ..SPAN
        },
        Told { service: "", ..SPAN },
    ];
    joins.take(spans(&unusable));
    joins.take(spans(&[SPAN]));
    joins.take(spans(&[SPAN, Told { name: "again", ..SPAN }]));
    // of one id there are only so many
    for trace in 2..=30 {
        joins.take(spans(&[Told { trace, ..SPAN }]));
    }
    let counts = ["indexed", "repeated", "unusable"].map(|result| joins.metrics.spans_count(result));
    assert_eq!(counts, [16, 2, 4 + 14]);
    joins.check_books();
}

#[test]
fn overload_evicts_the_oldest_and_stays_in_bounds() {
    let config = json!({"max_spans": 100_000, "max_bytes": "1MiB", "max_names": 10_000});
    let joins = Joins::new(config);
    for begin in (0..60_000_u64).step_by(1_000) {
        let name = |n: u64| Box::leak(format!("name {n}").into_boxed_str());
        let of = |n| Told {
            span: n + 1,
            name: name(n),
            ..SPAN
        };
        joins.take(spans(&(begin..begin + 1_000).map(of).collect::<Vec<_>>()));
        joins.check_books();
        assert!(joins.metrics.bytes().get() <= 1 << 20);
    }
    assert!(joins.metrics.gone_count("evicted") > 50_000);
    assert!(joins.metrics.live().get() > 5_000);
    let known = |span| {
        told(&joins.join(profile(SHOP, (0, 60), &[active(span)])))[0]
            .0
            .is_some()
    };
    assert!(known(60_000) && !known(1) && !known(50_000));
}

#[test]
fn spans_are_forgotten_after_the_window() {
    let mut joins = Joins::new(json!({"window": "10s", "attributes": []}));
    joins.take(spans(&[SPAN]));
    joins.wait(Duration::from_secs(10));
    assert_eq!(
        told(&joins.join(profile(SHOP, (0, 60), &[active(7)])))[0].0,
        Some((1, 7))
    );
    joins.wait(Duration::from_secs(1));
    assert_eq!(told(&joins.join(profile(SHOP, (0, 60), &[active(7)])))[0].0, None);
    joins.of_traces.state.tidy(joins.now);
    assert_eq!(
        (joins.metrics.gone_count("expired"), joins.metrics.live().get()),
        (1, 0)
    );
    joins.check_books();
}

#[test]
fn memory_is_that_of_the_process_and_given_back() {
    let budget = Budget::new(8 << 20);
    let joins = Joins::new(json!({}));
    let request = |begin: u64| {
        let of = |n| Told { span: n, ..SPAN }.message();
        let resource_spans = (begin..begin + 2_000).map(of).collect();
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    };
    for n in 0..20 {
        let traces = Traces::new(request(1 + n * 2_000).into(), &FormatLimits::default()).unwrap();
        let received = Received {
            format: Format::Otlp,
            bytes: traces.bytes().clone(),
        };
        joins.take(Batch::traces(traces, received, origin("a"), budget.permit()));
    }
    assert_eq!(budget.used() as u64, joins.metrics.bytes().get());
    assert!(budget.used() <= 2 << 20, "a quarter of what there is");
    let (live, metrics) = (joins.metrics.live().get(), joins.metrics.clone());
    drop(joins);
    assert_eq!((budget.used(), metrics.live().get(), metrics.bytes().get()), (0, 0, 0));
    assert_eq!(metrics.gone_count("replaced"), live);
}

#[test]
fn each_id_is_read_once() {
    let joins = Joins::new(json!({}));
    let count = 100_000;
    let of = |n| Told { span: n, ..SPAN };
    for begin in (1..=count).step_by(10_000) {
        joins.take(spans(&(begin..begin + 10_000).map(of).collect::<Vec<_>>()));
    }
    let mut ids: Vec<Ids> = (1..=count).map(active).collect();
    ids.extend_from_within(..);
    let came = profile(SHOP, (0, 60), &ids);
    let before = trace_ids::reads();
    let mut joined = joins.join(came);
    // once to look, and once to see which labels the link repeats
    assert!(trace_ids::reads() - before <= 2 * count);
    assert_eq!(joins.results(), BTreeMap::from([("joined", 2 * count)]));
    joined.compact();
    let d = joined.as_profiles().unwrap().dictionary();
    assert_eq!((d.links.len() as u64, d.attribute_sets.len()), (count + 1, 3));
}
