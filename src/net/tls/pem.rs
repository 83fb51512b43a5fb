//! Certificates and keys in PEM, from a file or from the configuration itself.

use std::io::Read;
use std::path::PathBuf;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, sign::CertifiedKey};

use super::TlsError;
use crate::pipeline::units::{Secret, io_reason};

/// Most bytes of one file; the bundle of all public authorities has a quarter of it.
const FILE_BYTES: u64 = 1 << 20;

/// Where PEM stands.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The key that names it.
    key: &'static str,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    /// Often a private key, so it is treated as one.
    Text(Secret),
}

/// A key of the configuration with what it says.
pub(super) type Key<'a, T> = (&'static str, &'a Option<T>);

impl Source {
    /// Whichever of the two is set; empty means that it is not.
    pub(super) fn of(file: Key<'_, PathBuf>, text: Key<'_, Secret>) -> Result<Option<Self>, TlsError> {
        let path = file.1.as_ref().filter(|path| !path.as_os_str().is_empty());
        let pem = text.1.as_ref().filter(|pem| !pem.expose().is_empty());
        match (path, pem) {
            (Some(_), Some(_)) => {
                let message = format!("set beside `{}`; keep one of them", file.0);
                Err(TlsError::at(text.0, message))
            }
            (Some(path), None) => Ok(Some(Self {
                key: file.0,
                place: Place::File(path.clone()),
            })),
            (None, Some(pem)) => Ok(Some(Self {
                key: text.0,
                place: Place::Text(pem.clone()),
            })),
            (None, None) => Ok(None),
        }
    }

    /// The same as it is now: it is not read again.
    pub(super) fn frozen(&self) -> Result<Self, TlsError> {
        let text = String::from_utf8(self.read()?).map_err(|_| self.wrong("is not PEM"))?;
        Ok(Self {
            key: self.key,
            place: Place::Text(Secret::new(text)),
        })
    }

    /// The file that it may change in.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// The bytes.
    pub(super) fn read(&self) -> Result<Vec<u8>, TlsError> {
        let path = match &self.place {
            Place::Text(text) => return Ok(text.expose().as_bytes().to_vec()),
            Place::File(path) => path,
        };
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Err(error) => Err(self.wrong(&format!("cannot be read: {}", io_reason(&error)))),
            Ok(_) if bytes.len() as u64 > FILE_BYTES => Err(self.wrong("is larger than 1 MiB")),
            Ok(_) => Ok(bytes),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        match found {
            Err(_) => Err(self.wrong("is not PEM")),
            Ok(found) if found.is_empty() => Err(self.wrong("holds no certificate")),
            Ok(found) => Ok(found),
        }
    }

    /// Adds its certificates as authorities.
    pub(super) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), TlsError> {
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|_| self.wrong("holds something that is not a certificate"))?;
        }
        Ok(())
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?)
            .map_err(|_| self.wrong("holds no private key; write PKCS#8, PKCS#1 or SEC1 without a passphrase"))
    }

    fn wrong(&self, why: &str) -> TlsError {
        match &self.place {
            Place::File(path) => TlsError::at(self.key, format!("{} {why}", path.display())),
            Place::Text(_) => TlsError::at(self.key, why),
        }
    }
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) certificate: Source,
    pub(super) key: Source,
}

impl Identity {
    /// Both, or none of them.
    pub(super) fn of(certificate: Option<Source>, key: Option<Source>) -> Result<Option<Self>, TlsError> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(TlsError::at("key_file", "missing beside the certificate")),
            (None, Some(_)) => Err(TlsError::at("cert_file", "missing beside the key")),
        }
    }

    /// What they are worth, checked to belong together.
    pub(super) fn read(&self, provider: &rustls::crypto::CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = (self.certificate.certificates()?, self.key.private_key()?);
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => self.key.wrong("does not belong to the certificate"),
            rustls::Error::InvalidCertificate(_) => self.certificate.wrong("holds something that is not a certificate"),
            _ => self.key.wrong("holds a private key of a kind that is not supported"),
        })
    }
}
