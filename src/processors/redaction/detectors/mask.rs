//! Masks: what stands where something was removed.

use super::{context, families, numbers};
use crate::processors::redaction::masks::{self, MARKER};

/// What a mask looks like, as a regular expression.
pub(super) const MASK: &str = r"\[REDACTED:[a-z_0-9]+\]";

/// Rules whose masks stand for no family.
const OTHER_RULES: &[&str] = &["sensitive_key", "overlong"];

/// Whether a rule of ours is called so.
fn is_rule(name: &str) -> bool {
    let families = families::STRUCTURAL
        .iter()
        .chain(context::CONTEXT)
        .chain(context::EMAIL);
    masks::is_rule(name)
        || OTHER_RULES.contains(&name)
        || numbers::RULES.contains(&name)
        || families.into_iter().any(|family| family.name == name)
}

/// Whether the text is masks of ours and nothing else, perhaps behind the scheme of a credential: whatever stands beside a mask,
/// or inside of one that no rule of ours makes, may be a secret.
pub fn is_masked(text: &str) -> bool {
    let mut rest = match text.split_once(' ') {
        Some((scheme, rest))
            if ["bearer", "basic", "digest", "token"].contains(&scheme.to_ascii_lowercase().as_str()) =>
        {
            rest.trim_start()
        }
        _ => text,
    };
    if rest.is_empty() {
        return false;
    }
    while let Some((rule, after)) = rest.strip_prefix(MARKER).and_then(|rest| rest.split_once(']')) {
        if !is_rule(rule) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}
