//! `/debug/killz` and `/debug/kills`: what is killed, for people and for programs, and the way to kill and to lift.
//!
//! Only who shows a credential changes anything: what a process of this machine may look at, it may not therefore stop. A
//! credential that belongs to a tenant sees and changes what is that tenant's alone, unless it is an operator's.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Extension, Router};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Watched;
use crate::kill::{Asked, Kill, NotLifted, Now, Source, Stored, Switch, Wrong};
use crate::net::auth::Identity;
use crate::net::body::media_type;
use crate::net::reply;

/// Largest kill, in bytes.
const BYTES: usize = 64 << 10;
/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// The actor where nobody says.
const NOBODY: &str = "the admin route";

/// The routes.
pub(super) fn routes() -> Router<Watched> {
    Router::new()
        .route("/debug/killz", get(page))
        .route("/debug/kills", get(list).post(add))
        .route("/debug/kills/{id}", delete(lift))
}

pub(super) type Who = Option<Extension<Identity>>;

/// Who asks.
pub(super) enum Caller {
    /// Whoever may do everything.
    Operator(Option<Arc<str>>),
    /// A tenant.
    Tenant(Arc<str>),
    /// Somebody on this machine, of whom no more is known.
    Unknown,
}

impl Caller {
    pub(super) fn of(switch: &Switch, who: Who) -> Self {
        let Some(Extension(Identity { tenant })) = who else {
            return Self::Unknown;
        };
        match tenant {
            Some(tenant) if !switch.is_operator(Some(&tenant)) => Self::Tenant(tenant),
            tenant => Self::Operator(tenant),
        }
    }

    /// Whether a kill is theirs to see and to change.
    fn may(&self, kill: &Kill) -> bool {
        match self {
            Self::Tenant(tenant) => kill.what.is_of_tenant(tenant),
            Self::Operator(_) | Self::Unknown => true,
        }
    }

    /// Whether what is a tenant's, or everybody's if none is named, is theirs to see.
    pub(super) fn may_see(&self, whose: Option<&str>) -> bool {
        match self {
            Self::Tenant(tenant) => whose == Some(tenant),
            Self::Operator(_) | Self::Unknown => true,
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Operator(name) => name.as_deref(),
            Self::Tenant(name) => Some(name),
            Self::Unknown => None,
        }
    }
}

/// An answer that is no.
struct No(StatusCode, String);

impl IntoResponse for No {
    fn into_response(self) -> Response {
        answer(self.0, &json!({ "error": self.1 }))
    }
}

pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    reply::answer(status, "application/json", format!("{body}\n"))
}

impl From<Wrong> for No {
    fn from(wrong: Wrong) -> Self {
        Self(StatusCode::BAD_REQUEST, wrong.to_string())
    }
}

impl From<NotLifted> for No {
    fn from(why: NotLifted) -> Self {
        let status = match why {
            NotLifted::Unknown => StatusCode::NOT_FOUND,
            NotLifted::Denied => StatusCode::FORBIDDEN,
            NotLifted::InFile => StatusCode::CONFLICT,
        };
        Self(status, why.to_string())
    }
}

fn seen(switch: &Switch, caller: &Caller) -> Vec<Kill> {
    let mut kills = switch.kills();
    kills.retain(|kill| caller.may(kill));
    kills
}

async fn page(State(watched): State<Watched>, who: Who) -> String {
    let caller = Caller::of(&watched.switch, who);
    let kills = seen(&watched.switch, &caller);
    let mut text = format!("{} in force\n", kills.len());
    for kill in kills {
        let expires = kill
            .expires
            .map_or_else(|| "it is mended".to_owned(), |date| date.to_string());
        // writing to a string does not fail
        let _ = writeln!(text, "{}  {}", kill.id, kill.what);
        let _ = writeln!(
            text,
            "  by {} ({}), from {} until {expires}",
            kill.actor,
            kill.source.name(),
            kill.since
        );
        let _ = writeln!(text, "  {}", kill.reason);
    }
    text
}

async fn list(State(watched): State<Watched>, who: Who) -> Response {
    let caller = Caller::of(&watched.switch, who);
    answer(StatusCode::OK, &json!({ "kills": seen(&watched.switch, &caller) }))
}

async fn add(State(watched): State<Watched>, who: Who, request: Request<Body>) -> Result<Response, No> {
    let caller = known(&watched.switch, who)?;
    // a web page can send this type only where it was allowed to
    if media_type(request.headers()) != "application/json" {
        let why = "send a kill as application/json";
        return Err(No(StatusCode::UNSUPPORTED_MEDIA_TYPE, why.to_owned()));
    }
    let whole = timeout(PATIENCE, to_bytes(request.into_body(), BYTES)).await;
    let Ok(Ok(body)) = whole else {
        let why = format!("send at most {BYTES} bytes within {PATIENCE:?}");
        return Err(No(StatusCode::PAYLOAD_TOO_LARGE, why));
    };
    let wrong = |error: serde_json::Error| No(StatusCode::BAD_REQUEST, error.to_string());
    let mut asked: Asked = serde_json::from_slice(&body).map_err(wrong)?;
    if let Caller::Tenant(tenant) = &caller
        && !asked.what.is_of_tenant(tenant)
    {
        let why = format!(
            "this credential kills what is its tenant's alone: let `match` hold `tenant: {tenant}` (`--tenant {tenant}`), or name the tenant in `service.kill_switch.operators`"
        );
        return Err(No(StatusCode::FORBIDDEN, why));
    }
    // nobody signs with another one's name
    if let Some(name) = caller.name() {
        name.clone_into(&mut asked.actor);
    }
    if asked.actor.is_empty() {
        NOBODY.clone_into(&mut asked.actor);
    }
    let switch = watched.switch.clone();
    let (kill, stored) = on_disk(move || switch.kill(asked, Source::Route, Now::read())).await??;
    Ok(answer(StatusCode::CREATED, &told(&kill, stored)))
}

async fn lift(State(watched): State<Watched>, who: Who, Path(id): Path<String>) -> Result<Response, No> {
    let caller = known(&watched.switch, who)?;
    let switch = watched.switch.clone();
    let by = caller.name().unwrap_or(NOBODY).to_owned();
    let lifted = on_disk(move || switch.lift(&id, &by, |kill| caller.may(kill), Now::read())).await?;
    let (kill, stored) = lifted?;
    Ok(answer(StatusCode::OK, &told(&kill, stored)))
}

/// Who asks, if that is known.
fn known(switch: &Switch, who: Who) -> Result<Caller, No> {
    match Caller::of(switch, who) {
        Caller::Unknown => {
            let why = "nobody is known here: name an authenticator under `auth` of zpages; or use the file of kills, or a signal";
            Err(No(StatusCode::FORBIDDEN, why.to_owned()))
        }
        caller => Ok(caller),
    }
}

fn told(kill: &Kill, stored: Stored) -> Value {
    match stored {
        Ok(()) => json!({ "kill": kill, "stored": true }),
        Err(why) => json!({ "kill": kill, "stored": false, "why": why }),
    }
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, No> {
    let stopping = |_| No(StatusCode::SERVICE_UNAVAILABLE, "stopping".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(stopping)
}
