//! Reads the body of a request: bounded in bytes and time, under a permit that grows with what has come, never with what was announced.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http_body_util::BodyExt;

use crate::pipeline::{Budget, Limit, Permit, Refusal};

/// Permits grow in steps of so many bytes: often enough to be true, seldom enough to be cheap.
const STEP: usize = 256 << 10;

/// What a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes as sent, before decompression.
    pub max_bytes: usize,
    /// Time from the head of the request to the end of its body.
    pub read_timeout: Duration,
}

/// A whole body, with the memory that it holds.
#[derive(Debug)]
pub struct Whole {
    /// The bytes as sent.
    pub bytes: Bytes,
    /// The permit that covers them.
    pub permit: Permit,
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It took longer than the read timeout.
    TooSlow,
    /// Something in it is wrong, or there is no room for it.
    Refused(Refusal),
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            // a slow network is no reason to lose a profile, so this is no 400
            Unread::TooSlow => Self::no_room("the body did not arrive within the read timeout"),
            Unread::Refused(refusal) => refusal,
        }
    }
}

/// Reads a whole body.
pub async fn read(headers: &HeaderMap, body: Body, budget: &Budget, limits: &BodyLimits) -> Result<Whole, Unread> {
    if announced(headers).is_some_and(|bytes| bytes > limits.max_bytes as u64) {
        return Err(Unread::Refused(too_large(limits)));
    }
    match tokio::time::timeout(limits.read_timeout, collect(body, budget, limits)).await {
        Ok(whole) => whole.map_err(Unread::Refused),
        Err(_) => Err(Unread::TooSlow),
    }
}

async fn collect(mut body: Body, budget: &Budget, limits: &BodyLimits) -> Result<Whole, Refusal> {
    let permit = budget.permit();
    // most bodies are one frame, which is taken as it is
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::Invalid("the body ends before it is complete".to_owned()));
        };
        // trailers say nothing that a receiver needs
        let Ok(data) = frame.into_data() else { continue };
        let read = first.len() + all.len() + data.len();
        if read > limits.max_bytes {
            return Err(too_large(limits));
        }
        let steps = read.next_multiple_of(STEP);
        if steps > permit.bytes() {
            permit.set(steps)?;
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    let bytes = if all.is_empty() { first } else { all.freeze() };
    permit.set(bytes.len())?;
    Ok(Whole { bytes, permit })
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limits: &BodyLimits) -> Refusal {
    let why = format!(
        "the body is larger than {} bytes; send less in one request",
        limits.max_bytes
    );
    Refusal::too_large(Limit::Body, why)
}

/// The media type of a request without its parameters, lower case; empty if it has none.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let before = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    before.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::pipeline::OutOfBudget;

    const LIMITS: BodyLimits = BodyLimits {
        max_bytes: 1 << 20,
        read_timeout: Duration::from_secs(5),
    };

    fn chunks(sizes: &[usize]) -> Body {
        let chunks: Vec<Result<Vec<u8>, Infallible>> = sizes.iter().map(|size| Ok(vec![7; *size])).collect();
        Body::from_stream(stream::iter(chunks))
    }

    async fn read_with(body: Body, budget: &Budget, length: Option<&str>) -> Result<Whole, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
        }
        Ok(read(&headers, body, budget, &LIMITS).await?)
    }

    #[tokio::test]
    async fn the_permit_holds_what_was_read_and_gives_it_back() {
        let budget = Budget::new(4 << 20);
        for sizes in [&[][..], &[10], &[300_000, 5, 0, 700_000]] {
            let whole = read_with(chunks(sizes), &budget, None).await.unwrap();
            assert_eq!(whole.bytes.len(), sizes.iter().sum::<usize>());
            assert_eq!(budget.used(), whole.bytes.len());
            drop(whole);
            assert_eq!(budget.used(), 0);
        }
    }

    #[tokio::test]
    async fn too_large_is_said_at_the_announcement_or_when_it_shows() {
        let budget = Budget::new(4 << 20);
        let never = Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>());
        let announced = read_with(never, &budget, Some("1048577")).await;
        assert!(matches!(announced, Err(Refusal::TooLarge { .. })), "{announced:?}");
        let shown = read_with(chunks(&[1 << 20, 1]), &budget, None).await;
        assert!(matches!(shown, Err(Refusal::TooLarge { .. })), "{shown:?}");
        assert!(read_with(chunks(&[1 << 20]), &budget, Some("1048576")).await.is_ok());
        assert_eq!(budget.used(), 0);
    }

    /// The answer when others hold the memory.
    fn full() -> Refusal {
        OutOfBudget::Full.into()
    }

    #[tokio::test]
    async fn no_memory_is_no_fault_of_the_sender() {
        let budget = Budget::new(2 * STEP);
        let others = budget.permit();
        others.grow(STEP).unwrap();
        let refused = read_with(chunks(&[STEP, 1]), &budget, None).await;
        assert_eq!(refused.unwrap_err(), full());
        assert_eq!(budget.used(), STEP);
        // an announcement alone takes nothing
        assert!(read_with(chunks(&[1]), &budget, Some("1000000")).await.is_ok());
        drop(others);
        assert!(read_with(chunks(&[STEP, 1]), &budget, None).await.is_ok());
    }

    #[tokio::test]
    async fn what_never_fits_is_too_large() {
        let refused = read_with(chunks(&[STEP, 1]), &Budget::new(STEP), None).await;
        assert!(matches!(refused, Err(Refusal::TooLarge { .. })), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_memory_is_said_as_soon_as_it_shows() {
        let budget = Budget::new(2 * STEP);
        let others = budget.permit();
        others.grow(STEP).unwrap();
        let some = stream::iter([vec![7; STEP], vec![7]].map(Ok::<_, Infallible>));
        let body = Body::from_stream(some.chain(stream::pending()));
        assert_eq!(read_with(body, &budget, None).await.unwrap_err(), full());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let budget = Budget::new(4 << 20);
        let never = Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>());
        let unread = read(&HeaderMap::new(), never, &budget, &LIMITS).await.unwrap_err();
        assert_eq!(unread, Unread::TooSlow);
        assert!(matches!(Refusal::from(unread), Refusal::Unavailable { .. }));
    }
}
