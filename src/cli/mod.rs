//! The command line. Exit codes: 0 fine, 1 the answer is no, 2 usage or I/O.

mod convert;
mod docs;
mod explain;
mod files;
mod health;
mod inspect;
mod keygen;
mod kill;
mod policies;
mod policy;
mod redact;
mod reveal;
mod scan;
mod send;
mod show;
mod texts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{self, RunError, RunOptions};
use crate::config::{Sources, io_reason};

// a page tells what the command tells
pub(crate) use inspect::found::{commented, summaries};

/// The gate that profiles pass on their way to a backend.
#[derive(Parser)]
#[command(name = "flamegate", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gate; without --config the built-in quickstart
    Run(RunArgs),
    /// Checks a configuration and starts nothing; silent where all is well
    Validate(ConfigArgs),
    /// Shows what is built in
    Components(show::ComponentsArgs),
    /// Shows the merged configuration
    #[command(alias = "print-initial-config")]
    PrintConfig(show::PrintArgs),
    /// Writes the JSON Schema of the configuration, for editors
    Schema,
    /// Writes the reference pages
    #[command(hide = true)]
    Docs(docs::DocsArgs),
    /// Shows what is in a profile of any format
    Inspect(inspect::InspectArgs),
    /// Writes a profile in another format
    Convert(convert::ConvertArgs),
    /// Redacts a file as the gate would
    Redact(redact::RedactArgs),
    /// Says what profiles give away, before anything is installed
    Scan(scan::ScanArgs),
    /// Tries a redaction policy, for a company's CI
    Policy(policy::PolicyArgs),
    /// Makes the keys that redaction asks for
    Keygen(keygen::KeygenArgs),
    /// Puts names back where pseudonyms stand
    Reveal(reveal::RevealArgs),
    /// Pushes files into a running gate or a backend
    Send(send::SendArgs),
    /// Asks a running gate whether it is ready; needs its health_check extension
    Health(health::HealthArgs),
    /// Stops everything, a tenant, a service, a receiver, an exporter or a type, at once
    Kill(kill::KillArgs),
    /// Lifts kills
    Unkill(kill::UnkillArgs),
    /// Lists what is killed
    Kills(kill::KillsArgs),
    /// Checks a file of kills before it is rolled out
    ValidateKill(kill::ValidateArgs),
}

/// What `run` takes.
#[derive(Args)]
struct RunArgs {
    /// Configuration: a file, env:NAME or yaml:TEXT; several are merged in order
    #[arg(long, short, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// One value on top of the files, as in service.telemetry.logs.level=debug
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Counts what would be sent, and sends nothing
    #[arg(long)]
    dry_run: bool,
    /// Taken for the Collector's sake, and without effect
    #[arg(long, value_name = "GATES")]
    feature_gates: Vec<String>,
}

/// What names a configuration.
#[derive(Args)]
struct ConfigArgs {
    /// Configuration: a file, env:NAME or yaml:TEXT; several are merged in order
    #[arg(long, short, value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
    /// One value on top of the files
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Taken for the Collector's sake, and without effect
    #[arg(long, value_name = "GATES")]
    feature_gates: Vec<String>,
}

impl ConfigArgs {
    fn sources(&self) -> Result<Sources, Failure> {
        Sources::read(&self.config, &self.set).map_err(|error| Failure::Trouble(error.to_string()))
    }
}

/// Why a command does not end with 0.
enum Failure {
    /// The answer is no: exit code 1.
    No(String),
    /// Usage or I/O: exit code 2.
    Trouble(String),
}

/// Text or a form for programs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Markup {
    Yaml,
    Json,
}

/// Reads the arguments of the process and does what they say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => run(args),
        Command::Validate(args) => validate(&args),
        Command::Components(args) => show::components(&args),
        Command::PrintConfig(args) => show::print_config(&args),
        Command::Schema => show::schema(),
        Command::Docs(args) => docs::docs(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Convert(args) => convert::convert(&args),
        Command::Redact(args) => redact::redact(&args),
        Command::Scan(args) => scan::scan(&args),
        Command::Policy(args) => policy::policy(&args),
        Command::Keygen(args) => keygen::keygen(&args),
        Command::Reveal(args) => reveal::reveal(&args),
        Command::Send(args) => send::send(&args),
        Command::Health(args) => health::ask(&args),
        Command::Kill(args) => kill::kill(&args),
        Command::Unkill(args) => kill::unkill(&args),
        Command::Kills(args) => kill::kills(&args),
        Command::ValidateKill(args) => kill::validate(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No(why)) => fail(1, &why),
        Err(Failure::Trouble(why)) => fail(2, &why),
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    for line in why.lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(code)
}

fn run(args: RunArgs) -> Result<(), Failure> {
    if !args.feature_gates.is_empty() {
        eprintln!("note: --feature-gates has no effect: profiles need no feature gate here");
    }
    let options = RunOptions {
        files: args.config,
        sets: args.set,
        dry_run: args.dry_run,
    };
    app::run(options).map_err(|error| match error {
        RunError::Config(_) => Failure::No(error.to_string()),
        // nothing is left to say
        RunError::Told => Failure::Trouble(String::new()),
        _ => Failure::Trouble(error.to_string()),
    })
}

fn validate(args: &ConfigArgs) -> Result<(), Failure> {
    let loaded = app::load(&args.sources()?).map_err(|error| Failure::No(error.to_string()))?;
    let checked = app::check(&loaded);
    let warnings = match &checked {
        Ok(config) => app::warnings(&loaded, config),
        Err(_) => loaded.warnings.clone(),
    };
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    checked.map(drop).map_err(|error| Failure::No(error.to_string()))
}

/// Name and value of a `--header`. What is no name may be all of a header as others write it, with a token in it: it is not quoted.
fn header_parts(text: &str) -> Result<(http::HeaderName, &str), String> {
    let (name, value) = text.split_once('=').ok_or("--header takes NAME=VALUE")?;
    let name = name.parse();
    let name =
        name.map_err(|_| "--header takes NAME=VALUE: what stands in front of the = is not the name of a header")?;
    Ok((name, value))
}

/// Names come from anywhere: nothing in them may steer the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Writes to the standard output; a reader that has gone away is no fault.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Trouble(format!(
            "cannot write to the standard output: {}",
            io_reason(&error)
        ))),
        _ => Ok(()),
    }
}
