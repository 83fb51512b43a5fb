//! The body of an HTTP/1 request that was answered before it was read to its end, as refusals are.
//!
//! A connection that is closed over unread bytes is reset, and a reset takes the answer with it if the client has not read it
//! yet: the sender would not hear why, nor when to come back. So what still comes is read and thrown away for a while; whoever
//! sends all of it may even keep its connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// How long the rest of a body is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A body whose rest is thrown away when it is dropped.
pub(super) struct ReadOut(Option<Incoming>);

impl ReadOut {
    /// The body of a request. HTTP/2 tells its clients to stop; and who asks before sending need not be told.
    pub(super) fn of(request: Request<Incoming>) -> Request<axum::body::Body> {
        let needed = request.version() < Version::HTTP_2 && !request.headers().contains_key(EXPECT);
        match needed {
            true => request.map(|body| axum::body::Body::new(Self(Some(body)))),
            false => request.map(axum::body::Body::new),
        }
    }
}

impl Body for ReadOut {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for ReadOut {
    fn drop(&mut self) {
        let Some(mut rest) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        // without a runtime the connection is gone as well
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let read_out = async { while let Some(Ok(_)) = rest.frame().await {} };
                let _ = tokio::time::timeout(PATIENCE, read_out).await;
            });
        }
    }
}
