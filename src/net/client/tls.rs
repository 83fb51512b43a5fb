//! Whom a client trusts.

use std::path::PathBuf;
use std::sync::Arc;

use hyper_rustls::{ConfigBuilderExt, FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientConfigError, Protocol};

/// `tls` of an exporter, as the Collector's client settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Plaintext, where the endpoint names no scheme.
    pub insecure: bool,
    /// Refused: whoever needs it has a certificate to name in `ca_file`.
    pub insecure_skip_verify: bool,
    /// PEM file of the certificates to trust, instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Name that the server's certificate must bear, instead of the endpoint's host.
    pub server_name_override: Option<String>,
}

impl TlsConfig {
    pub(super) fn connector(&self, protocol: Protocol) -> Result<HttpsConnector<HttpConnector>, ClientConfigError> {
        let mut builder = HttpsConnectorBuilder::new()
            .with_tls_config(self.client_config()?)
            .https_or_http();
        if let Some(name) = &self.server_name_override {
            let Ok(name) = ServerName::try_from(name.clone()) else {
                return Err(ClientConfigError::at("tls.server_name_override", "not a host name"));
            };
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Ok(match protocol {
            Protocol::Http => builder.enable_all_versions().wrap_connector(tcp),
            Protocol::Http2 => builder.enable_http2().wrap_connector(tcp),
        })
    }

    fn client_config(&self) -> Result<ClientConfig, ClientConfigError> {
        if self.insecure_skip_verify {
            return Err(ClientConfigError::at(
                "tls.insecure_skip_verify",
                "certificates are always verified; name the server's certificate in `ca_file`",
            ));
        }
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientConfigError::at("tls", error.to_string()))?;
        let config = match &self.ca_file {
            Some(path) => config.with_root_certificates(read_roots(path)?),
            None => config.with_webpki_roots(),
        };
        Ok(config.with_no_client_auth())
    }
}

fn read_roots(path: &std::path::Path) -> Result<RootCertStore, ClientConfigError> {
    let wrong = |why: String| ClientConfigError::at("tls.ca_file", why);
    let pem = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {}", error.kind())))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| wrong("is not PEM".to_owned()))?;
        roots
            .add(certificate)
            .map_err(|_| wrong("holds something that is not a CA certificate".to_owned()))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(roots)
}
