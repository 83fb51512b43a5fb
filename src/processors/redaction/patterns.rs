//! Patterns that users write: bounded in size and number, so that none can take the memory or the time of the gate.

use regex::{Regex, RegexBuilder};

use crate::pipeline::matcher::{Exact, Pattern};
use crate::pipeline::spec::BuildError;

/// Bytes that one compiled pattern may take.
const LARGEST: usize = 1 << 20;
/// Patterns of one key at most.
const MOST: usize = 1000;

/// Compiles one regular expression. The error does not show it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(LARGEST)
        .dfa_size_limit(LARGEST)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => format!("the pattern compiles to more than {limit} bytes"),
            _ => "not a regular expression of the Rust regex syntax".to_owned(),
        })
}

/// Compiles a glob, an exact text or a regular expression.
pub fn compile_pattern(pattern: &Pattern) -> Result<Regex, String> {
    match pattern {
        Pattern::Exact(Exact::Regex(regex)) => compile(regex),
        Pattern::Exact(Exact::Eq(text)) => compile(&format!(r"\A{}\z", regex::escape(text))),
        Pattern::Glob(glob) => {
            let text = regex::escape(glob).replace(r"\*", ".*").replace(r"\?", ".");
            compile(&format!(r"(?s)\A{text}\z"))
        }
    }
}

/// Compiles the patterns of a key.
pub fn compile_all(key: &str, patterns: &[String]) -> Result<Vec<Regex>, BuildError> {
    if patterns.len() > MOST {
        return Err(BuildError::at(key, format!("at most {MOST} patterns")));
    }
    let one = |(i, pattern): (usize, &String)| {
        compile(pattern).map_err(|message| BuildError::at(format!("{key}[{i}]"), message))
    };
    patterns.iter().enumerate().map(one).collect()
}
