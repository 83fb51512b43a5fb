//! What is written of spans at samples: names, routes and durations, by which samples of many spans can be put together.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::config::{Config, Written};
use crate::profile::{Attribute, AttributeId, AttributeSetId, Dictionary, Id, Value};

/// Stretches of time between limits, each with a text.
#[derive(Debug)]
pub(super) struct Buckets {
    /// Nanoseconds at which one ends and the next begins.
    limits: Vec<u64>,
    /// One more than limits.
    texts: Vec<Arc<str>>,
}

impl Buckets {
    pub(super) fn of(config: &Config) -> Self {
        let limits = config.buckets.iter();
        let nanoseconds = |limit: std::time::Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let texts: Vec<String> = limits.clone().map(ToString::to_string).collect();
        let begins = std::iter::once("").chain(texts.iter().map(String::as_str));
        let ends = texts.iter().map(String::as_str).chain(std::iter::once(""));
        Self {
            limits: limits.map(|limit| nanoseconds(limit.0)).collect(),
            texts: begins
                .zip(ends)
                .map(|(begin, end)| format!("{begin}..{end}").into())
                .collect(),
        }
    }

    /// The text of the one that a duration lies in.
    pub(super) fn text(&self, nanoseconds: u64) -> Option<Arc<str>> {
        let place = self.limits.partition_point(|limit| *limit <= nanoseconds);
        self.texts.get(place).cloned()
    }
}

/// What is to be written at a sample.
pub(super) type Texts = [Option<Arc<str>>; WRITTEN.len()];

const WRITTEN: [Written; 3] = [Written::Name, Written::Route, Written::Duration];

/// Writes at samples of one batch: every text and every set of attributes is made once.
#[derive(Default)]
pub(super) struct Writer {
    keys: [Option<crate::profile::StringId>; WRITTEN.len()],
    attributes: [HashMap<Arc<str>, AttributeId, RandomState>; WRITTEN.len()],
    sets: HashMap<(AttributeSetId, [Option<AttributeId>; WRITTEN.len()]), AttributeSetId, RandomState>,
}

impl Writer {
    /// The set with the texts added, but for those of whose keys it has a value.
    pub(super) fn set(&mut self, d: &mut Dictionary, set: AttributeSetId, texts: &Texts) -> AttributeSetId {
        let mut ids = [None; WRITTEN.len()];
        for (at, (id, text)) in ids.iter_mut().zip(texts).enumerate() {
            *id = text.as_ref().and_then(|text| self.attribute(d, at, text));
        }
        if let Some(known) = self.sets.get(&(set, ids)) {
            return *known;
        }
        let mut all = d.attribute_sets[set].to_vec();
        for (written, id) in WRITTEN.iter().zip(ids) {
            let is_new = d.attribute(set, written.key()).is_none();
            all.extend(id.filter(|_| is_new));
        }
        let has_more = all.len() > d.attribute_sets[set].len();
        let made = if has_more { d.attribute_sets.push(&all) } else { set };
        self.sets.insert((set, ids), made);
        made
    }

    fn attribute(&mut self, d: &mut Dictionary, at: usize, text: &Arc<str>) -> Option<AttributeId> {
        let attributes = self.attributes.get_mut(at)?;
        if let Some(known) = attributes.get(text) {
            return Some(*known);
        }
        let key = *self
            .keys
            .get_mut(at)?
            .get_or_insert_with(|| d.strings.push(WRITTEN.get(at).map_or("", |written| written.key())));
        let value = Value::String(d.strings.push(text));
        let unit = Id::UNSET;
        let made = d.attributes.push(Attribute { key, value, unit });
        attributes.insert(text.clone(), made);
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::units::Span;

    fn text(config: &Config, nanoseconds: u64) -> String {
        Buckets::of(config).text(nanoseconds).unwrap().to_string()
    }

    #[test]
    fn a_bucket_holds_where_it_begins_and_not_where_it_ends() {
        let config = Config::default();
        for (nanoseconds, expected) in [
            (0, "..1ms"),
            (999_999, "..1ms"),
            (1_000_000, "1ms..3ms"),
            (29_999_999, "10ms..30ms"),
            (30_000_000, "30ms..100ms"),
            (1_500_000_000, "1s..3s"),
            (30_000_000_000, "30s.."),
            (u64::MAX, "30s.."),
        ] {
            assert_eq!(text(&config, nanoseconds), expected);
        }
        let config = Config {
            buckets: vec![Span::millis(1_500)],
            ..config
        };
        assert_eq!(
            (text(&config, 0), text(&config, 1_500_000_000)),
            ("..1s500ms".to_owned(), "1s500ms..".to_owned())
        );
    }
}
