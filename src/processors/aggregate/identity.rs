//! Which profiles may become one: those of one tenant, that came the same way, of one resource, in one window.

use ring::digest::{Context, SHA256};

use crate::pipeline::Origin;
use crate::profile::{Dictionary, ResourceProfiles, Value};

/// A hash that nobody can make two of, so that nobody's profiles get among those of others.
pub(super) type Identity = [u8; 32];

/// The identity of a resource in a window.
pub(super) fn identity(d: &Dictionary, resource: &ResourceProfiles, origin: &Origin, window: u64) -> Identity {
    let mut whole = Hash(Context::new(&SHA256));
    whole.number(window);
    whole.text(&origin.tenant);
    whole.text(&origin.receiver);
    whole.text(d.str(resource.schema_url));
    whole.number(u64::from(resource.dropped_attributes_count));
    whole.number(resource.attributes.len() as u64);
    for attribute in &resource.attributes {
        whole.text(d.str(attribute.key));
        whole.value(d, &attribute.value);
    }
    let mut identity = Identity::default();
    identity.copy_from_slice(whole.0.finish().as_ref());
    identity
}

struct Hash(Context);

impl Hash {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// With its length before it, so that `ab` and `c` are not `a` and `bc`.
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn value(&mut self, d: &Dictionary, value: &Value) {
        match value {
            Value::Empty => self.number(0),
            Value::String(id) => {
                self.number(1);
                self.text(d.str(*id));
            }
            Value::Bool(truth) => {
                self.number(2);
                self.number(u64::from(*truth));
            }
            Value::Int(number) => {
                self.number(3);
                self.number(*number as u64);
            }
            Value::Double(number) => {
                self.number(4);
                self.number(number.to_bits());
            }
            Value::Bytes(bytes) => {
                self.number(5);
                self.bytes(bytes);
            }
            Value::Array(items) => {
                self.number(6);
                self.number(items.len() as u64);
                items.iter().for_each(|item| self.value(d, item));
            }
            Value::Map(entries) => {
                self.number(7);
                self.number(entries.len() as u64);
                for (key, value) in entries {
                    self.text(d.str(*key));
                    self.value(d, value);
                }
            }
        }
    }
}
