//! Ids that stand for ids: equal for equal ones, and no way back without the key.

use ring::hmac;

use super::config::{Config, Labels};
use crate::pipeline::spec::BuildError;
use crate::profile::trace_ids::{Digits, Part, TraceIds, TraceKeys, to_decimal, to_hex};
use crate::profile::{AttributeId, Dictionary, Link, Profiles, Value};

/// A key shorter than what it makes could be guessed.
const SHORTEST_KEY: usize = 32;

/// Makes ids of ids. Both kinds keep their lengths, so that whoever reads ids reads these.
pub struct Pseudonyms {
    key: hmac::Key,
}

impl Pseudonyms {
    /// Those of a configuration that hashes.
    pub fn of(config: &Config) -> Result<Option<Self>, BuildError> {
        let at_key = |problem| Err(BuildError::at("hmac_key", problem));
        match (config.labels, &config.hmac_key) {
            (Labels::Hash, None) => at_key("`labels: hash` needs a key; `flamegate keygen` makes one"),
            (Labels::Hash, Some(key)) if key.expose().len() < SHORTEST_KEY => {
                at_key("a key has at least 32 bytes; `flamegate keygen` makes one")
            }
            (Labels::Hash, Some(key)) => Ok(Some(Self {
                key: hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()),
            })),
            (_, Some(_)) => at_key("only `labels: hash` has a use for a key"),
            (_, None) => Ok(None),
        }
    }

    /// Replaces every id in links and labels.
    pub fn replace(&self, keys: &TraceKeys, profiles: &mut Profiles) {
        let (d, _) = profiles.edit();
        for link in d.links.rows_mut().iter_mut().skip(1) {
            *link = Link {
                trace_id: self.id("trace", link.trace_id),
                span_id: self.id("span", link.span_id),
            };
        }
        let ids = TraceIds::new(keys, d);
        for row in d.attributes.ids() {
            if let Some(told) = ids.of_row(d, row) {
                let value = self.value(d, told, row);
                if let Some(row) = d.attributes.rows_mut().get_mut(row.index()) {
                    row.value = value;
                }
            }
        }
    }

    /// What stands for an id in a label, written as that was. Of a trace that was a number it is text: it has more bits.
    fn value(&self, d: &mut Dictionary, (part, id, digits): (Part, u128, Digits), row: AttributeId) -> Value {
        let was = &d.attributes[row].value;
        let text = match (part, was) {
            (Part::Trace, Value::Bytes(_)) => return Value::Bytes(self.id("trace", id.to_be_bytes()).into()),
            (Part::Trace, _) => to_hex(&self.id("trace", id.to_be_bytes())),
            _ => {
                let made = self.id("span", (id as u64).to_be_bytes());
                match was {
                    Value::Bytes(_) => return Value::Bytes(made.into()),
                    Value::Int(_) => return Value::Int(i64::from_be_bytes(made)),
                    _ if digits == Digits::Decimal => to_decimal(made),
                    _ => to_hex(&made),
                }
            }
        };
        Value::String(d.strings.push(&text))
    }

    /// Zeros mean none, and stay.
    fn id<const BYTES: usize>(&self, part: &str, id: [u8; BYTES]) -> [u8; BYTES] {
        if id == [0; BYTES] {
            return id;
        }
        let mut context = hmac::Context::with_key(&self.key);
        context.update(part.as_bytes());
        context.update(&[0]);
        context.update(&id);
        let tag = context.sign();
        let mut made = [0; BYTES];
        for (made, byte) in made.iter_mut().zip(tag.as_ref()) {
            *made = *byte;
        }
        made
    }
}
