//! What becomes of profiles when things go wrong: the conservation equation holds in every scenario.

mod fates;
mod holding;
mod kills;
mod panics;
mod parts;
mod traces;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::sink::SinkConfig;
use super::spec::Unit;
use super::testing::*;
use super::units::{ByteSize, Span};
use super::*;
use crate::profile::Splitter;
use crate::telemetry::Kind;

const DRAIN: Duration = Duration::from_secs(20);

fn one(reason: &'static str, count: u64) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([(reason, count)])
}

fn again() -> Step {
    Step::Fail(ExportError::Retry {
        why: "busy".to_owned(),
        after: None,
    })
}

async fn single(exporter: Arc<Fake>, unit: Unit, config: SinkConfig) -> Bench {
    bench(vec![(vec![], vec!["a"])], vec![("a", exporter, unit, config)]).await
}

async fn outcome(
    script: Vec<Step>,
    unit: Unit,
    config: SinkConfig,
    drain: Duration,
) -> (u64, BTreeMap<&'static str, u64>, usize) {
    let exporter = fake(script);
    let bench = single(exporter.clone(), unit, config).await;
    assert!(bench.running.readiness().is_ready());
    assert_eq!(bench.send(3, 0).await, Ok(Receipt::default()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let books = bench.stop(drain).await;
    assert!(exporter.closed.load(Ordering::SeqCst));
    let (sent, dropped) = books.of("a");
    (sent, dropped, exporter.calls.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn what_backends_do_is_accounted_for() {
    let config = SinkConfig::default;
    let fail = |error| vec![Step::Fail(error)];
    let none = BTreeMap::new;
    assert_eq!(outcome(vec![], Unit::Batch, config(), DRAIN).await, (3, none(), 1));
    assert_eq!(
        outcome(vec![again(), again()], Unit::Batch, config(), DRAIN).await,
        (3, none(), 3)
    );
    let permanent = ExportError::Permanent { why: "no".to_owned() };
    assert_eq!(
        outcome(fail(permanent.clone()), Unit::Batch, config(), DRAIN).await,
        (0, one("permanent", 3), 1)
    );
    assert_eq!(
        outcome(fail(permanent), Unit::Profile, config(), DRAIN).await,
        (2, one("permanent", 1), 3)
    );
    assert_eq!(
        outcome(vec![again()], Unit::Resource, config(), DRAIN).await,
        (3, none(), 4)
    );
    assert_eq!(
        outcome(vec![Step::Panic], Unit::Batch, config(), DRAIN).await,
        (0, one("panic", 3), 1)
    );
    assert_eq!(
        outcome(vec![Step::Reject(2)], Unit::Batch, config(), DRAIN).await,
        (1, one("rejected_by_backend", 2), 1)
    );
    assert_eq!(
        outcome(vec![Step::Hang], Unit::Batch, config(), DRAIN).await,
        (3, none(), 2)
    );
    let short = Duration::from_secs(2);
    assert_eq!(
        outcome(vec![Step::Hang], Unit::Batch, config(), short).await,
        (0, one("shutdown", 3), 1)
    );
    assert_eq!(
        outcome(vec![again()], Unit::Batch, config(), short).await,
        (0, one("shutdown", 3), 1)
    );
}

#[tokio::test(start_paused = true)]
async fn retries_end_and_too_large_parts_are_cut_to_the_last_sample() {
    let mut config = SinkConfig::default();
    config.retry.max_elapsed_time = Span::secs(10);
    let script = (0..50).map(|_| again()).collect();
    let (sent, dropped, calls) = outcome(script, Unit::Batch, config, DRAIN).await;
    assert_eq!((sent, dropped), (0, one("retries_exhausted", 3)));
    assert!((2..5).contains(&calls), "{calls}");
    let config = SinkConfig {
        max_request_bytes: ByteSize(400),
        ..SinkConfig::default()
    };
    assert_eq!(outcome(vec![], Unit::Batch, config, DRAIN).await.0, 3);
    let config = SinkConfig {
        max_request_bytes: ByteSize(99),
        ..SinkConfig::default()
    };
    assert_eq!(
        outcome(vec![], Unit::Batch, config, DRAIN).await,
        (0, one("too_large", 3), 0)
    );
}

#[tokio::test(start_paused = true)]
async fn samples_that_a_backend_rejects_are_not_told_as_sent() {
    let bench = single(fake([Step::Reject(2)]), Unit::Batch, SinkConfig::default()).await;
    assert!(bench.send(3, 0).await.is_ok());
    let books = bench.stop(DRAIN).await;
    let numbers = books.metrics.exporter(&"a".into(), Signal::Profiles);
    assert_eq!((numbers.sent_samples.get(), numbers.send_failed.get()), (4, 8));
}

/// Twelve samples for a backend that calls so many requests too large.
async fn too_large(times: usize) -> (Books, usize) {
    let exporter = Arc::new(Fake {
        script: std::sync::Mutex::new((0..times).map(|_| Step::Fail(ExportError::TooLarge)).collect()),
        sample_bytes: Some(20 << 10),
        ..Fake::default()
    });
    let bench = single(exporter.clone(), Unit::Batch, SinkConfig::default()).await;
    assert!(bench.send(3, 0).await.is_ok());
    (bench.stop(DRAIN).await, exporter.calls.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn what_a_backend_calls_too_large_is_halved_while_it_is_not_small() {
    let (books, calls) = too_large(1).await;
    assert_eq!((books.of("a"), calls), ((3, BTreeMap::new()), 3));
    // 240 KiB, 120, 60: no further
    let (books, calls) = too_large(99).await;
    assert_eq!((books.of("a"), calls), ((0, one("too_large", 3)), 7));
}

fn tiny(required: bool) -> SinkConfig {
    let mut config = SinkConfig {
        required,
        ..SinkConfig::default()
    };
    config.queue.num_consumers = 1;
    config.queue.queue_size = 1;
    config.timeout = Span::secs(3600);
    config
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_costs_its_own_exporter_only() {
    let (stuck, fine) = (fake([Step::Hang]), fake([]));
    let exporters = vec![
        ("stuck", stuck, Unit::Batch, tiny(false)),
        ("fine", fine.clone(), Unit::Batch, SinkConfig::default()),
    ];
    let bench = bench(vec![(vec![], vec!["stuck", "fine"])], exporters).await;
    for _ in 0..4 {
        assert_eq!(bench.send(1, 0).await, Ok(Receipt::default()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fine.calls.load(Ordering::SeqCst), 4, "a stuck exporter delayed another");
    let books = bench.stop(Duration::from_secs(1)).await;
    assert_eq!(books.of("fine"), (4, BTreeMap::new()));
    assert_eq!(
        books.of("stuck"),
        (0, BTreeMap::from([("queue_full", 2), ("shutdown", 2)]))
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_senders_keep_what_finds_no_room() {
    let mut config = SinkConfig::default();
    config.queue.enabled = false;
    let (hanging, fine) = (fake([Step::Hang]), fake([]));
    let exporters = vec![
        ("direct", hanging, Unit::Batch, config),
        ("fine", fine, Unit::Batch, SinkConfig::default()),
    ];
    let bench = bench(vec![(vec![], vec!["direct", "fine"])], exporters).await;
    assert_eq!(bench.send(1, 0).await, Ok(Receipt::default()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(matches!(bench.send(1, 0).await, Err(Refusal::Unavailable { .. })));
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("direct"), (1, BTreeMap::new()));
    assert_eq!(books.of("fine"), (1, BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_an_attempt_takes_as_long_as_it_takes() {
    let config = SinkConfig {
        timeout: Span::secs(0),
        ..SinkConfig::default()
    };
    assert_eq!(
        outcome(vec![Step::Slow], Unit::Batch, config, DRAIN).await,
        (3, BTreeMap::new(), 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_backend_holds_no_more_than_its_queue_may() {
    let (dead, fine) = (fake((0..9).map(|_| Step::Hang)), fake([]));
    let mut config = SinkConfig::default();
    // room for two requests
    config.queue.queue_bytes = ByteSize(1500);
    config.timeout = Span::secs(3600);
    let exporters = vec![
        ("dead", dead.clone(), Unit::Batch, config),
        ("fine", fine, Unit::Batch, SinkConfig::default()),
    ];
    let bench = bench(vec![(vec![], vec!["dead", "fine"])], exporters).await;
    for _ in 0..5 {
        assert_eq!(bench.send(1, 0).await, Ok(Receipt::default()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(dead.calls.load(Ordering::SeqCst), 2);
    let waiting = bench
        .metrics
        .exporter(&"dead".into(), Signal::Profiles)
        .queue_bytes
        .get();
    let bodies = 2 * 400;
    assert_eq!(bench.budget.used() as u64, waiting + bodies);
    let books = bench.stop(Duration::from_secs(1)).await;
    assert_eq!(books.of("fine"), (5, BTreeMap::new()));
    assert_eq!(books.of("dead").1, BTreeMap::from([("queue_full", 3), ("shutdown", 2)]));
    assert_eq!(
        books
            .metrics
            .exporter(&"dead".into(), Signal::Profiles)
            .queue_bytes
            .get(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_required_queue_refuses_before_anyone_took_it() {
    let (stuck, fine) = (fake([Step::Hang]), fake([]));
    let exporters = vec![
        ("fine", fine.clone(), Unit::Batch, SinkConfig::default()),
        ("stuck", stuck, Unit::Batch, tiny(true)),
    ];
    let bench = bench(vec![(vec![], vec!["fine", "stuck"])], exporters).await;
    for _ in 0..2 {
        assert_eq!(bench.send(1, 0).await, Ok(Receipt::default()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(matches!(bench.send(1, 0).await, Err(Refusal::Unavailable { .. })));
    let books = bench.stop(Duration::from_secs(1)).await;
    assert_eq!(books.of("fine"), (2, BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn when_all_queues_are_full_the_sender_waits() {
    let bench = single(fake([Step::Hang]), Unit::Batch, tiny(false)).await;
    for _ in 0..2 {
        assert!(bench.send(1, 0).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(matches!(bench.send(1, 0).await, Err(Refusal::Unavailable { .. })));
    bench.stop(Duration::from_secs(1)).await.of("a");
}

#[tokio::test(start_paused = true)]
async fn defective_profiles_are_told_and_empty_requests_are_fine() {
    let bench = single(fake([]), Unit::Batch, SinkConfig::default()).await;
    let receipt = bench.send(1, 2).await.unwrap();
    assert_eq!(receipt.rejected, 2);
    assert!(receipt.message.contains("a broken profile at byte 7"));
    assert!(matches!(bench.send(0, 2).await, Err(Refusal::Invalid(_))));
    assert_eq!(bench.send(0, 0).await, Ok(Receipt::default()));
    let books = bench.stop(DRAIN).await;
    assert_eq!(
        books
            .metrics
            .dropped_count(&Kind::Receiver.named("door"), Signal::Profiles, "defective"),
        2
    );
    assert_eq!(books.of("a").0, 1);
}

struct Half;
impl Processor for Half {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        let rejected = Some((1, Reason::Filtered));
        Verdict::Pass { batch, rejected }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_request_lost_on_the_way_counts_only_when_it_is_taken() {
    let exporters = vec![("stuck", fake([Step::Hang]), Unit::Batch, tiny(true))];
    let bench = bench(vec![(vec![step(Half)], vec!["stuck"])], exporters).await;
    let filtered = |bench: &Bench| {
        bench
            .metrics
            .dropped_count(&Kind::Processor.named("step"), Signal::Profiles, "filtered")
    };
    for _ in 0..2 {
        assert_eq!(bench.send(3, 0).await.map(|receipt| receipt.rejected), Ok(1));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(bench.send(3, 0).await.is_err());
    assert_eq!(filtered(&bench), 2);
    for edge in ["incoming", "outgoing"] {
        let taken = format!("otelcol_processor_{edge}_items{{processor=\"step\"}} 24\n");
        assert!(bench.metrics.text().contains(&taken), "{edge}");
    }
    bench.stop(Duration::from_secs(1)).await.of("stuck");
}
