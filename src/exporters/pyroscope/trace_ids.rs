//! Trace and span ids under the keys at which a server looks: any other that is text would be a label of the series, and make one
//! series for each span. What is written of spans beside their ids stays here for the same reason.

use std::collections::HashMap;
use std::sync::Arc;

use crate::profile::trace_ids::{LINK_SPAN, SPAN_DURATION, SPAN_NAME, SPAN_ROUTE, TraceIds, TraceKeys, to_hex};
use crate::profile::{Attribute, AttributeId, AttributeSetId, Dictionary, Profiles, StringId, Value};

const TRACE: &str = "trace_id";
const SPAN: &str = "span_id";
/// What is written of a span at its samples.
const TOLD_OF_SPANS: [&str; 3] = [SPAN_NAME, SPAN_DURATION, SPAN_ROUTE];

/// Writes ids of all dialects as the server's. Copies only if there is any of another.
pub(super) fn fit(profiles: &mut Profiles) {
    let d = profiles.dictionary();
    let mut ids = TraceIds::new(TraceKeys::built_in(), d);
    let tells = |row: &Attribute| d.str(row.key) == LINK_SPAN || TOLD_OF_SPANS.contains(&d.str(row.key));
    if !ids.any() && !d.attributes.rows().iter().any(tells) {
        return;
    }
    let mut plans = HashMap::new();
    for at in profiles.iter() {
        for (set, link) in at.profile.samples.attributes.iter().zip(&at.profile.samples.links) {
            let plan = plans.entry((*set, link.is_set()));
            plan.or_insert_with(|| Plan::of(d, *set, link.is_set(), &mut ids));
        }
    }
    if plans.values().all(Option::is_none) {
        return;
    }
    let (d, resources) = profiles.edit();
    let plans = plans.into_iter().filter_map(|(key, plan)| Some((key, plan?)));
    let fitted: HashMap<_, _> = plans.map(|(key, plan)| (key, plan.apply(d))).collect();
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        let samples = Arc::make_mut(&mut profile.samples);
        for (set, link) in samples.attributes.iter_mut().zip(&samples.links) {
            *set = fitted.get(&(*set, link.is_set())).copied().unwrap_or(*set);
        }
    }
}

/// What is to become of a set.
struct Plan {
    /// The labels that stay.
    others: Vec<AttributeId>,
    trace: Option<[u8; 16]>,
    span: Option<[u8; 8]>,
}

impl Plan {
    /// None if all of it stays. Of samples with a link pprof writes the ids itself.
    fn of(d: &Dictionary, set: AttributeSetId, is_linked: bool, ids: &mut TraceIds<'_>) -> Option<Self> {
        let key = |id: AttributeId| d.str(d.attributes[id].key);
        let set_of = &d.attribute_sets[set];
        // a route alone is a label that somebody has set
        let is_of_span = is_linked || set_of.iter().any(|id| [SPAN_NAME, SPAN_DURATION].contains(&key(*id)));
        let goes = |id: &&AttributeId| {
            let key = key(**id);
            ids.is_id(**id) || key == LINK_SPAN || is_of_span && TOLD_OF_SPANS.contains(&key)
        };
        let (gone, others): (Vec<AttributeId>, Vec<AttributeId>) = set_of.iter().partition(goes);
        if gone.is_empty() {
            return None;
        }
        let said = ids.said(d, set).filter(|_| !is_linked);
        let (trace, span) = (said.and_then(|said| said.trace), said.and_then(|said| said.span));
        let is_fit = |id: &AttributeId| {
            let wanted = match key(*id) {
                TRACE => trace.map(|id| to_hex(&id)),
                SPAN => span.map(|id| to_hex(&id)),
                _ => return false,
            };
            // what is no id under these keys a server passes over
            let is_it =
                |wanted: String| matches!(&d.attributes[*id].value, Value::String(text) if d.str(*text) == wanted);
            wanted.is_none_or(is_it)
        };
        let stays = !is_linked && gone.iter().all(is_fit);
        (!stays).then_some(Self { others, trace, span })
    }

    fn apply(self, d: &mut Dictionary) -> AttributeSetId {
        let mut labels = self.others;
        labels.extend(self.trace.map(|id| label(d, TRACE, &to_hex(&id))));
        labels.extend(self.span.map(|id| label(d, SPAN, &to_hex(&id))));
        d.attribute_sets.push(&labels)
    }
}

fn label(d: &mut Dictionary, key: &str, text: &str) -> AttributeId {
    let key = d.strings.push(key);
    let value = Value::String(d.strings.push(text));
    d.attributes.push(Attribute {
        key,
        value,
        unit: StringId::UNSET,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Interner, Link, LinkId, Observations, Profile, Samples, ValueType};

    const TRACE_ID: &str = "5b8efff798038103d269b633813fc60c";
    const SPAN_ID: &str = "eee19b7ec3c1b174";

    /// One sample for each list of labels, with and without a link, as its labels are sent.
    fn sent(rows: &[&[(&str, &str)]]) -> (Vec<[Vec<String>; 2]>, bool) {
        let mut interner = Interner::new();
        let link = interner.link(Link {
            trace_id: [1; 16],
            span_id: [1; 8],
        });
        let mut samples = Samples::default();
        for labels in rows {
            let labels: Vec<_> = labels
                .iter()
                .map(|(key, text)| interner.text_attribute(key, text))
                .collect();
            for link in [link, LinkId::UNSET] {
                samples.stacks.push(Default::default());
                samples.attributes.push(interner.attribute_set(&labels));
                samples.links.push(link);
            }
        }
        samples.observations = Observations::Totals(vec![1; samples.len()]);
        let profile = Profile {
            sample_types: vec![ValueType::default()],
            samples: samples.into(),
            ..Profile::default()
        };
        let before = Profiles::of(interner.finish(), vec![profile]);
        let mut after = before.clone();
        fit(&mut after);
        let d = after.dictionary();
        let samples = &after.iter().next().unwrap().profile.samples;
        let told = |set: &AttributeSetId| -> Vec<String> {
            let label = |label: &Attribute| match &label.value {
                Value::String(text) => format!("{}={}", d.str(label.key), d.str(*text)),
                other => panic!("{other:?}"),
            };
            d.attributes_of(*set).map(label).collect()
        };
        let (pairs, _) = samples.attributes.as_chunks::<2>();
        let is_same = std::ptr::eq(before.dictionary(), d);
        (
            pairs.iter().map(|pair| [told(&pair[0]), told(&pair[1])]).collect(),
            is_same,
        )
    }

    #[test]
    fn ids_of_links_and_labels_have_the_keys_of_the_server() {
        let (trace, span) = (format!("trace_id={TRACE_ID}"), format!("span_id={SPAN_ID}"));
        for (labels, unlinked) in [
            (
                &[("span id", "17213210219539181940"), ("local root span id", "7")][..],
                &[&span][..],
            ),
            (
                &[("trace id", TRACE_ID), ("local root span id", "17213210219539181940")],
                &[&trace, &span],
            ),
            (&[("otel.traceid", TRACE_ID)], &[&trace]),
            (&[("profile_id", SPAN_ID)], &[&span]),
            (&[("process.context.label.span_id", SPAN_ID)], &[&span]),
            (&[("trace_id", TRACE_ID), ("span_id", SPAN_ID)], &[&trace, &span]),
            (&[(LINK_SPAN, "active")], &[]),
            // what is no id is no label of a series either, but for what a server leaves to samples
            (&[("span id", "nobody")], &[]),
            (&[("span_id", "nobody")], &[&"span_id=nobody".to_owned()]),
        ] {
            let other = ("thread id", "7");
            let labels = [&[other][..], labels].concat();
            let (told, _) = sent(&[&labels]);
            let others = || vec!["thread id=7".to_owned()];
            let unlinked = [others(), unlinked.iter().map(|label| label.to_string()).collect()].concat();
            assert_eq!(told, [[others(), unlinked]], "{labels:?}");
        }
    }

    #[test]
    fn what_is_told_of_spans_makes_no_series() {
        let route = ("http.route", "/cart");
        let both = [route, ("span.name", "GET /cart"), ("span.duration", "1s..3s")];
        let (told, _) = sent(&[&both, &[route], &both[1..2]]);
        let none = Vec::<String>::new;
        let own = vec!["http.route=/cart".to_owned()];
        assert_eq!(told, [[none(), none()], [none(), own], [none(), none()]]);
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let ids = [("trace_id", TRACE_ID), ("span_id", SPAN_ID)];
        let (_, is_same) = sent(&[&[("thread id", "7")]]);
        assert!(is_same);
        let (_, is_same) = sent(&[&ids]);
        assert!(!is_same, "a link says it already");
    }
}
