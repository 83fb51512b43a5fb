//! `reveal`: puts names back where pseudonyms stand, for whoever holds the private key.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::files::{self, Output};
use super::{Failure, print};
use crate::config::io_reason;
use crate::processors::redaction::escrow::{self, EscrowError, Identity};
use crate::profile::Profiles;

/// Largest identity file.
const IDENTITY_BYTES: u64 = 1 << 20;

/// What `reveal` takes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  flamegate reveal --identity escrow.identity --escrow /mnt/escrow vendor.pb.gz -o readable.pb.gz
  flamegate reveal --identity escrow.identity --escrow a --escrow b --text fn_k1_mzxw6ytboi...
  pbpaste | flamegate reveal --identity escrow.identity --escrow a --text

A file of the escrow that does not open is an error, which names it: an answer with holes should not look like a whole one.")]
pub struct RevealArgs {
    /// The private half of the escrow key; several after a change of keys
    #[arg(long, value_name = "FILE", required = true)]
    identity: Vec<PathBuf>,
    /// Directory of the escrow; several are read as one
    #[arg(long, value_name = "DIR", required = true)]
    escrow: Vec<PathBuf>,
    /// Takes the words behind it for text with pseudonyms, or without any the lines of the standard input
    #[arg(long)]
    text: bool,
    /// Profile to read, `-` for the standard input; or with --text the texts
    #[arg(value_name = "IN")]
    input: Vec<String>,
    /// File to write; the input's name with `revealed` before the ending otherwise
    #[arg(long, short, conflicts_with = "text")]
    output: Option<PathBuf>,
}

/// Puts names back.
pub fn reveal(args: &RevealArgs) -> Result<(), Failure> {
    let identities = identities(&args.identity)?;
    if args.text {
        return reveal_texts(args, &identities);
    }
    let [input] = args.input.as_slice() else {
        return Err(Failure::Trouble("name one profile to read, or say --text".to_owned()));
    };
    let input = Path::new(input);
    let name = match (&args.output, input == Path::new("-")) {
        (Some(output), _) => output.clone(),
        (None, true) => return Err(Failure::Trouble("say where to write with --output".to_owned())),
        (None, false) => files::named(input, "revealed"),
    };
    let read = files::read(input, None)?;
    files::warn_of_rejected(&read.decoded);
    let mut profiles = read.decoded.profiles;
    let mut wanted = HashSet::new();
    profiles.strings_by_role(|_, id| wanted.extend(words(profiles.dictionary().str(id)).map(str::to_owned)));
    let names = names(args, &identities, &wanted)?;
    let replaced = put_back(&mut profiles, &names);
    profiles.compact();
    let output = Output::new(&name, None).or_else(|_| Output::in_format(&name, read.format))?;
    let written = output.write(&profiles, None)?;
    eprintln!("names put back: {replaced}");
    for path in written.iter().filter(|path| *path != Path::new("-")) {
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

fn identities(files: &[PathBuf]) -> Result<Vec<Identity>, Failure> {
    let mut identities = Vec::new();
    for path in files {
        let fail = |why: String| Failure::Trouble(format!("{}: {why}", path.display()));
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|error| fail(io_reason(&error)))?;
        let read = file.take(IDENTITY_BYTES).read_to_string(&mut text);
        read.map_err(|error| fail(io_reason(&error)))?;
        identities.extend(Identity::parse_all(&text).map_err(|error| fail(error.to_string()))?);
    }
    Ok(identities)
}

fn names(
    args: &RevealArgs,
    identities: &[Identity],
    wanted: &HashSet<String>,
) -> Result<HashMap<String, String>, Failure> {
    let names = escrow::reveal(&args.escrow, identities, |pseudonym| wanted.contains(pseudonym));
    names.map_err(|error| match error {
        EscrowError::Unreadable { .. } => Failure::Trouble(format!(
            "{error}; --escrow names the folder that is `escrow.directory` at the gate, or a copy of it"
        )),
        EscrowError::Broken { .. } => Failure::No(error.to_string()),
    })
}

fn reveal_texts(args: &RevealArgs, identities: &[Identity]) -> Result<(), Failure> {
    let mut texts = args.input.clone();
    if texts.is_empty() {
        texts = files::lines_of_stdin()?;
    }
    let wanted: HashSet<String> = texts.iter().flat_map(|text| words(text)).map(str::to_owned).collect();
    let names = names(args, identities, &wanted)?;
    let mut shown = String::new();
    for text in &texts {
        shown.push_str(&replace(text, &names).unwrap_or_else(|| text.clone()));
        shown.push('\n');
    }
    print(&shown)
}

/// The words of a text that may be pseudonyms.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let between = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    text.split(between).filter(|word| word.contains('_'))
}

/// The text with names in the place of pseudonyms; none if it has none.
fn replace(text: &str, names: &HashMap<String, String>) -> Option<String> {
    let mut replaced = String::new();
    let mut done = 0;
    for word in words(text) {
        let Some(name) = names.get(word) else { continue };
        let at = word.as_ptr() as usize - text.as_ptr() as usize;
        replaced.push_str(text.get(done..at)?);
        replaced.push_str(name);
        done = at + word.len();
    }
    if done == 0 {
        return None;
    }
    replaced.push_str(text.get(done..)?);
    Some(replaced)
}

fn put_back(profiles: &mut Profiles, names: &HashMap<String, String>) -> usize {
    let mut known = HashMap::new();
    profiles.replace_strings(|d, _, id| {
        *known.entry(id).or_insert_with(|| match replace(d.str(id), names) {
            Some(text) => d.strings.push(&text),
            None => id,
        })
    });
    known.iter().filter(|(before, after)| before != after).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_replaced_wherever_they_stand_as_words() {
        let names: HashMap<String, String> = [("fn_k1_a", "main.go"), ("thread_k1_b", "worker")]
            .map(|(pseudonym, name)| (pseudonym.to_owned(), name.to_owned()))
            .into();
        for (text, revealed) in [
            ("fn_k1_a", Some("main.go")),
            ("x;fn_k1_a (thread_k1_b)", Some("x;main.go (worker)")),
            ("fn_k1_a fn_k1_a", Some("main.go main.go")),
            ("größe fn_k1_a größe", Some("größe main.go größe")),
            ("fn_k1_ab", None),
            ("xfn_k1_a", None),
            ("", None),
        ] {
            assert_eq!(replace(text, &names).as_deref(), revealed, "{text}");
        }
    }
}
