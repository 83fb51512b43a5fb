//! The Flamegate binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    flamegate::cli::main()
}
