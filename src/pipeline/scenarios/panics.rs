//! Components that panic, and parts of the engine that end: what it costs, and who hears of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

pub(super) struct Bomb;
impl Processor for Bomb {
    fn process(&self, _: Batch, _: &Context) -> Verdict {
        panic!("hunter2")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_a_batch_and_three_turn_readiness_red() {
    let exporter = fake([]);
    let exporters = vec![("a", exporter, Unit::Batch, SinkConfig::default())];
    let bench = bench(vec![(vec![step(Bomb)], vec!["a"]), (vec![], vec!["a"])], exporters).await;
    for _ in 0..3 {
        assert!(bench.running.readiness().is_ready());
        assert_eq!(
            bench.send(2, 0).await,
            Ok(Receipt::default()),
            "the other pipeline let all pass"
        );
    }
    assert!(!bench.running.readiness().is_ready());
    assert_eq!(
        bench.decoded.load(Ordering::SeqCst),
        3,
        "decoded once for two pipelines"
    );
    let books = bench.stop(DRAIN).await;
    assert_eq!(
        books
            .metrics
            .dropped_count(&Kind::Processor.named("step"), Signal::Profiles, "panic"),
        6
    );
    assert_eq!(books.of("a").0, 6);
    assert!(!books.metrics.text().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_decoder_that_works_again_turns_readiness_green() {
    let bench = single(fake([]), Unit::Batch, SinkConfig::default()).await;
    for _ in 0..3 {
        assert!(matches!(
            bench.out.receive(|| panic!("hunter2")).await,
            Err(Refusal::Invalid(_))
        ));
    }
    assert!(!bench.running.readiness().is_ready());
    assert!(bench.send(1, 0).await.is_ok());
    assert!(bench.running.readiness().is_ready());
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 1);
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_panics_costs_its_batch() {
    let exporter = Arc::new(Fake {
        encode_panics: true,
        ..Fake::default()
    });
    let bench = single(exporter, Unit::Batch, SinkConfig::default()).await;
    assert!(bench.send(2, 0).await.is_ok());
    assert_eq!(bench.stop(DRAIN).await.of("a"), (0, one("panic", 2)));
}

/// The fingerprints of the panics of one component, and their number.
fn panics(metrics: &crate::telemetry::Metrics, component: &str) -> (usize, u64) {
    let text = metrics.text();
    let head = format!("flamegate_panics_total{{component=\"{component}\"");
    let counts = text.lines().filter(|line| line.starts_with(&head));
    let counts: Vec<u64> = counts
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    (counts.len(), counts.iter().sum())
}

#[tokio::test(start_paused = true)]
async fn a_decoder_that_panics_costs_its_request_and_in_a_row_they_turn_readiness_red() {
    let bench = single(fake([]), Unit::Batch, SinkConfig::default()).await;
    let explode = async || bench.out.receive(|| panic!("hunter2")).await;
    for _ in 0..2 {
        assert!(matches!(explode().await, Err(Refusal::Invalid(_))));
    }
    assert_eq!(
        bench.send(1, 0).await,
        Ok(Receipt::default()),
        "one that went well between them"
    );
    for _ in 0..3 {
        assert!(bench.running.readiness().is_ready());
        assert!(matches!(explode().await, Err(Refusal::Invalid(_))));
    }
    assert_eq!(
        bench.running.readiness().problem().as_deref(),
        Some("receiver door keeps panicking")
    );
    assert_eq!(panics(&bench.metrics, "door"), (1, 5));
    assert!(bench.send(1, 0).await.is_ok() && bench.running.readiness().is_ready());
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (2, BTreeMap::new()));
    assert!(!books.metrics.text().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_keeps_panicking_turns_readiness_red_until_it_works() {
    let bench = single(
        fake([Step::Panic, Step::Panic, Step::Panic]),
        Unit::Batch,
        SinkConfig::default(),
    )
    .await;
    for ready in [true, true, false, true] {
        assert!(bench.send(2, 0).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(bench.running.readiness().is_ready(), ready);
    }
    assert_eq!(panics(&bench.metrics, "a"), (1, 3));
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (2, one("panic", 6)));
    assert!(!books.metrics.text().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_task_of_the_engine_that_dies_is_told_and_what_is_there_still_drains() {
    let bench = single(fake([again()]), Unit::Batch, SinkConfig::default()).await;
    assert!(bench.send(2, 0).await.is_ok());
    let nothing = tokio::time::timeout(Duration::from_secs(1), bench.running.failed()).await;
    assert!(nothing.is_err(), "all is well");
    let dead = crate::pipeline::compute::guard_async(async { panic!("hunter2") });
    bench.running.shared.task(Kind::Exporter.named("a"), dead);
    let failure = bench.running.failed().await.to_string();
    assert!(
        failure.starts_with("exporters.a: panicked at ") && !failure.contains("hunter2"),
        "{failure}"
    );
    assert_eq!(bench.stop(DRAIN).await.of("a"), (2, BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_ends_by_itself_is_told() {
    for (ending, expected) in [
        (None, "receivers.door: ended although nobody asked it to"),
        (Some("the socket is gone"), "receivers.door: the socket is gone"),
    ] {
        let metrics = Arc::default();
        let exporters = vec![("a", fake([]), Unit::Batch, SinkConfig::default())];
        let (mut graph, _opened) = graph(vec![(vec![], vec!["a"])], exporters, &metrics, [0; 3]);
        graph.receivers[0].receiver = Box::new(Leaver(ending));
        let running = graph.start(
            Budget::new(1 << 20),
            Kills::default(),
            &tokio::runtime::Handle::current(),
        );
        assert_eq!(running.failed().await.to_string(), expected);
        running.stop(DRAIN).await;
    }
}

/// A receiver that does not stay.
struct Leaver(Option<&'static str>);
#[async_trait::async_trait]
impl Receiver for Leaver {
    async fn run(self: Box<Self>, out: Outlet, _: Stop) -> Result<(), ReceiverError> {
        out.ready();
        match self.0 {
            None => Ok(()),
            Some(why) => Err(ReceiverError(why.to_owned())),
        }
    }
}
