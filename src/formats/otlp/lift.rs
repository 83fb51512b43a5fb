//! `pprof.*` attributes become fields of the profile.

use super::decode::Decoder;
use super::defect::Defect;
use crate::profile::{AttributeId, AttributeSetId, Dictionary, KeyValue, Profile, StringId, Value};

pub(super) const COMMENT: &str = "pprof.profile.comment";
pub(super) const DROP_FRAMES: &str = "pprof.profile.drop_frames";
pub(super) const KEEP_FRAMES: &str = "pprof.profile.keep_frames";
pub(super) const DOC_URL: &str = "pprof.profile.doc_url";
pub(super) const DEFAULT_SAMPLE_TYPE: &str = "pprof.scope.default_sample_type";
pub(super) const SAMPLE_TYPE_ORDER: &str = "pprof.scope.sample_type_order";

/// What a scope says about the sample types of its profiles.
#[derive(Default)]
pub(super) struct ScopeTypes {
    /// For each profile as sent, its position in the pprof it was made from: a permutation, or nothing.
    pub order: Vec<usize>,
    /// The type to show first.
    pub default: StringId,
}

/// Takes what a scope says about sample types out of its attributes.
pub(super) fn scope(attributes: &mut Vec<KeyValue>, dictionary: &Dictionary) -> ScopeTypes {
    let mut types = ScopeTypes::default();
    attributes.retain(|kv| match (dictionary.str(kv.key), &kv.value) {
        (DEFAULT_SAMPLE_TYPE, Value::String(text)) => {
            types.default = *text;
            false
        }
        (SAMPLE_TYPE_ORDER, Value::Array(positions)) => {
            types.order = permutation(positions);
            false
        }
        _ => true,
    });
    types
}

fn permutation(positions: &[Value]) -> Vec<usize> {
    let mut taken = vec![false; positions.len()];
    let mut order = Vec::with_capacity(positions.len());
    for position in positions {
        let Value::Int(position) = position else {
            return Vec::new();
        };
        let position = usize::try_from(*position).unwrap_or(usize::MAX);
        match taken.get_mut(position) {
            Some(taken) if !*taken => *taken = true,
            _ => return Vec::new(),
        }
        order.push(position);
    }
    order
}

/// Where an attribute of a profile belongs.
enum Home {
    Comments(Vec<StringId>),
    /// One comment of several, at its place: an older form.
    Comment(u64, StringId),
    DropFrames(StringId),
    KeepFrames(StringId),
    DocUrl(StringId),
    /// With the other attributes.
    Here,
}

impl Decoder<'_> {
    /// Gives a profile its attributes, those of pprof in fields of their own.
    pub(super) fn profile_attributes(
        &mut self,
        profile: &mut Profile,
        set: AttributeSetId,
        at: usize,
    ) -> Result<(), Defect> {
        let ids = self.dictionary.attribute_sets[set].to_vec();
        let mut numbered = Vec::new();
        self.sets.begin();
        for id in &ids {
            match home(&self.dictionary, *id) {
                Home::Comments(comments) => profile.comments.extend(comments),
                Home::Comment(place, comment) => numbered.push((place, comment)),
                Home::DropFrames(text) => profile.drop_frames = text,
                Home::KeepFrames(text) => profile.keep_frames = text,
                Home::DocUrl(text) => profile.doc_url = text,
                Home::Here => self.sets.add(*id),
            }
        }
        numbered.sort_by_key(|(place, _)| *place);
        profile
            .comments
            .extend(numbered.into_iter().map(|(_, comment)| comment));
        profile.attributes = match self.sets.len() == ids.len() {
            true => set,
            false => self.attribute_set(at)?,
        };
        Ok(())
    }
}

fn home(dictionary: &Dictionary, id: AttributeId) -> Home {
    let attribute = &dictionary.attributes[id];
    let key = dictionary.str(attribute.key);
    match (key, &attribute.value) {
        (COMMENT, Value::Array(items)) => texts(items).map_or(Home::Here, Home::Comments),
        (COMMENT, Value::String(text)) => Home::Comments(vec![*text]),
        (DROP_FRAMES, Value::String(text)) => Home::DropFrames(*text),
        (KEEP_FRAMES, Value::String(text)) => Home::KeepFrames(*text),
        (DOC_URL, Value::String(text)) => Home::DocUrl(*text),
        (_, Value::String(text)) => numbered_comment(key).map_or(Home::Here, |place| Home::Comment(place, *text)),
        _ => Home::Here,
    }
}

fn texts(items: &[Value]) -> Option<Vec<StringId>> {
    let text = |item: &Value| match item {
        Value::String(text) => Some(*text),
        _ => None,
    };
    items.iter().map(text).collect()
}

fn numbered_comment(key: &str) -> Option<u64> {
    key.strip_prefix(COMMENT)?.strip_prefix('.')?.parse().ok()
}
