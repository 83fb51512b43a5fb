//! Labels of samples. A server makes labels of the series of all that are text, except trace and span ids, and refuses the
//! whole profile for one set that breaks the rules for those.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::labels::{LONGEST_NAME, LONGEST_VALUE, LabelNames, MOST_LABELS, PER_SAMPLE};
use crate::profile::{Attribute, AttributeId, AttributeSetId, Dictionary, Profile, Profiles, Value};

/// Labels of one sample that a server takes by default, less two for the ids of a link.
const MOST: usize = 100 - 2;
/// Names of text labels on one sample: a series has a name and a service besides.
const MOST_NAMES: usize = MOST_LABELS - 2;

/// Cuts what is too long, and leaves out what is over the limits or not for others to set: ids stay first, then text.
/// Copies only if there is something to cut.
pub(super) fn trim(profiles: &mut Profiles, called: LabelNames) {
    let dictionary = profiles.dictionary();
    let mut unfit = sets(dictionary, profiles.iter().map(|at| at.profile));
    unfit.retain(|set| !is_fit(dictionary, *set, called));
    if unfit.is_empty() {
        return;
    }
    let (dictionary, resources) = profiles.edit();
    let trimmed: HashMap<_, _> = unfit
        .into_iter()
        .map(|set| (set, trimmed(dictionary, set, called)))
        .collect();
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        for set in &mut Arc::make_mut(&mut profile.samples).attributes {
            *set = trimmed.get(set).copied().unwrap_or(*set);
        }
    }
}

/// The most names of text labels that a sample of the profile has, once its labels are trimmed.
pub(super) fn widest(dictionary: &Dictionary, profile: &Profile) -> usize {
    let sets = sets(dictionary, [profile]);
    sets.into_iter()
        .map(|set| names(dictionary, set))
        .max()
        .unwrap_or_default()
}

/// The sets of the samples, each once.
fn sets<'a>(dictionary: &Dictionary, profiles: impl IntoIterator<Item = &'a Profile>) -> Vec<AttributeSetId> {
    let mut seen = vec![false; dictionary.attribute_sets.len()];
    let mut sets = Vec::new();
    for set in profiles.into_iter().flat_map(|profile| &profile.samples.attributes) {
        if let Some(seen) = seen.get_mut(set.index())
            && !std::mem::replace(seen, true)
        {
            sets.push(*set);
        }
    }
    sets
}

/// How many names the labels of a set have that become labels of the series. For sets within the limit: it compares all.
fn names(dictionary: &Dictionary, set: AttributeSetId) -> usize {
    let name = |label: &Attribute| (is_text(&label.value)).then_some(label.key);
    let text = || {
        dictionary
            .attributes_of(set)
            .filter_map(name)
            .map(|key| dictionary.str(key))
    };
    let is_first = |(at, name): &(usize, &str)| !text().take(*at).any(|earlier| earlier == *name);
    let firsts = text().enumerate().filter(is_first);
    firsts.filter(|(_, name)| !PER_SAMPLE.contains(name)).count()
}

/// Whether pprof says it as text; numbers mean nothing to the server.
fn is_text(value: &Value) -> bool {
    match value {
        Value::Int(_) => false,
        Value::Array(values) => values.iter().any(is_text),
        _ => true,
    }
}

fn is_fit(dictionary: &Dictionary, set: AttributeSetId, called: LabelNames) -> bool {
    let count: usize = dictionary.attributes_of(set).map(|label| labels(&label.value)).sum();
    count <= MOST
        && names(dictionary, set) <= MOST_NAMES
        && dictionary.attributes_of(set).all(|label| {
            let name = dictionary.str(label.key);
            is_allowed(name) && called.sent(name) == name && text_bytes(dictionary, &label.value) <= LONGEST_VALUE
        })
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
fn trimmed(dictionary: &mut Dictionary, set: AttributeSetId, called: LabelNames) -> AttributeSetId {
    let ids = dictionary.attribute_sets[set].to_vec();
    let mut ids: Vec<AttributeId> = ids.into_iter().map(|id| renamed(dictionary, id, called)).collect();
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

/// The label under the name that it is sent as.
fn renamed(dictionary: &mut Dictionary, id: AttributeId, called: LabelNames) -> AttributeId {
    let label = dictionary.attributes[id].clone();
    let name = called.sent(dictionary.str(label.key)).into_owned();
    if name == dictionary.str(label.key) {
        return id;
    }
    let key = dictionary.strings.push(&name);
    dictionary.attributes.push(Attribute { key, ..label })
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
