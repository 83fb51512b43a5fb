//! What exporters that send over the network have in common: endpoints, compression, headers, and the way to their sink.

use http::Uri;
use http::uri::PathAndQuery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::formats::compress::compress;
use crate::formats::{Compression, EncodeError, Form, Format, pprof};
use crate::net::auth::{AuthConfig, Credentials};
use crate::net::client::{ClientConfigError, ClientError, Pings};
use crate::pipeline::Boundary;
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::Span;

/// `compression_params`: how hard to compress.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CompressionParams {
    /// gzip and deflate 0 to 9 (6), zstd 1 to 19 (1).
    pub level: Option<i32>,
}

/// `keepalive` of a gRPC client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KeepAlive {
    /// Silence after which a ping is sent. Servers on grpc-go leave clients that ping more often than every 5 minutes.
    pub time: Span,
    /// How long the answer may take.
    pub timeout: Span,
    /// Whether to ping while no request is on its way.
    pub permit_without_stream: bool,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            time: Span::secs(10),
            timeout: Span::secs(10),
            permit_without_stream: false,
        }
    }
}

impl KeepAlive {
    /// The pings that it asks for.
    pub(super) fn pings(&self) -> Option<Pings> {
        let pings = pings(self.time, self.timeout)?;
        Some(Pings {
            while_idle: self.permit_without_stream,
            ..pings
        })
    }
}

/// Pings of an HTTP client, as the Collector has them: also while no request is on its way.
pub(super) fn pings(after: Span, timeout: Span) -> Option<Pings> {
    (!after.0.is_zero()).then_some(Pings {
        after: after.0,
        timeout: timeout.0,
        while_idle: true,
    })
}

/// Reads `compression` and its level; `allowed` are the names that the backend's protocol knows.
pub(super) fn compression(name: &str, params: &CompressionParams, allowed: &[&str]) -> Result<Compression, BuildError> {
    if !name.is_empty() && !allowed.contains(&name) {
        let message = format!("not a compression of this exporter; use {}", allowed.join(", "));
        return Err(BuildError::at("compression", message));
    }
    Compression::parse(name, params.level)
        .map_err(|error| BuildError::at("compression_params.level", error.to_string()))
}

/// What `auth` has the exporter send.
pub(super) fn credentials(auth: Option<&AuthConfig>) -> Result<Option<Credentials>, BuildError> {
    auth.map(|auth| auth.client("auth")).transpose()
}

/// Reads an address with scheme. The error never quotes it: it may hold a password.
pub(super) fn http_url(path: &str, text: &str) -> Result<Uri, BuildError> {
    let wrong = |why: &str| Err(BuildError::at(path, why));
    if text.is_empty() {
        return wrong("missing; name the backend, such as https://profiles.example.com");
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return wrong("not a URL; write it as https://host:port/path");
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong("a URL begins with http:// or https:// and a host");
    };
    if authority.as_str().contains('@') {
        return wrong("credentials do not belong into a URL; set them under `headers` (or `auth`)");
    }
    Ok(uri)
}

/// Where a URL leads, for the log: without path and query, which may hold a token.
pub(super) fn destination(url: &Uri) -> String {
    // `http_url` takes none with credentials in the authority
    let authority = url.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}", url.scheme_str().unwrap_or_default())
}

/// Where the backend stands: as configured, else as its address says. A proxy on the way changes nothing.
pub(super) fn boundary(configured: Option<Boundary>, url: &Uri) -> Boundary {
    configured.unwrap_or_else(|| Boundary::of_host(url.host().unwrap_or_default()))
}

/// `base` with `suffix` behind its path; a query stays behind both.
pub(super) fn join(path: &str, base: &Uri, suffix: &str) -> Result<Uri, BuildError> {
    let mut joined = format!("{}{suffix}", base.path().trim_end_matches('/'));
    if let Some(query) = base.query() {
        joined = format!("{joined}?{query}");
    }
    let mut parts = base.clone().into_parts();
    parts.path_and_query = joined.parse::<PathAndQuery>().ok();
    Uri::from_parts(parts).map_err(|_| BuildError::at(path, "not a URL with a usable path"))
}

impl From<ClientConfigError> for BuildError {
    fn from(error: ClientConfigError) -> Self {
        Self::at(error.path, error.message)
    }
}

/// A request without an answer is tried again: nothing says that the next one fails too.
impl From<ClientError> for ExportError {
    fn from(error: ClientError) -> Self {
        Self::Retry {
            why: error.to_string(),
            after: None,
        }
    }
}

/// The sentence for a status of which nothing else is to be told. The server's own text stays unread: it may quote the
/// request, and with it what redaction never saw in a log.
pub(super) fn refused(what: impl std::fmt::Display) -> ExportError {
    ExportError::Permanent {
        why: format!("the backend answered {what}"),
    }
}

/// The same for a status that may be another one next time.
pub(super) fn retry(what: impl std::fmt::Display, after: Option<std::time::Duration>) -> ExportError {
    ExportError::Retry {
        why: format!("the backend answered {what}"),
        after,
    }
}

/// The bytes of a part in the form that an exporter sends, shared with every exporter of the same form.
pub(super) fn encode(part: &Batch, form: Form) -> Result<Encoded, ExportError> {
    part.encoded(form).map_err(unencoded)
}

/// The first profile of a part as a pprof of the exporter's own making, shared with nobody.
pub(super) fn encode_pprof(
    part: &Batch,
    compression: Compression,
    options: &pprof::EncodeOptions,
) -> Result<Encoded, ExportError> {
    let first = part.as_profiles().and_then(|all| Some((all, all.iter().next()?)));
    let (profiles, at) = first.ok_or_else(|| unencoded(EncodeError::new(Format::Pprof, "no profile to write")))?;
    let plain = pprof::encode(profiles.dictionary(), at.resource, at.profile, options).map_err(unencoded)?;
    Ok(Encoded {
        plain_bytes: plain.len(),
        body: compress(&plain, compression).into(),
    })
}

/// Why a part has no bytes.
pub(super) fn unencoded(error: EncodeError) -> ExportError {
    match error.is_too_large {
        true => ExportError::TooLarge,
        false => ExportError::Unrepresentable { why: error.to_string() },
    }
}
