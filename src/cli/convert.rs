//! `convert`: any readable format to any writable one.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::files::{self, FormatName, Output};
use crate::formats::jfr;

/// What `convert` takes.
#[derive(Args)]
#[command(after_help = "\
Where the input holds several profiles and the format of the output holds one, each becomes a file of its own with its kind before
the ending: out.cpu.collapsed, out.alloc.collapsed. Where no kind is known, or several of one kind show different sample types, the
sample type stands there: out.malloc_bytes.collapsed. What is named alike all the same is numbered: out.cpu.2.collapsed.")]
pub struct ConvertArgs {
    /// File to read, `-` for the standard input
    input: PathBuf,
    /// File to write, `-` for the standard output; its ending tells the format
    output: PathBuf,
    /// Format of the input; told from its content otherwise
    #[arg(long, value_enum)]
    from: Option<FormatName>,
    /// Format of the output; told by its name otherwise
    #[arg(long, value_enum)]
    to: Option<FormatName>,
    /// Only the profiles of this kind or sample type
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Of a JFR also the waits in sleep, wait, and for files and sockets
    #[arg(long)]
    off_cpu: bool,
}

/// Converts, and names the files written if they are not the one asked for.
pub fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    let output = Output::new(&args.output, args.to)?;
    let options = jfr::Options {
        off_cpu: args.off_cpu,
        ..jfr::Options::default()
    };
    let input = files::read_with(&args.input, args.from, &options)?;
    let profiles = files::pick(files::sound(input.decoded)?, args.type_name.as_deref())?;
    let written = output.write(&profiles, args.type_name.as_deref())?;
    if written.len() > 1 {
        for path in written {
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(())
}
