//! TLS of a server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::pem::{Identity, Source};
use super::{TlsError, Version, contents, interval, provider, tell, version, versions};
use crate::net::reload::{Recipe, Reloading};
use crate::pipeline::units::{Secret, Span};

/// `tls` of a server, as the Collector's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTlsConfig {
    /// PEM file of the certificate, with those between it and its authority.
    pub cert_file: Option<PathBuf>,
    /// The same, here.
    pub cert_pem: Option<Secret>,
    /// PEM file of the private key.
    pub key_file: Option<PathBuf>,
    /// The same, here.
    pub key_pem: Option<Secret>,
    /// PEM file of the authorities whose clients are let in; without it clients need no certificate.
    pub client_ca_file: Option<PathBuf>,
    /// Whether `client_ca_file` is read again too.
    pub client_ca_file_reload: bool,
    /// `1.2` or `1.3`.
    #[serde(deserialize_with = "version")]
    pub min_version: Option<Version>,
    /// `1.2` or `1.3`.
    #[serde(deserialize_with = "version")]
    pub max_version: Option<Version>,
    /// Suites of TLS 1.2, by their standard names; all that are safe if empty.
    pub cipher_suites: Vec<String>,
    /// Least time between two looks for changed files; unset they are looked at for every connection, `0s` never.
    pub reload_interval: Option<Span>,
    #[schemars(skip)]
    #[serde(skip_serializing)]
    ca_file: Option<PathBuf>,
}

/// TLS of a server, ready to greet.
#[derive(Clone)]
pub struct ServerTls(Arc<Reloading<Served>>);

struct Served {
    identity: Identity,
    clients: Option<Source>,
    min: Option<Version>,
    max: Option<Version>,
    suites: Vec<String>,
}

impl ServerTlsConfig {
    /// Reads all files, and checks what they hold.
    pub fn check(&self) -> Result<ServerTls, TlsError> {
        if self.ca_file.is_some() {
            let message = "a server checks its clients by `client_ca_file`";
            return Err(TlsError::at("ca_file", message));
        }
        let certificate = Source::of(("cert_file", &self.cert_file), ("cert_pem", &self.cert_pem))?;
        let key = Source::of(("key_file", &self.key_file), ("key_pem", &self.key_pem))?;
        let Some(identity) = Identity::of(certificate, key)? else {
            let message = "missing; a server needs a certificate and its key (or leave `tls` out for plaintext)";
            return Err(TlsError::at("cert_file", message));
        };
        let mut clients = Source::of(("client_ca_file", &self.client_ca_file), ("", &None))?;
        if let Some(source) = &clients
            && !self.client_ca_file_reload
        {
            clients = Some(source.frozen()?);
        }
        let served = Served {
            identity,
            clients,
            min: self.min_version,
            max: self.max_version,
            suites: self.cipher_suites.clone(),
        };
        let reloading = Reloading::new(served, interval(self.reload_interval))?;
        Ok(ServerTls(Arc::new(reloading)))
    }
}

impl ServerTls {
    /// Shakes hands with a client, with the newest certificate. Where nothing comes of it, the client has been sent why, and the
    /// connection comes back.
    pub async fn accept<Io>(&self, io: Io) -> Result<TlsStream<Io>, (io::Error, Io)>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.0.current().await;
        let accepted = TlsAcceptor::from(config.0.clone()).accept(io);
        accepted.into_fallible().await
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

struct Ready(Arc<ServerConfig>);

impl Recipe for Served {
    type Product = Ready;
    type Error = TlsError;

    fn contents(&self) -> Vec<Result<Vec<u8>, String>> {
        let own = [&self.identity.certificate, &self.identity.key];
        contents(own.into_iter().chain(&self.clients))
    }

    fn tell(&self, changed: Result<(), TlsError>) {
        tell(changed);
    }

    fn make(&self) -> Result<Ready, TlsError> {
        let provider = provider(&self.suites)?;
        let versions = versions(self.min, self.max)?;
        let identity = self.identity.read(&provider)?;
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| TlsError::at("cipher_suites", "leave nothing that the versions of TLS could use"))?;
        let config = match &self.clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                clients.add_to(&mut roots)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|_| TlsError::at("client_ca_file", "holds no usable authority"))?;
                config.with_client_cert_verifier(verifier)
            }
        };
        let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Ready(Arc::new(config)))
    }
}
