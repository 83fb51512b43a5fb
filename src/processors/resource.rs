//! `resource`: inserts, updates and deletes attributes of resources.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::profile::{Dictionary, KeyValue, Value};

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "resource",
        aliases: &[],
        summary: "inserts, updates and deletes attributes of resources",
        docs: "As the Collector's resource processor: `insert` where the key is missing, `update` where it is there, `upsert` \
in either case, `delete`. The value is `value` (text, number or truth) or that of the resource attribute `from_attribute`; \
where that is missing nothing happens. Stands before `redaction`.",
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "resource: { attributes: [{ key: deployment.environment.name, value: prod, action: upsert }] }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: true,
    removes_text: None,
    holds: None,
    build,
};

/// Configuration of `resource`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is done, in order.
    pub attributes: Vec<Step>,
}

/// One change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The attribute.
    pub key: String,
    /// What is done to it.
    pub action: Action,
    /// Its new value.
    pub value: Option<Scalar>,
    /// The resource attribute to take the value from.
    pub from_attribute: Option<String>,
}

/// What is done to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Set where missing.
    Insert,
    /// Set where there.
    Update,
    /// Set.
    Upsert,
    /// Removed.
    Delete,
}

/// A value in the configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected text, a number or a boolean")]
pub enum Scalar {
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Text.
    Text(String),
}

struct Resource {
    steps: Vec<Step>,
}

/// Actions of the Collector's that are not here, each with another way.
const FOREIGN: &[(&str, &str)] = &[
    (
        "hash",
        "a `redaction` behind this processor hashes values that stay comparable: `blocked_key_patterns` names the key, \
         `hash_function: hmac-sha256` and `hmac_key` make the hash",
    ),
    (
        "extract",
        "no attribute is made of a part of another; let the sender set it, or a Collector in front of the gate",
    ),
    (
        "convert",
        "values keep their types; let the sender set the type that is wanted",
    ),
];

fn refuse_foreign(raw: &RawConfig) -> Result<(), BuildError> {
    let steps = raw.get("attributes").and_then(RawConfig::as_array);
    for (i, step) in steps.into_iter().flatten().enumerate() {
        let action = step.get("action").and_then(RawConfig::as_str);
        if let Some((action, way)) = FOREIGN.iter().find(|(name, _)| action == Some(*name)) {
            let message = format!("there is no action \"{action}\" here: {way}");
            return Err(BuildError::at(format!("attributes[{i}].action"), message));
        }
    }
    Ok(())
}

fn build(raw: RawConfig, _cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    refuse_foreign(&raw)?;
    let steps = parse::<Config>(raw)?.attributes;
    for (i, step) in steps.iter().enumerate() {
        let sources = usize::from(step.value.is_some()) + usize::from(step.from_attribute.is_some());
        let wanted = usize::from(step.action != Action::Delete);
        if sources != wanted {
            let message = "insert, update and upsert need either value or from_attribute; delete needs neither";
            return Err(BuildError::at(format!("attributes[{i}]"), message));
        }
    }
    Ok(Box::new(Resource { steps }))
}

impl Processor for Resource {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        if !self.steps.is_empty()
            && let Some(profiles) = batch.edit()
        {
            let (d, resources) = profiles.edit();
            for resource in resources {
                for step in &self.steps {
                    apply(step, d, &mut resource.attributes);
                }
            }
        }
        Verdict::pass(batch)
    }
}

fn apply(step: &Step, d: &mut Dictionary, attributes: &mut Vec<KeyValue>) {
    if step.action == Action::Delete {
        attributes.retain(|kv| d.str(kv.key) != step.key);
        return;
    }
    let place = attributes.iter().position(|kv| d.str(kv.key) == step.key);
    let wanted = match step.action {
        Action::Insert => place.is_none(),
        Action::Update => place.is_some(),
        Action::Upsert | Action::Delete => true,
    };
    if !wanted {
        return;
    }
    let Some(value) = value_of(step, d, attributes) else {
        return;
    };
    match place.and_then(|place| attributes.get_mut(place)) {
        Some(kv) => kv.value = value,
        None => attributes.push(KeyValue {
            key: d.strings.push(&step.key),
            value,
        }),
    }
}

fn value_of(step: &Step, d: &mut Dictionary, attributes: &[KeyValue]) -> Option<Value> {
    if let Some(from) = &step.from_attribute {
        let source = attributes.iter().find(|kv| d.str(kv.key) == from)?;
        return Some(source.value.clone());
    }
    Some(match step.value.as_ref()? {
        Scalar::Bool(truth) => Value::Bool(*truth),
        Scalar::Int(number) => Value::Int(*number),
        Scalar::Double(number) => Value::Double(*number),
        Scalar::Text(text) => Value::String(d.strings.push(text)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_do_as_the_collector_does() {
        let config = serde_json::json!({"attributes": [
            {"key": "a", "value": "1", "action": "insert"}, {"key": "a", "value": "2", "action": "insert"},
            {"key": "b", "value": 3, "action": "update"}, {"key": "c", "from_attribute": "a", "action": "upsert"},
            {"key": "a", "action": "delete"}]});
        let mut d = Dictionary::default();
        let mut attributes = Vec::new();
        for step in &parse::<Config>(config).unwrap().attributes {
            apply(step, &mut d, &mut attributes);
        }
        assert_eq!(attributes.len(), 1);
        assert_eq!(d.str(attributes[0].key), "c");
        assert!(matches!(attributes[0].value, Value::String(id) if d.str(id) == "1"));
    }
}
