//! The labels of a series: what a resource says about itself, in the names and within the limits of Pyroscope.

use std::collections::BTreeMap;

use crate::profile::{Dictionary, Profile, ProfileRef, StringId, Value};

/// Most labels that a server takes by default, its own included.
const MOST_LABELS: usize = 30;
/// Labels that the server adds itself, of the number above.
const SERVERS_OWN: usize = 4;
const LONGEST_NAME: usize = 1024;
const LONGEST_VALUE: usize = 2048;

/// Keys that stay per sample: as labels of a series they would make one series for each trace.
const PER_SAMPLE: &[&str] = &["trace_id", "span_id", "profile_id", "trace.id", "span.id"];

/// What goes first when there are too many: the lower, the more it is worth.
const PRIORITY: &[&str] = &["service", "deployment", "k8s", "host", "container", "cloud", "process"];

/// The labels of the series that `at` becomes a sample of, sorted by name.
pub(super) fn labels(dictionary: &Dictionary, at: ProfileRef<'_>) -> BTreeMap<String, String> {
    let own = |key: &str| match dictionary.attribute(at.profile.attributes, key) {
        Some(Value::String(id)) if id.is_set() => Some(dictionary.str(*id).to_owned()),
        _ => None,
    };
    let service = at.resource.attribute_str(dictionary, "service.name");
    let mut labels = BTreeMap::new();
    put(&mut labels, "service_name", service.unwrap_or("unknown_service"));
    let name = own("pyroscope.name").unwrap_or_else(|| series_name(dictionary, at.profile));
    put(&mut labels, "__name__", &name);
    for (label, key) in [
        ("__session_id__", "pyroscope.session_id"),
        ("pyroscope_spy", "pyroscope.spy"),
    ] {
        if let Some(value) = own(key) {
            put(&mut labels, label, &value);
        }
    }
    let mut others: Vec<(usize, &str, String)> = at
        .resource
        .attributes
        .iter()
        .filter_map(|kv| Some((dictionary.str(kv.key), text(dictionary, &kv.value)?)))
        .filter(|(key, _)| *key != "service.name" && !key.starts_with("__") && !PER_SAMPLE.contains(key))
        .map(|(key, value)| (rank(key), key, value))
        .collect();
    others.sort_by_key(|(rank, ..)| *rank);
    for (_, key, value) in others {
        if labels.len() >= MOST_LABELS - SERVERS_OWN {
            break;
        }
        if !labels.contains_key(key) {
            put(&mut labels, key, &value);
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

/// The name that Pyroscope's own clients would give the profile, from its types.
fn series_name(dictionary: &Dictionary, profile: &Profile) -> String {
    let kinds: Vec<&str> = profile.sample_types.iter().map(|of| dictionary.str(of.kind)).collect();
    let any = |wanted: &[&str]| kinds.iter().any(|kind| wanted.iter().any(|w| kind.contains(w)));
    let period = dictionary.str(profile.period_type.kind);
    if any(&["wall"]) {
        return "wall".to_owned();
    }
    if any(&["cpu"]) || period == "cpu" {
        return "process_cpu".to_owned();
    }
    if any(&["alloc", "inuse", "space", "objects", "malloc"]) {
        return "memory".to_owned();
    }
    if any(&["mutex"]) || (any(&["contentions"]) && period != "block") {
        return "mutex".to_owned();
    }
    if any(&["contentions", "block"]) {
        return "block".to_owned();
    }
    if any(&["goroutine"]) {
        return "goroutines".to_owned();
    }
    let first = kinds.first().copied().unwrap_or_default();
    let first: String = first
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
        .collect();
    if first.is_empty() { "other".to_owned() } else { first }
}

/// Whether a name of a type holds what the server refuses.
pub(super) fn is_refused(dictionary: &Dictionary, name: StringId) -> bool {
    dictionary.str(name).contains('-')
}
