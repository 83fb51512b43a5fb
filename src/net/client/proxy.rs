//! Which proxy stands between a client and its backend: that of the configuration, else that of the environment.

use std::error::Error;
use std::net::IpAddr;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::{ClientConfigError, Protocol};
use crate::pipeline::units::Secret;

type BoxError = Box<dyn Error + Send + Sync>;

/// The proxies of a client.
pub(super) struct Proxies {
    rules: Matcher,
    protocol: Protocol,
    /// The configuration's own proxy takes everything; that of the environment leaves this machine alone.
    is_configured: bool,
}

/// A proxy that does not do what it is there for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// One that we do not speak to.
    #[error(
        "the proxy of the environment is not one for HTTP; set `proxy_url` to one that is, or name the backend in NO_PROXY"
    )]
    Unspoken,
    /// It is not to be reached.
    #[error("the proxy")]
    Connect(#[source] BoxError),
    /// It does not know us.
    #[error("the proxy asks for credentials; write its URL as http://user:password@host:port")]
    Credentials,
    /// It does not want to, or cannot.
    #[error("the proxy does not connect to the backend; does it allow CONNECT to that host and port?")]
    Refused,
}

impl ProxyError {
    /// The library's error has no other name than its text.
    pub(super) fn of_tunnel(error: impl Error + Send + Sync + 'static) -> Self {
        match error.to_string().as_str() {
            "tunnel error: proxy authorization required" => Self::Credentials,
            _ if error.source().is_some() => Self::Connect(error.into()),
            _ => Self::Refused,
        }
    }
}

impl Proxies {
    /// `url` is the configured one. `variable` reads the environment.
    pub(super) fn new(
        url: Option<&Secret>,
        protocol: Protocol,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ClientConfigError> {
        let url = url.map(Secret::expose).filter(|url| !url.is_empty());
        let rules = match url {
            Some(url) => configured(url)?,
            None => of_environment(variable),
        };
        Ok(Self {
            rules,
            protocol,
            is_configured: url.is_some(),
        })
    }

    /// The proxy on the way to `to`, if there is one.
    pub(super) fn on_the_way(&self, to: &Uri) -> Option<Proxy> {
        if !self.is_configured && is_this_machine(to.host()?) {
            return None;
        }
        let intercept = match self.protocol {
            Protocol::Http => self.rules.intercept(to),
            // gRPC needs a tunnel also for plaintext, so the proxy for tunnels is asked, as gRPC's own clients do
            Protocol::Http2 => {
                let mut parts = to.clone().into_parts();
                parts.scheme = Some(Scheme::HTTPS);
                self.rules.intercept(&Uri::from_parts(parts).ok()?)
            }
        };
        Some(Proxy {
            tunnels: self.protocol == Protocol::Http2 || to.scheme() == Some(&Scheme::HTTPS),
            at: intercept?,
        })
    }
}

/// One proxy.
pub(super) struct Proxy {
    at: Intercept,
    /// Whether it passes bytes on, and does not take requests itself.
    pub(super) tunnels: bool,
}

impl Proxy {
    /// Its address, without credentials.
    pub(super) fn address(&self) -> Result<&Uri, ProxyError> {
        let address = self.at.uri();
        match address.scheme_str() {
            Some("http" | "https") => Ok(address),
            _ => Err(ProxyError::Unspoken),
        }
    }

    /// Credentials that it is told.
    pub(super) fn credentials(&self) -> Option<&HeaderValue> {
        self.at.basic_auth()
    }
}

fn configured(url: &str) -> Result<Matcher, ClientConfigError> {
    let wrong = || {
        let message = "not a proxy for HTTP; write http://host:port, with user:password@ in front of the host if it asks for them";
        ClientConfigError::at("proxy_url", message)
    };
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return Err(wrong());
    }
    let rules = Matcher::builder().all(url).build();
    // what cannot be read is no rule
    match rules.intercept(&Uri::from_static("https://example.com")) {
        Some(_) => Ok(rules),
        None => Err(wrong()),
    }
}

fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Matcher {
    let either = |upper: &str| {
        let value = variable(upper).filter(|value| !value.is_empty());
        value
            .or_else(|| variable(&upper.to_ascii_lowercase()))
            .unwrap_or_default()
    };
    Matcher::builder()
        .all(either("ALL_PROXY"))
        .http(either("HTTP_PROXY"))
        .https(either("HTTPS_PROXY"))
        .no(either("NO_PROXY"))
        .build()
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests;
