//! `keygen`: makes the keys that redaction asks for.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Failure, print};
use crate::config::io_reason;
use crate::processors::redaction::escrow::Identity;

/// Random bytes of an HMAC key: 64 letters in base64, enough for `hmac-sha512` too.
const KEY_BYTES: usize = 48;

/// What `keygen` takes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  flamegate keygen -o pseudonym.key             a key for `pseudonyms`, `hmac_key` or `fingerprint_key`:
                                                key: \"${file:pseudonym.key}\"
  flamegate keygen --escrow -o escrow.identity  keeps the private half in the file and prints the recipient,
                                                which is all that the gate is told")]
pub struct KeygenArgs {
    /// Makes the two halves of an escrow key in place of an HMAC key
    #[arg(long)]
    escrow: bool,
    /// File to write, readable by its owner alone; the standard output otherwise. A file that is there stays
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Makes a key.
pub fn keygen(args: &KeygenArgs) -> Result<(), Failure> {
    if args.escrow {
        escrow(args.output.as_deref())
    } else {
        hmac(args.output.as_deref())
    }
}

fn hmac(output: Option<&Path>) -> Result<(), Failure> {
    let mut key = [0; KEY_BYTES];
    let filled = SystemRandom::new().fill(&mut key);
    filled.map_err(|_| Failure::Trouble("the system gives no randomness".to_owned()))?;
    let text = STANDARD.encode(key);
    match output {
        Some(path) => {
            // no line end: `${file:...}` would make it a part of the key
            store(path, &text)?;
            eprintln!(
                "{}: a key of {} letters; write it as \"${{file:{}}}\"",
                path.display(),
                text.len(),
                path.display()
            );
            Ok(())
        }
        None => print(&(text + "\n")),
    }
}

fn escrow(output: Option<&Path>) -> Result<(), Failure> {
    let identity = Identity::generate();
    let recipient = identity.recipient();
    let made = humantime::format_rfc3339_seconds(SystemTime::now());
    let text = format!(
        "# Flamegate escrow identity, made {made}. Keep it away from the gate: whoever has it reads every hidden name.\n\
         # recipient: {recipient}\n{}\n",
        identity.expose()
    );
    match output {
        Some(path) => {
            store(path, &text)?;
            eprintln!("{}: the private half; keep it away from the gate", path.display());
            print(&format!("{recipient}\n"))
        }
        None => {
            eprintln!("recipient: {recipient}");
            print(&text)
        }
    }
}

/// Writes a file that was not there.
fn store(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::AlreadyExists => {
                "is there already, and stays: what it opens would be lost; name another file, or move this one away"
                    .to_owned()
            }
            _ => io_reason(&error),
        };
        Failure::Trouble(format!("{}: {why}", path.display()))
    };
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)
}
