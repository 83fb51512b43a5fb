//! Our columnar decoders against prost on the same bytes.

use flamegate::formats::{Limits, otlp, pprof};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use prost::Message;

use crate::inputs::{self, Input};
use crate::pprof_by_prost::Profile;
use crate::timing::{Times, in_turn, milliseconds, ratio};

const ROUNDS: usize = 40;

pub fn run() {
    println!("decode: prost's time over ours, best of {ROUNDS} rounds each, without and with freeing the result");
    let limits = Limits::default();
    for input in inputs::pprof() {
        let ours = || pprof::decode(&input.plain, &limits).unwrap();
        let prost = || Profile::decode(&input.plain[..]).unwrap();
        tell("pprof", &input, in_turn(ROUNDS, ours, prost));
    }
    for input in inputs::otlp() {
        let ours = || otlp::decode(&input.plain, &limits, otlp::WireVersion::default()).unwrap();
        let prost = || ExportProfilesServiceRequest::decode(&input.plain[..]).unwrap();
        tell("OTLP", &input, in_turn(ROUNDS, ours, prost));
    }
}

fn tell(format: &str, input: &Input, (ours, prost): (Times, Times)) {
    println!("  {format} {}, {} bytes plain", input.name, input.plain.len());
    let each = [
        ("decode", ours.alone, prost.alone),
        ("decode and free", ours.and_drop, prost.and_drop),
    ];
    for (what, ours, prost) in each {
        println!(
            "    {what:<16} {:.2} times as fast: {:.2} ms against {:.2} ms, {:.0} MB/s",
            ratio(prost, ours),
            milliseconds(ours),
            milliseconds(prost),
            input.plain.len() as f64 / 1e6 / ours.as_secs_f64()
        );
    }
}
