//! Network settings of the Collector that have no counterpart here: some change nothing and are passed over with a word, the
//! others are refused with our way to do the same.

use serde_json::Value;

use crate::pipeline::spec::{BuildError, RawConfig};

/// A key with the values that change nothing, and the word for it: what to know, or what to do instead.
pub type Foreign = (&'static str, Harmless, &'static str);

/// Values that change nothing. Being empty always is such a value.
#[derive(Clone, Copy, Debug)]
pub enum Harmless {
    /// Any.
    Any,
    /// None but being empty.
    Empty,
    /// This text.
    Text(&'static str),
    /// This truth.
    Flag(bool),
}

use Harmless::{Any, Empty, Flag, Text};

const BUFFERS: &str = "has no effect: buffers grow as they need to";
const POOL: &str = "has no effect: as many connections are kept as `sending_queue.num_consumers` needs";
const OTHER_SIGNALS: &str = "has no effect: this is about profiles alone";
const MIDDLEWARES: &str = "there are no middlewares; leave it out";

/// Keys of a server of gRPC.
pub const GRPC_SERVER: &[Foreign] = &[
    ("transport", Text("tcp"), "only tcp is served"),
    (
        "include_metadata",
        Flag(false),
        "headers of requests are not passed on; leave it out",
    ),
    ("read_buffer_size", Any, BUFFERS),
    ("write_buffer_size", Any, BUFFERS),
    ("middlewares", Empty, MIDDLEWARES),
];

/// Keys of a server of HTTP.
pub const HTTP_SERVER: &[Foreign] = &[
    ("transport", Text("tcp"), "only tcp is served"),
    (
        "include_metadata",
        Flag(false),
        "headers of requests are not passed on; leave it out",
    ),
    (
        "keep_alives_enabled",
        Flag(true),
        "connections are kept for `idle_timeout`; shorten that",
    ),
    (
        "write_timeout",
        Any,
        "has no effect: whoever does not read an answer is left after `idle_timeout`",
    ),
    (
        "compression_algorithms",
        Empty,
        "all of them are understood; leave it out",
    ),
    ("response_headers", Empty, "set headers of answers at a proxy in front"),
    ("cors", Empty, "browsers are not served; send from a backend"),
    ("traces_url_path", Any, OTHER_SIGNALS),
    ("metrics_url_path", Any, OTHER_SIGNALS),
    ("logs_url_path", Any, OTHER_SIGNALS),
    ("middlewares", Empty, MIDDLEWARES),
];

/// Keys of a client of gRPC.
pub const GRPC_CLIENT: &[Foreign] = &[
    ("read_buffer_size", Any, BUFFERS),
    ("write_buffer_size", Any, BUFFERS),
    (
        "wait_for_ready",
        Any,
        "has no effect: `retry_on_failure` waits for a backend that is not ready",
    ),
    (
        "balancer_name",
        Any,
        "has no effect: one connection carries everything; spread by a load balancer",
    ),
    (
        "authority",
        Empty,
        "name the host in `endpoint`, and that of the certificate in `tls.server_name_override`",
    ),
    ("user_agent", Empty, "set `headers.user-agent`"),
    ("middlewares", Empty, MIDDLEWARES),
];

/// Keys of a client of HTTP.
pub const HTTP_CLIENT: &[Foreign] = &[
    ("read_buffer_size", Any, BUFFERS),
    ("write_buffer_size", Any, BUFFERS),
    ("max_idle_conns", Any, POOL),
    ("max_idle_conns_per_host", Any, POOL),
    ("max_conns_per_host", Any, POOL),
    (
        "disable_keep_alives",
        Flag(false),
        "connections are kept for `idle_conn_timeout`; shorten that",
    ),
    (
        "force_attempt_http2",
        Flag(true),
        "the backend chooses between HTTP/1.1 and HTTP/2; leave it out",
    ),
    ("cookies", Empty, "cookies are not kept; set `cookie` under `headers`"),
    ("traces_endpoint", Any, OTHER_SIGNALS),
    ("metrics_endpoint", Any, OTHER_SIGNALS),
    ("logs_endpoint", Any, OTHER_SIGNALS),
    ("middlewares", Empty, MIDDLEWARES),
];

/// Takes such keys out of what stands at `path`, dotted; empty for the whole.
pub fn pass_over(raw: &mut RawConfig, path: &str, keys: &[Foreign]) -> Result<(), BuildError> {
    let pointer: String = path
        .split('.')
        .filter(|part| !part.is_empty())
        .map(|part| format!("/{part}"))
        .collect();
    let Some(map) = raw.pointer_mut(&pointer).and_then(Value::as_object_mut) else {
        return Ok(());
    };
    for (key, harmless, word) in keys {
        let Some(value) = map.remove(*key) else { continue };
        let full = format!("{path}.{key}");
        let full = full.trim_start_matches('.');
        match harmless {
            Any => tracing::info!("{full} {word}"),
            _ if is_empty(&value) => {}
            Text(text) if value == *text => {}
            Flag(flag) if value == *flag => {}
            _ => return Err(BuildError::at(full, *word)),
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changes_nothing_is_passed_over_and_the_rest_is_refused_by_its_key() {
        let mut raw = json!({ "server": { "endpoint": "x", "transport": "tcp", "write_timeout": "30s", "cors": {}, "middlewares": [] } });
        pass_over(&mut raw, "server", HTTP_SERVER).unwrap();
        assert_eq!(raw, json!({ "server": { "endpoint": "x" } }));
        let mut raw = json!({ "cors": { "allowed_origins": ["*"] } });
        let error = pass_over(&mut raw, "", HTTP_SERVER).unwrap_err();
        assert_eq!(error.path, "cors");
        let mut raw = json!({ "protocols": { "grpc": { "transport": "unix" } } });
        let error = pass_over(&mut raw, "protocols.grpc", GRPC_SERVER).unwrap_err();
        assert_eq!(
            (error.path.as_str(), error.message.as_str()),
            ("protocols.grpc.transport", "only tcp is served")
        );
        assert!(pass_over(&mut Value::Null, "protocols.http", HTTP_SERVER).is_ok());
    }
}
