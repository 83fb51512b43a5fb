//! A backend for every exporter: it says yes, and keeps heads and bodies as they came.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::StreamBody;
use hyper::body::Frame;

/// Path and bytes of each request.
type Seen = Vec<(String, Vec<u8>)>;

/// The backend; it ends with the test's process.
pub struct Capture {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Capture {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let memory = seen.clone();
        let app = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let mut all = format!("{} {}\n", parts.method, parts.uri).into_bytes();
            for (name, value) in &parts.headers {
                all.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
            }
            all.extend(to_bytes(body, usize::MAX).await.unwrap());
            memory.lock().unwrap().push((parts.uri.path().to_owned(), all));
            answer(&parts.headers)
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await
            })
        });
        Self { port, seen }
    }

    /// Paths and requests so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// An empty message in the shape that the request has.
fn answer(asked: &HeaderMap) -> Response {
    let kind = asked.get("content-type").cloned();
    let mut answer = Response::builder();
    if let Some(kind) = &kind {
        answer = answer.header("content-type", kind);
    }
    match kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        true => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
            let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
            answer.body(Body::new(StreamBody::new(frames))).unwrap()
        }
        false => answer.body(Body::empty()).unwrap(),
    }
}
