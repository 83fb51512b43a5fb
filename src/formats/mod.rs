//! Bytes to profiles and back: pure functions with [`Limits`], one module per format.

pub mod any;
mod arrange;
mod attributes;
pub mod base64;
mod bounded;
mod building;
pub mod collapsed;
pub mod compress;
mod error;
pub mod flamegraph;
mod frames;
pub mod jfr;
pub mod legacy;
pub mod limits;
mod lines;
pub mod markup;
pub mod multipart;
mod open;
pub mod otlp;
pub mod overflow;
pub mod perf;
pub mod pprof;
pub mod quantity;
mod records;
pub mod room;
pub mod sniff;
pub mod speedscope;
#[cfg(test)]
mod totals;
mod tree;
pub mod v8;
pub mod wire;

use bounded::Bounded;
pub use compress::{CompressError, Compression};
pub use error::{DecodeError, EncodeError, Fault};
pub use limits::{Limit, Limits};
pub use overflow::Overflows;
pub use room::{OutOfBudget, Room};
pub use sniff::{UnknownFormat, sniff};

use std::fmt;

use crate::profile::Profiles;

/// A format of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OTLP profiles, protobuf.
    Otlp,
    /// OTLP profiles, JSON.
    OtlpJson,
    /// pprof protobuf, compressed or not.
    Pprof,
    /// `frame;frame;frame count` lines, root first.
    Collapsed,
    /// speedscope JSON.
    Speedscope,
    /// V8's `.cpuprofile`.
    CpuProfile,
    /// V8's `.heapprofile`.
    HeapProfile,
    /// A Chrome trace with profiles of V8 or py-spy in it.
    ChromeTrace,
    /// The log of V8's `--prof`, as `node --prof-process --preprocess` writes it; read only.
    V8Prof,
    /// A flame graph as one picture. Only written.
    Svg,
    /// An interactive flame graph as one page. Only written.
    Html,
    /// Recordings of JDK Flight Recorder; read only.
    Jfr,
    /// What `perf script` prints; read only.
    PerfScript,
    /// The texts and machine words that pprof was before; read only.
    PprofLegacy,
    /// Stacks as Pyroscope's agents packed them, as texts that begin alike; read only, and only where it is announced.
    Trie,
    /// The same as frames.
    Tree,
}

impl Format {
    /// The name on the command line and in error texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::OtlpJson => "otlp_json",
            Self::Pprof => "pprof",
            Self::Collapsed => "collapsed",
            Self::Speedscope => "speedscope",
            Self::CpuProfile => "cpuprofile",
            Self::HeapProfile => "heapprofile",
            Self::ChromeTrace => "chrome_trace",
            Self::V8Prof => "v8_prof",
            Self::Svg => "svg",
            Self::Html => "html",
            Self::Jfr => "jfr",
            Self::PerfScript => "perf_script",
            Self::PprofLegacy => "pprof_legacy",
            Self::Trie => "trie",
            Self::Tree => "tree",
        }
    }

    /// Whether profiles can be written in it.
    pub const fn is_written(self) -> bool {
        !matches!(
            self,
            Self::HeapProfile
                | Self::ChromeTrace
                | Self::Jfr
                | Self::PerfScript
                | Self::PprofLegacy
                | Self::Trie
                | Self::Tree
        )
    }

    /// Whether it holds any number of profiles, of any number of resources.
    pub const fn holds_batches(self) -> bool {
        matches!(self, Self::Otlp | Self::OtlpJson | Self::Html)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a decoder made of a request.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The profiles.
    pub profiles: Profiles,
    /// Profiles left out because they are defective, each with the reason; the rest passed.
    pub rejected: Rejected,
    /// Whether the bytes may stand for `profiles`: current wire version, and every byte of it is in the model.
    pub exact: bool,
    /// How often something was mended on the way in (invalid UTF-8, missing ids, negative times).
    pub repairs: u64,
    /// Labels that were too long or too many.
    pub overflows: Overflows,
}

/// Defective profiles of a request whose other profiles are fine.
#[derive(Clone, Debug, Default)]
pub struct Rejected {
    /// How many.
    pub profiles: u64,
    /// Why the first of them was.
    pub first: Option<DecodeError>,
}

impl Rejected {
    /// Counts one more.
    pub fn add(&mut self, why: DecodeError) {
        self.profiles += 1;
        self.first.get_or_insert(why);
    }
}

/// A format with its compression: what one exporter sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// The format.
    pub format: Format,
    /// The compression around it.
    pub compression: Compression,
}
