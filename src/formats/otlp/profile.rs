//! One profile as sent: one sample type from 1.8 on, several in 1.7.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::WireVersion;
use super::decode::Decoder;
use super::defect::{Defect, Seen, message, number, numbers};
use super::dictionary::fixed_size;
use super::twins::{Received, Sent, Sibling};
use crate::formats::Limit;
use crate::formats::wire::{Field, Reader};
use crate::profile::{
    AttributeSetId, Id, LinkId, LocationId, Observations, OriginalPayload, Profile, Samples, Series, StackId, StringId,
    ValueType,
};

/// A field of a profile, whatever its number in a version.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    SampleType,
    Sample,
    /// 1.7
    Locations,
    Time,
    Duration,
    PeriodType,
    Period,
    /// 1.7, 1.8
    Comments,
    /// 1.7
    DefaultType,
    Id,
    Dropped,
    Format,
    Payload,
    Attributes,
    Unknown,
}

impl Part {
    /// Whether a profile may have several.
    fn is_list(self) -> bool {
        matches!(self, Self::Sample | Self::Attributes | Self::Comments | Self::Locations)
    }

    fn of(version: WireVersion, number: u32) -> Self {
        use Part::*;
        const V1_7: [Part; 14] = [
            SampleType,
            Sample,
            Locations,
            Time,
            Duration,
            PeriodType,
            Period,
            Comments,
            DefaultType,
            Id,
            Dropped,
            Format,
            Payload,
            Attributes,
        ];
        const V1_8: [Part; 12] = [
            SampleType, Sample, Time, Duration, PeriodType, Period, Comments, Id, Dropped, Format, Payload, Attributes,
        ];
        const V1_9: [Part; 11] = [
            SampleType, Sample, Time, Duration, PeriodType, Period, Id, Dropped, Format, Payload, Attributes,
        ];
        let parts: &[Part] = match version {
            WireVersion::V1_7 => &V1_7,
            WireVersion::V1_8 => &V1_8,
            WireVersion::V1_9 | WireVersion::V1_10 => &V1_9,
        };
        let position = (number as usize).wrapping_sub(1);
        parts.get(position).copied().unwrap_or(Unknown)
    }
}

/// The numbers inside a sample that moved with 1.10.
#[derive(Clone, Copy)]
struct SampleFields {
    attributes: u32,
    link: u32,
    values: u32,
}

impl SampleFields {
    fn of(version: WireVersion) -> Self {
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

/// What is found in a profile before its samples are read.
#[derive(Default)]
struct Overview {
    samples: usize,
    types: Vec<ValueType>,
    /// 1.7: what samples take a range of.
    locations: Vec<LocationId>,
}

impl Decoder<'_> {
    /// The samples of `sent` are often those of the profile before it, its sibling.
    pub(super) fn profile<'b>(&mut self, sent: Reader<'b>, sibling: Option<&Sent<'b>>) -> Result<Sent<'b>, Defect> {
        let mut profile = Profile::default();
        let overview = self.overview(sent, &mut profile)?;
        self.samples.spend(overview.samples)?;
        let mut columns = Columns::with_capacity(overview.samples, overview.types.len());
        let mut sibling = Sibling::of(sibling);
        match self.version {
            WireVersion::V1_7 => self.samples_1_7(sent, &overview, &mut columns)?,
            version => self.samples(sent, SampleFields::of(version), &mut sibling, &mut columns)?,
        }
        profile.sample_types = overview.types;
        let twins = sibling.of_twins(columns.twins).filter(|_| columns.are_all_twins());
        let identities = std::mem::take(&mut columns.identities);
        let twin_values = match twins {
            Some(samples) => {
                profile.samples = samples;
                Some(columns.values)
            }
            None => {
                columns.part(&sibling);
                profile.samples = Arc::new(columns.finish());
                None
            }
        };
        let profile = Received { profile, twin_values };
        Ok(Sent::new(profile, sent, identities))
    }

    /// All but the samples.
    fn overview(&mut self, mut reader: Reader<'_>, profile: &mut Profile) -> Result<Overview, Defect> {
        let start = reader.offset();
        let mut overview = Overview::default();
        let mut seen = Seen::default();
        let mut default_type = None;
        let mut payload = OriginalPayload {
            format: StringId::UNSET,
            bytes: Bytes::new(),
        };
        self.sets.begin();
        loop {
            let at = reader.offset();
            let (field_number, field) = match reader.field()? {
                None => break,
                Some((2, Field::Bytes(_))) => {
                    overview.samples += 1;
                    continue;
                }
                Some(other) => other,
            };
            let part = Part::of(self.version, field_number);
            self.exact &= part.is_list() || seen.first(field_number);
            match part {
                Part::Sample => return Err(Defect::wire_type(at)),
                Part::SampleType => {
                    let sample_type = self.value_type(message(field, at)?, "sample_type")?;
                    if self.version > WireVersion::V1_7 {
                        overview.types.clear();
                    }
                    overview.types.push(sample_type);
                }
                Part::Locations => self.location_indices(&mut overview.locations, field, at)?,
                Part::Time => profile.time_unix_nano = self.time(field, at)?,
                Part::Duration => profile.duration_nano = self.duration(number(field, at)?),
                Part::PeriodType => profile.period_type = self.value_type(message(field, at)?, "period_type")?,
                Part::Period => profile.period = number(field, at)? as i64,
                Part::Comments => numbers(field, at, |position, at| {
                    let comment = self.string("comment_strindices", position, at)?;
                    profile.comments.push(comment);
                    Ok(())
                })?,
                Part::DefaultType => default_type = Some(number(field, at)?),
                Part::Id => {
                    let id = fixed_size(message(field, at)?, "profile_id")?;
                    profile.ids = if id == [0; 16] { Vec::new() } else { vec![id] };
                }
                Part::Dropped => profile.dropped_attributes_count = self.small(number(field, at)?),
                Part::Format => payload.format = self.text(message(field, at)?)?,
                Part::Payload => {
                    let bytes = message(field, at)?.bytes();
                    self.bytes.spend(bytes.len())?;
                    payload.bytes = Bytes::copy_from_slice(bytes);
                }
                Part::Attributes => self.attribute_indices(field, at)?,
                Part::Unknown => self.exact = false,
            }
        }
        let attributes = self.attribute_set(start)?;
        self.profile_attributes(profile, attributes, start)?;
        self.attach(profile, payload);
        if overview.types.is_empty() {
            overview.types.push(ValueType::default());
        }
        if overview.types.len() > 1 {
            let shown = usize::try_from(default_type.unwrap_or_default()).unwrap_or(usize::MAX);
            profile.default_sample_type = overview.types.get(shown).map_or(StringId::UNSET, |t| t.kind);
        }
        Ok(overview)
    }

    /// A payload without its format, or a format alone, is of no use to anyone.
    fn attach(&mut self, profile: &mut Profile, payload: OriginalPayload) {
        match (payload.format.is_set(), payload.bytes.is_empty()) {
            (false, true) => {}
            (true, false) => {
                self.exact = false;
                profile.original_payload = Some(payload);
            }
            _ => self.repairs += 1,
        }
    }

    fn time(&mut self, field: Field<'_>, at: usize) -> Result<u64, Defect> {
        match (self.version, field) {
            (WireVersion::V1_7, Field::Varint(time)) => Ok(self.not_negative(time)),
            (version, Field::Fixed64(time)) if version > WireVersion::V1_7 => Ok(time),
            _ => Err(Defect::wire_type(at)),
        }
    }

    fn duration(&mut self, duration: u64) -> u64 {
        match self.version {
            WireVersion::V1_7 => self.not_negative(duration),
            _ => duration,
        }
    }

    /// Times of 1.7 have a sign, and none of them should be negative.
    fn not_negative(&mut self, time: u64) -> u64 {
        if (time as i64) < 0 {
            self.repairs += 1;
            return 0;
        }
        time
    }

    fn value_type(&mut self, mut reader: Reader<'_>, name: &str) -> Result<ValueType, Defect> {
        let mut row = ValueType::default();
        let mut seen = Seen::default();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                return Ok(row);
            };
            self.exact &= seen.first(field_number);
            let within = |defect: Defect| defect.within(name);
            match field_number {
                1 => row.kind = self.string("type_strindex", number(field, at)?, at).map_err(within)?,
                2 => row.unit = self.string("unit_strindex", number(field, at)?, at).map_err(within)?,
                _ => self.exact = false,
            }
        }
    }

    fn samples(
        &mut self,
        mut reader: Reader<'_>,
        fields: SampleFields,
        sibling: &mut Sibling<'_, '_>,
        columns: &mut Columns,
    ) -> Result<(), Defect> {
        while let Some((number, field)) = reader.field()? {
            if let (2, Field::Bytes(sample)) = (number, field) {
                let row = columns.identities.len();
                if row == columns.twins
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
    fn values_of(&mut self, field: Field<'_>, at: usize, columns: &mut Columns) -> Result<(), Defect> {
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

    fn location_indices(&mut self, into: &mut Vec<LocationId>, field: Field<'_>, at: usize) -> Result<(), Defect> {
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

    fn samples_1_7(
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

/// Samples as they are read.
struct Columns {
    stacks: Vec<StackId>,
    attributes: Vec<AttributeSetId>,
    links: Vec<LinkId>,
    values: Vec<i64>,
    timestamps: Vec<u64>,
    /// Sample types of the profile.
    types: usize,
    /// Where the values and timestamps of the closed samples end.
    closed: (usize, usize),
    /// See [`Sent`].
    identities: Vec<u8>,
    /// So many rows in front are those of the sibling but for their values, and have nothing else here until there is another.
    twins: usize,
    /// The same for each sample, once one of them has not just a value for each type.
    series: Option<Series>,
}

impl Columns {
    fn with_capacity(samples: usize, types: usize) -> Self {
        Self {
            stacks: Vec::with_capacity(samples),
            attributes: Vec::with_capacity(samples),
            links: Vec::with_capacity(samples),
            values: Vec::with_capacity(samples),
            timestamps: Vec::new(),
            types,
            closed: (0, 0),
            identities: Vec::with_capacity(samples),
            twins: 0,
            series: None,
        }
    }

    /// Adds a row of the sibling with another value.
    #[inline]
    fn add_twin(&mut self, value: i64, identity: u8) {
        self.values.push(value);
        self.identities.push(identity);
        self.twins += 1;
    }

    /// Whether every row so far is the sibling's but for its value.
    fn are_all_twins(&self) -> bool {
        self.identities.len() == self.twins
    }

    /// Copies what the rows in front say from the sibling: they are not all of it.
    fn part(&mut self, sibling: &Sibling<'_, '_>) {
        if self.stacks.len() < self.twins {
            let (stacks, attributes, links) = sibling.rows(self.twins);
            self.stacks.extend_from_slice(stacks);
            self.attributes.extend_from_slice(attributes);
            self.links.extend_from_slice(links);
            self.closed.0 = self.twins;
        }
    }

    /// Values and timestamps of the sample being read.
    fn open(&self) -> (usize, usize) {
        (self.values.len() - self.closed.0, self.timestamps.len() - self.closed.1)
    }

    fn drop_open_timestamps(&mut self) {
        self.timestamps.truncate(self.closed.1);
    }

    /// Ends the sample being read.
    #[inline]
    fn close(&mut self, stack: StackId, attributes: AttributeSetId, link: LinkId) {
        self.stacks.push(stack);
        self.attributes.push(attributes);
        self.links.push(link);
        if self.series.is_some() || self.open() != (self.types, 0) {
            self.close_series();
        }
        self.closed = (self.values.len(), self.timestamps.len());
    }

    /// Notes where a sample ends that is, or comes behind one that is, not just a value for each type.
    fn close_series(&mut self) {
        let series = self.series.get_or_insert_with(|| {
            // all samples so far had one value and no timestamp
            let closed = self.closed.0;
            Series {
                value_ends: (1..=closed as u32).collect(),
                time_ends: vec![0; closed],
                ..Series::default()
            }
        });
        series.value_ends.push(self.values.len() as u32);
        series.time_ends.push(self.timestamps.len() as u32);
    }

    fn finish(self) -> Samples {
        let observations = match self.series {
            None => Observations::Totals(self.values),
            Some(series) => Observations::Series(Series {
                values: self.values,
                timestamps: self.timestamps,
                ..series
            }),
        };
        Samples {
            stacks: self.stacks,
            attributes: self.attributes,
            links: self.links,
            observations,
        }
    }
}
