//! `redact --explain`: what becomes of texts in a role, and by which rule. It shows what the operator gave, and nothing else.

use serde_json::json;

use super::policies::Policies;
use super::texts::{profile_of, text_in};
use super::{Failure, print};
use crate::profile::Role;

/// What became of one text.
struct Explained {
    before: String,
    after: Option<String>,
    rules: Vec<&'static str>,
}

impl Explained {
    fn of(policies: &Policies, role: Role, key: Option<&str>, text: &str) -> Self {
        let mut profiles = profile_of(role, key, text);
        let report = policies.redact(&mut profiles);
        let after = text_in(&profiles, role);
        let hits = report.hits.keys();
        let mut rules: Vec<&'static str> = hits
            .filter(|(_, carrier)| concerns(role, carrier, after.is_none()))
            .map(|(rule, _)| *rule)
            .filter(|_| after.as_deref() != Some(text))
            .collect();
        rules.dedup();
        Self {
            before: text.to_owned(),
            after,
            rules,
        }
    }

    fn outcome(&self) -> &'static str {
        match &self.after {
            Some(after) if *after == self.before => "kept",
            Some(_) => "changed",
            None => "removed",
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{:<8} {}\n", self.outcome(), self.before);
        match &self.after {
            Some(after) if *after != self.before => line.push_str(&format!("{:>8} {after}\n", "->")),
            _ => {}
        }
        if !self.rules.is_empty() {
            line.push_str(&format!("{:>8} {}\n", "by", self.rules.join(", ")));
        }
        line
    }
}

/// Whether a hit on the carrier is one on the text: the rest of the profile around it is made up.
fn concerns(role: Role, carrier: &str, removed: bool) -> bool {
    let is_around = match role {
        Role::FunctionName | Role::SystemName | Role::SourceFile | Role::MappingFile => carrier == "frame",
        // a label goes with all its parts
        Role::LabelKey | Role::LabelUnit => removed && carrier == Role::LabelValue.label(),
        Role::ResourceKey => removed && carrier == Role::ResourceValue.label(),
        _ => false,
    };
    is_around || carrier == role.label()
}

/// Tries every text.
pub fn explain(
    policies: &Policies,
    role: Role,
    key: Option<&str>,
    texts: &[String],
    as_json: bool,
) -> Result<(), Failure> {
    let mut shown = String::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let explained = Explained::of(policies, role, key, text);
        match as_json {
            true => {
                let line = json!({ "text": explained.before, "outcome": explained.outcome(),
                                   "becomes": explained.after, "rules": explained.rules });
                shown.push_str(&format!("{line}\n"));
            }
            false => shown.push_str(&explained.line()),
        }
    }
    print(&shown)
}
