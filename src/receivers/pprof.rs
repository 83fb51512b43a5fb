//! `pprof`: pprof profiles by HTTP POST, from one address, from files, and of Flamegate itself.

mod files;
mod itself;
mod remote;
mod routes;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::files::FileConfig;
use self::itself::{SelfConfig, SelfProfiler};
use self::remote::{Remote, RemoteConfig};
use super::listen;
use super::settings::{HttpServerConfig, Server, present};
use super::watch::Watch;
use crate::pipeline::spec::{About, BuildContext, BuildError, RawConfig, ReceiverSpec, Stability, parse};
use crate::pipeline::{Outlet, Receiver, ReceiverError, Stop};

const DOCS: &str = "\
Takes pprof profiles, and has the same blocks as the Collector's receiver of this name; a block is on when its key is present.

`server` takes POST `/v1/pprof`: one profile in pprof's protobuf or any other format that is read, told from its content, plain or
compressed, with or without `content-encoding`. The query may say what the profile itself cannot: `name=my.app{env=prod}` names the service and its labels, `from` and `until` date
it, as `/ingest` of Pyroscope writes them, where what is no time means now (`curl --data-binary @cpu.pb.gz 'http://localhost:8080/v1/pprof?name=shop'`). Of recordings of the JVM
`jfr: {off_cpu: true}` takes waits too. The answer is 200, or 400 for what cannot be
decoded, 413 for what is too large, 415 for an encoding that is not spoken, 503 with `Retry-After` when there is no room.

`self` samples the CPU of Flamegate and sends the profile down the pipeline as the service `flamegate`. It is off unless asked for:
its table of stacks holds 70 MiB from then on, and finding the names of functions as much again or more, by the debug
information of the binary. A signal interrupts the process `frequency` times in a second of CPU. Receivers take
turns at it, one profile each. Where the process cannot be sampled the log says so, and the rest goes on.

`remote` fetches one profile from one address (`endpoint`, with its query) every `collection_interval`, in any format that is read. It is
passed on as it is: Go's heap, mutex and block profiles count from the start of the process on. The receiver `scrape` makes
differences of them, and knows many targets. `resource` and `tenant` say what and whose it is.

`file` takes files that match `include`, in whatever format, every `collection_interval`. The Collector sends every file again each time; here a file is
taken once, when it is whole, as the receiver `file` does, which has more keys for it.
";

pub(super) const SPEC: ReceiverSpec = ReceiverSpec {
    about: About {
        name: "pprof",
        aliases: &[],
        summary: "takes pprof by POST, from one address, from files, and of Flamegate itself",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "pprof:\n  server:\n    endpoint: localhost:8080\n",
        schema: || schemars::schema_for!(Config),
    },
    build,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Takes profiles by POST, on if the key is present.
    #[serde(deserialize_with = "present")]
    server: Option<HttpServerConfig>,
    /// Profiles Flamegate itself, on if the key is present.
    #[serde(rename = "self", deserialize_with = "present")]
    itself: Option<SelfConfig>,
    /// Fetches one profile from one address, on if the key is present.
    #[serde(deserialize_with = "present")]
    remote: Option<RemoteConfig>,
    /// Takes profiles from files, on if the key is present.
    #[serde(deserialize_with = "present")]
    file: Option<FileConfig>,
}

struct Pprof {
    server: Option<Server>,
    itself: Option<SelfProfiler>,
    remote: Option<Remote>,
    files: Option<Watch>,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = parse(raw)?;
    let blocks = [
        config.server.is_some(),
        config.remote.is_some(),
        config.file.is_some(),
        config.itself.is_some(),
    ];
    if !blocks.contains(&true) {
        let message = "nothing is on; write `server:`, `remote:`, `file:` or `self:`";
        return Err(BuildError::at("", message));
    }
    Ok(Box::new(Pprof {
        server: config
            .server
            .map(|server| server.check("server", "localhost:8080", cx))
            .transpose()?,
        itself: config.itself.map(SelfProfiler::new).transpose()?,
        remote: config.remote.map(|remote| remote.check(cx)).transpose()?,
        files: config.file.map(|file| file.check(cx)).transpose()?,
    }))
}

#[async_trait]
impl Receiver for Pprof {
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError> {
        let Self {
            server,
            itself,
            remote,
            files,
        } = *self;
        let files = match files {
            Some(files) => Some(files.open().await?),
            None => None,
        };
        let services = server
            .map(|server| server.service(&out, routes::router))
            .into_iter()
            .collect();
        let served = listen::run(services, &out, stop.clone());
        let itself = async {
            if let Some(profiler) = itself {
                profiler.run(&out, &stop).await;
            }
            Ok(())
        };
        let remote = async {
            if let Some(remote) = remote {
                remote.run(&out, &stop).await;
            }
            Ok(())
        };
        let files = async {
            if let Some(files) = files {
                files.run(&out, &stop).await;
            }
            Ok(())
        };
        tokio::try_join!(served, itself, remote, files)?;
        Ok(())
    }

    fn check_machine(&self) -> Result<(), BuildError> {
        let files = self.files.as_ref();
        files.map_or(Ok(()), |files| files.check_machine("file"))
    }

    fn awaits(&self) -> Vec<BuildError> {
        let files = self.files.as_ref();
        files.map(|files| files.awaits("file")).unwrap_or_default()
    }
}
