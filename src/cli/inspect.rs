//! `inspect`: what is in a profile of any format.

mod forecast;
pub(super) mod found;
mod summary;
mod text;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::files::{self, FormatName};
use super::{Failure, print};

/// What `inspect` takes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  flamegate inspect cpu.pb.gz
  flamegate inspect ./profiles --trace 4bf92f3577b34da6a3ce929d0e0e4736
  flamegate inspect ./profiles --route '/cart/{id}' --type cpu -o cart.html

The samples of a trace, a span or a route are those whose link says so, or whose labels do in any dialect that is known here. They become
one profile for each service and kind, with the number of samples behind it. Exit code 1 if there are none.")]
pub struct InspectArgs {
    /// File to read, `-` for the standard input; with --trace and the like also a directory
    file: PathBuf,
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
    /// Format of the file; told from its content otherwise
    #[arg(long, value_enum)]
    from: Option<FormatName>,
    /// Only the profiles of this kind or sample type; top functions are those of the sample type
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// How many of the top functions are shown
    #[arg(long, default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    reduction: forecast::Reduction,
    #[command(flatten)]
    selection: found::Selection,
    #[command(flatten)]
    destination: found::Destination,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Shows a file.
pub fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    if let Some(wanted) = args.selection.wanted()? {
        return found::find(args, wanted);
    }
    let mut input = files::read(&args.file, args.from)?;
    input.decoded.profiles = files::pick(input.decoded.profiles, args.type_name.as_deref())?;
    let type_name = args.type_name.as_deref();
    let mut summary = summary::Summary::of(&input, type_name, args.top);
    let profiles = &input.decoded.profiles;
    for (of, at) in summary.profiles.iter_mut().zip(profiles.iter()) {
        let (d, profile) = (profiles.dictionary(), at.profile);
        let shown = files::column(d, profile, type_name);
        of.forecast = args.reduction.foretell(d, profile, shown, args.top);
    }
    match args.format {
        Form::Text => print(&text::text(&summary)),
        Form::Json => print_json(&summary),
    }
}

fn print_json(told: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(told).map_err(|error| Failure::Trouble(error.to_string()))?;
    print(&(json + "\n"))
}
