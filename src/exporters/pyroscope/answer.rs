//! What a server's answer means for the part that was sent.
//!
//! The message of an error quotes labels of the profile, so it is never passed on: the code is told, and of the message only
//! which of the sentences known here it is.

use std::time::SystemTime;

use http::StatusCode;
use serde::Deserialize;

use crate::exporters::settings;
use crate::net::client::{Answer, retry_after};
use crate::pipeline::component::{ExportError, Sent};

/// A server's default burst: one profile above it is over the rate for ever.
const BURST: usize = 2 << 20;

/// The codes of Connect.
const CODES: [&str; 16] = [
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// What a message says behind the labels, and our word for it.
const SENTENCES: [(&str, Meaning); 11] = [
    ("exceeds the size limit", Meaning::TooLarge),
    ("exceeds the samples count limit", Meaning::TooLarge),
    ("uncompressed profile payload size exceeds limit", Meaning::TooLarge),
    (
        "is outside of ingestion window",
        Meaning::Says("outside the server's window of time; set `max_age` and `max_future` to it"),
    ),
    (
        "exceeds the sample labels limit",
        Meaning::Says("too many labels on a sample"),
    ),
    (
        "has duplicate label name",
        Meaning::Says("a label twice; before 2.0 the server wants `label_names: legacy`"),
    ),
    (
        "has label name too long",
        Meaning::Says("the name of a label is too long"),
    ),
    (
        "has label value too long",
        Meaning::Says("the value of a label is too long"),
    ),
    (
        "with error",
        Meaning::Says("a label that the server does not take; one before 2.0 wants `label_names: legacy`"),
    ),
    ("label names; limit", Meaning::Says("too many labels")),
    ("sample type contains -", Meaning::Says("a `-` in the name of a type")),
];

#[derive(Clone, Copy)]
enum Meaning {
    /// Halves of it may pass.
    TooLarge,
    Says(&'static str),
}

/// Connect's JSON of an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    code: String,
    message: String,
}

impl Failure {
    fn code(&self) -> Option<&'static str> {
        CODES.into_iter().find(|code| *code == self.code)
    }

    /// Whether the same may succeed later, by the words of Connect: 499 is what a server says that gave up itself.
    fn may_pass(&self) -> bool {
        matches!(
            self.code(),
            Some("canceled" | "aborted" | "unavailable" | "deadline_exceeded")
        )
    }

    fn meaning(&self) -> Option<Meaning> {
        // labels stand in front, in quotes, and may say anything
        let sentence = self.message.rsplit("}' ").next().unwrap_or_default();
        let known = SENTENCES.iter().find(|(words, _)| sentence.contains(words));
        known.map(|(_, meaning)| *meaning)
    }
}

/// What follows from the answer to a part of so many bytes before compression.
pub(super) fn judge(answer: &Answer, plain_bytes: usize) -> Result<Sent, ExportError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(Sent::default());
    }
    let failure: Failure = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut what = status.to_string();
    if let Some(code) = failure.code() {
        what = format!("{what} ({code})");
    }
    let hint = retry_after(&answer.headers, SystemTime::now());
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Err(ExportError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS if plain_bytes > BURST => Err(ExportError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(settings::retry(what, hint)),
        _ if status.is_server_error() || failure.may_pass() => Err(settings::retry(what, hint)),
        _ => match failure.meaning() {
            Some(Meaning::TooLarge) => Err(ExportError::TooLarge),
            Some(Meaning::Says(why)) => Err(settings::refused(format!("{what}: {why}"))),
            None => Err(settings::refused(what)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: String, bytes: usize) -> Result<Sent, ExportError> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            trailers: http::HeaderMap::new(),
            body: body.into(),
        };
        judge(&answer, bytes)
    }

    fn error(code: &str, message: &str) -> String {
        serde_json::json!({ "code": code, "message": message }).to_string()
    }

    #[test]
    fn every_status_has_its_consequence() {
        assert!(judged(200, "{}".to_owned(), 1).is_ok());
        for status in [408, 429, 500, 503] {
            let answer = judged(status, error("unavailable", "planted-token"), 1);
            let Err(ExportError::Retry { why, .. }) = answer else {
                panic!("{status}")
            };
            assert!(why.ends_with("(unavailable)"), "{why}");
        }
        for (status, code) in [(499, "canceled"), (409, "aborted"), (400, "deadline_exceeded")] {
            let answer = judged(status, error(code, "planted-token"), 1);
            assert!(matches!(answer, Err(ExportError::Retry { .. })), "{code}");
        }
        assert_eq!(judged(429, String::new(), 3 << 20), Err(ExportError::TooLarge));
        assert_eq!(judged(413, String::new(), 1), Err(ExportError::TooLarge));
        for status in [400, 401, 404, 422] {
            for body in [
                "planted-token".to_owned(),
                error("planted-token", "planted-token"),
                "[7]".to_owned(),
            ] {
                let Err(ExportError::Permanent { why }) = judged(status, body, 1) else {
                    panic!("{status}")
                };
                assert!(!why.contains("planted-token"), "{why}");
            }
        }
    }

    #[test]
    fn a_refusal_tells_its_code_and_what_it_says_and_never_a_label() {
        let labels = r#"{__name__="process_cpu", k="exceeds the size limit planted-token"}"#;
        for (message, expected) in [
            (
                format!("profile with labels '{labels}' is outside of ingestion window (profile timestamp: x, y)"),
                "window of time",
            ),
            (
                format!("profile series '{labels}' has 31 label names; limit 30"),
                "too many labels",
            ),
            (
                format!("profile with labels '{labels}' has duplicate label name: 'planted-token'"),
                "a label twice",
            ),
            (
                format!("invalid labels '{labels}' with error: invalid label name 'planted-token'"),
                "does not take",
            ),
            ("sample type contains -".to_owned(), "name of a type"),
            ("something new about planted-token".to_owned(), "(invalid_argument)"),
        ] {
            let Err(ExportError::Permanent { why }) = judged(400, error("invalid_argument", &message), 1) else {
                panic!("{message}")
            };
            assert!(why.contains("400") && why.contains("(invalid_argument)"), "{why}");
            assert!(why.contains(expected) && !why.contains("planted-token"), "{why}");
        }
        for message in [
            format!(
                "the profile with labels '{labels}' exceeds the size limit (max_profile_size_byte, actual: 5, limit: 4)"
            ),
            format!(
                "the profile with labels '{labels}' exceeds the samples count limit (max_profile_stacktrace_samples, actual: 5, limit: 4)"
            ),
            "uncompressed profile payload size exceeds limit of 4.2 MB".to_owned(),
        ] {
            assert_eq!(
                judged(400, error("invalid_argument", &message), 1),
                Err(ExportError::TooLarge),
                "{message}"
            );
        }
    }
}
