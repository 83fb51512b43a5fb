//! The table of stacks: most bytes of many requests.

use super::decode::Decoder;
use super::defect::Defect;
use super::dictionary::zero_entry;
use super::outline::{Entries, count_numbers};
use crate::formats::Limit;
use crate::formats::wire::{Field, Reader};
use crate::profile::{Dictionary, Lists, Location, LocationId, Stack, Table};

impl Decoder<'_> {
    pub(super) fn stacks(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        let most = entries.most_numbers().min(self.limits.elements);
        self.room
            .take(most * size_of::<LocationId>())
            .map_err(Defect::no_room)?;
        self.dictionary.stacks = Lists::with_capacity(entries.len(), most);
        for (i, entry) in entries.enumerate() {
            self.stack(entry)
                .map_err(|defect| defect.within(format_args!("stack_table[{i}]")))?;
            if i > 0 {
                self.dictionary.stacks.close();
            } else if !self.dictionary.stacks.items().is_empty() {
                return Err(zero_entry("stack_table", entry.offset()));
            }
        }
        Ok(())
    }

    fn stack(&mut self, mut reader: Reader<'_>) -> Result<(), Defect> {
        let before = self.dictionary.stacks.items().len();
        loop {
            let at = reader.offset();
            let Some((number, field)) = reader.field()? else {
                return Ok(());
            };
            if number != 1 {
                self.exact = false;
                continue;
            }
            let in_all = self.dictionary.stacks.items().len();
            if !has_room(field, self.limits.stack_depth - (in_all - before)) {
                return Err(Defect::too_large(Limit::StackDepth, "a stack too deep"));
            }
            if !has_room(field, self.limits.elements - in_all) {
                return Err(Defect::too_large(Limit::Elements, "too many frames in all"));
            }
            let Dictionary { locations, stacks, .. } = &mut self.dictionary;
            match field {
                Field::Bytes(packed) => add_frames(packed, stacks, locations)?,
                Field::Varint(position) => stacks.add(frame(locations, position, at)?),
                _ => return Err(Defect::wire_type(at)),
            }
        }
    }
}

/// The innermost loop, so many positions are compared with the table at once.
fn add_frames(
    mut packed: Reader<'_>,
    stacks: &mut Lists<Stack, LocationId>,
    locations: &Table<Location>,
) -> Result<(), Defect> {
    let mut positions = [0; 64];
    while !packed.is_empty() {
        let mut before = packed;
        let filled = packed.fill(&mut positions)?;
        if !stacks.add_positions(positions.get(..filled).unwrap_or_default(), 0, locations) {
            // one of them is missing: find it
            while !before.is_empty() {
                let at = before.offset();
                frame(locations, before.varint()?, at)?;
            }
        }
    }
    Ok(())
}

fn frame(locations: &Table<Location>, position: u64, at: usize) -> Result<LocationId, Defect> {
    locations.id(position).ok_or_else(|| {
        let entries = locations.len();
        Defect::out_of_range(at, "location_indices", position, "location_table", entries)
    })
}

/// Whether the numbers of a field are no more than `room`. There are never more than bytes, so they seldom need to be counted.
fn has_room(field: Field<'_>, room: usize) -> bool {
    match field {
        Field::Bytes(packed) => packed.bytes().len() <= room || count_numbers(packed.bytes()) <= room,
        _ => room > 0,
    }
}
