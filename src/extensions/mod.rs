//! The extensions: what stands beside the pipelines. [`ALL`] is the table that everything else loops over.

pub mod authenticators;
pub mod health_check;
pub mod zpages;

use crate::net::tls::{ServerTls, ServerTlsConfig};
use crate::pipeline::spec::{BuildError, ExtensionSpec};

/// Every extension, sorted by name.
pub static ALL: &[ExtensionSpec] = &[
    authenticators::BASIC,
    authenticators::BEARER,
    health_check::SPEC,
    zpages::SPEC,
];

/// The certificates of an extension that listens.
fn tls(config: Option<&ServerTlsConfig>) -> Result<Option<ServerTls>, BuildError> {
    let checked = config.map(ServerTlsConfig::check).transpose();
    checked.map_err(|error| BuildError::at(error.path("tls"), error.message))
}
