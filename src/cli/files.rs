//! Profiles in files: reading any format, writing by the name of the file.

use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use clap::ValueEnum;

use super::Failure;
use crate::config::io_reason;
use crate::formats::any::{decode_file, default_column, encode, encode_one};
use crate::formats::compress::{Compression, Inflation, compress};
use crate::formats::quantity::counted;
use crate::formats::room::Unlimited;
use crate::formats::{Decoded, Format, Limits, jfr, sniff, v8};
use crate::profile::{Dictionary, Profile, Profiles};

/// Most bytes of one file: enough for any profile, and bounded so that the machine survives.
pub(super) const MOST_WRITTEN: usize = 2 << 30;

/// Largest file as stored.
const FILE_BYTES: u64 = 1 << 30;
const LIMITS: Limits = Limits {
    decompressed_bytes: FILE_BYTES as usize,
    ..Limits::OWN_FILE
};
/// Compression of `.pb.gz`, as profilers write it.
const GZIP: Compression = Compression::Gzip(6);

/// Formats as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// OTLP profiles, protobuf
    Otlp,
    /// OTLP profiles, JSON
    #[value(name = "otlp_json", alias = "otlp-json")]
    OtlpJson,
    /// pprof, gzip around it
    Pprof,
    /// frame;frame;frame count
    #[value(alias = "folded")]
    Collapsed,
    /// speedscope JSON
    Speedscope,
    /// V8 .cpuprofile
    Cpuprofile,
    /// V8 .heapprofile; only read
    Heapprofile,
    /// a Chrome trace with profiles in it; only read
    #[value(name = "chrome_trace", alias = "chrome-trace")]
    ChromeTrace,
    /// the log of V8's --prof, preprocessed; only read
    #[value(name = "v8_prof", alias = "v8-prof")]
    V8Prof,
    /// a flame graph as a picture of one sample type; only written
    Svg,
    /// a flame graph as a page to search and zoom; only written
    Html,
    /// JDK Flight Recorder; read only
    Jfr,
    /// what perf script prints; only read
    #[value(name = "perf_script", alias = "perf")]
    PerfScript,
    /// the texts and machine words that pprof was before; only read
    #[value(name = "pprof_legacy", alias = "pprof-legacy")]
    PprofLegacy,
    /// stacks packed by Pyroscope's agents of old; only read, and only when named
    Trie,
    /// the same as frames
    Tree,
}

impl FormatName {
    /// The format.
    pub fn format(self) -> Format {
        match self {
            Self::Otlp => Format::Otlp,
            Self::OtlpJson => Format::OtlpJson,
            Self::Pprof => Format::Pprof,
            Self::Collapsed => Format::Collapsed,
            Self::Speedscope => Format::Speedscope,
            Self::Cpuprofile => Format::CpuProfile,
            Self::Heapprofile => Format::HeapProfile,
            Self::ChromeTrace => Format::ChromeTrace,
            Self::V8Prof => Format::V8Prof,
            Self::Svg => Format::Svg,
            Self::Html => Format::Html,
            Self::Jfr => Format::Jfr,
            Self::PerfScript => Format::PerfScript,
            Self::PprofLegacy => Format::PprofLegacy,
            Self::Trie => Format::Trie,
            Self::Tree => Format::Tree,
        }
    }
}

/// Endings and what they stand for; longer ones before those they end in.
const ENDINGS: &[(&str, Format, Compression)] = &[
    (".otlp.json", Format::OtlpJson, Compression::None),
    (".speedscope.json", Format::Speedscope, Compression::None),
    (".otlp.pb", Format::Otlp, Compression::None),
    (".otlp.gz", Format::Otlp, GZIP),
    (".pb.gz", Format::Pprof, GZIP),
    (".pprof", Format::Pprof, GZIP),
    (".pb", Format::Pprof, Compression::None),
    (".otlp", Format::Otlp, Compression::None),
    (".collapsed", Format::Collapsed, Compression::None),
    (".folded", Format::Collapsed, Compression::None),
    (".cpuprofile", Format::CpuProfile, Compression::None),
    (".svg", Format::Svg, Compression::None),
    (".html", Format::Html, Compression::None),
];

/// Endings of formats that are only read.
const READ_ONLY: [&str; 2] = [".jfr", ".heapprofile"];

/// A file that was read.
pub struct Input {
    /// Its format, by content or by what the user said.
    pub format: Format,
    /// Bytes without compression.
    pub bytes: usize,
    /// What is in it.
    pub decoded: Decoded,
}

/// Reads a file, or the standard input for `-`, whatever its format.
pub fn read(path: &Path, from: Option<FormatName>) -> Result<Input, Failure> {
    read_with(path, from, &jfr::Options::default())
}

/// The same, with what is asked of recordings of the JVM.
pub fn read_with(path: &Path, from: Option<FormatName>, options: &jfr::Options<'_>) -> Result<Input, Failure> {
    let fail = |why: String| Failure::Trouble(format!("{}: {why}", path.display()));
    let of_io = |error: std::io::Error| fail(io_reason(&error));
    let stored = if path == Path::new("-") {
        read_bytes(&mut std::io::stdin().lock())
    } else {
        let mut file = BufReader::new(std::fs::File::open(path).map_err(of_io)?);
        let is_recording = jfr::is_recording(file.fill_buf().map_err(of_io)?);
        // what comes through a pipe comes only once
        if is_recording && matches!(from, None | Some(FormatName::Jfr)) && file.stream_position().is_ok() {
            return recording(file, options).map_err(fail);
        }
        read_bytes(&mut file)
    };
    let stored = stored.map_err(of_io)?;
    let mut input = of_bytes_with(stored, from, options).map_err(fail)?;
    date(&mut input, path);
    Ok(input)
}

/// The name of a file may say what V8 does not: when it was recorded.
fn date(input: &mut Input, path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if input.format == Format::CpuProfile && v8::is_dated(&name) {
        let written = std::fs::metadata(path).and_then(|file| file.modified());
        v8::date(&mut input.decoded.profiles, &name, written.unwrap_or(UNIX_EPOCH));
    }
}

/// Recordings of weeks are longer than memory.
fn recording(file: impl Read + Seek, options: &jfr::Options<'_>) -> Result<Input, String> {
    let read = jfr::decode_stream(file, options, &LIMITS);
    let read = read.map_err(|error| match error {
        jfr::StreamError::Io(error) => io_reason(&error),
        jfr::StreamError::Decode(error) => error.to_string(),
    })?;
    Ok(Input {
        format: Format::Jfr,
        bytes: read.bytes,
        decoded: read.decoded,
    })
}

/// The same of bytes that are there already. The error does not say where they came from.
pub fn of_bytes(stored: Bytes, from: Option<FormatName>) -> Result<Input, String> {
    of_bytes_with(stored, from, &jfr::Options::default())
}

fn of_bytes_with(stored: Bytes, from: Option<FormatName>, options: &jfr::Options<'_>) -> Result<Input, String> {
    let plain = Inflation::new(&LIMITS)
        .unwrap_layers(stored)
        .map_err(|error| error.to_string())?;
    let format = match from {
        Some(name) => name.format(),
        None => sniff(&plain).map_err(|error| error.to_string())?,
    };
    let decoded = decode_file(format, &plain, options, &LIMITS, &Unlimited);
    Ok(Input {
        format,
        bytes: plain.len(),
        decoded: decoded.map_err(|error| error.to_string())?,
    })
}

fn read_bytes(source: &mut dyn Read) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    let read = source.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes.into())
}

/// Where and how to write.
#[derive(Clone, Debug)]
pub struct Output {
    path: PathBuf,
    ending: String,
    /// The format.
    pub format: Format,
    compression: Compression,
}

impl Output {
    /// By the name of the file; `to` overrides.
    pub fn new(path: &Path, to: Option<FormatName>) -> Result<Self, Failure> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let known = ENDINGS.iter().find(|(ending, ..)| name.ends_with(ending));
        if to.is_none() && READ_ONLY.iter().any(|ending| name.ends_with(ending)) {
            let message = format!(
                "{}: this format is read and not written; write {}",
                path.display(),
                endings()
            );
            return Err(Failure::Trouble(message));
        }
        let (format, compression) = match (to.map(FormatName::format), known) {
            (Some(format), Some((_, of_name, compression))) if *of_name == format => (format, *compression),
            (Some(Format::Pprof), _) => (Format::Pprof, GZIP),
            (Some(format), _) => (format, Compression::None),
            (None, Some((_, format, compression))) => (*format, *compression),
            (None, None) => {
                let message = match path == Path::new("-") {
                    true => "the standard output has no name that tells the format; say --to".to_owned(),
                    false => format!(
                        "{}: the name tells no format; end it in {}, or say --to",
                        path.display(),
                        endings()
                    ),
                };
                return Err(Failure::Trouble(message));
            }
        };
        let ending = match known {
            Some((ending, ..)) => (*ending).to_owned(),
            None => path
                .extension()
                .map(|ending| format!(".{}", ending.to_string_lossy()))
                .unwrap_or_default(),
        };
        Ok(Self {
            path: path.to_owned(),
            ending,
            format,
            compression,
        })
    }

    /// In a format, whatever the name says.
    pub fn in_format(path: &Path, format: Format) -> Result<Self, Failure> {
        let names = FormatName::value_variants();
        Self::new(path, names.iter().copied().find(|name| name.format() == format))
    }

    /// The same name with `word` before the ending.
    fn named(&self, word: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = name
            .get(..name.len().saturating_sub(self.ending.len()))
            .unwrap_or(&name);
        let ending = name.get(stem.len()..).unwrap_or_default();
        self.path.with_file_name(format!("{stem}.{word}{ending}"))
    }

    /// Writes everything; one file for each profile where the format holds one. Returns what was written.
    pub fn write(&self, profiles: &Profiles, type_name: Option<&str>) -> Result<Vec<PathBuf>, Failure> {
        if self.format.holds_batches() {
            let bytes = encode(self.format, profiles, MOST_WRITTEN).map_err(|error| Failure::No(error.to_string()))?;
            self.store(&self.path, &bytes)?;
            return Ok(vec![self.path.clone()]);
        }
        let dictionary = profiles.dictionary();
        let count = profiles.profile_count();
        if count > 1 && self.path == Path::new("-") {
            let message = format!(
                "{count} profiles do not fit into one {} stream; say --type",
                self.format
            );
            return Err(Failure::Trouble(message));
        }
        let names = part_names(profiles, type_name);
        let mut written: Vec<PathBuf> = Vec::with_capacity(count);
        for (at, name) in profiles.iter().zip(&names) {
            let column = column(dictionary, at.profile, type_name);
            let bytes = encode_one(self.format, dictionary, at, column, MOST_WRITTEN);
            let bytes = bytes.map_err(|error| Failure::No(error.to_string()))?;
            let path = self.path_of(count, name, &written);
            self.store(&path, &bytes)?;
            written.push(path);
        }
        Ok(written)
    }

    fn path_of(&self, count: usize, name: &str, written: &[PathBuf]) -> PathBuf {
        if count == 1 {
            return self.path.clone();
        }
        let mut path = self.named(name);
        let mut number = 1;
        while written.contains(&path) {
            number += 1;
            path = self.named(&format!("{name}.{number}"));
        }
        path
    }

    fn store(&self, path: &Path, plain: &[u8]) -> Result<(), Failure> {
        let bytes = match self.compression {
            Compression::None => plain.to_vec(),
            compression => compress(plain, compression),
        };
        let fail = |error: std::io::Error| Failure::Trouble(format!("{}: {}", path.display(), io_reason(&error)));
        if path == Path::new("-") {
            return std::io::stdout().write_all(&bytes).map_err(fail);
        }
        write(path, &bytes).map_err(fail)
    }
}

/// Writes a file so that nobody sees half of it; what is no file, a pipe or a device, is written through.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let there = std::fs::metadata(path).ok();
    // these may lead to a file that others write to as well
    let is_lent = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"]
        .iter()
        .any(|lent| path.starts_with(lent));
    if is_lent || there.as_ref().is_some_and(|there| !there.is_file()) {
        return std::fs::File::options().append(true).open(path)?.write_all(bytes);
    }
    // a link stays one
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?;
    let temporary = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    // what only its owner could read is nobody else's meanwhile
    let mode = if there.is_some() { 0o600 } else { 0o666 };
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| match there {
            Some(there) => std::fs::set_permissions(&temporary, there.permissions()),
            None => Ok(()),
        })
        .and_then(|()| std::fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// What tells the profiles of one file apart: the kind of each, or the sample type that is shown where the kind is `other` or is
/// that of several with different sample types.
fn part_names(profiles: &Profiles, type_name: Option<&str>) -> Vec<String> {
    let dictionary = profiles.dictionary();
    let parts: Vec<(&str, String)> = profiles
        .iter()
        .map(|at| {
            let shown = at.profile.sample_types.get(column(dictionary, at.profile, type_name));
            let shown = shown.map_or("", |of| dictionary.str(of.kind));
            (crate::exporters::kind(dictionary, at.profile), file_word(shown))
        })
        .collect();
    let is_alike = |kind: &str, shown: &str| parts.iter().all(|(other, of)| *other != kind || of == shown);
    let name = |(kind, shown): &(&str, String)| match shown.is_empty() || (*kind != "other" && is_alike(kind, shown)) {
        true => (*kind).to_owned(),
        false => shown.clone(),
    };
    parts.iter().map(name).collect()
}

/// A word of a profile as a part of a file's name: whoever wrote the profile must not choose where files go.
fn file_word(word: &str) -> String {
    let plain = |letter: char| match letter.is_ascii_alphanumeric() || letter == '-' {
        true => letter,
        false => '_',
    };
    word.chars().take(64).map(plain).collect()
}

/// `in.pb.gz` as `in.word.pb.gz`, in the same directory.
pub fn named(input: &Path, word: &str) -> PathBuf {
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (stem, ending) = split_ending(&name);
    input.with_file_name(format!("{stem}.{word}{ending}"))
}

/// The lines of the standard input, whole; at most so much as is read of a file.
pub fn lines_of_stdin() -> Result<Vec<String>, Failure> {
    let lines = std::io::BufReader::new(std::io::stdin().take(FILE_BYTES)).lines();
    let lines: Result<Vec<String>, std::io::Error> = lines.collect();
    lines.map_err(|error| Failure::Trouble(format!("the standard input: {}", io_reason(&error))))
}

/// A file's name as stem and ending.
pub fn split_ending(name: &str) -> (&str, &str) {
    let lower = name.to_lowercase();
    let known = ENDINGS.iter().find(|(ending, ..)| lower.ends_with(ending));
    let length = known.map_or(0, |(ending, ..)| ending.len());
    name.split_at_checked(name.len().saturating_sub(length))
        .unwrap_or((name, ""))
}

fn endings() -> String {
    let names: Vec<&str> = ENDINGS.iter().map(|(ending, ..)| *ending).collect();
    names.join(", ")
}

/// The sample type to show where one is shown: the one asked for, else the profile's default.
pub fn column(dictionary: &Dictionary, profile: &Profile, type_name: Option<&str>) -> usize {
    let named = |name: &str| {
        profile
            .sample_types
            .iter()
            .position(|of| dictionary.str(of.kind) == name)
    };
    type_name
        .and_then(named)
        .unwrap_or_else(|| default_column(dictionary, profile))
}

/// Says on the standard error that some profiles are defective; the others are used.
pub fn warn_of_rejected(decoded: &Decoded) {
    if let Some(first) = &decoded.rejected.first {
        eprintln!(
            "warning: left out: {}; the first: {first}",
            counted(decoded.rejected.profiles as usize, "defective profile")
        );
    }
}

/// The profiles of a file, to write them again: defective ones are told and left out, and it is an error if no other is there.
pub fn sound(decoded: Decoded) -> Result<Profiles, Failure> {
    warn_of_rejected(&decoded);
    match decoded.profiles.profile_count() {
        0 => Err(Failure::No("no profile to write".to_owned())),
        _ => Ok(decoded.profiles),
    }
}

/// Keeps the profiles of a kind (`cpu`, `alloc`) or with a sample type (`alloc_space`) of that name.
pub fn pick(mut profiles: Profiles, type_name: Option<&str>) -> Result<Profiles, Failure> {
    let Some(wanted) = type_name else { return Ok(profiles) };
    let keep: Vec<bool> = profiles
        .iter()
        .map(|at| is_of(profiles.dictionary(), at.profile, wanted))
        .collect();
    if !keep.contains(&true) {
        let kinds: std::collections::BTreeSet<&str> = profiles
            .iter()
            .flat_map(|at| names_of(profiles.dictionary(), at.profile))
            .collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        return Err(Failure::No(format!(
            "no profile of type {wanted}; there are {}",
            super::plain(&kinds.join(", "))
        )));
    }
    let mut keep = keep.into_iter();
    let (_, resources) = profiles.edit();
    for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
        scope.profiles.retain(|_| keep.next().unwrap_or_default());
    }
    profiles.compact();
    Ok(profiles)
}

/// Whether a profile is of a kind, or has a sample type, of that name.
pub fn is_of(dictionary: &Dictionary, profile: &Profile, wanted: &str) -> bool {
    names_of(dictionary, profile).contains(&wanted)
}

fn names_of<'a>(dictionary: &'a Dictionary, profile: &Profile) -> Vec<&'a str> {
    let mut names = vec![crate::exporters::kind(dictionary, profile)];
    names.extend(profile.sample_types.iter().map(|kind| dictionary.str(kind.kind)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format() {
        for (name, format) in [
            ("a.pb.gz", Format::Pprof),
            ("a.PB", Format::Pprof),
            ("a.otlp", Format::Otlp),
            ("a.otlp.json", Format::OtlpJson),
            ("a.otlp.pb", Format::Otlp),
            ("a.otlp.gz", Format::Otlp),
            ("a.folded", Format::Collapsed),
            ("a.speedscope.json", Format::Speedscope),
            ("a.svg", Format::Svg),
            ("a.html", Format::Html),
        ] {
            assert_eq!(
                Output::new(Path::new(name), None).ok().map(|output| output.format),
                Some(format),
                "{name}"
            );
        }
        for name in ["a.jfr", "a", "a.json"] {
            assert!(Output::new(Path::new(name), None).is_err(), "{name}");
        }
        let output = Output::new(Path::new("x"), Some(FormatName::Collapsed)).ok().unwrap();
        assert_eq!(output.format, Format::Collapsed);
    }

    #[test]
    fn parts_are_named_by_kind_and_where_that_says_too_little_by_sample_type() {
        let named = |types: &[&str]| {
            let parts = types.iter().map(|kind| {
                let stack = b"main 1\n";
                let mut profiles = crate::formats::collapsed::decode(stack, &Limits::default())
                    .unwrap()
                    .profiles;
                let (dictionary, resources) = profiles.edit();
                resources[0].scopes[0].profiles[0].sample_types[0].kind = dictionary.strings.push(kind);
                profiles
            });
            part_names(&Profiles::merge(&parts.collect::<Vec<_>>()), None)
        };
        assert_eq!(
            named(&["cpu", "malloc_bytes", "old_objects"]),
            ["cpu", "malloc_bytes", "old_objects"]
        );
        assert_eq!(
            named(&["alloc_space", "alloc_objects", "cpu"]),
            ["alloc_space", "alloc_objects", "cpu"]
        );
        assert_eq!(named(&["cpu", "cpu"]), ["cpu", "cpu"]);
        assert_eq!(named(&["../a b/Ä", ""]), ["___a_b__", "other"]);
    }

    #[test]
    fn the_kind_stands_before_the_ending_and_is_numbered_where_it_repeats() {
        let output = Output::new(Path::new("d/out.pb.gz"), None).ok().unwrap();
        let first = output.path_of(2, "cpu", &[]);
        assert_eq!(first, Path::new("d/out.cpu.pb.gz"));
        assert_eq!(output.path_of(2, "cpu", &[first]), Path::new("d/out.cpu.2.pb.gz"));
        assert_eq!(output.path_of(1, "cpu", &[]), Path::new("d/out.pb.gz"));
    }
    #[test]
    fn what_is_written_takes_the_place_of_content_only() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [file, link, device] = ["file", "link", "device"].map(|name| folder.path().join(name));
        std::fs::write(&file, "before").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink("file", &link).unwrap();
        symlink("/dev/null", &device).unwrap();
        for path in [&link, &device] {
            write(path, b"after").unwrap();
            assert!(path.symlink_metadata().unwrap().is_symlink());
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"after");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(folder.path(), b"after").is_err() && write(Path::new(".."), b"after").is_err());
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            3,
            "nothing is left behind"
        );
    }
}
