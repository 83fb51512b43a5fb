//! The first minute: a built-in recording with planted fake secrets goes through the front door, and the terminal says what became of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Uri;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::config::{Component, Config};
use crate::formats::any::decode_any;
use crate::formats::{Limits, otlp};
use crate::net::client::{Client, ClientSettings, Protocol};
use crate::profile::{KeyValue, Value};
use crate::telemetry::Metrics;

/// CPU profile of a Go program made to hold fake secrets in every field.
const RECORDING: &[u8] = include_bytes!("../../tests/data/planted-go123-cpu.pb.gz");
/// Whose profile it says it is.
const SERVICE: &str = "flamegate.quickstart";
/// Longest wait for the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends the recording and tells about it. What goes wrong is told as well, and changes nothing.
pub async fn greet(config: &Config, metrics: &Metrics) {
    let told = match show(config, metrics).await {
        Ok(text) => text,
        Err(why) => format!("The built-in recording did not come through: {why}.\n"),
    };
    println!("{told}\n{}", how_to_send(config));
}

async fn show(config: &Config, metrics: &Metrics) -> Result<String, String> {
    let folder = folder(config).ok_or("no exporter writes files")?;
    let before = files(&folder);
    push(config).await?;
    let asked = tokio::time::Instant::now();
    while asked.elapsed() < PATIENCE {
        if let Some(file) = files(&folder).difference(&before).next() {
            return Ok(report(metrics, file));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("no file appeared in {} within {PATIENCE:?}", folder.display()))
}

/// Through /ingest, or as OTLP where that port was busy.
async fn push(config: &Config) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    let (url, body) = match endpoint(config, "pyroscope", &["endpoint"]) {
        Some(endpoint) => (ingest_url(&endpoint), Bytes::from_static(RECORDING)),
        None => {
            let endpoint = endpoint(config, "otlp", &["protocols", "http", "endpoint"]);
            let endpoint = endpoint.ok_or("its ports are taken")?;
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            (format!("http://{endpoint}/v1development/profiles"), as_otlp()?)
        }
    };
    let uri: Uri = url
        .parse()
        .map_err(|_| "the address is not one that a URL can hold".to_owned())?;
    let client = Client::new(Protocol::Http, &ClientSettings::default()).map_err(|e| e.to_string())?;
    let answer = client.post(&uri, headers, body).await.map_err(|e| e.to_string())?;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(format!("the front door answered {}", answer.status)),
    }
}

fn ingest_url(endpoint: &str) -> String {
    let until = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let from = until.saturating_sub(10);
    format!("http://{endpoint}/ingest?name={SERVICE}&format=pprof&from={from}&until={until}")
}

fn as_otlp() -> Result<Bytes, String> {
    let read = decode_any(Bytes::from_static(RECORDING), &Limits::default()).map_err(|error| error.to_string())?;
    let mut profiles = read.decoded.profiles;
    let (dictionary, resources) = profiles.edit();
    let name = KeyValue {
        key: dictionary.strings.push("service.name"),
        value: Value::String(dictionary.strings.push(SERVICE)),
    };
    for resource in resources {
        resource.attributes.push(name.clone());
    }
    profiles.compact();
    Ok(otlp::encode(&profiles).into())
}

fn report(metrics: &Metrics, file: &Path) -> String {
    let mut text =
        "A built-in CPU recording with planted fake secrets went through the gate.\nRemoved from it:\n".to_owned();
    let removed = removed(&metrics.text());
    let widest = removed.iter().map(|(rule, ..)| rule.len()).max().unwrap_or_default();
    for (rule, carrier, count) in &removed {
        text.push_str(&format!("  {count:>5}  {rule:<widest$}  in {carrier}\n"));
    }
    if removed.is_empty() {
        text.push_str("      nothing\n");
    }
    let file = file.display();
    text.push_str(&format!(
        "What is left: {file}\n\nLook at it:\n  go tool pprof -top {file}\n"
    ));
    text.push_str(&format!(
        "  drop {file} on https://www.speedscope.app (it stays in your browser)\n"
    ));
    text
}

/// Rule, carrier and count of everything removed, from the metrics that everyone else sees.
fn removed(metrics: &str) -> Vec<(String, String, u64)> {
    let mut removed = Vec::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("flamegate_redactions_total{") else {
            continue;
        };
        let Some((labels, count)) = rest.rsplit_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            let (_, value) = labels.split_once(&format!("{name}=\""))?;
            value.split('"').next().map(str::to_owned)
        };
        if let (Some(rule), Some(carrier), Ok(count)) = (label("rule"), label("carrier"), count.parse()) {
            removed.push((rule, carrier, count));
        }
    }
    removed.sort();
    removed
}

fn how_to_send(config: &Config) -> String {
    let mut text = "Send your own:\n".to_owned();
    if let Some(endpoint) = endpoint(config, "pyroscope", &["endpoint"]) {
        text.push_str(&format!(
            "  curl --data-binary @cpu.pb.gz \"http://{endpoint}/ingest?name=my-app&format=pprof&from=$(($(date +%s)-10))&until=$(date +%s)\"\n"
        ));
    }
    if let Some(endpoint) = endpoint(config, "otlp", &["protocols", "grpc", "endpoint"]) {
        text.push_str(&format!("  OTLP profiles over gRPC to {endpoint}"));
        match self::endpoint(config, "otlp", &["protocols", "http", "endpoint"]) {
            Some(endpoint) => text.push_str(&format!(", over HTTP to http://{endpoint}/v1development/profiles\n")),
            None => text.push('\n'),
        }
    }
    text.push_str("Ctrl-C drains and stops.\n");
    text
}

fn endpoint(config: &Config, type_name: &str, path: &[&str]) -> Option<String> {
    text(
        config
            .receivers
            .iter()
            .find(|component| component.type_name == type_name)?,
        path,
    )
}

fn folder(config: &Config) -> Option<PathBuf> {
    let files = config
        .exporters
        .iter()
        .filter(|component| component.type_name == "file");
    files
        .filter_map(|component| text(component, &["directory"]))
        .map(PathBuf::from)
        .next()
}

fn text(component: &Component, path: &[&str]) -> Option<String> {
    let mut value = &component.raw;
    for key in path {
        value = value.get(key)?;
    }
    value.as_str().map(str::to_owned)
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let finished = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    finished.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_read_from_the_metrics() {
        let text = "# TYPE x\nflamegate_redactions_total{rule=\"secrets\",carrier=\"label_value\"} 3\nother 1\nflamegate_redactions_total{rule=\"emails\",carrier=\"function\"} 1\n";
        assert_eq!(
            removed(text),
            [
                ("emails".into(), "function".into(), 1),
                ("secrets".into(), "label_value".into(), 3)
            ]
        );
    }
}
