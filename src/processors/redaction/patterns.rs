//! Patterns that users write: bounded in size and number, so that none can take the memory or the time of the gate.

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

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

/// Many patterns over many texts: a pattern is run only where a text that it needs was found.
pub struct Patterns {
    patterns: Vec<Regex>,
    /// The texts that patterns need, and the pattern that each belongs to.
    needed: Option<(AhoCorasick, Vec<usize>)>,
    /// Patterns that need no text that could be found.
    always: Chosen,
}

/// Which of the patterns, without memory of its own.
type Chosen = [u64; MOST.div_ceil(64)];

fn choose(chosen: &mut Chosen, pattern: usize) {
    if let Some(word) = chosen.get_mut(pattern / 64) {
        *word |= 1 << (pattern % 64);
    }
}

impl Patterns {
    /// Compiles the patterns of a key.
    pub fn new(key: &str, sources: &[String]) -> Result<Self, BuildError> {
        let patterns = compile_all(key, sources)?;
        let mut always = Chosen::default();
        let (mut texts, mut owners) = (Vec::new(), Vec::new());
        for (i, source) in sources.iter().enumerate() {
            match regex_syntax::parse(source).ok().and_then(|hir| required(&hir)) {
                Some(found) => {
                    owners.extend(std::iter::repeat_n(i, found.len()));
                    texts.extend(found);
                }
                None => choose(&mut always, i),
            }
        }
        let build = || AhoCorasick::builder().ascii_case_insensitive(true).build(&texts).ok();
        let needed = (!texts.is_empty())
            .then(build)
            .flatten()
            .map(|automaton| (automaton, owners));
        if needed.is_none() {
            (0..patterns.len()).for_each(|i| choose(&mut always, i));
        }
        Ok(Self {
            patterns,
            needed,
            always,
        })
    }

    /// The patterns that may match, in order.
    pub fn may_match(&self, text: &str) -> impl Iterator<Item = &Regex> {
        let mut chosen = self.always;
        if let Some((automaton, owners)) = &self.needed {
            for found in automaton.find_overlapping_iter(text) {
                if let Some(owner) = owners.get(found.pattern().as_usize()) {
                    choose(&mut chosen, *owner);
                }
            }
        }
        let is_chosen = move |i: usize| chosen.get(i / 64).is_some_and(|word| word & (1 << (i % 64)) != 0);
        let patterns = self.patterns.iter().enumerate();
        patterns.filter(move |(i, _)| is_chosen(*i)).map(|(_, pattern)| pattern)
    }
}

/// Texts shorter than this are found everywhere.
const SHORTEST: usize = 3;

/// Texts of which one stands, in some case of its letters, in whatever the expression matches. None if there are none of use.
fn required(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            (text.len() >= SHORTEST).then(|| vec![text.to_owned()])
        }
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Alternation(choices) => {
            let texts: Option<Vec<_>> = choices.iter().map(required).collect();
            texts.map(|texts| texts.concat()).filter(|texts| texts.len() <= 64)
        }
        HirKind::Concat(parts) => {
            let shortest = |texts: &Vec<String>| texts.iter().map(String::len).min();
            parts.iter().filter_map(required).max_by_key(shortest)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needs(pattern: &str) -> Option<Vec<String>> {
        required(&regex_syntax::parse(pattern).unwrap())
    }

    #[test]
    fn what_a_pattern_needs_is_found_in_it() {
        for (pattern, texts) in [
            ("customer-[0-9]+", Some(vec!["customer-"])),
            ("(abc|defg)x*", Some(vec!["abc", "defg"])),
            ("[0-9]+", None),
            ("(abc)?", None),
            ("abc|d", None),
            ("ab", None),
        ] {
            let texts: Option<Vec<String>> = texts.map(|texts| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(needs(pattern), texts, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn prop_no_pattern_that_matches_is_left_out(
            sources in proptest::collection::vec("(\\(\\?i\\))?[abc]{0,4}(\\[ab\\][+*?]?|\\|)?[abc]{0,4}", 1..8), text in "[abcABC]{0,12}"
        ) {
            let patterns = Patterns::new("blocked_values", &sources).unwrap();
            let may: Vec<&str> = patterns.may_match(&text).map(Regex::as_str).collect();
            for source in &sources {
                prop_assert!(!compile(source).unwrap().is_match(&text) || may.contains(&source.as_str()), "{}", source);
            }
        }
    }
}
