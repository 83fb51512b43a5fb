//! A visit to a target: its profiles are fetched one after the other, and handed over each on its own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::delta;
use super::memory::Memory;
use super::schedule::Id;
use super::{Capture, Target};
use crate::formats::compress::ContentEncoding;
use crate::net::body::{self, BodyLimits, Unread, Whole};
use crate::net::client::ClientError;
use crate::pipeline::outlet::{Arrival, Content};
use crate::pipeline::{Origin, Outlet, Permit, Refusal};
use crate::receivers::door::encodings;
use crate::receivers::unnamed::{self, Reading, Source};
use crate::receivers::window::Window;
use crate::telemetry::{Health, ScrapeMetrics, Visited};

/// What is taken off again.
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, zstd, deflate");

/// Visits targets.
pub(super) struct Visitor {
    pub out: Outlet,
    pub reading: Reading,
    /// Largest answer as sent.
    pub max_bytes: usize,
    pub memory: Arc<Memory>,
    pub metrics: ScrapeMetrics,
}

/// Why a profile was not brought. No address, no header and no text of an answer is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the gate has no room")]
    Full,
    #[error("{0}")]
    Unreachable(String),
    #[error("its address is not one of those that may be visited: see `allowed_networks`")]
    OutOfReach,
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it answered {0}; redirects are not followed: name the address that it leads to")]
    Redirect(StatusCode),
    #[error("{0}")]
    Broken(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Invalid(String),
}

impl Failure {
    /// The metric label.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unreachable(_) => "unreachable",
            Self::OutOfReach => "out_of_reach",
            Self::Timeout(_) => "timeout",
            Self::Status(_) | Self::Redirect(_) => "status",
            Self::Broken(_) => "broken",
            Self::TooLarge(_) => "too_large",
            Self::Invalid(_) => "invalid",
        }
    }

    /// Whether the next profile of the target would fail in the same way. A slow one says nothing of the others.
    const fn ends_the_visit(&self) -> bool {
        matches!(self, Self::Full | Self::Unreachable(_) | Self::OutOfReach)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::OutOfReach => Self::OutOfReach,
            ClientError::Connect(_) => Self::Unreachable(error.to_string()),
            ClientError::Broken(_) | ClientError::AnswerTooLarge(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            refusal if refusal.is_for_now() => Self::Full,
            Refusal::TooLarge { why, .. } => Self::TooLarge(why),
            other => Self::Invalid(other.to_string()),
        }
    }
}

/// What a visit came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub visited: Visited,
    /// The last thing that went wrong.
    pub failure: Option<Failure>,
}

/// An answer, whole.
struct Answer {
    bytes: Bytes,
    permit: Permit,
    encodings: Vec<ContentEncoding>,
    /// When it was asked for, and if measuring took its time when that was over.
    window: Window,
}

impl Visitor {
    /// Fetches all profiles of a target. None if the gate had no room, which says nothing of the target.
    pub(super) async fn visit(&self, id: Id, target: &Target) -> Option<Outcome> {
        let began = Instant::now();
        let (mut brought, mut failure, mut why) = (false, None, String::new());
        for (position, capture) in target.captures.iter().enumerate() {
            let result = self.bring((id, position), target, capture).await;
            self.metrics.scraped(result.as_ref().err().map_or("ok", Failure::label));
            match result {
                Ok(()) => brought = true,
                Err(Failure::Full) if !brought && failure.is_none() => return None,
                Err(failed) => {
                    why = format!("{}: {failed}", capture.name);
                    let ends = failed.ends_the_visit();
                    failure = Some(failed);
                    if ends {
                        break;
                    }
                }
            }
        }
        let visited = Visited {
            health: if brought { Health::Up } else { Health::Down },
            why,
            at: Some(SystemTime::now()),
            took: began.elapsed(),
        };
        Some(Outcome { visited, failure })
    }

    async fn bring(&self, key: (Id, usize), target: &Target, capture: &Capture) -> Result<(), Failure> {
        // what nobody has room for is not measured
        self.out.admit()?;
        let answer = timeout(capture.timeout, self.fetch(target, capture)).await;
        let answer = answer.map_err(|_| Failure::Timeout(capture.timeout))??;
        self.hand_over(key, target, capture, answer).await
    }

    async fn fetch(&self, target: &Target, capture: &Capture) -> Result<Answer, Failure> {
        let uri: Result<Uri, _> = format!("{}{}", target.base, capture.path).parse();
        let uri = uri.map_err(|_| Failure::Invalid("its address is no URL".to_owned()))?;
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, ENCODINGS)]);
        let from = SystemTime::now();
        let answer = target.client.open(&uri, headers).await?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(Failure::Redirect(status)),
            status => return Err(Failure::Status(status)),
        }
        let (head, body) = answer.into_parts();
        let encodings = encodings(&head.headers)?;
        let limits = BodyLimits {
            max_bytes: self.max_bytes,
            read_timeout: capture.timeout,
        };
        let whole = body::read(&head.headers, Body::new(body), self.out.budget(), &limits).await;
        let Whole { bytes, permit } = whole.map_err(|unread| self.unread(unread, capture))?;
        Ok(Answer {
            bytes,
            permit,
            encodings,
            window: Window::between(from, (!capture.takes.is_zero()).then(SystemTime::now)),
        })
    }

    fn unread(&self, unread: Unread, capture: &Capture) -> Failure {
        match unread {
            Unread::TooSlow => Failure::Timeout(capture.timeout),
            Unread::Refused(Refusal::Invalid(_)) => Failure::Broken("the answer ends before it is complete".to_owned()),
            Unread::Refused(refusal) => {
                self.out.refused(&refusal);
                match refusal {
                    Refusal::TooLarge { .. } => {
                        Failure::TooLarge(format!("the answer is larger than {} bytes", self.max_bytes))
                    }
                    other => other.into(),
                }
            }
        }
    }

    /// Decodes and hands over. Counters are remembered when the pipeline has taken what was made of them: if it has not, the next
    /// difference is that of two intervals, and nothing is lost.
    async fn hand_over(
        &self,
        key: (Id, usize),
        target: &Target,
        capture: &Capture,
        answer: Answer,
    ) -> Result<(), Failure> {
        let (reading, memory) = (self.reading, self.memory.clone());
        let origin = Arc::new(Origin {
            tenant: target.tenant.clone(),
            ..Origin::local(self.out.receiver())
        });
        let mut labels = target.labels.clone();
        if let Some(name) = capture.pyroscope_name {
            labels.say("pyroscope.name", name);
        }
        let subtracts = capture.delta;
        let before = self.memory.recall(key).filter(|_| subtracts);
        let (tell, told) = oneshot::channel();
        let Answer {
            bytes,
            permit,
            encodings,
            window,
        } = answer;
        let decode = move |sent| {
            let (mut decoded, received) = unnamed::decode(Source::Body, sent, &encodings, &reading, &permit)?;
            window.fill(&mut decoded.profiles);
            if subtracts {
                let counters = delta::subtract(&mut decoded.profiles, before.as_deref(), &memory.hasher, &permit)?;
                // whoever asked may be gone
                let _ = tell.send(counters);
            }
            labels.write_to(&mut decoded.profiles);
            // the bytes say nothing of labels and of scrapes before
            decoded.exact = false;
            if decoded.profiles.is_empty() && decoded.rejected.profiles == 0 {
                return Ok(Vec::new());
            }
            Ok(vec![Arrival {
                content: Content::Profiles(decoded),
                received,
                origin,
                permit,
            }])
        };
        self.out.receive_body(bytes, decode).await?;
        if let Ok(Some((compared, counters))) = told.await {
            let fits = self.memory.keep(key, counters, Instant::now());
            self.metrics.compared(if fits { compared.label() } else { "no_room" });
        }
        Ok(())
    }
}
