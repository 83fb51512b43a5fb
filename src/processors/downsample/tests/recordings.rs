//! Recordings thinned again and again, each time from another start: what is told of a call path is the truth on average, and varies as
//! an even choice does. Every start is fixed, so a test fails always or never.

use std::collections::HashMap;

use super::*;
use crate::profile::{ContentHashes, Order, ProfileRef, StackId, thin};

const ROUNDS: u32 = 200;

/// The call tree of some stacks.
struct CallTree {
    /// The nodes that each stack goes through; the first is the root of all.
    of_stack: HashMap<StackId, Vec<usize>>,
    nodes: usize,
}

impl CallTree {
    fn of(d: &Dictionary, samples: &Samples) -> Self {
        let (mut names, mut named, mut nodes) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut name_at = |frame: &LocationId| {
            *named.entry(*frame).or_insert_with(|| {
                let next = names.len();
                *names.entry(name_of(d, *frame)).or_insert(next)
            })
        };
        let mut of_stack = HashMap::new();
        for stack in &samples.stacks {
            let mut path = vec![0];
            for frame in d.stacks[*stack].iter().rev() {
                let next = nodes.len() + 1;
                let below = (path[path.len() - 1], name_at(frame));
                path.push(*nodes.entry(below).or_insert(next));
            }
            of_stack.insert(*stack, path);
        }
        Self {
            of_stack,
            nodes: nodes.len() + 1,
        }
    }

    /// The counts below each node.
    fn counts(&self, samples: &Samples, counts: Counts, types: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.nodes];
        for (row, stack) in samples.stacks.iter().enumerate() {
            let count = counts.of_row(samples, row, types) as f64;
            for node in &self.of_stack[stack] {
                sums[*node] += count;
            }
        }
        sums
    }
}

/// By how much what is kept below a call path differs from its share, over all rounds.
#[derive(Clone, Copy, Default)]
struct Off {
    mean: f64,
    /// Around the truth.
    variance: f64,
}

fn off(d: &Dictionary, at: ProfileRef<'_>, tree: &CallTree, counts: Counts, ratio: Ratio) -> Vec<Off> {
    let (samples, types) = (&at.profile.samples, at.profile.sample_types.len());
    let mut hashes = ContentHashes::of(d);
    let rows = Order::of(&mut hashes, samples.stacks.iter().copied()).rows_in_full(&mut hashes, samples);
    let truth = tree.counts(samples, counts, types);
    let mut found = vec![Off::default(); truth.len()];
    for round in 0..ROUNDS {
        // who thins is part of the start
        let seed = hashes.seed(&format!("downsample/{round}"), at);
        let left = thin(samples, types, counts, ratio, &rows, seed);
        let kept = tree.counts(&left, counts.thinned(ratio), types);
        for (found, (kept, count)) in found.iter_mut().zip(kept.iter().zip(&truth)) {
            let off = kept - count * ratio.as_f64();
            found.mean += off / f64::from(ROUNDS);
            found.variance += off * off / f64::from(ROUNDS);
        }
    }
    found
}

/// Checks every call path of what of a recording can be thinned so far.
fn check_rounds(bytes: Vec<u8>, hz: f64, thinned: usize) {
    let (profiles, rounds) = (read(bytes), f64::from(ROUNDS));
    let d = profiles.dictionary();
    let sampled = profiles
        .iter()
        .filter_map(|at| Some((at, Sampling::of(d, at.profile).ok()?)));
    let sampled: Vec<_> = sampled.filter(|(_, sampling)| sampling.exceeds(hz)).collect();
    assert_eq!(sampled.len(), thinned);
    let mut checked = 0;
    for (at, sampling) in sampled {
        let (ratio, _) = sampling.at_rate(hz);
        let p = ratio.as_f64();
        let samples = &at.profile.samples;
        let tree = CallTree::of(d, samples);
        let truth = tree.counts(samples, sampling.counts, at.profile.sample_types.len());
        for (count, found) in truth.iter().zip(off(d, at, &tree, sampling.counts, ratio)) {
            let by_chance = count * p * (1.0 - p);
            if count * p * rounds >= 30.0 {
                checked += 1;
                assert!(
                    found.mean.abs() <= 5.0 * (by_chance / rounds).sqrt(),
                    "mean of {count}: {}",
                    found.mean
                );
                let slack = 1.0 + 5.0 * (2.0 / (rounds - 1.0)).sqrt();
                assert!(
                    found.variance <= by_chance * slack,
                    "variance of {count}: {}",
                    found.variance
                );
            }
            // an even choice keeps one of the two whole numbers beside the share
            let over = (count * p).fract();
            let evenly = over * (1.0 - over);
            let band = 5.0 * (1.0 - 2.0 * over).abs() * (evenly / rounds).sqrt();
            if evenly * rounds >= 30.0 {
                assert!(
                    (found.variance - evenly).abs() <= band + 1e-6,
                    "variance of {count}: {}",
                    found.variance
                );
            }
        }
    }
    assert!(checked >= thinned, "too little was seen often enough to say something");
}

#[test]
fn our_recordings_are_told_truly_on_average() {
    check_rounds(data("go123-cpu-labels.pb.gz"), 19.0, 1);
    // timestamps alone, as of eBPF
    check_rounds(data("ap-cpu.jfrconv.otlp"), 19.0, 1);
    check_rounds(data("ap-wall.jfr.gz"), 19.0, 2);
}

#[test]
fn large_recordings_are_told_truly_on_average() {
    for (name, hz, thinned) in [
        ("pprof/go123-large-cpu-traces.pb.gz", 19.0, 1),
        ("jfr/jdk25-cputime.jfr", 19.0, 3),
        // it looked 20 times a second
        ("otlp/ext-otel-ebpf-profile.otlp", 5.0, 5),
    ] {
        if let Some(bytes) = corpus_file(name) {
            check_rounds(bytes, hz, thinned);
        }
    }
}

/// Gives every so many of the samples of the only profile a link of its own.
fn link_some(profiles: &mut Profiles, every: usize) -> usize {
    let (d, resources) = profiles.edit();
    let samples = Arc::make_mut(&mut resources[0].scopes[0].profiles[0].samples);
    let mut linked = 0u64;
    for slot in samples.links.iter_mut().step_by(every) {
        linked += 1;
        *slot = d.links.push(Link {
            trace_id: [7; 16],
            span_id: linked.to_be_bytes(),
        });
    }
    linked as usize
}

fn check_links(bytes: Vec<u8>) {
    let mut before = read(bytes);
    let linked = link_some(&mut before, 20);
    let after = to(19.0).run(&before);
    let (was, parts) = (profiles_of(&before)[0], profiles_of(&after));
    let links = parts.iter().flat_map(|part| links(after.dictionary(), part));
    let left = links.filter(|link| *link != Link::default()).count();
    assert!(left * 100 >= linked * 95, "{left} of {linked} links are left");
    // both together have the counts of the target rate, and the seconds that there were
    let seconds: i128 = parts.iter().map(|part| part.samples.sum(1, 2)).sum();
    let step: i64 = parts.iter().map(|part| part.period).sum();
    let off = seconds - was.samples.sum(1, 2);
    assert!(off.abs() < i128::from(step), "{off}");
    let counts: i128 = parts.iter().map(|part| part.samples.sum(0, 2)).sum();
    let share = was.samples.sum(0, 2) as f64 * was.period as f64 / PERIOD_AT_19 as f64;
    assert!((counts as f64 - share).abs() < 2.0, "{counts} of {share}");
}

#[test]
fn links_of_recordings_are_left() {
    check_links(data("go123-cpu-labels.pb.gz"));
    for name in ["pprof/go123-large-cpu-traces.pb.gz", "legacy-pprof/ext-large.cpu.gz"] {
        if let Some(bytes) = corpus_file(name) {
            check_links(bytes);
        }
    }
}
