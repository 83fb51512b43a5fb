//! How configurations name the keys under which tracers write ids, for every processor that reads them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::spec::BuildError;
use crate::profile::trace_ids::{self, Dialect, MOST_DIALECTS, Part, built_in_dialects};

/// Keys under which one family of tracers writes ids.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DialectConfig {
    /// What metrics call it: 1 to 32 lower-case letters, digits and `_`.
    pub name: String,
    /// Keys of ids of traces.
    pub trace: Vec<String>,
    /// Keys of ids of spans that may be active or a local root.
    pub span: Vec<String>,
    /// Keys of ids of the span that was running.
    pub active: Vec<String>,
    /// Keys of ids of the span with which the request came into the process.
    pub local_root: Vec<String>,
    /// How ids are written.
    pub digits: Digits,
    /// Whether zeros in front of hexadecimal ids may be missing.
    pub lacks_zeros: bool,
    /// Keys of which one must stand beside the ids; none if any sample will do.
    pub beside: Vec<String>,
}

/// How ids are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Digits {
    /// 32 hexadecimal digits for a trace, 16 for a span.
    #[default]
    Hex,
    /// Decimal numbers of 64 bits, as text or as a number, with or without a sign; a trace also as 32 hexadecimal digits.
    Decimal,
}

/// The configured dialects, and those of the built-in ones that they do not replace. They stand under `dialects`.
pub fn with_built_in(configured: &[DialectConfig]) -> Result<Vec<Dialect>, BuildError> {
    let mut all: Vec<Dialect> = Vec::new();
    for (i, own) in configured.iter().enumerate() {
        let dialect = own.checked(&format!("dialects[{i}]"))?;
        if all.iter().any(|other| other.name == dialect.name) {
            return Err(BuildError::at(
                format!("dialects[{i}].name"),
                "another dialect has this name",
            ));
        }
        all.push(dialect);
    }
    let mut built_in = built_in_dialects();
    built_in.retain(|dialect| all.iter().all(|own| own.name != dialect.name));
    all.append(&mut built_in);
    if all.len() > MOST_DIALECTS {
        return Err(BuildError::at(
            "dialects",
            format!("at most {MOST_DIALECTS} with the built-in ones"),
        ));
    }
    Ok(all)
}

impl DialectConfig {
    fn checked(&self, path: &str) -> Result<Dialect, BuildError> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(is_plain) {
            return Err(BuildError::at(
                format!("{path}.name"),
                "a name is 1 to 32 lower-case letters, digits and `_`",
            ));
        }
        let lists = [
            ("trace", &self.trace, Part::Trace),
            ("span", &self.span, Part::Span),
            ("active", &self.active, Part::Active),
            ("local_root", &self.local_root, Part::LocalRoot),
        ];
        let mut keys: Vec<(Part, _)> = Vec::new();
        for (list, names, part) in lists {
            for name in names {
                let problem = match keys.iter().any(|(_, known)| known == name) {
                    _ if name.is_empty() => "a key has a name",
                    true => "the dialect has this key already",
                    false => {
                        keys.push((part, name.clone().into()));
                        continue;
                    }
                };
                return Err(BuildError::at(format!("{path}.{list}"), problem));
            }
        }
        if keys.is_empty() {
            return Err(BuildError::at(
                path,
                "a dialect has keys: set `trace`, `span`, `active` or `local_root`",
            ));
        }
        if self.lacks_zeros && self.digits == Digits::Decimal {
            return Err(BuildError::at(
                format!("{path}.lacks_zeros"),
                "decimal numbers lack nothing without zeros in front",
            ));
        }
        Ok(Dialect {
            name: self.name.clone().into(),
            keys,
            digits: match self.digits {
                Digits::Hex => trace_ids::Digits::Hex,
                Digits::Decimal => trace_ids::Digits::Decimal,
            },
            lacks_zeros: self.lacks_zeros,
            beside: self.beside.iter().map(|key| key.clone().into()).collect(),
        })
    }
}
