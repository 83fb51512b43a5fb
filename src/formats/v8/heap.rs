//! `.heapprofile`: what was allocated where, and still there at the end, as V8 sampled and scaled it.

use std::sync::Arc;

use super::cpu::tree;
use super::json::Json;
use super::recording::{Nodes, samples};
use crate::formats::building::Building;
use crate::formats::room::Room;
use crate::formats::{DecodeError, Decoded, Format, Limits};
use crate::profile::Profile;

/// Reads a `.heapprofile`, with memory from `room`.
pub fn decode_within(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut building = Building::new(Format::HeapProfile, limits, room);
    let mut json = Json::new(Format::HeapProfile, text);
    let mut nodes = Nodes::default();
    json.open_object()?;
    while let Some(key) = json.field()? {
        match &*key {
            "head" => tree(&mut json, &mut building, &mut nodes)?,
            _ => json.skip()?,
        }
    }
    json.end()?;
    if nodes.is_empty() {
        return Err(building.malformed("no head in it"));
    }
    let space = building.value_type("inuse_space", "bytes");
    let profile = Profile {
        sample_types: vec![space],
        default_sample_type: space.kind,
        samples: Arc::new(samples(&mut building, &nodes, &[nodes.own()], None)?),
        ..Profile::default()
    };
    Ok(Decoded {
        profiles: building.finish(vec![profile]),
        ..Decoded::default()
    })
}
