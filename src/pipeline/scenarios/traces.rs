//! Spans beside profiles: each kind has pipelines, queues and books of its own.

use prost::Message;
use serde_json::json;

use super::*;
use crate::formats::Limits;
use crate::formats::otlp::Traces;
use crate::pipeline::kill::Order;
use crate::pipeline::matcher::Matcher;
use crate::pipeline::routing::Route;
use crate::pipeline::sink::BatchConfig;
use crate::pipeline::spec::parse;
use crate::testing::traces::request;

fn spans(resources: u8, each: u8) -> Traces {
    Traces::new(request(resources, each).encode_to_vec().into(), &Limits::default()).unwrap()
}

/// One pipeline of profiles and one of traces, each to its own sink of the exporter `a`.
async fn two_signals(of_profiles: &Arc<Fake>, of_traces: &Arc<Fake>, config: SinkConfig) -> Bench {
    let outputs = vec![
        ("a", of_profiles.clone(), Unit::Batch, config.clone()),
        ("a", of_traces.clone(), Unit::Batch, config),
    ];
    bench_of(vec![(vec![], vec!["a"]), (vec![], vec!["a"])], outputs, |graph| {
        graph.pipelines[1].signal = Signal::Traces;
        graph.exporters[1].signal = Signal::Traces;
    })
    .await
}

/// One pipeline of traces.
async fn only_traces(exporter: &Arc<Fake>, config: SinkConfig) -> Bench {
    let outputs = vec![("a", exporter.clone(), Unit::Batch, config)];
    bench_of(vec![(vec![], vec!["a"])], outputs, |graph| {
        graph.pipelines[0].signal = Signal::Traces;
        graph.exporters[0].signal = Signal::Traces;
    })
    .await
}

fn order(conditions: serde_json::Value) -> Arc<Order> {
    Arc::new(Order::new("match", &parse(conditions).unwrap()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_kind_takes_its_own_way_and_stands_in_its_own_books() {
    let (of_profiles, of_traces) = (fake([]), fake([Step::Reject(2)]));
    let bench = two_signals(&of_profiles, &of_traces, SinkConfig::default()).await;
    let sent = spans(2, 3);
    assert_eq!(bench.send_traces(sent.clone()).await, Ok(Receipt::default()));
    assert_eq!(bench.send(2, 0).await, Ok(Receipt::default()));
    assert!(bench.out.feeds(Signal::Traces) && bench.out.feeds(Signal::Profiles));
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (2, BTreeMap::new()));
    let rejected = one("rejected_by_backend", 2);
    assert_eq!(books.of_signal("a", Signal::Traces), (4, rejected));
    assert_eq!(*of_traces.bodies.lock().unwrap(), [sent.bytes().clone()]);
    assert_eq!(*of_profiles.weights.lock().unwrap(), [2]);
    let text = books.metrics.text();
    for line in [
        "otelcol_receiver_accepted_spans{receiver=\"door\"} 6\n",
        "otelcol_exporter_sent_spans{exporter=\"a\"} 4\n",
        "otelcol_exporter_send_failed_spans{exporter=\"a\"} 2\n",
        "flamegate_dropped_spans_total{component=\"a\",kind=\"exporter\",reason=\"rejected_by_backend\"} 2\n",
        "flamegate_receiver_accepted_profiles{receiver=\"door\"} 2\n",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn merged_requests_follow_each_other_byte_by_byte() {
    let exporter = fake([]);
    let mut config = SinkConfig::default();
    config.queue.num_consumers = 1;
    config.queue.batch = Some(BatchConfig::default());
    let bench = two_signals(&fake([]), &exporter, config).await;
    let (first, second) = (spans(1, 2), spans(2, 1));
    for traces in [&first, &second] {
        assert!(bench.send_traces(traces.clone()).await.is_ok());
        assert!(bench.send(1, 0).await.is_ok());
    }
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of_signal("a", Signal::Traces), (4, BTreeMap::new()));
    assert_eq!(books.of("a").0, 2);
    let together = [&first.bytes()[..], &second.bytes()[..]].concat();
    assert_eq!(*exporter.bodies.lock().unwrap(), [together]);
}

#[tokio::test(start_paused = true)]
async fn a_large_resource_is_cut_between_its_spans() {
    let exporter = fake([]);
    let whole = spans(1, 40);
    let config = SinkConfig {
        max_request_bytes: ByteSize(whole.bytes().len() as u64 / 3),
        ..SinkConfig::default()
    };
    let bench = only_traces(&exporter, config).await;
    assert!(bench.send_traces(whole).await.is_ok());
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of_signal("a", Signal::Traces), (40, BTreeMap::new()));
    assert_eq!(exporter.calls.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_cut_between_resources_and_the_rest_is_counted() {
    let exporter = fake([]);
    let (whole, one_resource) = (spans(4, 1), spans(1, 1));
    let config = SinkConfig {
        max_request_bytes: ByteSize(one_resource.bytes().len() as u64),
        ..SinkConfig::default()
    };
    let bench = only_traces(&exporter, config).await;
    assert!(bench.send_traces(whole.clone()).await.is_ok());
    let mut large = request(1, 1);
    large.resource_spans[0].scope_spans[0].spans[0].name = "x".repeat(10_000);
    let large = Traces::new(large.encode_to_vec().into(), &Limits::default()).unwrap();
    assert!(bench.send_traces(large).await.is_ok());
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of_signal("a", Signal::Traces), (4, one("too_large", 1)));
    assert_eq!(exporter.calls.load(Ordering::SeqCst), 4);
    let mut bodies = exporter.bodies.lock().unwrap().clone();
    bodies.sort_by_key(|body| body.as_ptr());
    assert_eq!(bodies.concat(), whole.bytes()[..]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_and_a_dead_backend_of_profiles_cost_no_span() {
    let mut config = SinkConfig::default();
    (config.queue.queue_size, config.queue.num_consumers) = (2, 1);
    let (dead, alive) = (fake((0..1_000).map(|_| again())), fake([]));
    let bench = two_signals(&dead, &alive, config).await;
    for _ in 0..20 {
        let _ = bench.send(1, 0).await;
        assert_eq!(bench.send_traces(spans(1, 1)).await, Ok(Receipt::default()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of_signal("a", Signal::Traces), (20, BTreeMap::new()));
    assert_eq!(books.of("a").0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_leads_nowhere_takes_spans() {
    let bench = bench_of(vec![(vec![], vec![])], vec![], |graph| {
        graph.pipelines[0].signal = Signal::Traces;
    })
    .await;
    assert_eq!(bench.send_traces(spans(1, 1)).await, Ok(Receipt::default()));
    assert!(!bench.out.feeds(Signal::Profiles));
    let books = bench.stop(DRAIN).await;
    assert!(
        books
            .metrics
            .text()
            .contains("otelcol_receiver_accepted_spans{receiver=\"door\"} 1\n")
    );
}

#[tokio::test(start_paused = true)]
async fn kills_of_tenants_receivers_and_exporters_hold_for_spans_and_those_of_services_do_not() {
    for (conditions, passes, at_exporter) in [
        (json!({ "tenant": "default" }), false, false),
        (json!({ "receiver": "door" }), false, false),
        (json!({ "tenant": "other" }), true, false),
        (json!({ "service": "shop-*" }), true, false),
        (json!({ "tenant": "default", "profile.type": "cpu" }), true, false),
        (json!({ "exporter": "a" }), true, true),
        (json!({ "exporter": "a", "tenant": "default" }), true, true),
    ] {
        let exporter = fake([]);
        let bench = only_traces(&exporter, SinkConfig::default()).await;
        bench.kills.set(vec![order(conditions.clone())]);
        let receipt = bench.send_traces(spans(1, 3)).await.unwrap();
        assert_eq!(receipt.rejected, if passes { 0 } else { 3 }, "{conditions}");
        let books = bench.stop(DRAIN).await;
        let killed = if at_exporter { one("killed", 3) } else { BTreeMap::new() };
        let sent = if passes && !at_exporter { 3 } else { 0 };
        assert_eq!(books.of_signal("a", Signal::Traces), (sent, killed), "{conditions}");
    }
}

#[tokio::test(start_paused = true)]
async fn spans_are_routed_by_where_they_come_from() {
    let when = |conditions: serde_json::Value| {
        let matcher = Matcher::new("", &parse(conditions).unwrap()).unwrap();
        assert!(matcher.is_about_origin());
        Route::When(vec![matcher])
    };
    for (first, second, to_first, to_second, rejected) in [
        (when(json!({ "tenant": "default" })), Route::Rest, 2, 0, 0),
        (when(json!({ "tenant": "other" })), Route::Rest, 0, 2, 0),
        (when(json!({ "receiver": "d*" })), Route::Everything, 2, 2, 0),
        (
            when(json!({ "tenant": "x" })),
            when(json!({ "receiver": "x" })),
            0,
            0,
            2,
        ),
    ] {
        let (a, b) = (fake([]), fake([]));
        let outputs = ["a", "b"].into_iter().zip([&a, &b]);
        let outputs = outputs.map(|(id, fake)| (id, fake.clone(), Unit::Batch, SinkConfig::default()));
        let bench = bench_of(
            vec![(vec![], vec!["a"]), (vec![], vec!["b"])],
            outputs.collect(),
            |graph| {
                for (pipeline, route) in graph.pipelines.iter_mut().zip([first, second]) {
                    (pipeline.signal, pipeline.route) = (Signal::Traces, route);
                }
                graph
                    .exporters
                    .iter_mut()
                    .for_each(|exporter| exporter.signal = Signal::Traces);
            },
        )
        .await;
        assert_eq!(bench.send_traces(spans(1, 2)).await.unwrap().rejected, rejected);
        let books = bench.stop(DRAIN).await;
        let sent = ["a", "b"].map(|id| books.of_signal(id, Signal::Traces).0);
        assert_eq!(sent, [to_first, to_second]);
        let door = Kind::Receiver.named("door");
        assert_eq!(books.metrics.dropped_count(&door, Signal::Traces, "unrouted"), rejected);
    }
}
