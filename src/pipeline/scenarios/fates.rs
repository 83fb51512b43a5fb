//! What a receiver hears that keeps what it sent until it has arrived.

use super::*;
use crate::pipeline::sink::BatchConfig;

async fn follow(bench: &Bench, good: usize) -> Delivery {
    let permit = bench.budget.permit();
    let sent = bench
        .out
        .receive_followed(7, move || Ok(vec![arrival(good, 0, permit)]));
    let (receipt, delivery) = sent.await.unwrap();
    assert_eq!(receipt, Receipt::default());
    delivery
}

/// The fate of a request of three profiles, each a request of its own to the backend.
async fn fate(script: Vec<Step>, drain: Duration) -> Fate {
    let bench = single(fake(script), Unit::Profile, SinkConfig::default()).await;
    let delivery = follow(&bench, 3).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    bench.stop(drain).await;
    delivery.fate().await
}

#[tokio::test(start_paused = true)]
async fn a_request_has_arrived_when_all_its_parts_have() {
    let permanent = || Step::Fail(ExportError::Permanent { why: "no".to_owned() });
    assert_eq!(fate(vec![again(), Step::Slow], DRAIN).await, Fate::Delivered);
    assert_eq!(fate(vec![permanent()], DRAIN).await, Fate::Lost);
    assert_eq!(fate(vec![Step::Reject(1)], DRAIN).await, Fate::Lost);
    assert_eq!(fate(vec![Step::Panic], DRAIN).await, Fate::Lost);
    let short = Duration::from_secs(2);
    assert_eq!(fate(vec![Step::Hang], short).await, Fate::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn merged_requests_are_followed_each() {
    let mut config = SinkConfig::default();
    config.queue.batch = Some(BatchConfig {
        min_size: 24,
        ..BatchConfig::default()
    });
    let exporter = fake(vec![]);
    let bench = single(exporter.clone(), Unit::Batch, config).await;
    let (one, other) = (follow(&bench, 3).await, follow(&bench, 3).await);
    assert_eq!(
        (one.fate().await, other.fate().await),
        (Fate::Delivered, Fate::Delivered)
    );
    assert_eq!(*exporter.weights.lock().unwrap(), [6]);
    bench.stop(DRAIN).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_what_receivers_do_afterwards() {
    let bench = single(fake(vec![Step::Slow]), Unit::Batch, SinkConfig::default()).await;
    let delivery = follow(&bench, 1).await;
    let (done, heard) = tokio::sync::oneshot::channel();
    bench.out.afterwards(async move {
        let fate = delivery.fate().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = done.send(fate);
    });
    bench.stop(DRAIN).await;
    let mut heard = heard;
    assert_eq!(heard.try_recv(), Ok(Fate::Delivered), "it was waited for");
}
