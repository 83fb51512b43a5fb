//! What a queue counts, and how batches are merged and cut into requests.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_part_that_is_retried_does_not_hold_up_its_siblings() {
    let exporter = fake([again()]);
    let bench = single(exporter.clone(), Unit::Profile, SinkConfig::default()).await;
    assert!(bench.send(3, 0).await.is_ok());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        exporter.calls.load(Ordering::SeqCst),
        3,
        "the first one waits for its retry"
    );
    assert_eq!(exporter.weights.lock().unwrap().len(), 2);
    assert_eq!(bench.stop(DRAIN).await.of("a"), (3, BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn requests_on_their_way_are_bounded_over_all_parts() {
    let exporter = fake((0..9).map(|_| Step::Hang));
    let mut config = SinkConfig::default();
    config.queue.num_consumers = 2;
    let bench = single(exporter.clone(), Unit::Profile, config).await;
    for _ in 0..3 {
        assert!(bench.send(3, 0).await.is_ok());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(exporter.calls.load(Ordering::SeqCst), 2);
    assert_eq!(bench.stop(Duration::from_secs(1)).await.of("a").1, one("shutdown", 9));
}

#[tokio::test(start_paused = true)]
async fn parts_and_bodies_hold_memory_of_their_own() {
    let bench = single(fake([Step::Hang, Step::Hang]), Unit::Profile, SinkConfig::default()).await;
    assert!(bench.send(2, 0).await.is_ok());
    tokio::time::sleep(Duration::from_millis(1)).await;
    let bodies = 2 * 400;
    let columns = 2 * profiles(1).heap_bytes();
    // what they were cut from stays, for halves
    let mut whole = profiles(2);
    whole.compact();
    let whole = whole.heap_bytes() + Splitter::new(whole).heap_bytes();
    assert_eq!(bench.budget.used(), columns + bodies + whole);
    bench.stop(Duration::from_secs(1)).await.of("a");
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_max_size_is_cut_to_it() {
    let exporter = fake([]);
    let mut config = SinkConfig::default();
    config.queue.batch = Some(crate::pipeline::sink::BatchConfig {
        max_size: 5,
        ..Default::default()
    });
    let bench = single(exporter.clone(), Unit::Batch, config).await;
    assert!(bench.send(3, 0).await.is_ok());
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 3);
    // twelve samples, four in each profile
    assert_eq!(exporter.calls.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_queue_counts_what_it_is_told_to() {
    use crate::pipeline::sink::Sizer;
    let mut one = profiles(1);
    one.compact();
    let bytes = one.heap_bytes();
    for (sizer, queue_size, unit, most) in [(Sizer::Items, 11, 4, 2), (Sizer::Bytes, 2 * bytes + 1, bytes, 1)] {
        let mut config = tiny(true);
        (config.queue.sizer, config.queue.queue_size) = (sizer, queue_size);
        let bench = single(fake([Step::Hang]), Unit::Batch, config).await;
        let numbers = bench.metrics.exporter(&"a".into(), Signal::Profiles);
        // one is on its way, and its bytes count until it has arrived
        for waiting in 0..=most {
            assert!(bench.send(1, 0).await.is_ok());
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(numbers.queue_size.get(), (waiting * unit) as u64);
        }
        assert_eq!(numbers.queue_capacity.get(), queue_size as u64);
        assert!(bench.send(1, 0).await.is_err(), "{sizer:?}");
        bench.stop(Duration::from_secs(1)).await.of("a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_its_capacity_until_it_is_drained() {
    let bench = single(fake([Step::Hang]), Unit::Batch, tiny(true)).await;
    let numbers = bench.metrics.exporter(&"a".into(), Signal::Profiles);
    assert!(bench.send(1, 0).await.is_ok());
    let capacity = numbers.queue_capacity.get();
    assert!(capacity > 0);
    let half_way = async {
        tokio::time::sleep(DRAIN / 2).await;
        assert_eq!(numbers.queue_capacity.get(), capacity, "it still drains");
    };
    let (books, ()) = tokio::join!(bench.stop(DRAIN), half_way);
    books.of("a");
    assert_eq!(numbers.queue_capacity.get(), 0, "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_merged_and_cut_by_bytes() {
    let exporter = fake([]);
    let mut config = SinkConfig::default();
    config.queue.num_consumers = 1;
    config.queue.batch = Some(crate::pipeline::sink::BatchConfig {
        sizer: crate::pipeline::sink::BatchSizer::Bytes,
        min_size: 1 << 30,
        max_size: 500,
        ..Default::default()
    });
    let bench = single(exporter.clone(), Unit::Batch, config).await;
    assert!(bench.send(3, 0).await.is_ok());
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(exporter.calls.load(Ordering::SeqCst), 0, "it waits for more");
    tokio::time::sleep(Duration::from_millis(100)).await;
    // twelve samples of 100 bytes, encoded
    assert_eq!(exporter.calls.load(Ordering::SeqCst), 4);
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 3);
}

#[tokio::test(start_paused = true)]
async fn small_batches_are_merged_when_asked() {
    let exporter = fake([]);
    let mut config = SinkConfig::default();
    config.queue.num_consumers = 1;
    config.queue.batch = Some(Default::default());
    let bench = single(exporter.clone(), Unit::Batch, config).await;
    for _ in 0..5 {
        assert!(bench.send(2, 0).await.is_ok());
    }
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 10);
    assert_eq!(*exporter.weights.lock().unwrap(), [10]);
}

/// Merges up to these sizes, and waits for long.
fn patient(min_size: usize, max_size: usize) -> SinkConfig {
    let mut config = SinkConfig::default();
    config.queue.num_consumers = 1;
    config.queue.batch = Some(crate::pipeline::sink::BatchConfig {
        min_size,
        max_size,
        flush_timeout: Span::secs(10),
        ..Default::default()
    });
    config
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_sends_little_keeps_no_other_waiting() {
    let exporter = fake([]);
    // four samples in each profile
    let bench = single(exporter.clone(), Unit::Batch, patient(8, 0)).await;
    for (tenant, profiles) in [("quiet", 1), ("loud", 1), ("loud", 1), ("loud", 2)] {
        assert!(bench.send_as(tenant, profiles).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(*exporter.weights.lock().unwrap(), [2, 2]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(*exporter.weights.lock().unwrap(), [2, 2, 1]);
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 5);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_grow_does_not_wait() {
    let exporter = fake([]);
    let bench = single(exporter.clone(), Unit::Batch, patient(9, 10)).await;
    for sent in 0..3 {
        assert!(bench.send(2, 0).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(exporter.calls.load(Ordering::SeqCst), sent, "the newest waits for more");
    }
    assert_eq!(bench.stop(DRAIN).await.of("a").0, 6);
}
