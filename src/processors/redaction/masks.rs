//! What stands in the place of what went.

/// How every mask begins; what follows is the rule and a closing bracket.
pub const MARKER: &str = "[REDACTED:";

/// What stands for a blocked value, as the Collector writes it.
pub const STARS: &str = "****";

/// Names in masks of rules that are no detectors.
const RULES: &[&str] = &[
    "encoded",
    "frame",
    "thread",
    "source_file",
    "mapping_file",
    "label_unit",
    "scope",
    "comment",
    "doc_url",
    "frame_pattern",
    "type_name",
    "schema_url",
];

/// The mask of a rule.
pub fn mask(rule: &str) -> String {
    format!("{MARKER}{rule}]")
}

/// Whether a rule that is no detector has this name.
pub fn is_rule(name: &str) -> bool {
    RULES.contains(&name)
}
