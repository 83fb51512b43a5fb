//! Trace and span ids under the keys at which a server looks: any other that is text would be a label of the series, and make one
//! series for each span.

use std::collections::HashMap;
use std::sync::Arc;

use super::sample_labels::sets;
use crate::profile::trace_ids::{LINK_SPAN, TraceIds, TraceKeys, to_hex};
use crate::profile::{Attribute, AttributeId, AttributeSetId, Dictionary, Profiles, StringId, Value};

const TRACE: &str = "trace_id";
const SPAN: &str = "span_id";

/// What becomes of a set of labels.
#[derive(Clone, Copy)]
struct Fitted {
    /// On samples with a link, whose ids pprof writes itself.
    linked: AttributeSetId,
    /// On others.
    unlinked: AttributeSetId,
}

/// Writes ids of all dialects as the server's. Copies only if there is any of another.
pub(super) fn fit(profiles: &mut Profiles) {
    let d = profiles.dictionary();
    let mut ids = TraceIds::new(TraceKeys::built_in(), d);
    let is_marked = d.attributes.rows().iter().any(|row| d.str(row.key) == LINK_SPAN);
    if !ids.any() && !is_marked {
        return;
    }
    let found = sets(d, profiles.iter().map(|at| at.profile));
    let plans: Vec<Plan> = found.into_iter().filter_map(|set| Plan::of(d, set, &mut ids)).collect();
    if plans.is_empty() {
        return;
    }
    let (d, resources) = profiles.edit();
    let fitted: HashMap<_, _> = plans.into_iter().map(|plan| (plan.set, plan.apply(d))).collect();
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        let samples = Arc::make_mut(&mut profile.samples);
        for (set, link) in samples.attributes.iter_mut().zip(&samples.links) {
            if let Some(fitted) = fitted.get(set) {
                *set = if link.is_set() { fitted.linked } else { fitted.unlinked };
            }
        }
    }
}

/// A set of which something is to change.
struct Plan {
    set: AttributeSetId,
    /// The labels that are no ids.
    others: Vec<AttributeId>,
    /// The labels of ids, if they are the server's already.
    as_they_are: Option<Vec<AttributeId>>,
    trace: Option<String>,
    span: Option<String>,
}

impl Plan {
    fn of(d: &Dictionary, set: AttributeSetId, ids: &mut TraceIds<'_>) -> Option<Self> {
        let is_mark = |id: &AttributeId| d.str(d.attributes[*id].key) == LINK_SPAN;
        let (found, mut others): (Vec<AttributeId>, Vec<AttributeId>) =
            d.attribute_sets[set].iter().partition(|id| ids.is_id(**id));
        let before = others.len();
        others.retain(|id| !is_mark(id));
        if found.is_empty() && others.len() == before {
            return None;
        }
        let said = ids.said(d, set);
        let trace = said.and_then(|said| said.trace).map(|id| to_hex(&id));
        let span = said.and_then(|said| said.span).map(|id| to_hex(&id));
        let are_fit = found.iter().all(|id| {
            let label = &d.attributes[*id];
            let wanted = match d.str(label.key) {
                TRACE => &trace,
                SPAN => &span,
                _ => return false,
            };
            // what nobody can read the server passes over, and does not make a label of the series
            matches!((&label.value, wanted), (Value::String(text), Some(id)) if d.str(*text) == id) || wanted.is_none()
        });
        Some(Self {
            set,
            others,
            as_they_are: are_fit.then_some(found),
            trace,
            span,
        })
    }

    fn apply(self, d: &mut Dictionary) -> Fitted {
        let linked = d.attribute_sets.push(&self.others);
        let mut labels = self.others;
        match self.as_they_are {
            Some(ids) => labels.extend(ids),
            None => {
                for (key, id) in [(TRACE, self.trace), (SPAN, self.span)] {
                    labels.extend(id.map(|id| label(d, key, &id)));
                }
            }
        }
        Fitted {
            linked,
            unlinked: d.attribute_sets.push(&labels),
        }
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
