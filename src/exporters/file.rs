//! `file`: one file for each profile in a bounded directory, or one growing file as the Collector's.

mod directory;
pub(super) mod kind;
mod rolling;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use ring::digest::{Context, SHA256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::directory::{Directory, Lasting, Name};
use self::rolling::{Framing, Rolling, Rotation};
use super::settings;
use crate::formats::pprof::{EncodeOptions, ResourceText};
use crate::formats::{Compression, Form, Format};
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::place;
use crate::pipeline::sink::{QueueConfig, RetryConfig, SinkConfig};
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::pipeline::units::{ByteSize, Span, io_reason};
use crate::pipeline::{Boundary, Signal};
use crate::profile::Profile;

const DOCS: &str = "\
With `directory`: one file for each profile, named `<UTC milliseconds>-<kind>-<8 hex>.<ending>` by the time of writing. The
kind is one of cpu, wall, off_cpu, alloc, inuse, mutex, block, park, goroutine, threads, exceptions, other; a Go heap is
`inuse`, what it shows by default. No text of a name comes from the payload. A profile that the receiver `file` took is named by its
own time and a hash of its file and its ids, and keeps its name: what a killed process had written and writes again takes its own place, and
two recordings have two names also where they say the same ids of the same nanosecond. Merged with those of other files (`sending_queue.batch`) it is
named by its ids alone, and takes no place of another content. A file appears whole or not at all. When all
files together pass `max_bytes`, or one passes `max_age`, the oldest go; only files of such names are ever removed.

A pprof has no place for the attributes of its resource (`service.name`, the labels of a series). `resource: comments` writes
each as a comment `key=value`, which `go tool pprof -comments` shows; `labels` puts them on every sample, where `-tagfocus`
finds them, except those that the sample has itself, and ids of traces and spans; `none` leaves them out.

With `path`: the Collector's form. `format: proto` appends OTLP messages, each behind its length as 4 bytes, big-endian;
`format: json` appends one line each. With `compression: zstd` each message is compressed on its own and has its length in
front in both formats. `rotation` puts the file aside when it is large. A file that a crash left with half a record is put aside too.

A place that the gate may not write to ends its start with an error, and a reload changes nothing; `validate`, which may run
on another machine and as another user, warns of it. Directories that are missing are made. What goes wrong later, such as a full
disk, is tried again.
";

pub(super) const SPEC: ExporterSpec = ExporterSpec {
    about: About {
        name: "file",
        aliases: &[],
        summary: "writes profiles to files",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "file:\n  directory: ./profiles\n  format: pprof\n  resource: comments\n  max_bytes: 256MiB\n",
        schema: || schemars::schema_for!(Config),
    },
    unit: Unit::Profile,
    build,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Directory of one file for each profile. Either this or `path`.
    directory: Option<PathBuf>,
    /// The one file that grows. Either this or `directory`.
    path: Option<PathBuf>,
    /// `pprof` (default), `otlp`, `otlp_json`, `collapsed`, `speedscope`, `cpuprofile`, `svg` or `html` with `directory`; `json` (default) or `proto` with `path`.
    format: Option<FileFormat>,
    /// Where a pprof says the attributes of its resource: `comments` (default), `labels` of every sample, or `none`.
    resource: Option<ResourceIn>,
    /// Bytes that the files of `directory` may take together; 1 GiB unless set, 0 for no bound.
    max_bytes: Option<ByteSize>,
    /// Age at which files of `directory` are removed; never unless set.
    max_age: Option<Span>,
    /// Puts the file of `path` aside when it is large.
    rotation: Option<Rotation>,
    /// `zstd` or `none`, for `path`.
    compression: String,
    /// How long what was written to the file of `path` may take to the disk; 1s unless set.
    flush_interval: Option<Span>,
    /// What happens after a failed write.
    retry_on_failure: RetryConfig,
    /// What waits to be written.
    sending_queue: QueueConfig,
    /// Whether senders hear 503 when the queue is full.
    required: bool,
    /// `external` if somebody takes what is written out of the house: then it must pass `redaction`. Otherwise `internal`.
    boundary: Option<Boundary>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FileFormat {
    Pprof,
    Otlp,
    OtlpJson,
    Collapsed,
    Speedscope,
    Cpuprofile,
    Svg,
    Html,
    Proto,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ResourceIn {
    /// Comments `key=value`.
    Comments,
    /// Labels of every sample.
    Labels,
    /// Nowhere.
    None,
}

impl From<ResourceIn> for ResourceText {
    fn from(place: ResourceIn) -> Self {
        match place {
            ResourceIn::Comments => Self::Comments,
            ResourceIn::Labels => Self::Labels,
            ResourceIn::None => Self::None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: None,
            path: None,
            format: None,
            resource: None,
            max_bytes: None,
            max_age: None,
            rotation: None,
            compression: "none".to_owned(),
            flush_interval: None,
            retry_on_failure: RetryConfig::default(),
            sending_queue: QueueConfig::default(),
            required: false,
            boundary: None,
        }
    }
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    let (form, target) = match (&config.directory, &config.path) {
        (Some(directory), None) => in_directory(&config, directory.clone())?,
        (None, Some(path)) => at_path(&config, path.clone())?,
        _ => return Err(BuildError::at("", "name either `directory` or `path`")),
    };
    if config.resource.is_some() && form.format != Format::Pprof {
        let message = "belongs to `format: pprof`; the other formats carry the resource themselves, or not at all";
        return Err(BuildError::at("resource", message));
    }
    Ok(BuiltExporter {
        boundary: config.boundary.unwrap_or(Boundary::Internal),
        exporter: Arc::new(FileExporter {
            id: cx.id.clone(),
            form,
            resource: config.resource.map(ResourceText::from).unwrap_or_default(),
            target: Arc::new(target),
            flushing: Arc::default(),
        }),
        sink: SinkConfig {
            // a write cannot be taken back: what were given up would be there all the same, and written again
            timeout: Span::secs(0),
            retry: config.retry_on_failure,
            queue: config.sending_queue,
            required: config.required,
            max_request_bytes: SinkConfig::default().max_request_bytes,
        },
    })
}

fn in_directory(config: &Config, directory: PathBuf) -> Result<(Form, Target), BuildError> {
    let of_path = [
        ("rotation", config.rotation.is_some()),
        ("compression", config.compression != "none"),
        ("flush_interval", config.flush_interval.is_some()),
    ];
    misplaced(
        &of_path,
        "belongs to `path`; the files of `directory` are written whole",
    )?;
    let (format, ending) = match config.format.unwrap_or(FileFormat::Pprof) {
        FileFormat::Pprof => (Format::Pprof, "pb.gz"),
        FileFormat::Otlp => (Format::Otlp, "otlp"),
        FileFormat::OtlpJson => (Format::OtlpJson, "otlp.json"),
        FileFormat::Collapsed => (Format::Collapsed, "collapsed"),
        FileFormat::Speedscope => (Format::Speedscope, "speedscope.json"),
        FileFormat::Cpuprofile => (Format::CpuProfile, "cpuprofile"),
        FileFormat::Svg => (Format::Svg, "svg"),
        FileFormat::Html => (Format::Html, "html"),
        FileFormat::Proto | FileFormat::Json => {
            let message = "with `directory`: pprof, otlp, otlp_json, collapsed, speedscope, cpuprofile, svg or html";
            return Err(BuildError::at("format", message));
        }
    };
    let compression = match format {
        Format::Pprof => Compression::Gzip(6),
        _ => Compression::None,
    };
    let max_bytes = config.max_bytes.unwrap_or(ByteSize::mib(1024));
    let directory = Directory::new(directory, max_bytes.0, config.max_age.unwrap_or_default().0);
    Ok((Form { format, compression }, Target::Directory { directory, ending }))
}

/// A key that would do nothing is an error: somebody counts on it.
fn misplaced(keys: &[(&str, bool)], message: &str) -> Result<(), BuildError> {
    match keys.iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(BuildError::at(*key, message)),
        None => Ok(()),
    }
}

fn at_path(config: &Config, path: PathBuf) -> Result<(Form, Target), BuildError> {
    let of_directory = [
        ("max_bytes", config.max_bytes.is_some()),
        ("max_age", config.max_age.is_some()),
    ];
    misplaced(&of_directory, "belongs to `directory`; for `path` set `rotation`")?;
    let format = match config.format.unwrap_or(FileFormat::Json) {
        FileFormat::Proto => Format::Otlp,
        FileFormat::Json => Format::OtlpJson,
        _ => return Err(BuildError::at("format", "with `path`: json or proto")),
    };
    let params = settings::CompressionParams::default();
    let compression = settings::compression(&config.compression, &params, &["none", "zstd"])?;
    let form = Form { format, compression };
    let flush_interval = config.flush_interval.unwrap_or(Span::secs(1));
    let rolling = Rolling::new(path, framing(form), config.rotation.clone(), flush_interval.0);
    Ok((form, Target::Path(rolling)))
}

struct FileExporter {
    id: Arc<str>,
    form: Form,
    resource: ResourceText,
    target: Arc<Target>,
    /// Somebody will bring the file to the disk.
    flushing: Arc<AtomicBool>,
}

enum Target {
    Directory { directory: Directory, ending: &'static str },
    Path(Rolling),
}

#[async_trait]
impl Exporter for FileExporter {
    fn destination(&self, _: Signal) -> String {
        match self.target.as_ref() {
            Target::Directory { directory, .. } => directory.path().display().to_string(),
            Target::Path(rolling) => rolling.path().display().to_string(),
        }
    }

    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        // the shared bytes say the resource in comments; bytes as they came say it nowhere
        let is_said = self.resource == ResourceText::Comments && part.received().is_none();
        if self.form.format != Format::Pprof || is_said || !has_resource(part) {
            return settings::encode(part, self.form);
        }
        let options = EncodeOptions {
            resource: self.resource,
            most: part.most_encoded(),
        };
        settings::encode_pprof(part, self.form.compression, &options)
    }

    async fn export(&self, part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        let name = name(part);
        let (target, form) = (self.target.clone(), self.form);
        let written = tokio::task::spawn_blocking(move || match target.as_ref() {
            Target::Directory { directory, ending } => directory.write(&name, ending, &encoded.body, SystemTime::now()),
            Target::Path(rolling) => rolling.append(&record(form, &encoded.body)),
        });
        match written.await {
            Ok(Ok(0)) => {}
            Ok(Ok(removed)) => tracing::info!(exporter = &*self.id, removed, "removed old files to stay within bounds"),
            Ok(Err(error)) => {
                return Err(retry(format!(
                    "cannot write to {}: {}",
                    self.destination(Signal::Profiles),
                    io_reason(&error)
                )));
            }
            Err(_) => return Err(retry("the write was cut short".to_owned())),
        }
        self.flush_later();
        Ok(Sent::default())
    }

    fn check_machine(&self) -> Result<(), BuildError> {
        match self.target.as_ref() {
            Target::Directory { directory, .. } => {
                place::check_directory(directory.path()).map_err(|why| BuildError::at("directory", why))
            }
            Target::Path(rolling) => place::check_file(rolling.path()).map_err(|why| BuildError::at("path", why)),
        }
    }

    async fn close(&self) {
        let target = self.target.clone();
        let closed = tokio::task::spawn_blocking(move || match target.as_ref() {
            Target::Directory { .. } => {}
            Target::Path(rolling) => rolling.close(),
        });
        // it logs what goes wrong
        let _ = closed.await;
    }
}

/// The name of a profile. One that may be sent again after a crash has a name of its own: otherwise there would be two of it.
fn name(part: &Batch) -> Name {
    let first = part
        .as_profiles()
        .and_then(|profiles| Some((profiles.dictionary(), profiles.iter().next()?.profile)));
    let Some((dictionary, profile)) = first else {
        return Name {
            kind: "other",
            lasting: None,
        };
    };
    let lasts = part.followers().is_any() && !profile.ids.is_empty();
    // merged with others nobody knows which of them it is of
    let mark = part.followers().mark();
    let lasting = Lasting {
        millis: profile.time_unix_nano / 1_000_000,
        number: number(profile, mark, part.piece()),
        is_own: mark.is_some(),
    };
    Name {
        kind: kind::kind(dictionary, profile),
        lasting: lasts.then_some(lasting),
    }
}

/// The number of a piece of a profile, the same whenever it is written. The ids may be the sender's, who may have made them anyhow: so
/// all of each counts, and not some bits, and the mark of what it was read from.
fn number(profile: &Profile, mark: Option<u64>, piece: u32) -> u32 {
    let mut context = Context::new(&SHA256);
    context.update(&mark.unwrap_or_default().to_be_bytes());
    profile.ids.iter().for_each(|id| context.update(id));
    context.update(&profile.time_unix_nano.to_be_bytes());
    context.update(&piece.to_be_bytes());
    let digest = context.finish();
    let (head, _) = digest.as_ref().split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    u32::from_be_bytes(*head)
}

impl FileExporter {
    /// Brings what was written to the disk after a while, also if nothing follows.
    fn flush_later(&self) {
        let Target::Path(rolling) = self.target.as_ref() else {
            return;
        };
        let Some(pause) = rolling.due() else { return };
        if self.flushing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (target, flushing) = (self.target.clone(), self.flushing.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            flushing.store(false, Ordering::Relaxed);
            let flush = move || match target.as_ref() {
                Target::Directory { .. } => {}
                Target::Path(rolling) => rolling.sync(SystemTime::now()),
            };
            let _ = tokio::task::spawn_blocking(flush).await;
        });
    }
}

/// Whether there is an attribute of a resource to be said.
fn has_resource(part: &Batch) -> bool {
    let resources = part.as_profiles().map(|profiles| profiles.resources());
    resources.is_some_and(|all| all.iter().any(|resource| !resource.attributes.is_empty()))
}

fn retry(why: String) -> ExportError {
    ExportError::Retry { why, after: None }
}

/// How messages of a form stand in a file of many.
fn framing(form: Form) -> Framing {
    match form.format == Format::OtlpJson && form.compression == Compression::None {
        true => Framing::Lines,
        false => Framing::Lengths,
    }
}

/// A message as it stands in a file of many.
fn record(form: Form, message: &[u8]) -> Bytes {
    let mut record = BytesMut::with_capacity(message.len() + 4);
    let is_line = framing(form) == Framing::Lines;
    if !is_line {
        record.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    }
    record.put_slice(message);
    if is_line {
        record.put_u8(b'\n');
    }
    record.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::testing;

    async fn write(config: serde_json::Value) {
        let built = build(config, &testing::context("file")).unwrap();
        let part = testing::batch(b"one message");
        let encoded = built.exporter.encode(&part).unwrap();
        built.exporter.export(&part, encoded).await.unwrap();
        built.exporter.close().await;
    }

    #[tokio::test]
    async fn a_path_takes_messages_behind_their_lengths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        for _ in 0..2 {
            write(serde_json::json!({ "path": path, "format": "proto" })).await;
        }
        let expected = b"\0\0\0\x0bone message\0\0\0\x0bone message";
        assert_eq!(std::fs::read(path).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_directory_takes_one_file_each() {
        let folder = tempfile::tempdir().unwrap();
        write(serde_json::json!({ "directory": folder.path(), "format": "otlp" })).await;
        let entry = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(kind::is_ours(&name) && name.ends_with(".otlp"), "{name}");
        assert_eq!(std::fs::read(entry.path()).unwrap(), b"one message");
    }

    #[test]
    fn the_two_forms_do_not_mix() {
        for (config, path) in [
            (serde_json::json!({}), ""),
            (serde_json::json!({ "path": "a", "directory": "b" }), ""),
            (serde_json::json!({ "directory": "b", "rotation": {} }), "rotation"),
            (
                serde_json::json!({ "directory": "b", "flush_interval": "9s" }),
                "flush_interval",
            ),
            (serde_json::json!({ "path": "b", "max_bytes": 1 }), "max_bytes"),
            (serde_json::json!({ "path": "b", "max_age": "1h" }), "max_age"),
            (serde_json::json!({ "directory": "b", "format": "proto" }), "format"),
            (serde_json::json!({ "path": "b", "format": "pprof" }), "format"),
            (serde_json::json!({ "path": "b", "compression": "gzip" }), "compression"),
            (serde_json::json!({ "path": "b", "resource": "none" }), "resource"),
            (
                serde_json::json!({ "directory": "b", "format": "collapsed", "resource": "labels" }),
                "resource",
            ),
        ] {
            assert_eq!(build(config, &testing::context("file")).err().unwrap().path, path);
        }
    }

    /// What a pprof with a resource of one attribute is written as: its comments, and the values of label `zone`.
    fn written(resource: serde_json::Value, part: &Batch) -> (Vec<String>, usize) {
        let mut config = serde_json::json!({ "directory": "unused" });
        if !resource.is_null() {
            config["resource"] = resource;
        }
        let built = build(config, &testing::context("file")).unwrap();
        let body = testing::gunzip(&built.exporter.encode(part).unwrap().body);
        let read = crate::formats::pprof::decode(&body, &crate::formats::Limits::default()).unwrap();
        let d = read.profiles.dictionary();
        let profile = read.profiles.iter().next().unwrap().profile;
        let comments = profile.comments.iter().map(|id| d.str(*id).to_owned()).collect();
        let with_zone = |set: &&crate::profile::AttributeSetId| d.attribute(**set, "zone").is_some();
        (comments, profile.samples.attributes.iter().filter(with_zone).count())
    }

    #[test]
    fn a_pprof_says_its_resource_where_it_is_told_to() {
        for received in [false, true] {
            let part = testing::batch_in_zone("b", received);
            let samples = part.as_profiles().unwrap().sample_count();
            assert_eq!(part.received().is_some(), received);
            let in_comments = (vec!["zone=b".to_owned()], 0);
            assert_eq!(written(serde_json::Value::Null, &part), in_comments);
            assert_eq!(written("comments".into(), &part), in_comments);
            assert_eq!(written("labels".into(), &part), (Vec::new(), samples));
            assert_eq!(written("none".into(), &part), (Vec::new(), 0));
        }
    }

    #[test]
    fn a_pprof_without_resource_leaves_as_it_came() {
        let part = testing::pprof_batch(|_| {}, true);
        for resource in ["comments", "labels", "none"] {
            let config = serde_json::json!({ "directory": "unused", "resource": resource });
            let built = build(config, &testing::context("file")).unwrap();
            let encoded = built.exporter.encode(&part).unwrap();
            assert_eq!(testing::gunzip(&encoded.body), part.received().unwrap().bytes);
        }
    }

    #[test]
    fn lines_end_and_messages_are_measured() {
        let form = |format, compression| Form { format, compression };
        assert_eq!(&record(form(Format::OtlpJson, Compression::None), b"{}")[..], b"{}\n");
        assert_eq!(
            &record(form(Format::OtlpJson, Compression::Zstd(1)), b"zz")[..],
            b"\0\0\0\x02zz"
        );
    }
}
