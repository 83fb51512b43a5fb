//! What redaction adds to decoding and encoding: by file, by number of rules, and with texts that an earlier batch had.

use flamegate::pipeline::Origin;
use flamegate::pipeline::spec::parse;
use flamegate::processors::redaction::Policy;
use flamegate::profile::{Dictionary, Function, Line, Location, Observations, Profile, Profiles, Samples};
use serde_json::json;

use crate::inputs::{self, Input};
use crate::path::Form;
use crate::timing::{in_turn, milliseconds, ratio, timed};

const ROUNDS: usize = 15;
const RULES: [usize; 4] = [0, 10, 100, 200];

pub fn run() {
    println!("redaction: what looking adds to decode and encode, nothing to hide; best of {ROUNDS} rounds each");
    for (inputs, form) in [(inputs::pprof(), Form::Pprof), (inputs::otlp(), Form::Otlp)] {
        for input in inputs {
            adds(&input, form);
        }
    }
    println!(
        "redaction: growth with rules of users and with strings, milliseconds for strings never seen | seen before"
    );
    for rules in RULES {
        print!("  {rules:>3} rules:");
        for strings in [10_000, 50_000, 200_000] {
            let profiles = named(strings);
            let fresh = (0..3).map(|_| look(&policy(rules, true), &profiles)).min().unwrap();
            let known = policy(rules, true);
            look(&known, &profiles);
            let again = (0..5).map(|_| look(&known, &profiles)).min().unwrap();
            print!(
                "  {strings} strings {:.1} | {:.1}",
                milliseconds(fresh),
                milliseconds(again)
            );
        }
        println!();
    }
}

/// The default rules, with so many patterns of a user that match nothing.
fn policy(rules: usize, remembers: bool) -> Policy {
    let patterns: Vec<String> = (0..rules).map(|i| format!("customer-{i}-[0-9]+")).collect();
    let entries = if remembers { 1_000_000 } else { 0 };
    let config = json!({ "blocked_values": patterns, "cache": { "entries": entries, "bytes": "256MiB" } });
    Policy::new(parse(config).unwrap()).unwrap()
}

fn look(policy: &Policy, profiles: &Profiles) -> std::time::Duration {
    let origin = Origin::local("bench");
    timed(|| policy.look(profiles, &origin, false).changes()).1
}

fn adds(input: &Input, form: Form) {
    let origin = Origin::local("bench");
    for (word, remembers) in [("seen before", true), ("never seen", false)] {
        let policy = policy(0, remembers);
        let both = || {
            let profiles = form.decode(&input.plain);
            let changes = policy.look(&profiles, &origin, false).changes();
            (form.encode(&profiles), changes)
        };
        assert!(!both().1, "{}: there is something to hide", input.name);
        let (with, without) = in_turn(ROUNDS, both, || form.encode(&form.decode(&input.plain)));
        println!(
            "  {form:?} {}, strings {word}: {:+.0} % ({:.2} over {:.2} ms)",
            input.name,
            (ratio(with.and_drop, without.and_drop) - 1.0) * 100.0,
            milliseconds(with.and_drop),
            milliseconds(without.and_drop)
        );
    }
}

/// One sample of a stack with so many functions, named as programs name them.
fn named(strings: usize) -> Profiles {
    let mut d = Dictionary::default();
    let mut stack = Vec::new();
    for i in 0..strings {
        let package = [
            "net/http",
            "github.com/acme/shop/pricing",
            "java.util.concurrent",
            "core::slice",
        ][i % 4];
        let name = d
            .strings
            .push(&format!("{package}.(*Worker{i}).handleRequest.func{}", i % 7));
        let function = d.functions.push(Function {
            name,
            ..Function::default()
        });
        let line = Line {
            function,
            ..Line::default()
        };
        stack.push(d.push_location(Location::default(), &[line]));
    }
    let stack = d.stacks.push(&stack);
    let samples = Samples {
        stacks: vec![stack],
        attributes: vec![Default::default()],
        links: vec![Default::default()],
        observations: Observations::Totals(vec![1]),
    };
    let profile = Profile {
        sample_types: vec![Default::default()],
        samples: samples.into(),
        ..Profile::default()
    };
    Profiles::of(d, vec![profile])
}
