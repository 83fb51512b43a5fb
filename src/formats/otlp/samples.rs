//! The samples of a profile from 1.8 on.

use super::WireVersion;
use super::columns::Columns;
use super::decode::Decoder;
use super::defect::{Defect, Seen, number, numbers};
use super::twins::Sibling;
use crate::formats::wire::{Field, Reader};
use crate::profile::{AttributeSetId, LinkId, StackId};

/// The numbers inside a sample that moved with 1.10.
#[derive(Clone, Copy)]
pub(super) struct SampleFields {
    attributes: u32,
    link: u32,
    values: u32,
}

impl SampleFields {
    pub(super) fn of(version: WireVersion) -> Self {
        match version {
            WireVersion::V1_10 => Self {
                attributes: 2,
                link: 3,
                values: 4,
            },
            _ => Self {
                attributes: 3,
                link: 4,
                values: 2,
            },
        }
    }
}

impl Decoder<'_> {
    pub(super) fn samples(
        &mut self,
        mut reader: Reader<'_>,
        fields: SampleFields,
        sibling: &mut Sibling<'_, '_>,
        columns: &mut Columns,
    ) -> Result<(), Defect> {
        while let Some((number, field)) = reader.field()? {
            if let (2, Field::Bytes(sample)) = (number, field) {
                let row = columns.identities.len();
                if columns.are_all_twins()
                    && let Some((value, identity)) = sibling.next_value(row, sample, fields.values)
                {
                    self.observations.spend(1)?;
                    columns.add_twin(value, identity);
                    continue;
                }
                columns.part(sibling);
                self.sample(sample, fields, sibling.attributes(row), columns)
                    .map_err(|defect| defect.within(format_args!("samples[{row}]")))?;
            }
        }
        Ok(())
    }

    fn sample(
        &mut self,
        mut reader: Reader<'_>,
        fields: SampleFields,
        likely_set: AttributeSetId,
        columns: &mut Columns,
    ) -> Result<(), Defect> {
        let start = reader.offset();
        let mut seen = Seen::default();
        let mut stack = StackId::UNSET;
        let mut link = LinkId::UNSET;
        // the bytes in front of the only value, if there is nothing behind it
        let mut identity = 0;
        self.sets.begin();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            identity = 0;
            if field_number == fields.values {
                self.values_of(field, at, columns)?;
                identity = if columns.open() == (1, 0) { at - start } else { 0 };
            } else if field_number == fields.attributes {
                self.attribute_indices(field, at)?;
            } else if field_number == 1 {
                self.exact &= seen.first(1);
                stack = self.stack_index(number(field, at)?, at)?;
            } else if field_number == fields.link {
                self.exact &= seen.first(2);
                link = self.link_index(number(field, at)?, at)?;
            } else if field_number == 5 {
                self.timestamps_of(field, at, columns)?;
            } else {
                self.exact = false;
            }
        }
        let attributes = self.attribute_set_or(likely_set, start)?;
        let (values, timestamps) = columns.open();
        match (values, timestamps) {
            (0, 0) => return Err(Defect::at(start, "values and timestamps_unix_nano are both empty")),
            (1.., 1..) if values != timestamps => {
                let problem = format!("values has {values} items, but timestamps_unix_nano has {timestamps}");
                return Err(Defect::at(start, problem));
            }
            _ => {}
        }
        columns.identities.push(u8::try_from(identity).unwrap_or_default());
        columns.close(stack, attributes, link);
        Ok(())
    }

    #[inline]
    pub(super) fn values_of(&mut self, field: Field<'_>, at: usize, columns: &mut Columns) -> Result<(), Defect> {
        numbers(field, at, |value, _| {
            self.observations.spend(1)?;
            columns.values.push(value as i64);
            Ok(())
        })
    }

    fn timestamps_of(&mut self, field: Field<'_>, at: usize, columns: &mut Columns) -> Result<(), Defect> {
        match field {
            Field::Fixed64(time) => {
                self.observations.spend(1)?;
                columns.timestamps.push(time);
            }
            Field::Bytes(mut packed) => {
                self.observations.spend(packed.bytes().len() / 8)?;
                while !packed.is_empty() {
                    columns.timestamps.push(packed.fixed64()?);
                }
            }
            _ => return Err(Defect::wire_type(at)),
        }
        Ok(())
    }

    #[inline]
    fn stack_index(&self, position: u64, at: usize) -> Result<StackId, Defect> {
        let stacks = &self.dictionary.stacks;
        stacks
            .id(position)
            .ok_or_else(|| Defect::out_of_range(at, "stack_index", position, "stack_table", stacks.len()))
    }

    fn link_index(&self, position: u64, at: usize) -> Result<LinkId, Defect> {
        let links = &self.dictionary.links;
        links
            .id(position)
            .ok_or_else(|| Defect::out_of_range(at, "link_index", position, "link_table", links.len()))
    }
}
