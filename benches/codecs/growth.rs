//! The whole path over ever larger profiles, each of its own stacks and names: the cost of a byte must not grow.

use std::time::Duration;

use bytes::Bytes;
use flamegate::formats::compress::compress;
use flamegate::formats::pprof;
use prost::Message;

use crate::inputs::limits;
use crate::path::{Form, GZIP, Path};
use crate::pprof_by_prost::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

const SIZES_MB: [usize; 4] = [10, 25, 50, 100];
/// About what one sample and its share of the tables take.
const BYTES_OF_SAMPLE: usize = 68;
const ROUNDS: usize = 2;

pub fn run() {
    println!("growth: nanoseconds for each byte of plain input, best of {ROUNDS} rounds");
    let path = Path::new();
    for form in [Form::Pprof, Form::Otlp] {
        for megabytes in SIZES_MB {
            measure(&path, form, megabytes);
        }
    }
}

fn measure(path: &Path, form: Form, megabytes: usize) {
    let plain = match form {
        Form::Pprof => made(megabytes),
        Form::Otlp => flamegate::formats::otlp::encode(&pprof::decode(&made(megabytes), &limits()).unwrap().profiles),
    };
    let packed = Bytes::from(compress(&plain, GZIP));
    let rounds = (0..ROUNDS).map(|_| path.walk(&packed, form));
    let Some(best) = rounds.min_by_key(|stages| stages.whole()) else {
        return;
    };
    let of_a_byte = |duration: Duration| duration.as_secs_f64() * 1e9 / plain.len() as f64;
    println!(
        "  {form:?} {:>5.1} MB: {:.1} in all; gunzip {:.1}, decode {:.1}, redact and compact {:.1}, encode {:.1}, gzip {:.1}",
        plain.len() as f64 / 1e6,
        of_a_byte(best.whole()),
        of_a_byte(best.gunzip),
        of_a_byte(best.decode),
        of_a_byte(best.redact),
        of_a_byte(best.encode),
        of_a_byte(best.gzip)
    );
}

/// A CPU profile of about so many megabytes; another size makes another profile, not a longer one.
fn made(megabytes: usize) -> Vec<u8> {
    let samples = megabytes * 1_000_000 / BYTES_OF_SAMPLE;
    let mut maker = Maker {
        profile: Profile::default(),
        state: megabytes as u64,
    };
    maker.header();
    maker.tables(samples / 20);
    for _ in 0..samples {
        let sample = maker.sample();
        maker.profile.sample.push(sample);
    }
    maker.profile.encode_to_vec()
}

struct Maker {
    profile: Profile,
    /// Of the random numbers.
    state: u64,
}

impl Maker {
    /// A number below `end`: splitmix64, the same in every run.
    fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn text(&mut self, text: impl Into<String>) -> i64 {
        self.profile.string_table.push(text.into());
        self.profile.string_table.len() as i64 - 1
    }

    fn header(&mut self) {
        self.text("");
        for (kind, unit) in [("samples", "count"), ("cpu", "nanoseconds")] {
            let (kind, unit) = (self.text(kind), self.text(unit));
            self.profile.sample_type.push(ValueType { kind, unit });
        }
        self.text("thread");
        self.text("request_bytes");
        for thread in 0..64 {
            self.text(format!("worker-{thread}"));
        }
        let filename = self.text("/usr/local/bin/service");
        self.profile.mapping.push(Mapping {
            id: 1,
            memory_limit: 1 << 32,
            filename,
            ..Mapping::default()
        });
        self.profile.time_nanos = 1_700_000_000_000_000_000;
        self.profile.duration_nanos = 10_000_000_000;
    }

    /// As many locations, and half as many functions.
    fn tables(&mut self, locations: usize) {
        for id in 1..=(locations as u64).div_ceil(2) {
            let (package, kind) = (self.below(4000), self.below(200));
            let name = self.text(format!("example.org/service/p{package}.(*T{kind}).method{id}"));
            let filename = self.text(format!("/src/service/p{package}/file{}.go", id % 7));
            self.profile.function.push(Function {
                id,
                name,
                system_name: name,
                filename,
                start_line: 0,
            });
        }
        for id in 1..=locations as u64 {
            let line = Line {
                function_id: id.div_ceil(2),
                line: self.below(2000) as i64,
                column: 0,
            };
            self.profile.location.push(Location {
                id,
                mapping_id: 1,
                address: 0x40_0000 + id * 16,
                line: vec![line],
                is_folded: false,
            });
        }
    }

    /// A stack whose callers are shared with many others, and a text and a number beside it.
    fn sample(&mut self) -> Sample {
        let locations = self.profile.location.len() as u64;
        let depth = 10 + self.below(40);
        let mut location_id: Vec<u64> = (0..depth).map(|_| 1 + self.below(locations)).collect();
        let shared = 1 + self.below(32);
        location_id
            .iter_mut()
            .skip(6)
            .zip(shared..)
            .for_each(|(slot, id)| *slot = id.min(locations));
        let thread = Label {
            key: 5,
            str: 7 + self.below(64) as i64,
            ..Label::default()
        };
        let size = Label {
            key: 6,
            num: self.below(1 << 16) as i64,
            ..Label::default()
        };
        let count = 1 + self.below(50) as i64;
        Sample {
            location_id,
            value: vec![count, count * 10_000_000],
            label: vec![thread, size],
        }
    }
}
