//! How wrong profiles become that are made smaller: the table in `docs/budgets.md`.
//!
//! `cargo run --release --example thinning_errors [FILE]`: the program that a recording tells of is profiled again and again, at
//! 99 Hz for ten seconds each; all of that is the truth. Each way of getting to 19 Hz is tried many times on the same profiles.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use flamegate::formats::{Limits, any};
use flamegate::profile::{
    ContentHashes, Counts, Observations, Order, Profiles, Ratio, Samples, StackId, StringId, thin,
};

const PROFILES: usize = 120;
const LOOKS: u64 = 990;
const REPEATS: u64 = 200;
const TOP: usize = 10;
const PERIODS: (u64, u64) = (10_101_010, 52_631_579);

fn main() {
    let path = std::env::args().nth(1).map_or_else(recording, PathBuf::from);
    let profiles = read(&path);
    let program = Program::of(&profiles);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    println!(
        "{name}: {PROFILES} profiles of {LOOKS} looks in {} stacks, {REPEATS} repeats",
        program.stacks.len()
    );
    let truth = program.profiles(&mut Chance(1));
    println!(
        "| | total | top ten in themselves | worst of them | top ten with what they call | worst of them | rows left |"
    );
    println!("|---|---|---|---|---|---|---|");
    let ways: [(&str, Way); 5] = [
        ("`downsample`", ours),
        ("each look by chance", by_chance),
        ("whole profiles dropped, the others scaled up", drop_and_scale),
        ("whole profiles dropped", drop_whole),
        ("counts scaled and rounded, as pprof does", rounded),
    ];
    for (name, way) in ways {
        Errors::of(&program, &truth, way).print(name);
    }
}

/// The largest recording there is.
fn recording() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("FLAMEGATE_CORPUS").map_or(root.join("../shared/corpus"), PathBuf::from);
    let large = corpus.join("pprof/go123-large-cpu-traces.pb.gz");
    if large.is_file() {
        return large;
    }
    root.join("tests/data/go123-cpu-labels.pb.gz")
}

fn read(path: &PathBuf) -> Profiles {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match any::decode_any(bytes.into(), &Limits::default()) {
        Ok(read) => read.decoded.profiles,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Random numbers, the same in every run: splitmix64.
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn is_less_than(&mut self, share: f64) -> bool {
        ((self.number() >> 11) as f64 / (1u64 << 53) as f64) < share
    }
}

/// How often each stack of the program was seen in one profile.
type Seen = Vec<u64>;

/// What a recording tells of a program: its stacks, and how likely each is.
struct Program {
    stacks: Vec<StackId>,
    /// Which of them comes when, in the order in which rows are thinned.
    order: Vec<usize>,
    /// Looks in the recording up to and with each stack.
    up_to: Vec<u64>,
    /// The functions of each stack, the leaf first, each once.
    functions: Vec<Vec<StringId>>,
}

impl Program {
    fn of(profiles: &Profiles) -> Self {
        let d = profiles.dictionary();
        let at = profiles.iter().next().expect("a profile");
        let mut counts: BTreeMap<StackId, u64> = BTreeMap::new();
        for (row, stack) in at.profile.samples.stacks.iter().enumerate() {
            let count = at.profile.samples.total(row, 0, at.profile.sample_types.len());
            *counts.entry(*stack).or_default() += count.max(0) as u64;
        }
        let functions = |stack: &StackId| {
            let lines = d.stacks[*stack].iter().flat_map(|place| &d.lines[*place]);
            let mut names = Vec::new();
            for name in lines.map(|line| d.functions[line.function].name) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            names
        };
        let (mut sum, mut hashes) = (0, ContentHashes::of(d));
        let order = Order::of(&mut hashes, counts.keys().copied());
        Self {
            order: order.rows_in_full(&mut hashes, &samples(counts.iter())),
            functions: counts.keys().map(functions).collect(),
            stacks: counts.keys().copied().collect(),
            up_to: counts
                .values()
                .map(|count| {
                    sum += count;
                    sum
                })
                .collect(),
        }
    }

    fn profiles(&self, chance: &mut Chance) -> Vec<Seen> {
        let all = self.up_to.last().copied().unwrap_or(1);
        let one = |chance: &mut Chance| {
            let mut seen = vec![0; self.stacks.len()];
            for _ in 0..LOOKS {
                let look = chance.number() % all;
                seen[self.up_to.partition_point(|up_to| *up_to <= look)] += 1;
            }
            seen
        };
        (0..PROFILES).map(|_| one(chance)).collect()
    }

    /// The total, and by function what it took in itself and with what it calls.
    fn told(&self, seen: &[f64]) -> Told {
        let mut told = Told::default();
        for (functions, count) in self.functions.iter().zip(seen) {
            told.total += count;
            if let Some(leaf) = functions.first() {
                *told.own.entry(*leaf).or_default() += count;
            }
            for function in functions {
                *told.with_calls.entry(*function).or_default() += count;
            }
        }
        told
    }
}

#[derive(Default)]
struct Told {
    total: f64,
    own: BTreeMap<StringId, f64>,
    with_calls: BTreeMap<StringId, f64>,
}

/// From one profile to what it says after its way to the lower rate: estimates of the looks, by stack.
type Way = fn(&Program, &Seen, &mut Chance) -> Vec<f64>;

/// Samples of so many looks each.
fn samples<'a>(seen: impl Iterator<Item = (&'a StackId, &'a u64)>) -> Samples {
    let (stacks, counts): (Vec<StackId>, Vec<i64>) = seen.map(|(stack, count)| (*stack, *count as i64)).unzip();
    Samples {
        attributes: vec![Default::default(); stacks.len()],
        links: vec![Default::default(); stacks.len()],
        stacks,
        observations: Observations::Totals(counts),
    }
}

fn ratio() -> Ratio {
    Ratio::of_periods(PERIODS.0, PERIODS.1)
}

fn ours(program: &Program, seen: &Seen, chance: &mut Chance) -> Vec<f64> {
    let there = program.order.iter().filter(|stack| seen[**stack] > 0);
    let samples = samples(there.map(|stack| (&program.stacks[*stack], &seen[*stack])));
    let rows: Vec<usize> = (0..samples.len()).collect();
    let thinned = thin(&samples, 1, Counts::Column(0), ratio(), &rows, chance.number());
    let mut left = vec![0.0; seen.len()];
    for (row, stack) in thinned.stacks.iter().enumerate() {
        let place = program.stacks.binary_search(stack).expect("a stack of the program");
        left[place] = thinned.total(row, 0, 1) as f64 / ratio().as_f64();
    }
    left
}

fn by_chance(_: &Program, seen: &Seen, chance: &mut Chance) -> Vec<f64> {
    let p = ratio().as_f64();
    let keep = |count: &u64| (0..*count).filter(|_| chance.is_less_than(p)).count() as f64 / p;
    seen.iter().map(keep).collect()
}

fn drop_whole(_: &Program, seen: &Seen, chance: &mut Chance) -> Vec<f64> {
    let is_kept = chance.is_less_than(ratio().as_f64());
    seen.iter()
        .map(|count| if is_kept { *count as f64 } else { 0.0 })
        .collect()
}

fn drop_and_scale(program: &Program, seen: &Seen, chance: &mut Chance) -> Vec<f64> {
    let kept = drop_whole(program, seen, chance);
    kept.into_iter().map(|count| count / ratio().as_f64()).collect()
}

fn rounded(_: &Program, seen: &Seen, _: &mut Chance) -> Vec<f64> {
    let p = ratio().as_f64();
    seen.iter().map(|count| (*count as f64 * p).round() / p).collect()
}

/// Root mean square errors in parts of the truth.
struct Errors {
    total: f64,
    own: Vec<f64>,
    with_calls: Vec<f64>,
    rows: f64,
}

impl Errors {
    fn of(program: &Program, profiles: &[Seen], way: Way) -> Self {
        let sum = |parts: &mut dyn Iterator<Item = Vec<f64>>| {
            let mut sums = vec![0.0; program.stacks.len()];
            for part in parts {
                sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
            }
            sums
        };
        let as_they_are = |seen: &Seen| seen.iter().map(|count| *count as f64).collect();
        let truth = program.told(&sum(&mut profiles.iter().map(as_they_are)));
        let (own, with_calls) = (top(&truth.own, truth.total), top(&truth.with_calls, truth.total));
        let mut errors = Self {
            total: 0.0,
            own: vec![0.0; TOP],
            with_calls: vec![0.0; TOP],
            rows: 0.0,
        };
        let rows_before: usize = profiles
            .iter()
            .map(|seen| seen.iter().filter(|count| **count > 0).count())
            .sum();
        for repeat in 0..REPEATS {
            let mut chance = Chance(1000 + repeat);
            let mut rows = 0;
            let mut kept = profiles.iter().map(|seen| {
                let left = way(program, seen, &mut chance);
                rows += left.iter().filter(|count| **count > 0.0).count();
                left
            });
            let told = program.told(&sum(&mut kept));
            errors.rows += rows as f64 / rows_before as f64;
            errors.total += (told.total / truth.total - 1.0).powi(2);
            for (functions, is, was, squares) in [
                (&own, &told.own, &truth.own, &mut errors.own),
                (&with_calls, &told.with_calls, &truth.with_calls, &mut errors.with_calls),
            ] {
                for (function, square) in functions.iter().zip(squares) {
                    let is = is.get(function).copied().unwrap_or_default();
                    *square += (is / was[function] - 1.0).powi(2);
                }
            }
        }
        let root = |squares: f64| (squares / REPEATS as f64).sqrt();
        errors.total = root(errors.total);
        errors
            .own
            .iter_mut()
            .chain(&mut errors.with_calls)
            .for_each(|square| *square = root(*square));
        errors.rows /= REPEATS as f64;
        errors
    }

    fn print(&self, name: &str) {
        let percent = |error: f64| match error {
            error if error < 0.0005 => format!("{:.3} %", error * 100.0),
            error => format!("{:.1} %", error * 100.0),
        };
        let mean = |errors: &[f64]| percent(errors.iter().sum::<f64>() / errors.len() as f64);
        let worst = |errors: &[f64]| percent(errors.iter().fold(0.0, |worst: f64, error| worst.max(*error)));
        println!(
            "| {name} | {} | {} | {} | {} | {} | {:.0} % |",
            percent(self.total),
            mean(&self.own),
            worst(&self.own),
            mean(&self.with_calls),
            worst(&self.with_calls),
            self.rows * 100.0
        );
    }
}

/// The ten functions with the most, but for those that are nearly always there, such as `main`.
fn top(of: &BTreeMap<StringId, f64>, total: f64) -> Vec<StringId> {
    let mut sorted: Vec<_> = of.iter().filter(|(_, count)| **count < 0.5 * total).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(a.1));
    sorted.into_iter().take(TOP).map(|(function, _)| *function).collect()
}
