//! The whole path of a request against decompressing and compressing the same bytes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flamegate::formats::compress::compress;
use flamegate::formats::{Compression, otlp, pprof};
use flamegate::pipeline::spec::BuildContext;
use flamegate::pipeline::{Batch, Context, Origin, Permit, Processor, Verdict};
use flamegate::profile::Profiles;

use crate::inputs::{self, Input, inflate, limits};
use crate::timing::{in_turn, milliseconds, ratio, timed};

const ROUNDS: usize = 7;
pub const GZIP: Compression = Compression::Gzip(6);

/// The two formats that go in and out.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Pprof,
    Otlp,
}

impl Form {
    pub fn decode(self, plain: &[u8]) -> Profiles {
        let decoded = match self {
            Self::Pprof => pprof::decode(plain, &limits()),
            Self::Otlp => otlp::decode(plain, &limits(), otlp::WireVersion::default()),
        };
        decoded.unwrap().profiles
    }

    pub fn encode(self, profiles: &Profiles) -> Vec<u8> {
        match self {
            Self::Otlp => otlp::encode(profiles),
            Self::Pprof => {
                let at = profiles.iter().next().unwrap();
                let options = pprof::EncodeOptions::default();
                pprof::encode(profiles.dictionary(), at.resource, at.profile, &options).unwrap()
            }
        }
    }
}

/// What the path of a request is made of, and what each part of it took.
#[derive(Clone, Copy)]
pub struct Stages {
    pub gunzip: Duration,
    pub decode: Duration,
    pub redact: Duration,
    pub encode: Duration,
    pub gzip: Duration,
    /// Bytes that leave.
    pub sent: usize,
}

impl Stages {
    pub fn whole(&self) -> Duration {
        self.gunzip + self.decode + self.redact + self.encode + self.gzip
    }
}

/// The redaction of the quickstart, built once as a daemon does.
pub struct Path {
    redaction: Box<dyn Processor>,
}

impl Path {
    pub fn new() -> Self {
        let specs = flamegate::processors::ALL;
        let spec = specs.iter().find(|spec| spec.about.name == "redaction").unwrap();
        let config = serde_json::json!({ "detectors": ["secrets", "emails"], "paths": "home" });
        let cx = BuildContext::new("redaction", Arc::default());
        Self {
            redaction: (spec.build)(config, &cx).unwrap(),
        }
    }

    /// One request; what a stage no longer needs is freed on its bill.
    pub fn walk(&self, packed: &Bytes, form: Form) -> Stages {
        let (plain, gunzip) = timed(|| inflate(packed));
        // as they came, bytes are kept until a processor changes what they say
        let (profiles, decode) = timed(|| {
            let profiles = form.decode(&plain);
            drop(plain);
            profiles
        });
        let (profiles, redact) = timed(|| self.redact(profiles));
        let (out, encode) = timed(|| form.encode(&profiles));
        let (sent, gzip) = timed(|| {
            drop(profiles);
            compress(&out, GZIP).len()
        });
        Stages {
            gunzip,
            decode,
            redact,
            encode,
            gzip,
            sent,
        }
    }

    /// With the compacting that ends every chain.
    fn redact(&self, profiles: Profiles) -> Profiles {
        let batch = Batch::made(profiles, 1, Origin::local("bench").into(), Permit::unlimited());
        let now = SystemTime::now();
        let Verdict::Pass { mut batch, .. } = self.redaction.process(batch, &Context { now }) else {
            unreachable!("redaction passes what it can read")
        };
        batch.compact();
        batch.as_profiles().unwrap().clone()
    }
}

/// Without the path: the floor.
pub fn alone(packed: &Bytes) -> Vec<u8> {
    compress(&inflate(packed), GZIP)
}

pub fn run() {
    println!("path: gunzip, decode, redact, encode, gzip 6 over gunzip, gzip 6; best of {ROUNDS} rounds each");
    let path = Path::new();
    tell_all(&path);
    println!("  the same where freed memory is kept, as by a gate with a memory budget of 128 MiB for each core");
    flamegate::app::keep_freed_blocks();
    tell_all(&path);
}

fn tell_all(path: &Path) {
    for input in inputs::pprof() {
        tell(path, &input, Form::Pprof);
    }
    for input in inputs::otlp() {
        tell(path, &input, Form::Otlp);
    }
}

fn tell(path: &Path, input: &Input, form: Form) {
    // compressed by ourselves: some recordings are not, others by other libraries
    let packed = Bytes::from(compress(&input.plain, GZIP));
    let mut best: Option<Stages> = None;
    let walk = || {
        let stages = path.walk(&packed, form);
        if best.is_none_or(|best| stages.whole() < best.whole()) {
            best = Some(stages);
        }
    };
    let (whole, floor) = in_turn(ROUNDS, walk, || alone(&packed));
    println!(
        "  {form:?} {}: {:.2} ({:.1} ms over {:.1} ms)",
        input.name,
        ratio(whole.and_drop, floor.and_drop),
        milliseconds(whole.and_drop),
        milliseconds(floor.and_drop)
    );
    if let Some(best) = best {
        println!(
            "    gunzip {:.1}, decode {:.1}, redact and compact {:.1}, encode {:.1}, gzip {:.1} ms",
            milliseconds(best.gunzip),
            milliseconds(best.decode),
            milliseconds(best.redact),
            milliseconds(best.encode),
            milliseconds(best.gzip)
        );
        println!(
            "    {:.2} of the bytes: {} of {}, both as gzip",
            best.sent as f64 / packed.len() as f64,
            best.sent,
            packed.len()
        );
    }
}
