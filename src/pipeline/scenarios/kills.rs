//! What is killed is nowhere delivered, and nowhere missing from the books.

use serde_json::json;

use super::*;
use crate::pipeline::kill::{Order, unseen};
use crate::pipeline::spec::parse;

fn order(conditions: serde_json::Value) -> Arc<Order> {
    Arc::new(Order::new("match", &parse(conditions).unwrap()).unwrap())
}

fn everything() -> Vec<Arc<Order>> {
    vec![Arc::new(Order::everything())]
}

fn killed_at_the_door(books: &Books) -> u64 {
    books
        .metrics
        .dropped_count(&Kind::Receiver.named("door"), Signal::Profiles, "killed")
}

#[tokio::test(start_paused = true)]
async fn what_comes_is_accepted_and_discarded() {
    let exporter = fake([]);
    let bench = single(exporter.clone(), Unit::Batch, SinkConfig::default()).await;
    bench.kills.set(everything());
    assert!(bench.running.readiness().is_ready());
    let receipt = bench.send(3, 0).await.unwrap();
    assert_eq!(receipt.rejected, 3);
    assert!(receipt.message.contains("killed"), "{receipt:?}");
    bench.kills.set(vec![
        order(json!({ "tenant": "other" })),
        order(json!({ "receiver": "d*" })),
    ]);
    assert_eq!(bench.send(2, 0).await.unwrap().rejected, 2);
    bench.kills.set(vec![order(json!({ "tenant": "other" }))]);
    assert_eq!(bench.send(1, 0).await, Ok(Receipt::default()));
    bench.kills.set(Vec::new());
    assert_eq!(bench.send(1, 0).await, Ok(Receipt::default()));
    let books = bench.stop(DRAIN).await;
    assert_eq!(killed_at_the_door(&books), 5);
    assert_eq!(books.of("a"), (2, BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn a_killed_exporter_drops_its_copy_and_nobody_waits_for_its_room() {
    let mut config = SinkConfig {
        required: true,
        ..SinkConfig::default()
    };
    config.queue.queue_size = 1;
    let (first, second) = (fake([]), fake([]));
    let outputs = vec![
        ("a", first.clone(), Unit::Batch, config.clone()),
        ("b", second.clone(), Unit::Batch, config),
    ];
    let bench = bench(vec![(vec![], vec!["a", "b"])], outputs).await;
    bench.kills.set(vec![order(json!({ "exporter": "a" }))]);
    for _ in 0..5 {
        assert_eq!(bench.send(2, 0).await, Ok(Receipt::default()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.kills.set(vec![order(json!({ "exporter": "*" }))]);
    assert_eq!(bench.send(2, 0).await, Ok(Receipt::default()));
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (0, one("killed", 12)));
    assert_eq!(books.of("b"), (10, one("killed", 2)));
    assert_eq!(first.calls.load(Ordering::SeqCst), 0);
    assert_eq!(
        books.metrics.exporter(&"a".into(), Signal::Profiles).send_failed.get(),
        0,
        "nobody failed"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_queue_or_for_its_next_attempt_or_is_on_its_way_is_dropped_too() {
    for script in [vec![Step::Hang], vec![again()]] {
        let exporter = fake(script);
        let mut config = SinkConfig::default();
        config.queue.num_consumers = 1;
        config.retry.initial_interval = Span::secs(1_000);
        config.retry.max_interval = Span::secs(1_000);
        config.retry.max_elapsed_time = Span::secs(0);
        config.timeout = Span::secs(1_000);
        let bench = single(exporter.clone(), Unit::Batch, config).await;
        for _ in 0..3 {
            assert!(bench.send(2, 0).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(exporter.calls.load(Ordering::SeqCst), 1, "the others wait");
        bench
            .kills
            .set(vec![order(json!({ "exporter": "a", "tenant": "default" }))]);
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.kills.set(Vec::new());
        assert!(bench.send(1, 0).await.is_ok());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let books = bench.stop(DRAIN).await;
        assert_eq!(books.of("a"), (1, one("killed", 6)));
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_part_that_waits_only_what_is_killed_is_dropped() {
    let exporter = fake([again()]);
    let mut config = SinkConfig::default();
    config.retry.initial_interval = Span::secs(10);
    let bench = single(exporter.clone(), Unit::Batch, config).await;
    let permit = bench.budget.permit();
    let sent = bench.out.receive(move || {
        let mut arrival = arrival(4, 0, permit);
        let Content::Profiles(decoded) = &mut arrival.content else {
            panic!("it is of profiles")
        };
        let (d, resources) = decoded.profiles.edit();
        for (resource, name) in resources.iter_mut().zip(["a", "b", "a", "b"]) {
            resource.attributes.push(crate::profile::KeyValue {
                key: d.strings.push("service.name"),
                value: crate::profile::Value::String(d.strings.push(name)),
            });
        }
        Ok(vec![arrival])
    });
    assert!(sent.await.is_ok());
    tokio::time::sleep(Duration::from_millis(1)).await;
    bench.kills.set(vec![order(json!({ "service": "b" }))]);
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (2, one("killed", 2)));
}

#[tokio::test(start_paused = true)]
async fn only_the_samples_that_match_go() {
    let kills = Kills::default();
    let bench = single(fake([]), Unit::Batch, SinkConfig::default()).await;
    bench.kills.set(vec![order(json!({ "sample.thread": "none has one" }))]);
    assert_eq!(bench.send(2, 0).await, Ok(Receipt::default()));
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (2, BTreeMap::new()));
    kills.set(vec![order(json!({ "sample.thread": "x" }))]);
    assert!(
        !kills.takes_source(&Origin::local("door"), &unseen()),
        "a sample is no source"
    );
}

#[test]
fn a_source_is_killed_only_if_all_that_it_brings_is() {
    let origin = Origin::local("scrape/a");
    let is_killed = |conditions| {
        let kills = Kills::default();
        kills.set(vec![order(conditions)]);
        kills.takes_source(&origin, &unseen())
    };
    assert!(is_killed(json!({ "receiver": "scrape*" })));
    assert!(is_killed(json!({ "tenant": "default", "receiver": "scrape/a" })));
    for spared in [
        json!({ "receiver": "otlp" }),
        json!({ "exporter": "*" }),
        json!({ "receiver": "*", "exporter": "*" }),
        json!({ "service": "*" }),
        json!({ "profile.type": "cpu" }),
    ] {
        assert!(!is_killed(spared.clone()), "{spared}");
    }
    let kills = Kills::default();
    assert!(!kills.takes_source(&origin, &unseen()), "nothing is killed");
    kills.set(everything());
    assert!(kills.takes_source(&origin, &unseen()));
}

#[tokio::test(start_paused = true)]
async fn who_keeps_the_original_brings_all_of_it_again() {
    let exporter = fake([]);
    let bench = single(exporter.clone(), Unit::Batch, SinkConfig::default()).await;
    let send = || {
        let permit = bench.budget.permit();
        bench.out.receive_followed(7, move || Ok(vec![arrival(2, 0, permit)]))
    };
    for kill in [everything(), vec![order(json!({ "exporter": "a" }))]] {
        bench.kills.set(kill);
        let (_, delivery) = send().await.unwrap();
        assert_eq!(delivery.fate().await, Fate::Killed);
    }
    bench.kills.set(Vec::new());
    let (_, delivery) = send().await.unwrap();
    assert_eq!(delivery.fate().await, Fate::Delivered);
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (2, one("killed", 2)));
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_is_killed() {
    let (first, second) = (fake([]), fake([]));
    let output = |fake: &Arc<Fake>| vec![("a", fake.clone(), Unit::Batch, SinkConfig::default())];
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&first)).await;
    bench.kills.set(vec![order(json!({ "exporter": "a" }))]);
    let (graph, _opened) = graph(vec![(vec![], vec!["a"])], output(&second), &bench.metrics, [0, 0, 1]);
    bench.running.reload(graph, DRAIN).await.unwrap();
    assert!(bench.send(2, 0).await.is_ok());
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (0, one("killed", 2)));
}
