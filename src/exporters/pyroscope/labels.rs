//! The labels of a series: what a resource says about itself, in the names and within the limits of Pyroscope.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::name;
use super::sample_labels;
use crate::profile::trace_ids::TraceKeys;
use crate::profile::{Dictionary, ProfileRef, Value};

/// Most labels of a series that a server takes by default, those it takes from the samples included.
pub(super) const MOST_LABELS: usize = 30;
/// Longest name of a label that a server takes by default.
pub(super) const LONGEST_NAME: usize = 1024;
/// Longest value of a label that a server takes by default.
pub(super) const LONGEST_VALUE: usize = 2048;

/// Labels that a server leaves to the samples: as labels of a series they would make one series for each trace.
pub(super) const PER_SAMPLE: &[&str] = &["trace_id", "span_id", "profile_id"];

/// What goes first when there are too many: the lower, the more it is worth.
const PRIORITY: &[&str] = &["service", "deployment", "k8s", "host", "container", "cloud", "process"];

/// How labels are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LabelNames {
    /// As in the profile: servers since 2.0.
    #[default]
    Unchanged,
    /// With letters, digits and `_` alone, and `_` for everything else: servers before 2.0, and those that sanitize names.
    Legacy,
}

impl LabelNames {
    /// What a label of this name is sent as.
    pub(super) fn sent(self, name: &str) -> Cow<'_, str> {
        let is_taken = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self == Self::Unchanged || name.chars().all(is_taken) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            return Cow::Borrowed(name);
        }
        let mut sent = name.replace(|c| !is_taken(c), "_");
        if sent.starts_with(|c: char| c.is_ascii_digit()) {
            sent.insert(0, '_');
        }
        Cow::Owned(sent)
    }
}

/// The labels of the series that `at` becomes a sample of, sorted by name.
pub(super) fn labels(dictionary: &Dictionary, at: ProfileRef<'_>, names: LabelNames) -> BTreeMap<String, String> {
    let own = |key: &str| match dictionary.attribute(at.profile.attributes, key) {
        Some(Value::String(id)) if id.is_set() => Some(dictionary.str(*id).to_owned()),
        _ => None,
    };
    let service = at.resource.attribute_str(dictionary, "service.name");
    let mut labels = BTreeMap::new();
    put(&mut labels, "service_name", service.unwrap_or("unknown_service"));
    put(&mut labels, "__name__", &name(dictionary, at.profile));
    let room = MOST_LABELS.saturating_sub(sample_labels::widest(dictionary, at.profile));
    for (label, key) in [
        ("__session_id__", "pyroscope.session_id"),
        ("pyroscope_spy", "pyroscope.spy"),
    ] {
        if let Some(value) = own(key).filter(|_| labels.len() < room) {
            put(&mut labels, label, &value);
        }
    }
    let mut others: Vec<(usize, Cow<'_, str>, String)> = at
        .resource
        .attributes
        .iter()
        .filter_map(|kv| Some((dictionary.str(kv.key), text(dictionary, &kv.value)?)))
        .filter(|(key, _)| *key != "service.name" && !TraceKeys::built_in().has(key))
        .map(|(key, value)| (rank(key), names.sent(key), value))
        .filter(|(_, name, _)| !name.starts_with("__"))
        .collect();
    others.sort_by_key(|(rank, ..)| *rank);
    for (_, name, value) in others {
        if labels.len() >= room {
            break;
        }
        if !labels.contains_key(name.as_ref()) {
            put(&mut labels, &name, &value);
        }
    }
    labels
}

fn put(labels: &mut BTreeMap<String, String>, name: &str, value: &str) {
    if name.is_empty() || value.is_empty() || name.len() > LONGEST_NAME {
        return;
    }
    let end = value.floor_char_boundary(LONGEST_VALUE);
    labels.insert(name.to_owned(), value.get(..end).unwrap_or_default().to_owned());
}

fn rank(key: &str) -> usize {
    let head = key.split(['.', '_']).next().unwrap_or(key);
    PRIORITY
        .iter()
        .position(|known| *known == head)
        .unwrap_or(PRIORITY.len())
}

fn text(dictionary: &Dictionary, value: &Value) -> Option<String> {
    match value {
        Value::String(id) => Some(dictionary.str(*id).to_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
