//! Whose data it is, as the header that says so.

use http::header::{HeaderName, HeaderValue};

use super::{Config, twice};
use crate::net::auth::tenant::{self, is_tenant};
use crate::pipeline::component::ExportError;
use crate::pipeline::spec::BuildError;

/// The header that names the tenant.
pub(super) const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Where the name comes from.
pub(super) enum Tenant {
    /// From `tenant_id`.
    Fixed(HeaderValue),
    /// From `headers`, which go out as they stand.
    InHeaders,
    /// From whoever sent the profile, unless that is `default`.
    Senders,
}

impl Tenant {
    pub(super) fn of(config: &Config) -> Result<Self, BuildError> {
        let in_headers = config.headers.contains(TENANT.as_str());
        match (config.tenant_id.as_str(), in_headers) {
            ("", true) => Ok(Self::InHeaders),
            ("", false) => Ok(Self::Senders),
            (_, true) => Err(twice("tenant_id", "X-Scope-OrgID")),
            (id, false) => match header(id) {
                Some(value) => Ok(Self::Fixed(value)),
                None => Err(BuildError::at("tenant_id", format!("not a tenant; {}", tenant::RULE))),
            },
        }
    }

    /// The header for profiles of `sender`. A name that the server does not take is told, not what it is.
    pub(super) fn header(&self, sender: &str) -> Result<Option<HeaderValue>, ExportError> {
        match self {
            Self::Fixed(value) => Ok(Some(value.clone())),
            Self::InHeaders => Ok(None),
            Self::Senders if sender == tenant::DEFAULT => Ok(None),
            Self::Senders => header(sender).map(Some).ok_or_else(|| ExportError::Unrepresentable {
                why: "the sender's tenant has a name that the server does not take; set `tenant_id`".to_owned(),
            }),
        }
    }
}

fn header(name: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(name).ok().filter(|_| is_tenant(name))
}
