//! `zpages`: small pages for whoever looks after the gate, and the level of its logs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls;
use crate::net::auth::{AuthConfig, ServerAuth};
use crate::net::endpoint::Endpoint;
use crate::net::tls::{ServerTls, ServerTlsConfig};
use crate::pipeline::spec::{About, BuildError, ExtensionSpec, RawConfig, Stability, parse};

/// The row of the table.
pub const SPEC: ExtensionSpec = ExtensionSpec {
    about: About {
        name: "zpages",
        aliases: &[],
        summary: "pages about the running gate, and the level of its logs",
        docs: "\
| route | is |
|---|---|
| GET `/debug/servicez` | version, uptime, readiness, memory |
| GET `/debug/pipelinez` | the pipelines with their components, and the queue of every exporter |
| GET `/debug/extensionz` | the extensions that run |
| GET `/debug/targetz` | the targets of `scrape` and `pprof`'s `remote`, how they fare, and why the last scrape failed |
| GET `/debug/killz`, `/debug/kills` | what is killed, for people and as JSON |
| POST `/debug/kills`, DELETE `/debug/kills/ID` | kills and lifts, for whoever `auth` knows: see the kill switch in `operations.md` |
| GET `/debug/ledgerz`, `/debug/ledger` | what the month costs, by tenant and exporter, for people and as JSON; a credential with a tenant sees that tenant's |
| GET `/debug/tracez` | the profiles that the exporter `recent` keeps: what can be asked for; with `?trace=ID`, `?span=ID`, `?route=ROUTE` or `?span_name=NAME` the flame \
graph of those samples, `&service=` and `&type=` to narrow it, `&format=html` (`svg`, `json`, `pprof`), `&exporter=ID` where several keep profiles; a credential with a tenant sees that tenant's |
| GET `/debug/loglevel` | the level of the logs |
| PUT `/debug/loglevel` | sets it until the next reload: `curl -X PUT -d debug http://localhost:55679/debug/loglevel` |

On a loopback address nobody has to say who they are, but `Host` must name this machine and `Origin`, if a browser sends it, too: so \
no web page reaches in by a name of its own. On any other address `auth` has to name an authenticator. The pages show configured \
names and counts, of a tenant no more than that it is killed, and what it spends, and nothing of a profile but for `/debug/tracez`: \
that shows whoever gets in what passed the processors before `recent`.",
        stability: Stability::Beta,
        signals: &[],
        example: "zpages:\n  endpoint: localhost:55679\n",
        schema: || schemars::schema_for!(Zpages),
    },
    check: |raw, _| Zpages::read(raw).map(drop),
};

/// The extension `zpages`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Zpages {
    /// Where it listens; port 0 takes any free one.
    pub endpoint: String,
    /// Who may look; needed on addresses that other machines reach.
    pub auth: Option<AuthConfig>,
    /// Certificates; none for plaintext.
    pub tls: Option<ServerTlsConfig>,
}

impl Default for Zpages {
    fn default() -> Self {
        Self {
            endpoint: "localhost:55679".to_owned(),
            auth: None,
            tls: None,
        }
    }
}

impl Zpages {
    /// Reads and checks: where it listens, who may look, and its certificates.
    pub fn read(raw: RawConfig) -> Result<(Endpoint, Option<ServerAuth>, Option<ServerTls>), BuildError> {
        let config: Self = parse(raw)?;
        let endpoint: Endpoint = match config.endpoint.parse() {
            Ok(endpoint) => endpoint,
            Err(error) => return Err(BuildError::at("endpoint", format!("{error}"))),
        };
        let auth = config.auth.map(|auth| auth.server("auth")).transpose()?;
        if auth.is_none() && !endpoint.is_loopback() {
            let why = "other machines reach this address: name an authenticator under `auth`, or listen on localhost";
            return Err(BuildError::at("endpoint", why));
        }
        Ok((endpoint, auth, tls(config.tls.as_ref())?))
    }
}
