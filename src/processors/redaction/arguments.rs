//! Values that stand in the names of functions: arguments of calls, SQL text, command lines.

use schemars::JsonSchema;
use serde::Deserialize;

/// What becomes of argument values in names of functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arguments {
    /// They stay.
    #[default]
    Keep,
    /// All of them go.
    Strip,
    /// Literals go: quoted text and numbers.
    StripLiterals,
}

impl Arguments {
    /// The name without the values, if it holds any.
    pub fn rewrite(self, _name: &str) -> Option<String> {
        None
    }
}
