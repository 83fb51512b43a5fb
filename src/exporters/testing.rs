//! A backend that answers as told and remembers what it was sent.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use prost::Message;

use crate::formats::otlp::Traces;
use crate::formats::{Decoded, Format, Limits, any, pprof};
use crate::pipeline::batch::{Batch, Origin, Received};
use crate::pipeline::budget::Permit;
use crate::pipeline::spec::BuildContext;
use crate::profile::{KeyValue, Profiles, Value};
use crate::telemetry::Metrics;

/// What the backend answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    status: u16,
    headers: HeaderMap,
    trailers: HeaderMap,
    body: Bytes,
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub(super) fn trailer(mut self, name: &'static str, value: &str) -> Self {
        self.trailers.insert(name, value.parse().unwrap());
        self
    }

    pub(super) fn body(mut self, body: &'static str) -> Self {
        self.body = Bytes::from_static(body.as_bytes());
        self
    }

    fn response(self) -> Response {
        let trailers = self.trailers;
        let body = Full::new(self.body).with_trailers(std::future::ready(Some(Ok(trailers))));
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = self.status.try_into().unwrap();
        response.headers_mut().extend(self.headers);
        response
    }
}

/// What the backend was sent last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) struct Server {
    pub(super) url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// Starts a backend on a free port; it ends with the test's runtime.
pub(super) async fn serve(reply: Reply) -> Server {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let memory = seen.clone();
    let app = axum::Router::new().fallback(move |request: Request| async move {
        let (parts, body) = request.into_parts();
        *memory.lock().unwrap() = Seen {
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        reply.response()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    Server { url, seen }
}

pub(super) fn context(id: &str) -> BuildContext {
    BuildContext::new(id, Arc::new(Metrics::default()))
}

/// A batch of three profiles that came as the OTLP request `bytes`.
pub(super) fn batch(bytes: &'static [u8]) -> Batch {
    let decoded = Decoded {
        exact: true,
        ..Decoded::default()
    };
    let received = Received {
        format: Format::Otlp,
        bytes: Bytes::from_static(bytes),
    };
    Batch::profiles(decoded, received, Arc::new(Origin::local("test")), Permit::unlimited()).with_weight(3)
}

/// A batch of spans that came as protobuf.
pub(super) fn traces_batch() -> Batch {
    let bytes = Bytes::from(crate::testing::traces::request(2, 3).encode_to_vec());
    let received = Received {
        format: Format::Otlp,
        bytes: bytes.clone(),
    };
    let traces = Traces::new(bytes, &Limits::default()).unwrap();
    Batch::traces(traces, received, Arc::new(Origin::local("test")), Permit::unlimited())
}

/// A recording of our own.
pub(super) fn recording(name: &str) -> Profiles {
    match any::decode_any(crate::testing::data(name).into(), &Limits::default()) {
        Ok(read) => read.decoded.profiles,
        Err(error) => panic!("{name}: {error}"),
    }
}

/// A recording of our own as it came in pprof, after `change`; with its bytes if `received`.
pub(super) fn pprof_batch(change: impl FnOnce(&mut Profiles), received: bool) -> Batch {
    // in the order in which we write it, so that the bytes may stand for the profile
    let bytes = Bytes::from(any::encode(Format::Pprof, &recording("go123-heap.pb.gz"), usize::MAX).unwrap());
    let mut decoded = pprof::decode(&bytes, &Limits::default()).unwrap();
    change(&mut decoded.profiles);
    decoded.exact &= received;
    let format = Format::Pprof;
    let origin = Arc::new(Origin::local("test"));
    Batch::profiles(decoded, Received { format, bytes }, origin, Permit::unlimited())
}

/// The same of a resource with one attribute, `zone`.
pub(super) fn batch_in_zone(zone: &str, received: bool) -> Batch {
    let tell = |profiles: &mut Profiles| {
        let (dictionary, resources) = profiles.edit();
        let key = dictionary.strings.push("zone");
        let value = Value::String(dictionary.strings.push(zone));
        resources[0].attributes.push(KeyValue { key, value });
    };
    pprof_batch(tell, received)
}

pub(super) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}
