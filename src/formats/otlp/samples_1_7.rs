//! The samples of a profile of 1.7: each takes a range of the locations that the profile lists.

use std::collections::HashMap;

use super::columns::Columns;
use super::decode::Decoder;
use super::defect::{Defect, number, numbers};
use super::profile::Overview;
use crate::formats::Limit;
use crate::formats::wire::{Field, Reader};
use crate::profile::{Id, LinkId, LocationId, StackId};

impl Decoder<'_> {
    pub(super) fn location_indices(
        &mut self,
        into: &mut Vec<LocationId>,
        field: Field<'_>,
        at: usize,
    ) -> Result<(), Defect> {
        let locations = &self.dictionary.locations;
        numbers(field, at, |position, at| {
            let Some(id) = locations.id(position.saturating_add(1)) else {
                let entries = locations.len() - 1;
                return Err(Defect::out_of_range(
                    at,
                    "location_indices",
                    position,
                    "location_table",
                    entries,
                ));
            };
            if into.len() == self.limits.elements {
                return Err(Defect::too_large(
                    Limit::Elements,
                    "too many location indices of a profile",
                ));
            }
            self.listed.spend(1)?;
            into.push(id);
            Ok(())
        })
    }

    pub(super) fn samples_1_7(
        &mut self,
        mut reader: Reader<'_>,
        overview: &Overview,
        columns: &mut Columns,
    ) -> Result<(), Defect> {
        let mut stacks = HashMap::new();
        let mut row = 0;
        while let Some((number, field)) = reader.field()? {
            if let (2, Field::Bytes(sample)) = (number, field) {
                self.sample_1_7(sample, overview, &mut stacks, columns)
                    .map_err(|defect| defect.within(format_args!("sample[{row}]")))?;
                row += 1;
            }
        }
        Ok(())
    }

    fn sample_1_7(
        &mut self,
        mut reader: Reader<'_>,
        overview: &Overview,
        stacks: &mut HashMap<(u64, u64), StackId>,
        columns: &mut Columns,
    ) -> Result<(), Defect> {
        let start = reader.offset();
        let mut range = (0, 0);
        let mut link = LinkId::UNSET;
        self.sets.begin();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            match field_number {
                1 => range.0 = number(field, at)?,
                2 => range.1 = number(field, at)?,
                3 => self.values_of(field, at, columns)?,
                4 => self.attribute_indices(field, at)?,
                // an index that is there at all means something, 0 included
                5 => link = self.link_index_1_7(number(field, at)?, at)?,
                6 => numbers(field, at, |time, _| {
                    self.observations.spend(1)?;
                    columns.timestamps.push(time);
                    Ok(())
                })?,
                _ => {}
            }
        }
        let attributes = self.attribute_set(start)?;
        let stack = match stacks.get(&range) {
            Some(known) => *known,
            None => {
                let stack = self.stack_1_7(&overview.locations, range, start)?;
                stacks.insert(range, stack);
                stack
            }
        };
        self.check_1_7(overview.types.len(), start, columns)?;
        columns.close(stack, attributes, link);
        Ok(())
    }

    fn link_index_1_7(&self, position: u64, at: usize) -> Result<LinkId, Defect> {
        let links = &self.dictionary.links;
        let entries = links.len() - 1;
        links
            .id(position.saturating_add(1))
            .ok_or_else(|| Defect::out_of_range(at, "link_index", position, "link_table", entries))
    }

    fn stack_1_7(&mut self, locations: &[LocationId], range: (u64, u64), at: usize) -> Result<StackId, Defect> {
        let (from, length) = range;
        if length == 0 {
            return Ok(Id::UNSET);
        }
        let bounds = from.checked_add(length).and_then(|to| {
            let from = usize::try_from(from).ok()?;
            Some(from..usize::try_from(to).ok()?)
        });
        let Some(frames) = bounds.and_then(|bounds| locations.get(bounds)) else {
            let problem = format!(
                "locations_start_index and locations_length are {} and {}, but location_indices has {} items",
                from as i64,
                length as i64,
                locations.len()
            );
            return Err(Defect::at(at, problem));
        };
        let in_all = self.dictionary.stacks.items().len() + frames.len();
        if frames.len() > self.limits.stack_depth {
            return Err(Defect::too_large(Limit::StackDepth, "a stack too deep"));
        }
        if in_all > self.limits.elements {
            return Err(Defect::too_large(Limit::Elements, "too many frames in all"));
        }
        self.listed.spend(frames.len() + 1)?;
        Ok(self.dictionary.stacks.push(frames))
    }

    /// 1.7 wants one value for each type; with one type also a series was sent. Timestamps that no single value belongs to are left out.
    fn check_1_7(&mut self, types: usize, at: usize, columns: &mut Columns) -> Result<(), Defect> {
        match columns.open() {
            (values, 0) if values == types => Ok(()),
            (0, 1..) if types == 1 => Ok(()),
            (values, timestamps) if types == 1 && values == timestamps && values > 0 => Ok(()),
            (values, _) if values == types => {
                self.repairs += 1;
                columns.drop_open_timestamps();
                Ok(())
            }
            (values, timestamps) => {
                let problem =
                    format!("value has {values} items, but there are {types} sample types and {timestamps} timestamps");
                Err(Defect::at(at, problem))
            }
        }
    }
}
