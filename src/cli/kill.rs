//! `kill`, `unkill`, `kills`: by the route of a running gate, or in the file that it watches. `validate-kill` checks such a file.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use clap::Args;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use serde_json::{Value, json};

use super::{Failure, print};
use crate::app;
use crate::config::{Sources, filled_in};
use crate::formats::quantity::counted;
use crate::kill::{self, Asked, Date, What};
use crate::net::client::{Client, ClientSettings, Protocol};
use crate::pipeline::matcher::{MatchConfig, Pattern};
use crate::pipeline::units::Span;

/// How long a kill lasts that is written into a file without saying.
const USUAL: Duration = Duration::from_secs(4 * 60 * 60);
/// Largest list of kills.
const ANSWER_BYTES: usize = 4 << 20;
/// Longest wait for the gate.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where kills are.
#[derive(Args)]
struct Place {
    /// The extension zpages of a running gate
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://localhost:55679",
        conflicts_with = "file"
    )]
    gate: String,
    /// Header of the request; a token may stand in it as ${env:NAME} or ${file:PATH}
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "file")]
    header: Vec<String>,
    /// The file of kills that a gate watches, instead: works without the gate's help
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What `kill` takes.
#[derive(Args)]
pub struct KillArgs {
    /// Everything
    #[arg(long, conflicts_with_all = ["tenant", "service", "receiver", "exporter", "profile_type", "label"])]
    all: bool,
    /// One tenant; here and below * stands for any text
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// One service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// What one receiver brings
    #[arg(long, value_name = "ID")]
    receiver: Option<String>,
    /// What one exporter sends
    #[arg(long, value_name = "ID")]
    exporter: Option<String>,
    /// Profiles of one type, such as cpu or alloc_space
    #[arg(long = "type", value_name = "TYPE")]
    profile_type: Option<String>,
    /// A label: resource.KEY=VALUE or sample.KEY=VALUE; all that is named must hold
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Why: it stands in the log and in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who; you, if nobody else is named
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// How long, such as 30m; else as the gate is configured, 4h in a file
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// What `unkill` takes.
#[derive(Args)]
pub struct UnkillArgs {
    /// What `kills` lists it as
    #[arg(required_unless_present = "all", value_name = "ID")]
    id: Vec<String>,
    /// All that can be lifted there
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    place: Place,
}

/// What `kills` takes.
#[derive(Args)]
pub struct KillsArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// What `validate-kill` takes.
#[derive(Args)]
pub struct ValidateArgs {
    /// The file of kills
    file: PathBuf,
    /// A configuration, to see that what is named is there
    #[arg(long, short, value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Kills.
pub fn kill(args: &KillArgs) -> Result<(), Failure> {
    let mut asked = args.asked()?;
    asked.check().map_err(|wrong| Failure::Trouble(wrong.to_string()))?;
    if let Some(file) = &args.place.file {
        // a file has no other clock than that of whoever reads it
        let lasts = asked.lasts.take().map_or(USUAL, |lasts| lasts.0);
        asked.expires = Some(Date(SystemTime::now() + lasts));
        kill::add_to(file, asked).map_err(Failure::Trouble)?;
        let written = in_file(file)?.pop().unwrap_or_default();
        return print(&line(&written));
    }
    let answer = args.place.ask(Method::POST, "", &json!(asked))?;
    if of(&answer, "stored") == false {
        eprintln!(
            "warning: in force, but a restart would forget it: {}",
            text(of(&answer, "why"))
        );
    }
    print(&line(of(&answer, "kill")))
}

/// Lifts kills.
pub fn unkill(args: &UnkillArgs) -> Result<(), Failure> {
    if let Some(file) = &args.place.file {
        let kills = kill::read(file).map_err(Failure::No)?;
        let places = match args.all {
            true => (0..kills.len()).collect(),
            false => places(&args.id, kills.len())?,
        };
        kill::remove_from(file, &places).map_err(Failure::Trouble)?;
        return print(&format!(
            "{}: {} taken out\n",
            file.display(),
            counted(places.len(), "kill")
        ));
    }
    let ids = match args.all {
        false => args.id.clone(),
        true => {
            let kills = args.place.ask(Method::GET, "", &Value::Null)?;
            let kills = of(&kills, "kills").as_array().cloned().unwrap_or_default();
            let liftable = kills
                .iter()
                .filter(|kill| of(kill, "source") != "file" && of(kill, "id") != "broken-file");
            liftable.map(|kill| text(of(kill, "id")).to_owned()).collect()
        }
    };
    for id in ids {
        let answer = args.place.ask(Method::DELETE, &format!("/{id}"), &Value::Null)?;
        print(&format!("lifted: {}", line(of(&answer, "kill"))))?;
    }
    Ok(())
}

/// Lists kills.
pub fn kills(args: &KillsArgs) -> Result<(), Failure> {
    let kills = match &args.place.file {
        Some(file) => in_file(file)?.into(),
        None => of(&args.place.ask(Method::GET, "", &Value::Null)?, "kills").clone(),
    };
    if args.json {
        return print(&format!("{kills:#}\n"));
    }
    let kills = kills.as_array().cloned().unwrap_or_default();
    if kills.is_empty() {
        return print("nothing is killed\n");
    }
    print(&kills.iter().map(line).collect::<String>())
}

/// The kills in a file, numbered.
fn in_file(file: &Path) -> Result<Vec<Value>, Failure> {
    let kills = kill::read(file).map_err(Failure::No)?;
    let numbered = kills.iter().enumerate().map(|(place, asked)| {
        let mut kill = json!(asked);
        if let Some(kill) = kill.as_object_mut() {
            kill.insert("id".to_owned(), json!((place + 1).to_string()));
        }
        kill
    });
    Ok(numbered.collect())
}

/// Checks a file of kills before it is rolled out.
pub fn validate(args: &ValidateArgs) -> Result<(), Failure> {
    if !args.file.exists() {
        return Err(Failure::Trouble(format!("{}: no such file", args.file.display())));
    }
    let kills = kill::read(&args.file).map_err(Failure::No)?;
    for (place, asked) in kills.iter().enumerate() {
        if asked.expires.is_some_and(|date| date.0 <= SystemTime::now()) {
            eprintln!("warning: kill {}: expired already: {}", place + 1, asked.what);
        }
    }
    if !args.config.is_empty() {
        warn_of_strangers(&kills, &args.config)?;
    }
    let all: Vec<String> = kills.iter().map(|asked| format!("  {}\n", asked.what)).collect();
    print(&format!("{}\n{}", counted(kills.len(), "kill"), all.concat()))
}

/// Names that the configuration does not have: a kill of one kills nothing.
fn warn_of_strangers(kills: &[Asked], config: &[PathBuf]) -> Result<(), Failure> {
    let sources = Sources::read(config, &[]).map_err(|error| Failure::Trouble(error.to_string()))?;
    let loaded = app::load(&sources).map_err(|error| Failure::No(error.to_string()))?;
    let config = app::check(&loaded).map_err(|error| Failure::No(error.to_string()))?;
    let components = app::components(&config);
    for (place, asked) in kills.iter().enumerate() {
        if let Some(key) = asked.what.stranger(&components) {
            let place = place + 1;
            eprintln!("warning: kill {place}: no {key} of this configuration goes by that name");
        }
    }
    Ok(())
}

impl KillArgs {
    fn asked(&self) -> Result<Asked, Failure> {
        let lasts = match &self.lasts {
            None => None,
            Some(text) => {
                let why = "--for takes a duration, such as 30m or 4h";
                let lasts = humantime::parse_duration(text);
                Some(Span(lasts.map_err(|_| Failure::Trouble(why.to_owned()))?))
            }
        };
        Ok(Asked {
            what: self.what()?,
            reason: self.reason.clone(),
            actor: self.actor.clone().unwrap_or_else(whoami),
            lasts,
            expires: None,
        })
    }

    fn what(&self) -> Result<What, Failure> {
        if self.all {
            return Ok(What::All);
        }
        let mut conditions = MatchConfig::new();
        for (key, value) in [
            ("tenant", &self.tenant),
            ("service", &self.service),
            ("receiver", &self.receiver),
            ("exporter", &self.exporter),
            ("profile.type", &self.profile_type),
        ] {
            if let Some(value) = value {
                conditions.insert(key.to_owned(), Pattern::Glob(value.clone()));
            }
        }
        for label in &self.label {
            let wrong = "--label takes resource.KEY=VALUE or sample.KEY=VALUE";
            let (key, value) = label.split_once('=').ok_or(Failure::Trouble(wrong.to_owned()))?;
            conditions.insert(key.to_owned(), Pattern::Glob(value.to_owned()));
        }
        if conditions.is_empty() {
            let what = "say what: --all, --tenant, --service, --receiver, --exporter, --type or --label";
            return Err(Failure::Trouble(what.to_owned()));
        }
        Ok(What::Match(conditions))
    }
}

fn whoami() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    user.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
}

/// Places in a file, as `kills` numbers them.
fn places(ids: &[String], kills: usize) -> Result<Vec<usize>, Failure> {
    let place = |id: &String| {
        let number = id.parse().ok().filter(|number| (1..=kills).contains(number));
        let why = || Failure::No(format!("there is no kill {id}; `flamegate kills --file` numbers them"));
        number.map(|number: usize| number - 1).ok_or_else(why)
    };
    ids.iter().map(place).collect()
}

impl Place {
    /// Asks a gate.
    fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}/debug/kills{path}", self.gate.trim_end_matches('/'));
        let wrong = "--gate takes a URL, such as http://localhost:55679";
        let uri: Uri = url.parse().map_err(|_| Failure::Trouble(wrong.to_owned()))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for header in &self.header {
            let (name, value) = read_header(header).map_err(Failure::Trouble)?;
            headers.insert(name, value);
        }
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Trouble(error.to_string()))?;
        let answer = runtime.block_on(async {
            let client = Client::new(Protocol::Http, &ClientSettings::default()).map_err(|error| error.to_string())?;
            let asked = async {
                match method {
                    Method::POST => client.post(&uri, headers, body).await,
                    Method::DELETE => client.delete(&uri, headers).await,
                    _ => client.get(&uri, headers, ANSWER_BYTES).await,
                }
            };
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {PATIENCE:?}")),
            }
        });
        let answer = answer.map_err(|why| Failure::Trouble(format!("the gate cannot be asked: {why}")))?;
        let said = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        match (answer.status.is_success(), of(&said, "error").as_str()) {
            (true, _) => Ok(said),
            (false, Some(why)) => Err(Failure::No(why.to_owned())),
            (false, None) => Err(Failure::No(format!("the gate answered {}", answer.status))),
        }
    }
}

/// A header with its value filled in as in a configuration: tokens need not stand in the shell's history.
fn read_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = super::header_parts(text)?;
    let value = filled_in(value, &|name| std::env::var(name).ok()).map_err(|why| format!("--header {name}: {why}"))?;
    let value = HeaderValue::from_str(&value).map_err(|_| format!("--header {name}: not the value of a header"))?;
    Ok((name, value))
}

/// A field of an answer.
fn of<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A kill on one line.
fn line(kill: &Value) -> String {
    let what = serde_json::from_value::<What>(of(kill, "match").clone());
    let what = what.map_or_else(|_| "?".to_owned(), |what| what.to_string());
    // a gate tells until when, and a file may tell how long
    let is_in_force = !of(kill, "source").is_null();
    let until = match (of(kill, "expires").as_str(), of(kill, "for").as_str()) {
        (Some(date), _) => format!("until {date}"),
        (None, Some(lasts)) => format!("for {lasts} from when a gate first sees it"),
        (None, None) if is_in_force => "until what is wrong is mended".to_owned(),
        (None, None) => "for as long as `default_ttl` of the gate says".to_owned(),
    };
    let (id, actor, reason) = (text(of(kill, "id")), text(of(kill, "actor")), text(of(kill, "reason")));
    format!("{id}  {what}, {until}, by {actor}: {reason}\n")
}
