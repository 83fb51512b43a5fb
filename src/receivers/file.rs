//! `file`: recordings that others write to directories.

use async_trait::async_trait;

use super::watch::{Watch, WatchConfig};
use crate::pipeline::spec::{About, BuildContext, BuildError, RawConfig, ReceiverSpec, Stability, parse};
use crate::pipeline::{Outlet, Receiver, ReceiverError, Stop};

const DOCS: &str = "\
Takes recordings that profilers leave in directories: async-profiler with `--loop`, dumps of `-XX:StartFlightRecording`, `node
--cpu-prof-dir`, and files of any other format that is read, told from their content, compressed or not.

**Whole files only.** A file counts as whole when nobody has written to it for `settle`. If it then ends in the middle (a chunk of
JFR that is not finished, JSON that does not close, gzip without its end), it is left until it changes, or until it has been quiet for
`give_up_after`: then the finished chunks of a JVM that was killed are taken, and whatever else cannot be read is refused. An empty file is left for as long as it is empty. A
recording that grows by chunks is therefore taken once, when its writer has closed it, and not in pieces. Let writers give
each recording a name of its own (`%t` of async-profiler): a file that is written to again is another one, and is
taken anew, all of it. Files that come by copying are best written under a name that begins with a dot, or that `exclude` has, and renamed.

**Once.** A file is known by device, inode, size and time of modification: renamed it is the same; a name that is used again, or a
file that was truncated, is a new one. When every exporter is through with a file this is written to `storage` and to the disk, and then `after` is done: a file is deleted or
moved only when it was delivered. Killed or stopped before that, the gate takes the file again at the next start. So nothing is lost, and
what an exporter already had may be sent twice, but not to a directory of the exporter `file`, where it takes its own place; to
other backends its profiles go with the same ids (`profile_id` of OTLP). An exporter that is not `required` may give up without harm to the file, as long as
another one has it; otherwise the file stays and is not taken again (`lost`). Files that are gone are forgotten after an hour,
unless they may lie in a directory that could be looked into before and cannot now.

**What nothing is made of.** A file that is refused is counted, told once in the log with format and offset, and stays, unless `refused`
says otherwise. The log never has the names of files, which may tell more than they should: `find DIR -inum N` finds the inode that it
has. Where the gate has no room, files wait where they are; one that needs more memory than is left now lets others go first. What a
file needs at once must fit into `memory_budget`: its size when it is inflated, and that of what it is decoded to; a recording of the
JVM is read chunk by chunk, and needs less; it is decoded while it is read, beside the work of other receivers, so that a disk that stalls
keeps nobody else waiting. Raise it together with `max_file_size`. What is larger than the whole
budget is refused as `too_large`; it is never deleted for that, also not with `refused: delete`. Pipes, devices and symbolic links are never opened
(links are with `follow_symlinks`).

**Time and identity.** What a recording does not say itself comes from the file: V8's profiles and stacks as text end when the file was
written, unless its name has a date (`CPU.20261121.160501…`). A date that Node.js wrote is read in the time zone in which it fits when the file was
written; where there is none, or a date of another form is more than a zone away, the file was copied, and they begin at that date, read as UTC. `resource` and the named groups of `path_pattern` say whose profiles they are.

**Bounds of a look.** One look passes at most 5 million entries of directories, and 64 directories below each other; one directory more than 10000 that
cannot be looked into, and nothing counts as gone. It hands on the 1000 oldest files that are whole, and the next look begins at once
if there are more. `max_files` are kept in mind. Of a name that is taken where files are moved to, `.1` to `.999` are tried. `flamegate_limits{limit}`
counts looks that met a bound: `directory_entries`, `directory_depth`, `max_files`; the log says which.

Metrics: `flamegate_files{result}` (`delivered`, `lost`, `invalid`, `too_large`, `unsupported`), `flamegate_file_bytes`,
`flamegate_files_waiting`, `flamegate_files_in_flight`.
";

const EXAMPLE: &str = r"file:
  include: [/profiles/**/*.jfr, /profiles/**/*.cpuprofile]
  path_pattern: '/profiles/(?<service_name>[^/]+)/'
  resource: { deployment.environment.name: production }
  after: delete
  storage: /var/lib/flamegate
";

pub(super) const SPEC: ReceiverSpec = ReceiverSpec {
    about: About {
        name: "file",
        aliases: &[],
        summary: "takes recordings from directories",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: EXAMPLE,
        schema: || schemars::schema_for!(WatchConfig),
    },
    build,
};

struct Files(Watch);

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Receiver>, BuildError> {
    let config: WatchConfig = parse(raw)?;
    Ok(Box::new(Files(config.check("", cx)?)))
}

#[async_trait]
impl Receiver for Files {
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError> {
        let watcher = self.0.open().await?;
        out.ready();
        watcher.run(&out, &stop).await;
        Ok(())
    }

    fn check_machine(&self) -> Result<(), BuildError> {
        self.0.check_machine("")
    }

    fn awaits(&self) -> Vec<BuildError> {
        self.0.awaits("")
    }
}
