//! Which release of the schema a request speaks. Nothing on the wire says so, but fields moved, and most bytes fit one reading only.
//!
//! 1.7 and what came later differ in wire types. 1.8 and 1.9 differ from 1.10 in the numbers inside a sample, where values of one
//! read as attribute indices of the other without an error. So every sample is read both ways until one reading is clearly
//! refuted: by a wire type, an index out of its table, values and timestamps of unequal number, or neither of them.
//! A sample that no reading fits says nothing: it is defective. One request comes from one encoder, so the reading that fewer
//! samples refute holds for all.

use super::WireVersion;
use super::defect::Defect;
use super::outline::Outline;
use crate::formats::wire::{Field, Reader, WireError};

/// How the version is found.
#[derive(Clone, Copy)]
pub(super) enum Choice {
    /// From the bytes; where they fit two versions with different meanings, `assume`.
    Detect { assume: WireVersion },
    /// From elsewhere.
    Known(WireVersion),
}

/// The version of a request.
pub(super) struct Decided {
    pub version: WireVersion,
    /// Whether the bytes fit another version as well, with another meaning.
    pub assumed: bool,
}

/// So many samples more against one reading than against the other settle it: a few may be defective.
const LEAD: u32 = 8;

pub(super) fn decide(body: Reader<'_>, outline: &Outline<'_>, choice: Choice) -> Result<Decided, Defect> {
    let assume = match choice {
        Choice::Detect { assume } => assume,
        Choice::Known(version) => {
            return Ok(Decided {
                version,
                assumed: false,
            });
        }
    };
    let mut signs = Signs::default();
    signs.read_attributes(outline)?;
    signs.read_stacks(outline)?;
    let tables = Tables {
        stacks: outline.stacks.len() as u64,
        attributes: outline.attributes.len() as u64,
        links: outline.links.len() as u64,
    };
    let mut votes = Votes::default();
    if !signs.before_1_8 {
        profiles(body, |profile| {
            read_profile(profile, &tables, &mut signs, &mut votes)?;
            Ok(!votes.are_for_new(&signs))
        })?;
    }
    if signs.before_1_8 && signs.since_1_8 {
        return Err(
            Defect::at(body.offset(), "fields of OTLP 1.7 beside those of later versions")
                .with_remedy(super::defect::VERSIONS),
        );
    }
    Ok(votes.decide(&signs, assume))
}

/// Calls `each` for every profile until it says false.
fn profiles<'a>(mut body: Reader<'a>, mut each: impl FnMut(Reader<'a>) -> Result<bool, Defect>) -> Result<(), Defect> {
    while let Some((number, field)) = body.field()? {
        let (1, Field::Bytes(mut resource)) = (number, field) else {
            continue;
        };
        while let Some((number, field)) = resource.field()? {
            let (2, Field::Bytes(mut scope)) = (number, field) else {
                continue;
            };
            while let Some((number, field)) = scope.field()? {
                if let (2, Field::Bytes(profile)) = (number, field)
                    && !each(profile)?
                {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The first profile of a request, if it has any.
pub(super) fn first_profile(body: Reader<'_>) -> Result<Option<Reader<'_>>, Defect> {
    let mut first = None;
    profiles(body, |profile| {
        first = Some(profile);
        Ok(false)
    })?;
    Ok(first)
}

/// Whether a profile is of 1.7 or older.
pub(super) fn is_before_1_8(mut profile: Reader<'_>) -> Result<bool, WireError> {
    let mut signs = Signs::default();
    while let Some((number, field)) = profile.field()? {
        signs.read_field(number, &field);
    }
    Ok(signs.before_1_8 && !signs.since_1_8)
}

/// What wire types tell.
#[derive(Default)]
struct Signs {
    before_1_8: bool,
    since_1_8: bool,
    /// The profile's last fields lie where 1.8 has them.
    only_1_8: bool,
}

impl Signs {
    /// Keys are text before 1.8, and indices since.
    fn read_attributes(&mut self, outline: &Outline<'_>) -> Result<(), WireError> {
        for mut entry in outline.attributes {
            while let Some((number, field)) = entry.field()? {
                match (number, field) {
                    (1, Field::Bytes(_)) => self.before_1_8 = true,
                    (1, Field::Varint(_)) => self.since_1_8 = true,
                    _ => {}
                }
            }
            if self.before_1_8 || self.since_1_8 {
                break;
            }
        }
        Ok(())
    }

    /// Field 7 holds two numbers, the unit of a key, before 1.8, and the list of a stack since.
    fn read_stacks(&mut self, outline: &Outline<'_>) -> Result<(), WireError> {
        for mut entry in outline.stacks {
            let mut lone_numbers = 0;
            while let Some((number, field)) = entry.field()? {
                match (number, field) {
                    (2, Field::Varint(_)) => self.before_1_8 = true,
                    (1, Field::Varint(_)) => lone_numbers += 1,
                    (1, Field::Bytes(_)) => self.since_1_8 = true,
                    _ => {}
                }
            }
            self.since_1_8 |= lone_numbers > 1;
            if self.before_1_8 || self.since_1_8 {
                break;
            }
        }
        Ok(())
    }

    /// A field of a profile other than a sample.
    fn read_field(&mut self, number: u32, field: &Field<'_>) {
        match (number, field) {
            (3, Field::Bytes(_) | Field::Varint(_)) | (5, Field::Varint(_)) | (6, Field::Bytes(_)) => {
                self.before_1_8 = true;
            }
            (3, Field::Fixed64(_)) | (5, Field::Bytes(_)) | (6, Field::Varint(_)) => self.since_1_8 = true,
            // 1.8: 7 comments, 8 id, 9 count of dropped attributes, 12 attributes; a list of 16 bytes may also be an id
            (7, Field::Varint(_)) | (8, Field::Bytes(_)) | (9, Field::Varint(_)) | (12, _) => self.only_1_8 = true,
            (7, Field::Bytes(list)) => self.only_1_8 |= !matches!(list.bytes().len(), 0 | 16),
            _ => {}
        }
    }
}

fn read_profile(
    mut profile: Reader<'_>,
    tables: &Tables,
    signs: &mut Signs,
    votes: &mut Votes,
) -> Result<(), WireError> {
    while let Some((number, field)) = profile.field()? {
        match (number, field) {
            (2, Field::Bytes(sample)) => {
                if votes.are_for_new(signs) {
                    return Ok(());
                }
                if !votes.are_settled() {
                    votes.read(sample, tables)?;
                }
            }
            _ => signs.read_field(number, &field),
        }
    }
    Ok(())
}

/// Entries of the tables that samples refer to.
struct Tables {
    stacks: u64,
    attributes: u64,
    links: u64,
}

/// What samples tell about their numbers.
#[derive(Default)]
struct Votes {
    /// Against 1.10: attributes 2, link 3, values 4.
    against_new: u32,
    /// Against 1.8 and 1.9: values 2, attributes 3, link 4.
    against_old: u32,
    /// Some sample says different things in both readings.
    differ: bool,
}

impl Votes {
    fn are_settled(&self) -> bool {
        self.against_new.abs_diff(self.against_old) >= LEAD
    }

    /// Whether they are settled, and nothing that follows can tell otherwise.
    fn are_for_new(&self, signs: &Signs) -> bool {
        self.against_old >= self.against_new + LEAD && signs.since_1_8
    }

    fn read(&mut self, mut sample: Reader<'_>, tables: &Tables) -> Result<(), WireError> {
        let mut stack_fits = true;
        let mut timestamps = 0;
        let [mut second, mut third, mut fourth] = [Numbers::default(); 3];
        while let Some((number, field)) = sample.field()? {
            match (number, field) {
                (1, Field::Varint(index)) => stack_fits &= is_index(index, tables.stacks),
                (1, _) => stack_fits = false,
                (2, field) => second.read(field)?,
                (3, field) => third.read(field)?,
                (4, field) => fourth.read(field)?,
                (5, Field::Fixed64(_)) => timestamps += 1,
                (5, Field::Bytes(packed)) => {
                    timestamps += packed.bytes().len() / 8;
                    stack_fits &= packed.bytes().len() % 8 == 0;
                }
                (5, _) => stack_fits = false,
                _ => {}
            }
        }
        let counts_fit = |values: usize| match (values, timestamps) {
            (0, 0) => false,
            (0, _) | (_, 0) => true,
            (values, timestamps) => values == timestamps,
        };
        let fits = |attributes: Numbers, link: Numbers, values: Numbers| {
            stack_fits
                && values.is_list
                && attributes.is_list
                && (attributes.count == 0 || is_index(attributes.largest, tables.attributes))
                && link.is_lone
                && is_index(link.largest, tables.links)
                && counts_fit(values.count)
        };
        match (fits(second, third, fourth), fits(third, fourth, second)) {
            (true, true) => self.differ |= second.count > 0 || third.largest > 0 || fourth.count > 0,
            (true, false) => self.against_old += 1,
            (false, true) => self.against_new += 1,
            (false, false) => {}
        }
        Ok(())
    }

    fn decide(&self, signs: &Signs, assume: WireVersion) -> Decided {
        let old = match signs.only_1_8 {
            true => WireVersion::V1_8,
            false => WireVersion::V1_9,
        };
        let certain = |version| Decided {
            version,
            assumed: false,
        };
        if signs.before_1_8 {
            return certain(WireVersion::V1_7);
        }
        if self.against_old > self.against_new {
            return certain(WireVersion::V1_10);
        }
        if self.against_new > self.against_old || signs.only_1_8 {
            return certain(old);
        }
        if !self.differ && self.against_new == 0 {
            return certain(WireVersion::V1_10);
        }
        Decided {
            version: assume.max(WireVersion::V1_8),
            assumed: true,
        }
    }
}

/// What one field of a sample holds, whatever it means.
#[derive(Clone, Copy)]
struct Numbers {
    count: usize,
    largest: u64,
    /// No list: one number or none, unpacked.
    is_lone: bool,
    /// Numbers at all.
    is_list: bool,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            count: 0,
            largest: 0,
            is_lone: true,
            is_list: true,
        }
    }
}

impl Numbers {
    fn read(&mut self, field: Field<'_>) -> Result<(), WireError> {
        match field {
            Field::Varint(number) => {
                self.count += 1;
                self.largest = self.largest.max(number);
            }
            Field::Bytes(mut packed) => {
                self.is_lone = false;
                while !packed.is_empty() {
                    // a list that is no list of numbers belongs to no reading
                    let Ok(number) = packed.varint() else {
                        self.is_list = false;
                        break;
                    };
                    self.count += 1;
                    self.largest = self.largest.max(number);
                }
            }
            Field::Fixed64(_) | Field::Fixed32(_) => {
                self.is_lone = false;
                self.is_list = false;
            }
        }
        Ok(())
    }
}

/// Whether a table of `entries` has the index; 0 always means "not set".
fn is_index(index: u64, entries: u64) -> bool {
    index == 0 || index < entries
}
