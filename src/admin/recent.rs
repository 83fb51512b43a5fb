//! `/debug/tracez`: the flame graph of one trace, one span or one route, out of what the exporters `recent` keep. A credential that belongs
//! to a tenant sees what is that tenant's alone, unless it is an operator's.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, StatusCode, Uri};

use super::Watched;
use super::kills::{Caller, Who};
use crate::net::reply;
use crate::pipeline::Batch;
use crate::pipeline::recent::Ring;

/// What may be asked.
const KEYS: [&str; 8] = [
    "trace",
    "span",
    "route",
    "span_name",
    "service",
    "type",
    "format",
    "exporter",
];

/// What somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Question(Vec<(String, String)>);

/// What is shown to them.
#[derive(Debug)]
pub struct Shown {
    /// Whether that is an answer.
    pub status: StatusCode,
    /// What it is.
    pub media_type: &'static str,
    /// The answer.
    pub body: Bytes,
}

/// What makes an answer of the batches that whoever asks may see. CPU work, bounded.
pub type Show = fn(&Question, &[Batch]) -> Shown;

impl Question {
    /// Reads a query; each key may stand there once.
    fn parse(query: &str) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if !KEYS.contains(&key.as_ref()) || pairs.iter().any(|(known, _)| *known == key) {
                return Err(format!(
                    "ask for each of these at most once, and for nothing else: {}",
                    KEYS.join(", ")
                ));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// What stands under a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }
}

impl Shown {
    /// A sentence.
    pub fn said(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            media_type: "text/plain; charset=utf-8",
            body: (text.into() + "\n").into(),
        }
    }
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        let mut response = reply::answer(self.status, self.media_type, self.body);
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// The route.
pub(super) fn routes() -> Router<Watched> {
    Router::new().route("/debug/tracez", get(page))
}

async fn page(State(watched): State<Watched>, who: Who, uri: Uri) -> Shown {
    match answer(&watched, who, uri.query().unwrap_or_default()).await {
        Ok(shown) | Err(shown) => shown,
    }
}

async fn answer(watched: &Watched, who: Who, query: &str) -> Result<Shown, Shown> {
    let question = Question::parse(query).map_err(|why| Shown::said(StatusCode::BAD_REQUEST, why))?;
    let ring = ring(&watched.rings.load_full(), question.get("exporter"))?;
    let busy = |why: &str| Shown::said(StatusCode::SERVICE_UNAVAILABLE, why);
    // whoever waits would hold what is shown to them for as long
    if watched.compute.is_busy() {
        return Err(busy("somebody else is asking; come again"));
    }
    let caller = Caller::of(&watched.switch, who);
    let mut batches = ring.batches(Instant::now());
    batches.retain(|batch| caller.may_see(Some(&batch.origin().tenant)));
    // what is gathered of them, and what is written of that, is about as large; nothing that is kept is to go for it
    let bytes = batches.iter().map(|batch| 2 * batch.held_bytes()).sum();
    if watched.budget.used().saturating_add(bytes) > watched.budget.levels().soft {
        return Err(busy("memory is short; come again"));
    }
    let permit = watched.budget.permit();
    permit.hold(bytes);
    let show = watched.show;
    let made = watched.compute.run(usize::MAX, move || {
        let shown = show(&question, &batches);
        drop(permit);
        shown
    });
    made.await.map_err(|panicked| {
        let fingerprint = panicked.fingerprint;
        tracing::error!(fingerprint, "a page panicked");
        Shown::said(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this cannot be shown; the log says where it broke",
        )
    })
}

/// The ring that is asked for. Two may keep the same profiles, so they are never put together.
fn ring(rings: &[Arc<Ring>], asked: Option<&str>) -> Result<Arc<Ring>, Shown> {
    let ids: Vec<&str> = rings.iter().map(|ring| &**ring.id()).collect();
    match (rings, asked) {
        ([], _) => {
            let why = "nothing is kept: add the exporter `recent` to a pipeline of profiles, behind `redaction`";
            Err(Shown::said(StatusCode::NOT_FOUND, why))
        }
        ([one], None) => Ok(one.clone()),
        (_, None) => {
            let why = format!(
                "several keep profiles; ask with &exporter= and one of {}",
                ids.join(", ")
            );
            Err(Shown::said(StatusCode::BAD_REQUEST, why))
        }
        (_, Some(id)) => rings.iter().find(|ring| **ring.id() == *id).cloned().ok_or_else(|| {
            let why = format!("no such exporter keeps profiles; there are {}", ids.join(", "));
            Shown::said(StatusCode::NOT_FOUND, why)
        }),
    }
}
