//! What thinning and leaving out rows take against decoding the same profile: each is to cost less. And what a budget takes to find that
//! a profile fits it, and to weigh one.

use std::time::{Duration, SystemTime};

use flamegate::formats::otlp::Scale;
use flamegate::pipeline::spec::BuildContext;
use flamegate::pipeline::{Batch, Context, Origin, Permit, Processor, Verdict};
use flamegate::processors;
use flamegate::profile::Profiles;
use serde_json::json;

use crate::inputs::{self, Input};
use crate::path::Form;
use crate::timing::{milliseconds, ratio, timed};

const ROUNDS: usize = 40;

pub fn run() {
    println!("reduction: over decoding the same profile, best of {ROUNDS} rounds each");
    for (inputs, form) in [(inputs::pprof(), Form::Pprof), (inputs::otlp(), Form::Otlp)] {
        for input in inputs {
            tell(&input, form, "downsample", json!({ "target_hz": 19 }));
            for rows in [10_000, 1_000] {
                tell(&input, form, "compact", json!({ "max_rows": rows }));
            }
            // so much that everything passes as it is
            let plenty = json!({ "target_hz": 10_000, "bytes_per_s": "1GiB", "profiles_per_s": 1_000_000 });
            let newcomers = json!({ "bytes_per_s": "1GiB", "profiles_per_s": 1_000_000 });
            tell(
                &input,
                form,
                "budget",
                json!({ "default": plenty, "newcomers": newcomers }),
            );
            weigh(&input, form);
        }
    }
}

fn tell(input: &Input, form: Form, name: &str, config: serde_json::Value) {
    let processor = built(name, config.clone());
    let (mut decode, mut reduce, mut end) = (Duration::MAX, Duration::MAX, Duration::MAX);
    let (mut before, mut after) = (0, 0);
    for _ in 0..ROUNDS {
        let (profiles, took) = timed(|| form.decode(&input.plain));
        decode = decode.min(took);
        before = profiles.sample_count();
        let (mut batch, took) = timed(|| process(processor.as_ref(), profiles));
        reduce = reduce.min(took);
        end = end.min(timed(|| batch.compact()).1);
        after = batch.as_profiles().map_or(0, Profiles::sample_count);
    }
    println!(
        "  {form:?} {}, {name} {config}: {:.2} ({:.2} over {:.2} ms), {before} samples to {after}; compacting at the end of the chain {:.2} ms",
        input.name,
        ratio(reduce, decode),
        milliseconds(reduce),
        milliseconds(decode),
        milliseconds(end)
    );
}

fn weigh(input: &Input, form: Form) {
    let (mut decode, mut weigh, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let (profiles, took) = timed(|| form.decode(&input.plain));
        decode = decode.min(took);
        let (found, took) = timed(|| {
            let mut scale = Scale::new(profiles.dictionary());
            profiles.iter().map(|at| scale.bytes(at)).sum::<usize>()
        });
        weigh = weigh.min(took);
        bytes = found;
    }
    println!(
        "  {form:?} {}, weighing: {:.2} ({:.2} over {:.2} ms), {bytes} bytes as OTLP",
        input.name,
        ratio(weigh, decode),
        milliseconds(weigh),
        milliseconds(decode),
    );
}

fn built(name: &str, config: serde_json::Value) -> Box<dyn Processor> {
    let spec = processors::ALL.iter().find(|spec| spec.about.name == name).unwrap();
    let cx = BuildContext::new(name, Default::default());
    (spec.build)(config, &cx).unwrap()
}

fn process(processor: &dyn Processor, profiles: Profiles) -> Batch {
    let batch = Batch::made(profiles, 1, Origin::local("bench").into(), Permit::unlimited());
    let now = SystemTime::now();
    match processor.process(batch, &Context { now }) {
        Verdict::Pass { batch, .. } => batch,
        _ => unreachable!("what is made smaller passes"),
    }
}
