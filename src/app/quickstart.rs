//! `flamegate` without a configuration: the built-in one, on the ports that are free.

use std::net::{TcpListener, ToSocketAddrs};

use super::daemon::RunError;
use super::load;
use crate::config::Sources;

/// The built-in configuration.
pub const CONFIG: &str = include_str!("../../configs/quickstart.yaml");

/// Name of the built-in configuration in messages.
const NAME: &str = "configs/quickstart.yaml (built in)";

/// The addresses of the quickstart, with what to leave out where one is busy.
const PORTS: [(&[&str], &str); 4] = [
    (
        &["receivers", "otlp", "protocols", "grpc", "endpoint"],
        "receivers.otlp.protocols.grpc=null",
    ),
    (
        &["receivers", "otlp", "protocols", "http", "endpoint"],
        "receivers.otlp.protocols.http=null",
    ),
    (&["receivers", "pyroscope", "endpoint"], "receivers.pyroscope=null"),
    (
        &["service", "telemetry", "metrics", "address"],
        "service.telemetry.metrics.level=none",
    ),
];

/// The built-in configuration with `--set` values, without what is busy.
pub fn sources(sets: &[String]) -> Result<Sources, RunError> {
    let mut sources = Sources {
        texts: vec![(NAME.to_owned(), CONFIG.to_owned())],
        sets: sets.to_vec(),
    };
    let loaded = load(&sources)?;
    let mut busy = Vec::new();
    for (path, without) in PORTS {
        let Some(address) = loaded.text_at(path) else { continue };
        if is_busy(address) {
            eprintln!("warning: {}: {address} is busy, so it is left out", path.join("."));
            busy.push(path);
            sources.sets.push(without.to_owned());
        }
    }
    let mut receivers = Vec::new();
    if !busy.iter().any(|path| path.contains(&"pyroscope")) {
        receivers.push("pyroscope");
    }
    if busy.iter().filter(|path| path.contains(&"otlp")).count() < 2 {
        receivers.push("otlp");
    } else {
        sources.sets.push("receivers.otlp=null".to_owned());
    }
    if receivers.is_empty() {
        return Err(RunError::NoPort);
    }
    if !busy.is_empty() {
        sources.sets.push(format!(
            "service.pipelines.profiles.receivers=[{}]",
            receivers.join(", ")
        ));
    }
    Ok(sources)
}

/// Whether somebody listens there already. Somebody may come between this look and our own listening; then that fails.
fn is_busy(address: &str) -> bool {
    let Ok(addresses) = address.to_socket_addrs() else {
        return false;
    };
    addresses.into_iter().any(|address| {
        address.port() != 0
            && TcpListener::bind(address).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    })
}
