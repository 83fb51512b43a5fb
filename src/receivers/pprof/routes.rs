//! POST `/v1/pprof`.

use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use http::request::Parts;

use crate::formats::Decoded;
use crate::net::body::Whole;
use crate::net::reply;
use crate::pipeline::outlet::{Arrival, Content};
use crate::pipeline::{Receipt, Refusal};
use crate::receivers::door::{Door, encodings};
use crate::receivers::series::Series;
use crate::receivers::unnamed::{self, Reading, Source};
use crate::receivers::window::{self, Window};

const PATH: &str = "/v1/pprof";

/// The only route.
pub(super) fn router(door: Door) -> Router {
    Router::new()
        .route(PATH, post(take))
        .with_state(door)
        .fallback(elsewhere)
}

async fn elsewhere() -> Response {
    let why = format!("nothing is served here; POST profiles to {PATH}\n");
    reply::answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", why)
}

async fn take(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match receive(&door, &parts, body).await {
        Ok(_) => Response::default(),
        Err(refusal) => reply::http_text(&refusal),
    }
}

async fn receive(door: &Door, parts: &Parts, body: Body) -> Result<Receipt, Refusal> {
    let origin = door.origin(parts)?;
    let encodings = door.checked(encodings(&parts.headers))?;
    let query = parts.uri.query().unwrap_or_default();
    let said = door.checked(Said::parse(query, origin.arrived))?;
    let Whole { bytes: sent, permit } = door.read(&parts.headers, body, 0).await?;
    let reading = Reading {
        limits: door.limits(),
        jfr: door.jfr(),
    };
    let decode = move |sent| {
        let (mut decoded, received) = unnamed::decode(Source::Body, sent, &encodings, &reading, &permit)?;
        said.write_to(&mut decoded);
        decoded.exact &= !window::date(&mut decoded.profiles, origin.arrived);
        Ok(vec![Arrival {
            content: Content::Profiles(decoded),
            received,
            origin,
            permit,
        }])
    };
    door.outlet().receive_body(sent, decode).await
}

/// What the query says of the profile.
struct Said {
    series: Option<Series>,
    window: Option<Window>,
}

impl Said {
    fn parse(query: &str, now: SystemTime) -> Result<Self, Refusal> {
        let find = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let series = find("name").map(|name| Series::parse(&name)).transpose();
        let (from, until) = (find("from"), find("until"));
        Ok(Self {
            series: series.map_err(|error| Refusal::Invalid(format!("name: {error}")))?,
            window: from
                .is_some()
                .then(|| Window::parse(from.as_deref(), until.as_deref(), now)),
        })
    }

    fn write_to(&self, decoded: &mut Decoded) {
        if let Some(series) = &self.series {
            series.write_to(&mut decoded.profiles);
        }
        if let Some(window) = &self.window {
            window.fill(&mut decoded.profiles);
        }
        // the bytes do not hold what the query says
        decoded.exact &= self.series.is_none() && self.window.is_none();
    }
}
