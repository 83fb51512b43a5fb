//! The running gate under load, with the real binary over loopback: `cargo bench --bench load [-- isolation|overload|traces|soak [MINUTES]]`.
//!
//! - `isolation`: what an exporter that is dead and one that reads a byte a second cost a healthy one.
//! - `overload`: what arrives when twice as much is sent as the gate can take, and how it recovers.
//! - `traces`: how many spans a second pass, unchanged.
//! - `soak`: half of what the gate can take, from connections, tenants and label values that keep changing: memory and
//!   descriptors over time. Not run unless asked for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod backend;
mod cores;
mod gate;
#[path = "../../src/testing/traces.rs"]
mod messages;
mod traces;
mod traffic;

use std::time::{Duration, Instant};

use backend::Backend;
use gate::Gate;
use traffic::{Sender, Tally};

/// Alternating runs of which the median counts.
const RUNS: usize = 5;
/// Length of one measurement.
const SPAN: Duration = Duration::from_secs(4);
/// Length of one from which a p99 is taken: so many requests that it rests on a hundred of them.
const LONG_SPAN: Duration = Duration::from_secs(15);
/// Requests at once that saturate the gate.
const SENDERS: usize = 32;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    cores::keep_to(cores::Half::Load);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        match words.as_slice() {
            [] => {
                isolation().await;
                overload().await;
                traces::measure(SENDERS, SPAN).await;
            }
            ["isolation"] => isolation().await,
            ["overload"] => overload().await,
            ["traces"] => traces::measure(SENDERS, SPAN).await,
            ["soak"] => soak(20).await,
            ["soak", minutes] => soak(minutes.parse().expect("soak takes minutes")).await,
            _ => panic!("isolation, overload, traces or soak"),
        }
    });
}

async fn isolation() {
    let rate = saturation().await.per_second() / 2.0;
    println!("isolation: {RUNS} alternating runs, p99 at {rate:.0} requests/s, throughput with {SENDERS} at once");
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        for (others, measured) in [(false, &mut alone), (true, &mut among)] {
            let one = one_exporter(others, rate).await;
            println!(
                "  run {run}, {}: p99 {:.1?}, {:.2?} of processor time a request, {:.0} delivered/s, {} MiB at most",
                if others { "among dead and slow ones" } else { "alone" },
                one.p99,
                one.work,
                one.throughput,
                one.peak_rss >> 20
            );
            measured.push(one);
        }
    }
    let p99 = |runs: &[Measured]| median(runs.iter().map(|run| run.p99.as_secs_f64()).collect());
    let throughput = |runs: &[Measured]| median(runs.iter().map(|run| run.throughput).collect());
    println!(
        "isolation: among dead and slow ones over alone: p99 {:.2}, throughput {:.2}",
        p99(&among) / p99(&alone),
        throughput(&among) / throughput(&alone)
    );
}

struct Measured {
    p99: Duration,
    /// Processor time of the gate for each request.
    work: Duration,
    throughput: f64,
    peak_rss: usize,
}

/// The healthy exporter, alone or beside one on a dead port and one that reads a byte a second.
async fn one_exporter(others: bool, rate: f64) -> Measured {
    let healthy = Backend::start().await;
    let slow = backend::slow().await;
    let gate = Gate::start(&gate::config(healthy.port, others.then_some(slow))).await;
    let sender = Sender::new(gate.ingest);
    sender.at_rate(rate, Duration::from_secs(1)).await;
    healthy.arrived_within(Duration::from_secs(1)).await;
    let before = gate.processor_time();
    sender.at_rate(rate, LONG_SPAN).await;
    let mut latencies = healthy.arrived_within(Duration::from_secs(1)).await;
    let work = (gate.processor_time() - before) / latencies.len() as u32;
    latencies.sort();
    let p99 = latencies[latencies.len() * 99 / 100];
    let begin = Instant::now();
    sender.at_once(SENDERS, SPAN).await;
    let delivered = healthy.arrived_within(Duration::ZERO).await.len();
    let throughput = delivered as f64 / begin.elapsed().as_secs_f64();
    gate.books_balance().await;
    Measured {
        p99,
        work,
        throughput,
        peak_rss: gate.status("VmHWM"),
    }
}

/// What the gate takes at most.
async fn saturation() -> Tally {
    let healthy = Backend::start().await;
    let gate = Gate::start(&gate::config(healthy.port, None)).await;
    let sender = Sender::new(gate.ingest);
    sender.at_once(SENDERS, Duration::from_secs(1)).await;
    sender.at_once(SENDERS, SPAN).await
}

async fn overload() {
    let healthy = Backend::start().await;
    let gate = Gate::start(&gate::config(healthy.port, None)).await;
    let sender = Sender::new(gate.ingest);
    sender.at_once(SENDERS, Duration::from_secs(1)).await;
    let peak = sender.at_once(SENDERS, SPAN).await;
    let flood = sender.at_rate(peak.per_second() * 2.0, SPAN * 3).await;
    let begin = Instant::now();
    let mut calm = 0;
    while calm < 20 {
        calm = if sender.send_one().await { calm + 1 } else { 0 };
    }
    println!(
        "overload: {:.0} accepted/s at the peak; offered twice that, {:.0} accepted/s, {:.0} % of the peak; {} refused with a hint, {} without one, {} failed, {} not sent; calm after {:.1?}; {} MiB at most",
        peak.per_second(),
        flood.per_second(),
        100.0 * flood.per_second() / peak.per_second(),
        flood.hinted,
        flood.unhinted,
        flood.failed,
        flood.unsent,
        begin.elapsed(),
        gate.status("VmHWM") >> 20
    );
    gate.books_balance().await;
}

async fn soak(minutes: u64) {
    let rate = saturation().await.per_second() / 2.0;
    let healthy = Backend::start().await;
    let gate = Gate::start(&gate::config(healthy.port, None)).await;
    let sender = Sender::new(gate.ingest).restless();
    println!("soak: {minutes} minutes at {rate:.0} requests/s");
    let (mut memory, mut descriptors, mut total) = (Vec::new(), Vec::new(), Tally::default());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60 * minutes) {
        total += sender.at_rate(rate, Duration::from_secs(10)).await;
        healthy.arrived_within(Duration::ZERO).await;
        let at = begin.elapsed().as_secs_f64() / 60.0;
        memory.push((at, gate.status("VmRSS") as f64 / 1024.0));
        descriptors.push((at, gate.descriptors() as f64));
        let (rss, fds) = (memory[memory.len() - 1].1, descriptors[descriptors.len() - 1].1);
        println!(
            "  {at:5.1} min: {rss:.0} KiB, {fds} descriptors, {} accepted",
            total.accepted
        );
    }
    // the first quarter warms caches
    let settled = |points: &[(f64, f64)]| slope(&points[points.len() / 4..]);
    println!(
        "soak: {} accepted, {} refused, {} failed, {} not sent; memory {:+.1} KiB a minute, descriptors {:+.2} a minute",
        total.accepted,
        total.hinted + total.unhinted,
        total.failed,
        total.unsent,
        settled(&memory),
        settled(&descriptors)
    );
    gate.books_balance().await;
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Of the line of least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let above: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let below: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    above / below
}
