//! TLS of a client.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::pem::{Identity, Source};
use super::{TlsError, Version, contents, interval, provider, tell, version, versions};
use crate::net::reload::{Recipe, Reloading};
use crate::pipeline::units::{Secret, Span};

/// `tls` of an exporter, as the Collector's client settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTlsConfig {
    /// Plaintext, where the endpoint names no scheme.
    pub insecure: bool,
    /// Takes any certificate for the server's, so that whoever stands between may read and change everything: for a test bench.
    pub insecure_skip_verify: bool,
    /// PEM file of the authorities to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The same, here.
    pub ca_pem: Option<Secret>,
    /// Trusts the system's authorities beside those named.
    pub include_system_ca_certs_pool: bool,
    /// PEM file of the certificate to show to a server that asks for one.
    pub cert_file: Option<PathBuf>,
    /// The same, here.
    pub cert_pem: Option<Secret>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// The same, here.
    pub key_pem: Option<Secret>,
    /// Name that the server's certificate must bear, instead of the endpoint's host.
    pub server_name_override: Option<String>,
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
}

/// TLS of a client, ready to connect.
#[derive(Clone)]
pub struct ClientTls {
    recipe: Arc<Trust>,
    /// Made at once where it is made of files, so that they are checked; else at the first use: the authorities of the
    /// system are half a megabyte, and a client of plaintext needs none.
    made: Arc<OnceCell<Arc<Reloading<Arc<Trust>>>>>,
    interval: Option<std::time::Duration>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTlsConfig {
    /// Reads all files, and checks what they hold. `protocols` are offered to the server, the first one first.
    pub fn check(&self, protocols: &[&[u8]]) -> Result<ClientTls, TlsError> {
        let certificate = Source::of(("cert_file", &self.cert_file), ("cert_pem", &self.cert_pem))?;
        let key = Source::of(("key_file", &self.key_file), ("key_pem", &self.key_pem))?;
        let name = self.server_name_override.as_ref().filter(|name| !name.is_empty());
        let server_name = name.map(|name| ServerName::try_from(name.clone())).transpose();
        let recipe = Arc::new(Trust {
            authorities: Source::of(("ca_file", &self.ca_file), ("ca_pem", &self.ca_pem))?,
            and_system: self.include_system_ca_certs_pool,
            anyone: self.insecure_skip_verify,
            identity: Identity::of(certificate, key)?,
            min: self.min_version,
            max: self.max_version,
            suites: self.cipher_suites.clone(),
            protocols: protocols.iter().map(|name| name.to_vec()).collect(),
            asked_in_vain: Arc::default(),
        });
        let tls = ClientTls {
            interval: interval(self.reload_interval),
            made: Arc::default(),
            recipe,
            server_name: server_name.map_err(|_| TlsError::at("server_name_override", "not a host name"))?,
        };
        // both are cheap, and wrong ones are told at once
        versions(self.min_version, self.max_version)?;
        provider(&self.cipher_suites)?;
        match tls.recipe.sources().is_empty() {
            true => Ok(tls),
            false => Ok(ClientTls {
                made: Arc::new(OnceCell::new_with(Some(tls.make()?))),
                ..tls
            }),
        }
    }
}

impl ClientTls {
    fn make(&self) -> Result<Arc<Reloading<Arc<Trust>>>, TlsError> {
        Reloading::new(self.recipe.clone(), self.interval).map(Arc::new)
    }

    /// What the next connection is made with.
    pub async fn current(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let made = self.made.get_or_try_init(|| std::future::ready(self.make())).await?;
        Ok(made.current().await.0.clone())
    }

    /// Whether a server has asked for a certificate, and there was none to show.
    pub fn was_asked_in_vain(&self) -> bool {
        self.recipe.asked_in_vain.load(Ordering::Relaxed)
    }

    /// The name that the server must prove, if it is not that of its address.
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }
}

/// Whom a client trusts, and who it says it is.
struct Trust {
    authorities: Option<Source>,
    and_system: bool,
    anyone: bool,
    identity: Option<Identity>,
    min: Option<Version>,
    max: Option<Version>,
    suites: Vec<String>,
    protocols: Vec<Vec<u8>>,
    /// A server has asked for a certificate, and there is none.
    asked_in_vain: Arc<AtomicBool>,
}

struct Ready(Arc<ClientConfig>);

impl Recipe for Arc<Trust> {
    type Product = Ready;
    type Error = TlsError;

    fn contents(&self) -> Vec<Result<Vec<u8>, String>> {
        contents(self.sources())
    }

    fn tell(&self, changed: Result<(), TlsError>) {
        tell(changed);
    }

    fn make(&self) -> Result<Ready, TlsError> {
        let provider = provider(&self.suites)?;
        let versions = versions(self.min, self.max)?;
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| TlsError::at("cipher_suites", "leave nothing that the versions of TLS could use"))?;
        let config = match self.anyone {
            true => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider.clone()))),
            false => config.with_root_certificates(self.roots()?),
        };
        let mut config = match &self.identity {
            None => config.with_client_cert_resolver(Arc::new(Nobody(self.asked_in_vain.clone()))),
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.read(&provider)?)))
            }
        };
        config.alpn_protocols = self.protocols.clone();
        Ok(Ready(Arc::new(config)))
    }
}

impl Trust {
    fn sources(&self) -> Vec<&Source> {
        let identity = self.identity.iter().flat_map(|own| [&own.certificate, &own.key]);
        identity.chain(&self.authorities).collect()
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let Some(source) = &self.authorities else {
            return Ok(system_roots());
        };
        let mut roots = match self.and_system {
            true => RootCertStore::clone(&system_roots()),
            false => RootCertStore::empty(),
        };
        source.add_to(&mut roots)?;
        Ok(Arc::new(roots))
    }
}

/// The system's authorities and, as those may be old or missing (an image `FROM scratch`), Mozilla's. Whoever sets
/// `SSL_CERT_FILE` or `SSL_CERT_DIR` means those alone.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("authorities of the system: {error}");
        }
        roots.add_parsable_certificates(found.certs);
        let chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter();
        if chosen.filter_map(std::env::var_os).all(|path| path.is_empty()) {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    };
    ROOTS.get_or_init(read).clone()
}

/// Has no certificate to show, and remembers that it was asked for one.
#[derive(Debug)]
struct Nobody(Arc<AtomicBool>);

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Takes any certificate. The handshake is still signed by whoever showed it.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
