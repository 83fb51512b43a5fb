//! Requests that HTTP forgets: one that is handed to a connection at the moment in which that ends may be neither answered nor refused,
//! by hyper and tokio as they are (a message sent into a channel while its receiver is dropped stays there as long as the sender).

use std::time::Duration;

use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, capture_connection};
use tokio_util::sync::CancellationToken;

/// After its connection ended, a request is over in no time, or is sent again on another one, which is to stand by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a connection holds as long as it lives.
pub(super) struct Life(CancellationToken);

impl Life {
    pub(super) fn begin() -> Self {
        Self(CancellationToken::new())
    }

    /// What requests are told about their connection.
    pub(super) fn tell(&self, connected: Connected) -> Connected {
        connected.extra(End(self.0.clone()))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The end of a connection.
#[derive(Clone)]
struct End(CancellationToken);

/// The connection that a request is sent on.
pub(super) struct Way(CaptureConnection);

impl Way {
    pub(super) fn of<B>(request: &mut Request<B>) -> Self {
        Self(capture_connection(request))
    }

    /// Ends when the connection has ended and there is no other one after some time: whoever still waits for an answer then waits in vain.
    pub(super) async fn lost(mut self) {
        loop {
            self.end().await.0.cancelled().await;
            tokio::time::sleep(PATIENCE).await;
            if self.end().await.0.is_cancelled() {
                return;
            }
        }
    }

    /// That of the newest connection, as soon as there is one.
    async fn end(&mut self) -> End {
        let mut told = Extensions::new();
        if let Some(connected) = &*self.0.wait_for_connection_metadata().await {
            connected.get_extras(&mut told);
        }
        match told.remove() {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use http_body_util::Full;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::net::client::{Client, ClientSettings, Protocol};

    #[tokio::test(start_paused = true)]
    async fn a_request_is_lost_some_time_after_its_connection_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        for protocol in [Protocol::Http, Protocol::Http2] {
            let client = Client::new(protocol, &ClientSettings::default()).unwrap();
            let mut request = Request::get(&uri).body(Full::<Bytes>::default()).unwrap();
            let way = Way::of(&mut request);
            let mut told = way.0.clone();
            let mut forgotten = pin!(client.pool.request(request));
            tokio::select! {
                _ = &mut forgotten => panic!("nobody answers"),
                _ = told.wait_for_connection_metadata() => {}
            }
            let (connection, _) = listener.accept().await.unwrap();
            let mut lost = pin!(way.lost());
            tokio::time::sleep(10 * PATIENCE).await;
            assert!(lost.as_mut().now_or_never().is_none());
            drop(connection);
            // the clock of the test does not wait for the system to tell
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(5));
                tokio::task::yield_now().await;
            }
            let ended = Instant::now();
            tokio::time::timeout(10 * PATIENCE, lost).await.expect("it ends");
            assert!(ended.elapsed() >= PATIENCE);
        }
    }
}
