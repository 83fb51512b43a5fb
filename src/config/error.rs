//! What is wrong with a configuration, and where.

use std::fmt;

use super::tree::{Place, Step, dotted};

/// One thing that is wrong. The text never holds a configured value, only keys and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was written.
    pub place: Place,
    /// Dotted path, empty for a whole file.
    pub path: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl ConfigError {
    /// An error at a place.
    pub fn new(place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place,
            path: path.into(),
            message: message.into(),
        }
    }

    /// An error at a path.
    pub fn at(place: &Place, path: &[Step], message: impl Into<String>) -> Self {
        Self::new(place.clone(), dotted(path), message)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, each on a line of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// `; did you mean "x"?` for the nearest of the allowed words, if one is near.
pub fn did_you_mean<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    let near = allowed
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min();
    match near {
        Some((_, candidate)) => format!("; did you mean \"{candidate}\"?"),
        None => String::new(),
    }
}

/// `; allowed: a, b` — nothing if there is nothing to name.
fn allowed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        words => format!("; allowed: {}", words.join(", ")),
    }
}

/// The message of serde without the value that it quotes: a configured value may be a secret.
pub fn plain_message(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (word, words) = unknown(rest);
        return format!(
            "unknown key{}{}",
            did_you_mean(word, words.iter().copied()),
            allowed(&words)
        );
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (word, all) = unknown(rest);
        // a value that may be written in capitals too stands there twice
        let in_small = |word: &&str| all.contains(&&*word.to_ascii_lowercase());
        let is_small = |word: &str| !word.bytes().any(|b| b.is_ascii_uppercase());
        let words = all.iter().copied().filter(|word| is_small(word) || !in_small(word));
        let words: Vec<&str> = words.collect();
        return format!(
            "not an allowed value{}{}",
            did_you_mean(word, words.iter().copied()),
            allowed(&words)
        );
    }
    for what in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(what) {
            // the value may hold the same words: what is expected stands last
            let (value, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, "something else"));
            let kind = value.split(['`', '"']).next().unwrap_or_default().trim();
            return format!("expected {}, found {}", in_words(expected), in_words(kind));
        }
    }
    message.to_owned()
}

/// What serde calls by the names of Rust, as whoever writes YAML calls it.
fn in_words(serde: &str) -> &str {
    match serde {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" | "integer" | "floating point" => "a number",
        "a string" | "string" | "character" => "text",
        "a sequence" | "sequence" => "a list",
        "map" => "a map",
        "boolean" => "a boolean",
        "null" | "unit value" => "nothing",
        other if other.starts_with("struct ") || other.starts_with("internally tagged") => "a map",
        other if other.starts_with("a sequence") => "a list",
        other => other,
    }
}

/// The key that serde calls unknown.
pub fn unknown_field(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field ").map(|rest| unknown(rest).0)
}

/// The unknown word of serde's message, and those that are allowed.
fn unknown(rest: &str) -> (&str, Vec<&str>) {
    // the words that are allowed hold no comma, the unknown one may hold anything
    let (word, words) = rest
        .rsplit_once(", expected ")
        .or_else(|| rest.rsplit_once(", there are"))
        .unwrap_or((rest, ""));
    (word.trim_matches('`'), backquoted(words))
}

fn backquoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_serde_lose_the_value_and_keep_what_is_allowed() {
        let cases = [
            (
                "unknown field `endpont`, expected one of `endpoint`, `headers`",
                "unknown key; did you mean \"endpoint\"?; allowed: endpoint, headers",
            ),
            ("unknown field `x`, there are no fields", "unknown key"),
            (
                "unknown variant `endpont`, expected `x`, expected `endpoint` or `other`",
                "not an allowed value; allowed: endpoint, other",
            ),
            (
                "invalid type: string \"hunter2, expected `x`\", expected u16",
                "expected a whole number from 0 to 65535, found text",
            ),
            (
                "invalid type: integer `5`, expected a string",
                "expected text, found a number",
            ),
            (
                "unknown variant `x`, expected one of `debug`, `DEBUG`, `info`, `INFO`",
                "not an allowed value; allowed: debug, info",
            ),
            ("invalid type: null, expected a string", "expected text, found nothing"),
        ];
        for (message, plain) in cases {
            assert_eq!(plain_message(message), plain);
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(
            did_you_mean("redacton", ["redaction", "resource"]),
            "; did you mean \"redaction\"?"
        );
        assert_eq!(did_you_mean("kafka", ["redaction", "resource"]), "");
    }
}
