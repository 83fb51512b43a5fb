//! Attributes that the decoders of several formats build alike.

use crate::profile::{Attribute, AttributeId, AttributeSetId, Id, Interner, Value};

/// The id of an attribute that is a number.
pub(super) fn number(interner: &mut Interner, key: &str, value: i64) -> AttributeId {
    let key = interner.string(key);
    interner.attribute(Attribute {
        key,
        value: Value::Int(value),
        unit: Id::UNSET,
    })
}

/// The attributes of a frame that say what runs it: `native`, `kernel`, or a language.
pub(super) fn frame_type(interner: &mut Interner, runs: &str) -> AttributeSetId {
    let of_frame = interner.text_attribute("profile.frame.type", runs);
    interner.attribute_set(&[of_frame])
}
