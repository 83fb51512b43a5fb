//! `send`: pushes files into a running gate, or into any backend that an exporter can reach.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::Failure;
use super::files::{self, FormatName};
use crate::config::{Environment, filled_in};
use crate::exporters;
use crate::formats::Decoded;
use crate::formats::quantity::counted;
use crate::pipeline::spec::{BuildContext, BuildError, BuiltExporter, ExporterSpec, Unit};
use crate::pipeline::{Batch, ExportError, Origin, Permit};
use crate::profile::Profiles;

/// Attempts for one request.
const ATTEMPTS: u32 = 4;
/// Wait after the first failed attempt; doubled after each next one.
const PAUSE: Duration = Duration::from_millis(500);

/// What `send` takes.
#[derive(Args)]
pub struct SendArgs {
    /// Files to send, `-` for the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// http://HOST:4040 (Pyroscope), http://HOST:4318 (OTLP/HTTP), grpc://HOST:4317 (OTLP/gRPC)
    #[arg(long, value_name = "URL")]
    to: String,
    /// Exporter to send with, where the URL does not tell
    #[arg(long, value_name = "TYPE")]
    exporter: Option<String>,
    /// Header of every request; a token may stand in it as ${env:NAME} or ${file:PATH}
    #[arg(long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// Format of the files; told from their content otherwise
    #[arg(long, value_enum)]
    from: Option<FormatName>,
}

/// Sends every file; one that cannot be sent keeps no other.
pub fn send(args: &SendArgs) -> Result<(), Failure> {
    let (row, config) = target(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Trouble(error.to_string()))?;
    let guard = runtime.enter();
    let cx = BuildContext::new("send", Arc::default());
    let built = (row.build)(config, &cx).map_err(|error| not_built(&error))?;
    drop(guard);
    let sent = args
        .files
        .iter()
        .map(|path| send_file(path, args, row, &built, &runtime));
    let failures: Vec<Failure> = sent.filter_map(Result::err).collect();
    runtime.block_on(built.exporter.close());
    all(failures, args.files.len())
}

fn send_file(
    path: &Path,
    args: &SendArgs,
    row: &ExporterSpec,
    built: &BuiltExporter,
    runtime: &Runtime,
) -> Result<(), Failure> {
    let input = files::read(path, args.from)?;
    files::warn_of_rejected(&input.decoded);
    let sent = runtime.block_on(deliver(built, row.unit, input.decoded));
    let sent = sent.map_err(|error| {
        let (path, to) = (path.display(), place(&args.to));
        // the port may have told wrong
        let guess = match args.exporter {
            None => format!(" (by exporter `{}`; --exporter names another)", row.about.name),
            Some(_) => String::new(),
        };
        Failure::No(format!("{path}: not sent to {to}: {error}{guess}"))
    })?;
    let (path, profiles) = (path.display(), counted(sent.profiles as usize, "profile"));
    eprintln!("{path}: {profiles} sent, {} rejected", sent.rejected);
    match sent.rejected {
        0 => Ok(()),
        _ => Err(Failure::No(format!("{path}: the backend did not keep everything"))),
    }
}

/// One failure as it is; of several each is told, and how many they are is the whole.
fn all(mut failures: Vec<Failure>, files: usize) -> Result<(), Failure> {
    if files == 1 || failures.is_empty() {
        return failures.pop().map_or(Ok(()), Err);
    }
    for Failure::No(why) | Failure::Trouble(why) in &failures {
        eprintln!("error: {why}");
    }
    let is_trouble = failures.iter().any(|failure| matches!(failure, Failure::Trouble(_)));
    let whole = format!("{} of {files} files were not sent, or not all of it", failures.len());
    Err(if is_trouble {
        Failure::Trouble(whole)
    } else {
        Failure::No(whole)
    })
}

/// The URL without a password or a query in it, which may hold any sign.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let place = match rest.rsplit_once('@') {
        // behind a password, or in a query: nobody can tell
        Some((before, _)) if before.contains(['?', '#']) => "...",
        Some((_, place)) => place,
        None => rest,
    };
    let place = place.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{place}").trim_end_matches('/').to_owned()
}

/// The option that the exporter's complaint is about.
fn not_built(error: &BuildError) -> Failure {
    Failure::Trouble(match error.path.split_once('.') {
        Some(("headers", name)) => format!("--header {name}: {}", error.message),
        _ => format!("--to: {error}"),
    })
}

#[derive(Default)]
struct Delivered {
    profiles: u64,
    rejected: u64,
}

async fn deliver(built: &BuiltExporter, unit: Unit, decoded: Decoded) -> Result<Delivered, ExportError> {
    let mut waiting = match unit {
        Unit::Batch => vec![decoded.profiles],
        Unit::Resource => decoded.profiles.by_resource(),
        Unit::Profile => decoded.profiles.by_profile(),
    };
    waiting.reverse();
    let mut delivered = Delivered::default();
    while let Some(mut profiles) = waiting.pop() {
        profiles.compact();
        let weight = profiles.received_count();
        match attempt(built, &profiles, weight).await {
            Ok(rejected) => {
                delivered.profiles += weight.saturating_sub(rejected);
                delivered.rejected += rejected;
            }
            Err(ExportError::TooLarge) => match profiles.halve() {
                Some((first, second)) => waiting.extend([second, first]),
                None => return Err(ExportError::TooLarge),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(delivered)
}

async fn attempt(built: &BuiltExporter, profiles: &Profiles, weight: u64) -> Result<u64, ExportError> {
    let batch = Batch::made(
        profiles.clone(),
        weight,
        Arc::new(Origin::local("send")),
        Permit::unlimited(),
    );
    let encoded = built.exporter.encode(&batch)?;
    if encoded.plain_bytes > built.sink.max_request_bytes.as_usize() {
        return Err(ExportError::TooLarge);
    }
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match built.exporter.export(&batch, encoded.clone()).await {
            Err(ExportError::Retry { after, .. }) => tokio::time::sleep(after.unwrap_or(pause)).await,
            done => return done.map(|sent| sent.rejected),
        }
        pause *= 2;
    }
    built.exporter.export(&batch, encoded).await.map(|sent| sent.rejected)
}

/// The exporter and its configuration, by the URL.
fn target(args: &SendArgs) -> Result<(&'static ExporterSpec, Value), Failure> {
    let (type_name, mut config) = by_url(&args.to, args.exporter.as_deref())?;
    let is = |row: &&ExporterSpec| row.about.name == type_name || row.about.aliases.contains(&type_name.as_str());
    let row = exporters::ALL.iter().find(is).ok_or_else(|| {
        let names: Vec<&str> = exporters::ALL.iter().map(|row| row.about.name).collect();
        Failure::Trouble(format!("no exporter {type_name}; there are {}", names.join(", ")))
    })?;
    for header in &args.header {
        let (name, value) = self::header(header, &|name| std::env::var(name).ok()).map_err(Failure::Trouble)?;
        if let Some(map) = config.as_object_mut() {
            let headers = map.entry("headers").or_insert_with(|| json!({}));
            if let Some(headers) = headers.as_object_mut() {
                headers.insert(name, json!(value));
            }
        }
    }
    Ok((row, config))
}

/// A header with its value filled in as in a configuration: tokens need not stand in the shell's history.
fn header(text: &str, env: Environment<'_>) -> Result<(String, String), String> {
    let (name, value) = super::header_parts(text)?;
    let value = filled_in(value, env).map_err(|why| format!("--header {name}: {why}"))?;
    Ok((name.to_string(), value))
}

fn by_url(url: &str, exporter: Option<&str>) -> Result<(String, Value), Failure> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let message = "--to takes a URL, as in http://localhost:4040, http://localhost:4318 or grpc://localhost:4317";
        return Err(Failure::Trouble(message.to_owned()));
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
    let is_otlp_path = rest.ends_with("/v1development/profiles");
    let type_name = match (exporter, scheme) {
        (Some(name), _) => name,
        (None, "grpc" | "grpcs") => "otlp_grpc",
        (None, _) if port == "4317" => "otlp_grpc",
        (None, _) if is_otlp_path || port == "4318" => "otlp_http",
        (None, _) => "pyroscope",
    };
    let config = match type_name {
        "otlp_grpc" | "otlp" => {
            let insecure = matches!(scheme, "grpc" | "http");
            json!({ "endpoint": authority, "tls": { "insecure": insecure } })
        }
        "otlp_http" | "otlphttp" if is_otlp_path => json!({ "profiles_endpoint": url }),
        "file" => json!({ "directory": rest }),
        // how old a file may be is for the server to say
        "pyroscope" => json!({ "endpoint": url, "max_age": "0s", "max_future": "0s" }),
        _ => json!({ "endpoint": url }),
    };
    Ok((type_name.to_owned(), config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place_and_no_credentials() {
        assert_eq!(place("http://h:4040"), "http://h:4040");
        assert_eq!(place("https://me:hunter2@h:1/v1/x?token=hunter2#a"), "https://h:1/v1/x");
        assert_eq!(place("grpc://a@b@h:4317/"), "grpc://h:4317");
        assert_eq!(place("http://h:4040?token=hunter2/x"), "http://h:4040");
        assert_eq!(place("http://me:hun/ter2@h:1/x"), "http://h:1/x");
        assert_eq!(place("http://h?token=hun@ter2"), "http://...");
    }

    #[test]
    fn a_header_is_filled_in_as_a_configuration_is() {
        let env = |name: &str| (name == "T").then(|| "s3cret".to_owned());
        let filled = |text| header(text, &env);
        for whole in ["authorization: Bearer planted==", "x y=planted", "planted"] {
            let why = filled(whole).unwrap_err();
            assert!(
                why.starts_with("--header takes NAME=VALUE") && !why.contains("planted"),
                "{why}"
            );
        }
        let bearer = filled("authorization=Bearer ${env:T}").unwrap();
        assert_eq!(bearer, ("authorization".to_owned(), "Bearer s3cret".to_owned()));
        assert_eq!(filled("x=${env:T}==").unwrap().1, "s3cret==");
        assert_eq!(filled("x=${env:U:-none} a$$b").unwrap().1, "none a$b");
        let unset = filled("x=Bearer ${env:U}").unwrap_err();
        assert_eq!(unset, "--header x: the environment variable U is not set");
        assert!(filled("just a name").is_err());
    }

    #[test]
    fn the_url_tells_the_exporter() {
        for (url, type_name, config) in [
            (
                "http://h:4040",
                "pyroscope",
                json!({"endpoint": "http://h:4040", "max_age": "0s", "max_future": "0s"}),
            ),
            ("http://h:4318", "otlp_http", json!({"endpoint": "http://h:4318"})),
            (
                "https://h/v1development/profiles",
                "otlp_http",
                json!({"profiles_endpoint": "https://h/v1development/profiles"}),
            ),
            (
                "grpc://h:4317",
                "otlp_grpc",
                json!({"endpoint": "h:4317", "tls": {"insecure": true}}),
            ),
            (
                "grpcs://h:443",
                "otlp_grpc",
                json!({"endpoint": "h:443", "tls": {"insecure": false}}),
            ),
        ] {
            let found = by_url(url, None).ok().unwrap();
            assert_eq!(found, (type_name.to_owned(), config), "{url}");
        }
        assert!(by_url("localhost:4040", None).is_err());
        assert_eq!(by_url("http://h:1", Some("otlp_http")).ok().unwrap().0, "otlp_http");
    }
}
