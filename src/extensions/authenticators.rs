//! `basicauth` and `bearertokenauth`: who may send, and what backends are told.

use crate::net::auth::{BasicConfig, BearerConfig};
use crate::pipeline::spec::{About, ExtensionSpec, Stability, parse};

/// Whether a type of extension is an authenticator.
pub fn is(type_name: &str) -> bool {
    [BASIC.about.name, BEARER.about.name].contains(&type_name)
}

/// The row of `basicauth`.
pub const BASIC: ExtensionSpec = ExtensionSpec {
    about: About {
        name: "basicauth",
        aliases: &[],
        summary: "user names and passwords, for servers or for exporters",
        docs: "With `htpasswd` a server that names it (`auth: { authenticator: basicauth }`) lets in those users alone; everybody else \
hears 401, or UNAUTHENTICATED over gRPC. Passwords are bcrypt (`htpasswd -B`) or plain text; other hashes are refused. The file is \
read again when it changes. What a user sends belongs to the tenant of the user's name, or to the one that `tenants` names.\n\n\
With `client_auth` an exporter that names it sends that user and password.",
        stability: Stability::Beta,
        signals: &[],
        example: "basicauth:\n  htpasswd:\n    inline: someone:example-password\n",
        schema: || schemars::schema_for!(BasicConfig),
    },
    check: |raw, _| parse::<BasicConfig>(raw)?.check(),
};

/// The row of `bearertokenauth`.
pub const BEARER: ExtensionSpec = ExtensionSpec {
    about: About {
        name: "bearertokenauth",
        aliases: &[],
        summary: "bearer tokens, for servers and exporters",
        docs: "A server that names it (`auth: { authenticator: bearertokenauth }`) lets in whoever sends one of the tokens; everybody else \
hears 401, or UNAUTHENTICATED over gRPC. Tokens are compared in constant time. An exporter that names it sends the first one. The file \
of `filename` is read again when it changes, so tokens rotate without a restart. What is sent with a token belongs to its `tenant`; \
a token without one leaves that to `X-Scope-OrgID` of trusted peers.",
        stability: Stability::Beta,
        signals: &[],
        example: "bearertokenauth:\n  token: example-token\n  tenant: team-a\n",
        schema: || schemars::schema_for!(BearerConfig),
    },
    check: |raw, _| parse::<BearerConfig>(raw)?.check(),
};
