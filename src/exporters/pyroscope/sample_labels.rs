//! Labels of samples. A server makes labels of the series of all that are text, except trace and span ids, and refuses the
//! whole profile for one set that breaks the rules for those.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::labels::{LONGEST_NAME, LONGEST_VALUE, MOST_LABELS, PER_SAMPLE};
use crate::profile::{Attribute, AttributeId, AttributeSetId, Dictionary, Profile, Profiles, Value};

/// Labels of one sample that a server takes by default, less two for the ids of a link.
const MOST: usize = 100 - 2;
/// Names of text labels on one sample: a series has a name and a service besides.
const MOST_NAMES: usize = MOST_LABELS - 2;

/// Cuts what is too long, and leaves out what is over the limits or not for others to set: ids stay first, then text.
/// Copies only if there is something to cut.
pub(super) fn trim(profiles: &mut Profiles) {
    let dictionary = profiles.dictionary();
    let sets = sets(profiles);
    let unfit: Vec<AttributeSetId> = sets.into_iter().filter(|set| !is_fit(dictionary, *set)).collect();
    if unfit.is_empty() {
        return;
    }
    let (dictionary, resources) = profiles.edit();
    let trimmed: HashMap<_, _> = unfit.into_iter().map(|set| (set, trimmed(dictionary, set))).collect();
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        for set in &mut Arc::make_mut(&mut profile.samples).attributes {
            *set = trimmed.get(set).copied().unwrap_or(*set);
        }
    }
}

/// The most names of text labels that a sample of the profile has.
pub(super) fn widest(dictionary: &Dictionary, profile: &Profile) -> usize {
    let sets: BTreeSet<_> = profile.samples.attributes.iter().copied().collect();
    sets.into_iter()
        .map(|set| names(dictionary, set).len())
        .max()
        .unwrap_or_default()
}

fn sets(profiles: &Profiles) -> BTreeSet<AttributeSetId> {
    let samples = profiles.iter().flat_map(|at| &at.profile.samples.attributes);
    samples.copied().collect()
}

/// The names of the labels of a set that become labels of the series.
fn names(dictionary: &Dictionary, set: AttributeSetId) -> BTreeSet<&str> {
    let text = dictionary.attributes_of(set).filter(|label| is_text(&label.value));
    let names = text.map(|label| dictionary.str(label.key));
    names.filter(|name| !PER_SAMPLE.contains(name)).collect()
}

/// Whether pprof says it as text; numbers mean nothing to the server.
fn is_text(value: &Value) -> bool {
    match value {
        Value::Int(_) => false,
        Value::Array(values) => values.iter().any(is_text),
        _ => true,
    }
}

fn is_fit(dictionary: &Dictionary, set: AttributeSetId) -> bool {
    let count: usize = dictionary.attributes_of(set).map(|label| labels(&label.value)).sum();
    count <= MOST
        && names(dictionary, set).len() <= MOST_NAMES
        && dictionary
            .attributes_of(set)
            .all(|label| is_allowed(dictionary.str(label.key)) && text_bytes(dictionary, &label.value) <= LONGEST_VALUE)
}

/// How many labels pprof makes of a value.
fn labels(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.len(),
        _ => 1,
    }
}

/// `__sampled__` and its like are the server's own: from a sample they hide it from every query.
fn is_allowed(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with("__")
}

/// Bytes of a value as text, or more: JSON escapes a byte with six at most.
fn text_bytes(dictionary: &Dictionary, value: &Value) -> usize {
    let nested = |value: &Value| 6 * text_bytes(dictionary, value) + 3;
    match value {
        Value::String(id) => dictionary.str(*id).len(),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 32,
        Value::Bytes(bytes) => 2 * bytes.len(),
        // each value becomes a label of its own, unless it is an array itself
        Value::Array(values) => values
            .iter()
            .map(|value| match value {
                Value::Array(_) => nested(value),
                value => text_bytes(dictionary, value),
            })
            .max()
            .unwrap_or_default(),
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| 6 * dictionary.str(*key).len() + nested(value))
            .sum(),
    }
}

/// The set within all limits.
fn trimmed(dictionary: &mut Dictionary, set: AttributeSetId) -> AttributeSetId {
    let mut ids = dictionary.attribute_sets[set].to_vec();
    ids.retain(|id| is_allowed(dictionary.str(dictionary.attributes[*id].key)));
    ids.sort_by_key(|id| rank(dictionary, &dictionary.attributes[*id]));
    let mut names = BTreeSet::new();
    let mut count = 0;
    let mut kept = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(id) = shortened(dictionary, id) else { continue };
        let label = &dictionary.attributes[id];
        let name = dictionary.str(label.key);
        let is_named = is_text(&label.value) && !PER_SAMPLE.contains(&name) && !names.contains(name);
        if count + labels(&label.value) > MOST || is_named && names.len() == MOST_NAMES {
            continue;
        }
        count += labels(&label.value);
        if is_named {
            names.insert(name.to_owned());
        }
        kept.push(id);
    }
    dictionary.attribute_sets.push(&kept)
}

/// Ids, text, numbers.
fn rank(dictionary: &Dictionary, label: &Attribute) -> usize {
    match is_text(&label.value) {
        true if PER_SAMPLE.contains(&dictionary.str(label.key)) => 0,
        true => 1,
        false => 2,
    }
}

/// The label with a value that is short enough; none where there is no cutting it.
fn shortened(dictionary: &mut Dictionary, id: AttributeId) -> Option<AttributeId> {
    let label = dictionary.attributes[id].clone();
    if text_bytes(dictionary, &label.value) <= LONGEST_VALUE {
        return Some(id);
    }
    let Value::String(text) = label.value else { return None };
    let text = dictionary.str(text);
    let text = text.get(..text.floor_char_boundary(LONGEST_VALUE))?.to_owned();
    let value = Value::String(dictionary.strings.push(&text));
    Some(dictionary.attributes.push(Attribute { value, ..label }))
}
