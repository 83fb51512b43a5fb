//! One profile as sent: one sample type from 1.8 on, several in 1.7.

use std::sync::Arc;

use bytes::Bytes;

use super::WireVersion;
use super::columns::Columns;
use super::decode::Decoder;
use super::defect::{Defect, Seen, message, number, numbers};
use super::dictionary::fixed_size;
use super::samples::SampleFields;
use super::twins::{Received, Sent, Sibling};
use crate::formats::wire::{Field, Reader};
use crate::profile::{LocationId, OriginalPayload, Profile, StringId, ValueType};

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

/// What is found in a profile before its samples are read.
#[derive(Default)]
pub(super) struct Overview {
    samples: usize,
    pub(super) types: Vec<ValueType>,
    /// 1.7: what samples take a range of.
    pub(super) locations: Vec<LocationId>,
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
}
