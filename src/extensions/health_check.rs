//! `health_check`: 200 while ready, 503 otherwise.

use http::uri::PathAndQuery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls;
use crate::net::endpoint::Endpoint;
use crate::net::tls::{ServerTls, ServerTlsConfig};
use crate::pipeline::spec::{About, BuildError, ExtensionSpec, RawConfig, Stability, parse};

/// The row of the table.
pub const SPEC: ExtensionSpec = ExtensionSpec {
    about: About {
        name: "health_check",
        aliases: &[],
        summary: "says over HTTP whether the gate is ready",
        docs: "Answers 200 while requests should be sent here, 503 while starting, stopping or broken, with the reason. \
`flamegate health` asks it, and so may a load balancer. It needs no credentials: it says nothing else. With `tls` it is asked by \
HTTPS; `flamegate health` speaks plain HTTP alone, and then asks the metrics: `--endpoint localhost:8888 --path /ready`.",
        stability: Stability::Stable,
        signals: &[],
        example: "health_check:\n  endpoint: localhost:13133\n  path: /\n",
        schema: || schemars::schema_for!(HealthCheck),
    },
    check: |raw, _| HealthCheck::read(raw).map(drop),
};

/// The extension `health_check`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// Where it listens; port 0 takes any free one.
    pub endpoint: String,
    /// Path it answers on.
    pub path: String,
    /// Certificates; none for plaintext.
    pub tls: Option<ServerTlsConfig>,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            endpoint: "localhost:13133".to_owned(),
            path: "/".to_owned(),
            tls: None,
        }
    }
}

impl HealthCheck {
    /// Reads and checks: where it listens, its path, and its certificates.
    pub fn read(raw: RawConfig) -> Result<(Endpoint, String, Option<ServerTls>), BuildError> {
        let config: Self = parse(raw)?;
        // what the router would take for something else than text
        let is_pattern = |segment: &str| segment.starts_with([':', '*']) || segment.contains(['{', '}']);
        let is_path = config.path.starts_with('/') && config.path.parse::<PathAndQuery>().is_ok();
        if !is_path || config.path.contains(['?', '#']) || config.path.split('/').any(is_pattern) {
            return Err(BuildError::at("path", "not a path; write it as /health"));
        }
        let endpoint = config.endpoint.parse();
        let endpoint = endpoint.map_err(|error| BuildError::at("endpoint", format!("{error}")))?;
        Ok((endpoint, config.path, tls(config.tls.as_ref())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_a_router_would_not_take_as_they_are_are_refused() {
        let read = |path: &str| HealthCheck::read(serde_json::json!({ "path": path }));
        for path in ["/", "/health", "/a/b:c", "/a*"] {
            assert!(read(path).is_ok(), "{path}");
            let _ = crate::admin::health(path, crate::pipeline::Readiness::default());
        }
        for path in ["", "health", "/*", "/a/:b", "/{a}", "/a?b", "/a b"] {
            assert_eq!(read(path).map(drop).unwrap_err().path, "path", "{path}");
        }
    }
}
