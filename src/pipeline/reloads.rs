//! What a reload keeps, and that it loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::feeder::Feeders;
use super::sink::SinkConfig;
use super::spec::Unit;
use super::testing::*;
use super::*;

const DRAIN: Duration = Duration::from_secs(20);

fn output(exporter: &Arc<Fake>) -> Vec<Output<'static>> {
    vec![("a", exporter.clone(), Unit::Batch, SinkConfig::default())]
}

/// Reloads with a graph of one pipeline; gives the outlet of the new receiver, if it was started.
async fn reload(bench: &mut Bench, exporter: &Arc<Fake>, version: [u64; 3]) -> Option<Outlet> {
    let (graph, mut opened) = graph(vec![(vec![], vec!["a"])], output(exporter), &bench.metrics, version);
    bench.running.reload(graph, DRAIN).await.unwrap();
    opened.try_recv().ok()
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_as_before_goes_on() {
    let (first, second) = (fake([]), fake([]));
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&first)).await;
    assert!(
        reload(&mut bench, &second, [0; 3]).await.is_none(),
        "the receiver was not started again"
    );
    assert!(bench.send(2, 0).await.is_ok());
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 2);
    assert_eq!(first.calls.load(Ordering::SeqCst), 1);
    assert_eq!(second.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_changed_exporter_gets_what_comes_and_the_old_one_what_came() {
    let again = || {
        Step::Fail(ExportError::Retry {
            why: "busy".to_owned(),
            after: None,
        })
    };
    let (first, second) = (fake([again()]), fake([]));
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&first)).await;
    assert!(bench.send(2, 0).await.is_ok());
    assert!(reload(&mut bench, &second, [0, 0, 1]).await.is_none());
    assert!(bench.send(3, 0).await.is_ok());
    tokio::time::sleep(DRAIN).await;
    assert!(first.closed.load(Ordering::SeqCst), "the old exporter has ended");
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (5, Default::default()));
    assert_eq!(*first.weights.lock().unwrap(), [2]);
    assert_eq!(*second.weights.lock().unwrap(), [3]);
}

#[tokio::test(start_paused = true)]
async fn what_an_old_exporter_cannot_deliver_in_time_is_told() {
    let (first, second) = (fake([Step::Hang]), fake([]));
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&first)).await;
    assert!(bench.send(2, 0).await.is_ok());
    reload(&mut bench, &second, [0, 0, 1]).await;
    let books = bench.stop(Duration::from_secs(1)).await;
    assert_eq!(books.of("a").1.get("shutdown"), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_changed_receiver_serves_before_the_old_one_stops() {
    let exporter = fake([]);
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&exporter)).await;
    let new = reload(&mut bench, &exporter, [1, 0, 0]).await.expect("a new receiver");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(
        matches!(bench.send(1, 0).await, Err(Refusal::Unavailable { .. })),
        "the old one has left"
    );
    bench.out = new;
    assert!(bench.send(1, 0).await.is_ok());
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_receiver_does_not_answer_for_the_panics_of_the_old_one() {
    let exporter = fake([]);
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&exporter)).await;
    for _ in 0..3 {
        assert!(bench.out.receive(|| panic!("hunter2")).await.is_err());
    }
    assert!(!bench.running.readiness().is_ready());
    reload(&mut bench, &exporter, [1, 0, 0]).await.expect("a new receiver");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(bench.running.readiness().is_ready());
    bench.stop(DRAIN).await.of("a");
}

#[tokio::test(start_paused = true)]
async fn a_chain_keeps_what_it_holds_until_it_changes() {
    let exporter = fake([]);
    let mut bench = bench(
        vec![(vec![holding(Holder::until(usize::MAX))], vec!["a"])],
        output(&exporter),
    )
    .await;
    assert!(bench.send(2, 0).await.is_ok());
    reload(&mut bench, &exporter, [0; 3]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(exporter.calls.load(Ordering::SeqCst), 0, "still held");
    reload(&mut bench, &exporter, [0, 1, 0]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*exporter.weights.lock().unwrap(), [2], "the old chain gave it up");
    assert!(bench.send(3, 0).await.is_ok());
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 5);
}

#[tokio::test]
async fn what_is_held_for_an_old_request_goes_on_after_a_reload() {
    let exporter = fake([]);
    let holding = vec![(vec![holding(Holder::until(1))], vec!["a"])];
    let mut bench = bench(holding, output(&exporter)).await;
    let (go, wait) = std::sync::mpsc::channel();
    let (out, budget) = (bench.out.clone(), bench.budget.clone());
    let request = tokio::spawn(async move {
        let arrival = arrival(1, 0, budget.permit());
        let decode = move || {
            wait.recv().unwrap();
            Ok(vec![arrival])
        };
        out.receive(decode).await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    reload(&mut bench, &exporter, [0; 3]).await;
    // the old generation has nothing to do but this
    tokio::time::sleep(Duration::from_millis(20)).await;
    go.send(()).unwrap();
    assert!(request.await.unwrap().is_ok());
    let sent = async {
        while exporter.calls.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let sent = tokio::time::timeout(Duration::from_secs(20), sent).await;
    assert!(sent.is_ok(), "it is due, and nobody was told");
    bench.stop(DRAIN).await.of("a");
}

#[tokio::test(start_paused = true)]
async fn what_an_old_chain_held_reaches_exporters_that_are_stopped_meanwhile() {
    let exporter = fake([Step::Slow]);
    let mut narrow = SinkConfig::default();
    (narrow.queue.num_consumers, narrow.queue.queue_size) = (1, 1);
    let output = || vec![("a", exporter.clone(), Unit::Batch, narrow.clone())];
    let holding = || (vec![holding(Holder::until(usize::MAX))], vec!["a"]);
    let mut bench = bench(vec![(vec![], vec!["a"]), holding()], output()).await;
    for _ in 0..2 {
        assert!(bench.send(1, 0).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let lines = vec![(vec![], vec!["a"]), holding()];
    let (next, _opened) = graph(lines, output(), &bench.metrics, [0, 1, 0]);
    bench.running.reload(next, DRAIN).await.unwrap();
    assert_eq!(bench.stop(DRAIN).await.of("a"), (4, Default::default()));
}

#[tokio::test(start_paused = true)]
async fn a_month_counts_the_exporters_that_there_are() {
    let exporter = fake([]);
    let counts = |exporter: &str| {
        let terms = plan::Terms {
            ceiling: plan::Ceiling {
                amount: 1e9,
                currency: None,
            },
            tenants: Default::default(),
            prices: [(exporter.into(), 0.0)].into(),
            start_day: 1,
            alert_at: Vec::new(),
            at_ceiling: Default::default(),
            webhook: None,
            storage: Default::default(),
        };
        vec![Arc::new(plan::Plan::new("step".into(), terms))]
    };
    let mut bench = bench_of(vec![(vec![], vec!["a"])], output(&exporter), |graph| {
        graph.pipelines[0].plans = counts("a");
    })
    .await;
    for (exporter_of_plan, is_kept) in [("a", true), ("b", false)] {
        let before = bench.running.plans();
        let lines = vec![(vec![], vec!["a"])];
        let (mut next, _opened) = graph(lines, output(&exporter), &bench.metrics, [0; 3]);
        next.pipelines[0].plans = counts(exporter_of_plan);
        bench.running.reload(next, DRAIN).await.unwrap();
        let now = bench.running.plans();
        assert_eq!(Arc::ptr_eq(&before[0], &now[0]), is_kept);
        assert!(now[0].terms.prices.contains_key(exporter_of_plan));
    }
    bench.stop(DRAIN).await.of("a");
}

/// A receiver whose port is taken.
struct Busy;
#[async_trait]
impl Receiver for Busy {
    async fn run(self: Box<Self>, _: Outlet, _: Stop) -> Result<(), ReceiverError> {
        Err(ReceiverError("the port is taken".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_come_up_changes_nothing() {
    let (first, second) = (fake([]), fake([]));
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&first)).await;
    let before = bench
        .metrics
        .exporter(&"a".into(), Signal::Profiles)
        .queue_capacity
        .get();
    let mut wider = SinkConfig::default();
    wider.queue.queue_size *= 2;
    let changed = vec![("a", second.clone(), Unit::Batch, wider)];
    let (mut next, _opened) = graph(vec![(vec![], vec!["a"])], changed, &bench.metrics, [1, 1, 1]);
    next.receivers[0].receiver = Box::new(Busy);
    let failure = bench.running.reload(next, DRAIN).await.unwrap_err();
    assert_eq!(failure.to_string(), "receivers.door: the port is taken");
    assert!(bench.running.readiness().is_ready());
    let nothing = tokio::time::timeout(Duration::from_secs(1), bench.running.failed()).await;
    assert!(nothing.is_err(), "the process goes on");
    assert!(bench.send(2, 0).await.is_ok());
    assert!(second.closed.load(Ordering::SeqCst), "the new exporter was let go");
    assert_eq!(
        bench
            .metrics
            .exporter(&"a".into(), Signal::Profiles)
            .queue_capacity
            .get(),
        before
    );
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 2);
    assert_eq!(first.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn requests_during_reloads_all_arrive() {
    let exporters: Vec<Arc<Fake>> = (0..50).map(|_| fake([])).collect();
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&exporters[0])).await;
    let (out, budget) = (bench.out.clone(), bench.budget.clone());
    let load = tokio::spawn(async move {
        for _ in 0..500 {
            assert!(send(&out, &budget, 1).await.is_ok());
        }
    });
    for (n, exporter) in exporters.iter().enumerate() {
        let n = n as u64;
        reload(&mut bench, exporter, [0, n / 2, n / 3]).await;
    }
    load.await.unwrap();
    let spending = bench.running.spending().clone();
    let books = bench.stop(DRAIN).await;
    assert_eq!(books.of("a"), (500, Default::default()));
    let sums = spending.take();
    let bytes_each = 4 * 100;
    assert_eq!(sums.iter().map(|sum| sum.bytes).sum::<u64>(), 500 * bytes_each);
    assert!(
        sums.iter()
            .all(|sum| &*sum.exporter == "a" && &*sum.tenant == "default")
    );
}

#[tokio::test]
async fn feeders_work_as_long_as_the_chain_that_registered_them() {
    let exporter = fake([]);
    let mut bench = bench(vec![(vec![], vec!["a"])], output(&exporter)).await;
    let mut alive = Vec::new();
    // the first chain is replaced, the second one kept, so that the third is never started
    for processors in [1, 2, 2] {
        let fed = Arc::new(AtomicUsize::new(0));
        let feeders = Feeders::default();
        let counted = fed.clone();
        feeders.register(Duration::ZERO, move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let version = [0, processors, 0];
        let (mut next, _) = graph(vec![(vec![], vec!["a"])], output(&exporter), &bench.metrics, version);
        next.pipelines[0].feeders = vec![("step".into(), feeders.take())];
        bench.running.reload(next, DRAIN).await.unwrap();
        alive.push(fed);
    }
    let is_over = |fed: &Arc<AtomicUsize>| Arc::strong_count(fed) == 1;
    while !is_over(&alive[0]) || alive[1].load(Ordering::SeqCst) < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!is_over(&alive[1]));
    assert!(is_over(&alive[2]) && alive[2].load(Ordering::SeqCst) == 0);
    bench.stop(DRAIN).await.of("a");
    while !is_over(&alive[1]) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
