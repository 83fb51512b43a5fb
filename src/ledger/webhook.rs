//! Tells alerts to somebody else's server.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri};

use super::alert::Alert;
use crate::net::client::{Client, ClientConfigError, ClientSettings, Headers, Protocol, Reach, retry_after};
use crate::net::tls::ClientTlsConfig;
use crate::pipeline::plan::Webhook;

/// Attempts for one alert.
const ATTEMPTS: u32 = 10;
/// Pause behind the first of them, which doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause, also where the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// By this a server knows what it has already.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A webhook, ready to be told.
#[derive(Clone)]
pub struct Hook {
    client: Client,
    uri: Uri,
    timeout: Duration,
}

/// How one attempt ended that came to nothing.
#[derive(Debug)]
struct Failed {
    why: String,
    /// When to try again; never if none.
    again: Option<Duration>,
}

impl Hook {
    /// Checks what was configured. Connects to nothing.
    pub fn new(webhook: &Webhook) -> Result<Self, ClientConfigError> {
        let reach = Reach {
            // whoever writes the address into the configuration may mean this machine; nobody means where clouds keep credentials
            loopback: true,
            ..Reach::default()
        };
        let uri = address(webhook.url.expose(), &reach)?;
        let mut headers = Headers::default();
        for (name, value) in &webhook.headers {
            headers.insert(name, value.clone());
        }
        let settings = ClientSettings {
            tls: ClientTlsConfig {
                ca_file: webhook.ca_file.clone(),
                ..ClientTlsConfig::default()
            },
            headers,
            proxy_url: webhook.proxy_url.clone(),
            ..ClientSettings::default()
        };
        let client = Client::within(reach, Protocol::Http, &settings).map_err(|wrong| ClientConfigError {
            path: wrong.path.trim_start_matches("tls.").to_owned(),
            message: wrong.message,
        })?;
        Ok(Self {
            client,
            uri,
            timeout: webhook.timeout,
        })
    }

    /// Tells an alert, and again while it may help. Says why it came to nothing.
    pub async fn tell(&self, alert: &Alert) -> Result<(), String> {
        let body = Bytes::from(alert.json().to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&alert.key.id()) {
            headers.insert(IDEMPOTENCY_KEY, id);
        }
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let failed = match self.attempt(headers.clone(), body.clone()).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let Some(hint) = failed.again.filter(|_| attempt < ATTEMPTS) else {
                return Err(failed.why);
            };
            tokio::time::sleep(hint.clamp(pause, LONGEST_PAUSE)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    async fn attempt(&self, headers: HeaderMap, body: Bytes) -> Result<(), Failed> {
        let again = Some(Duration::ZERO);
        let posted = tokio::time::timeout(self.timeout, self.client.post(&self.uri, headers, body)).await;
        let answer = match posted {
            Err(_) => {
                let why = "no answer within the timeout".to_owned();
                return Err(Failed { why, again });
            }
            Ok(Err(error)) => {
                let why = error.to_string();
                return Err(Failed { why, again });
            }
            Ok(Ok(answer)) => answer,
        };
        if answer.status.is_success() {
            return Ok(());
        }
        let may_help = answer.status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status);
        let hint = retry_after(&answer.headers, SystemTime::now()).unwrap_or_default();
        Err(Failed {
            why: format!("it answered {}", answer.status),
            again: may_help.then_some(hint),
        })
    }
}

/// Reads the address. The error never quotes it: it may hold a token.
fn address(text: &str, reach: &Reach) -> Result<Uri, ClientConfigError> {
    let wrong = |message: &str| ClientConfigError {
        path: "url".to_owned(),
        message: message.to_owned(),
    };
    let uri: Uri = text
        .parse()
        .map_err(|_| wrong("not a URL; write it as https://host/path"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => {}
        (Some("http" | "https"), Some(_)) => {
            return Err(wrong(
                "credentials do not belong before a host; set them under `headers`",
            ));
        }
        _ => return Err(wrong("a URL begins with http:// or https:// and a host")),
    }
    match reach.holds_url(text) {
        true => Ok(uri),
        false => Err(wrong(
            "an address that no webhook has: link-local, or one where clouds keep credentials",
        )),
    }
}
