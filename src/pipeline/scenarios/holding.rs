//! Processors that hold batches back: nothing is there twice, and nothing is lost, whatever else becomes of a request.

use super::*;
use crate::pipeline::chain::{Chain, Stage};

/// A pipeline of these stages to exporter `a`.
async fn one_pipeline(stages: Vec<Stage>, exporter: &Arc<Fake>, config: SinkConfig) -> Bench {
    let exporters = vec![("a", exporter.clone(), Unit::Batch, config)];
    bench(vec![(stages, vec!["a"])], exporters).await
}

fn arrived(exporter: &Fake) -> u64 {
    exporter.weights.lock().unwrap().iter().sum()
}

async fn until_arrived(exporter: &Fake, profiles: u64) {
    let arrives = async {
        while arrived(exporter) < profiles {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), arrives).await;
    assert!(in_time.is_ok(), "{} of {profiles} arrived", arrived(exporter));
}

/// Room for one batch, and one on its way.
fn narrow() -> SinkConfig {
    let mut config = SinkConfig::default();
    config.queue.num_consumers = 1;
    config.queue.queue_size = 1;
    config
}

#[tokio::test]
async fn what_is_held_back_goes_on_when_it_is_due_and_at_the_end() {
    let exporter = fake([]);
    let stages = vec![holding(Holder::until(2)), step(Half)];
    let bench = one_pipeline(stages, &exporter, SinkConfig::default()).await;
    assert_eq!(bench.send(3, 0).await, Ok(Receipt::default()));
    assert_eq!(arrived(&exporter), 0);
    assert_eq!(bench.send(3, 0).await, Ok(Receipt::default()));
    until_arrived(&exporter, 4).await;
    assert_eq!(bench.send(3, 0).await, Ok(Receipt::default()));
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (6, BTreeMap::new()));
    let filtered = books
        .metrics
        .dropped_count(&Kind::Processor.named("step"), Signal::Profiles, "filtered");
    assert_eq!(filtered, 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_another_pipeline_refuses_is_not_held() {
    let (fine, stuck) = (fake([]), fake([Step::Hang]));
    let exporters = vec![
        ("fine", fine.clone(), Unit::Batch, SinkConfig::default()),
        ("stuck", stuck, Unit::Batch, tiny(true)),
    ];
    let holds = vec![holding(Holder::until(usize::MAX))];
    let bench = bench(vec![(holds, vec!["fine"]), (vec![], vec!["stuck"])], exporters).await;
    for _ in 0..2 {
        assert!(bench.send(1, 0).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..3 {
        assert!(matches!(bench.send(1, 0).await, Err(Refusal::Unavailable { .. })));
    }
    let books = bench.stop(Duration::from_secs(1)).await;
    assert_eq!(
        books.of("fine"),
        (2, BTreeMap::new()),
        "once each, however often it came"
    );
}

struct Refuses(fn() -> Refusal);
impl Processor for Refuses {
    fn process(&self, _: Batch, _: &Context) -> Verdict {
        Verdict::Refuse((self.0)())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_behind_a_holder_is_dropped_since_nobody_comes_again() {
    let over = || Refusal::OverRate {
        why: "much",
        after: Duration::from_secs(1),
    };
    let cases: [(fn() -> Refusal, _); 2] = [
        (over, "rate_limited"),
        (|| Refusal::no_room("no room"), "failed_closed"),
    ];
    for (refusal, reason) in cases {
        let stages = vec![holding(Holder::until(usize::MAX)), step(Refuses(refusal))];
        let bench = one_pipeline(stages, &fake([]), SinkConfig::default()).await;
        assert_eq!(bench.send(3, 0).await, Ok(Receipt::default()));
        let books = bench.stop(DRAIN).await;
        assert_eq!(books.of("a").0, 0);
        let dropped = books
            .metrics
            .dropped_count(&Kind::Processor.named("step"), Signal::Profiles, reason);
        assert_eq!(dropped, 3, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_a_queue_has_room_for_goes_on_at_its_pace() {
    for due_at in [30, usize::MAX] {
        let exporter = fake((0..3).map(|_| Step::Slow));
        let bench = one_pipeline(vec![holding(Holder::until(due_at))], &exporter, narrow()).await;
        for _ in 0..30 {
            assert!(bench.send(1, 0).await.is_ok());
        }
        if due_at == 30 {
            until_arrived(&exporter, 30).await;
        }
        let books = bench.stop(DRAIN).await;
        assert_eq!(books.of("a"), (30, BTreeMap::new()), "due at {due_at}");
    }
}

// by the clock on the wall: a paused one runs ahead of what the compute pool does
#[tokio::test]
async fn while_no_queue_has_room_nothing_more_is_held() {
    let mut hanging = narrow();
    hanging.timeout = Span::secs(3600);
    let bench = one_pipeline(vec![holding(Holder::until(1))], &fake([Step::Hang]), hanging).await;
    let mut taken = 0;
    let until_refused = async {
        loop {
            match bench.send(1, 0).await {
                Ok(_) => taken += 1,
                Err(refusal) => return refusal,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let refusal = tokio::time::timeout(Duration::from_secs(60), until_refused).await;
    assert!(matches!(refusal, Ok(Refusal::Unavailable { .. })), "{refusal:?}");
    let (sent, dropped) = bench.stop(Duration::from_millis(10)).await.of("a");
    assert_eq!(
        sent + dropped.values().sum::<u64>(),
        taken,
        "what was refused is nowhere"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_exporter_costs_its_own_copies_of_what_was_held() {
    let (dead, fine) = (fake([Step::Hang]), fake([]));
    let mut hanging = narrow();
    hanging.timeout = Span::secs(3600);
    let exporters = vec![
        ("dead", dead, Unit::Batch, hanging),
        ("fine", fine.clone(), Unit::Batch, narrow()),
    ];
    let holds = vec![holding(Holder::until(10))];
    let bench = bench(vec![(holds, vec!["dead", "fine"])], exporters).await;
    for _ in 0..10 {
        assert!(bench.send(1, 0).await.is_ok());
    }
    let begin = tokio::time::Instant::now();
    until_arrived(&fine, 10).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "at its own pace");
    // the next round is late by what the dead one was waited for, and no more
    for _ in 0..10 {
        assert!(bench.send(1, 0).await.is_ok());
    }
    until_arrived(&fine, 20).await;
    assert!(begin.elapsed() < Duration::from_secs(10));
    // and at the end it is the deadline that counts
    assert!(bench.send(1, 0).await.is_ok());
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("fine"), (21, BTreeMap::new()));
    assert_eq!(
        books.of("dead"),
        (0, BTreeMap::from([("queue_full", 18), ("shutdown", 3)]))
    );
}

/// A receiver that does not end when it is asked to.
struct Lingers;
#[async_trait::async_trait]
impl Receiver for Lingers {
    async fn run(self: Box<Self>, out: Outlet, _: Stop) -> Result<(), ReceiverError> {
        out.ready();
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_lingers_takes_no_time_from_what_is_held() {
    let exporter = fake([Step::Slow]);
    let metrics = Arc::new(crate::telemetry::Metrics::default());
    let exporters = vec![("a", exporter.clone(), Unit::Batch, SinkConfig::default())];
    let stages = vec![holding(Holder::until(usize::MAX))];
    let (mut graph, opened) = graph(vec![(stages, vec!["a"])], exporters, &metrics, [0; 3]);
    let second = super::super::graph::NamedReceiver {
        id: "lingers".into(),
        raw: Default::default(),
        feeders: Default::default(),
        receiver: Box::new(Lingers),
    };
    graph.receivers.push(second);
    let budget = Budget::new(64 << 20);
    let running = graph.start(budget.clone(), Kills::default(), &tokio::runtime::Handle::current());
    let out = opened.await.unwrap();
    assert!(send(&out, &budget, 2).await.is_ok());
    running.stop(Duration::from_secs(5)).await;
    assert_eq!(Books { metrics }.of("a"), (2, BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn who_follows_what_was_held_hears_that_it_did_not_pass() {
    for (stages, expected) in [
        (vec![holding(Holder::until(1))], Fate::Delivered),
        (vec![holding(Holder::until(1)), step(super::panics::Bomb)], Fate::Lost),
        (
            vec![holding(Holder::until(1)), step(Refuses(|| Refusal::no_room("no room")))],
            Fate::Lost,
        ),
    ] {
        let bench = one_pipeline(stages, &fake([]), SinkConfig::default()).await;
        let permit = bench.budget.permit();
        let sent = bench.out.receive_followed(7, move || Ok(vec![arrival(1, 0, permit)]));
        let (receipt, delivery) = sent.await.unwrap();
        assert_eq!(receipt, Receipt::default(), "taken, whatever becomes of it");
        assert_eq!(delivery.fate().await, expected);
        bench.stop(DRAIN).await;
    }
}

#[test]
fn a_chain_that_ends_holds_nothing_any_more() {
    let stage = holding(Holder::until(usize::MAX));
    let chain = Chain::new(Signal::Profiles, vec![stage], Default::default(), Default::default());
    let batch = || {
        let origin = Arc::new(Origin::local("door"));
        Batch::made(profiles(2), 2, origin, Permit::unlimited())
    };
    let weights = |batches: &[Batch]| batches.iter().map(Batch::weight).collect::<Vec<_>>();
    assert!(chain.hold(chain.run(batch()).to_hold).batches.is_empty());
    chain.hold_no_more();
    // somebody was late, and nobody will ask again
    assert_eq!(weights(&chain.hold(chain.run(batch()).to_hold).batches), [2, 2]);
    assert!(chain.flush(true).batches.is_empty());
}
