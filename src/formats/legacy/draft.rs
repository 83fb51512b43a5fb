//! A profile of addresses, before it is known which binaries they lie in and what they are called.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::maps::Mappings;
use crate::formats::attributes;
use crate::formats::building::Building;
use crate::formats::frames::UNKNOWN;
use crate::formats::frames::build::Rows;
use crate::formats::lines;
use crate::formats::room::Room;
use crate::formats::{DecodeError, Decoded, Format, Limit, Limits, overflow};
use crate::profile::{AttributeId, AttributeSetId, Function, Id, Line, Location, LocationId, MappingId, Profile};

type Map<Key, Of> = HashMap<Key, Of, RandomState>;

/// What is read so far.
pub(super) struct Draft<'a> {
    pub building: Building<'a>,
    /// All of the profile but its samples.
    pub profile: Profile,
    pub mappings: Mappings,
    /// Whether addresses only number functions.
    pub addresses_are_numbers: bool,
    stacks: Stacks,
    values: Vec<i64>,
    labels: Vec<AttributeSetId>,
    /// What stands below the last sample.
    below: Below,
    /// What is at each address, the innermost function first.
    names: Map<u64, Vec<Line>>,
}

/// Stacks one after the other, the leaf of each first.
#[derive(Default)]
struct Stacks {
    addresses: Vec<u64>,
    /// Where each ends.
    ends: Vec<usize>,
}

#[derive(Default)]
struct Below {
    labels: Vec<AttributeId>,
    names: Vec<(u64, Line)>,
}

/// What a sample takes in columns that double, and then in those of the profile.
const ROW_BYTES: usize = 3 * (size_of::<usize>() + 3 * size_of::<AttributeSetId>() + 4 * size_of::<i64>());
/// What an address takes in a list that doubles, in that of the stack, and in the map of those that are known.
const ADDRESS_BYTES: usize = 2 * size_of::<u64>() + 2 * size_of::<(u64, LocationId)>();
/// What a name takes beside that of the function.
const NAME_BYTES: usize = 3 * size_of::<(u64, Vec<Line>)>() + 2 * size_of::<Line>();

impl<'a> Draft<'a> {
    /// Nothing yet.
    pub fn new(limits: &'a Limits, room: &'a dyn Room) -> Self {
        Self {
            building: Building::new(Format::PprofLegacy, limits, room),
            profile: Profile::default(),
            mappings: Mappings::default(),
            addresses_are_numbers: false,
            stacks: Stacks::default(),
            values: Vec::new(),
            labels: Vec::new(),
            below: Below::default(),
            names: Map::default(),
        }
    }

    /// What the values of a sample are, in order; the last one is shown.
    pub fn types(&mut self, types: &[(&str, &str)]) {
        let types = types.iter().map(|(kind, unit)| self.building.value_type(kind, unit));
        self.profile.sample_types = types.collect();
        let shown = self.profile.sample_types.last().copied().unwrap_or_default();
        self.profile.default_sample_type = shown.kind;
    }

    /// What lies between two samples.
    pub fn period(&mut self, kind: &str, unit: &str, period: i64) {
        self.profile.period_type = self.building.value_type(kind, unit);
        self.profile.period = period;
    }

    /// Adds a sample. Labels and names that follow are of it.
    pub fn sample(&mut self, values: &[i64], addresses: &[u64]) -> Result<(), DecodeError> {
        self.settle();
        if addresses.len() > self.building.limits.stack_depth {
            return Err(self.building.too_large(Limit::StackDepth, "a stack too deep"));
        }
        if self.stacks.addresses.len() + addresses.len() > self.building.limits.elements {
            return Err(self.building.too_large(Limit::Elements, "too many frames"));
        }
        self.building.element(ROW_BYTES + addresses.len() * ADDRESS_BYTES)?;
        self.stacks.push(addresses.iter().copied());
        self.values.extend_from_slice(values);
        self.labels.push(Id::UNSET);
        Ok(())
    }

    /// A label of the last sample.
    pub fn label(&mut self, key: &str, value: &str) -> Result<(), DecodeError> {
        let (key, value) = (self.building.text(key)?, self.building.text(value)?);
        let label = self.building.interner.text_attribute(key, value);
        self.below.labels.push(label);
        self.building.element(size_of::<AttributeId>())
    }

    /// The same with a number.
    pub fn number(&mut self, key: &str, value: i64) {
        let label = attributes::number(&mut self.building.interner, key, value);
        self.below.labels.push(label);
    }

    /// What is at an address of the last sample. Of several names for one, the innermost function comes first.
    pub fn name(&mut self, address: u64, name: &str, file: &str, line: i64) -> Result<(), DecodeError> {
        let line = self.line(name, file, line)?;
        self.below.names.push((address, line));
        Ok(())
    }

    /// What is at an address, of whichever samples.
    pub fn symbol(&mut self, address: u64, name: &str, file: &str, line: i64) -> Result<(), DecodeError> {
        let line = self.line(name, file, line)?;
        self.names.insert(address, vec![line]);
        Ok(())
    }

    fn line(&mut self, name: &str, file: &str, line: i64) -> Result<Line, DecodeError> {
        let (name, file) = (self.building.text(name)?, self.building.text(file)?);
        let interner = &mut self.building.interner;
        let function = Function {
            name: interner.string(name),
            filename: interner.string(file),
            ..Function::default()
        };
        let function = interner.function(function);
        self.building.element(NAME_BYTES)?;
        Ok(Line {
            function,
            line,
            column: 0,
        })
    }

    /// What is wrong in a line.
    pub fn malformed(&self, line: &lines::Line<'_>, problem: &str) -> DecodeError {
        let problem = format!("line {}: {problem}", line.number);
        DecodeError::malformed(Format::PprofLegacy, line.offset, problem)
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.stacks.ends.len()
    }

    /// All stacks, the leaf of each first.
    pub fn stacks(&self) -> impl Iterator<Item = &[u64]> {
        (0..self.samples()).map(|sample| self.stacks.of(sample))
    }

    /// Takes the frame below the leaf out of every stack of which that is said.
    pub fn drop_second_frames(&mut self, goes: impl Fn(u64, u64) -> bool) {
        let mut kept = Stacks::default();
        for stack in self.stacks() {
            match stack {
                [leaf, second, rest @ ..] if goes(*leaf, *second) => {
                    kept.push(std::iter::once(*leaf).chain(rest.iter().copied()));
                }
                stack => kept.push(stack.iter().copied()),
            }
        }
        self.stacks = kept;
    }

    /// The leaf is known from where the thread was stopped, and from its stack again, there moved into a call.
    pub fn drop_leaves_told_twice(&mut self) {
        self.drop_second_frames(|leaf, second| second.checked_add(1) == Some(leaf));
    }

    /// Gives the last sample what stands below it.
    fn settle(&mut self) {
        let below = std::mem::take(&mut self.below);
        if let (Some(labels), false) = (self.labels.last_mut(), below.labels.is_empty()) {
            *labels = self.building.interner.attribute_set(&below.labels);
        }
        if below.names.is_empty() {
            return;
        }
        let mut times: Map<u64, usize> = Map::default();
        for address in self.stacks.of(self.samples().saturating_sub(1)) {
            *times.entry(*address).or_default() += 1;
        }
        let mut told: Map<u64, Vec<Line>> = Map::default();
        for (address, line) in below.names {
            told.entry(address).or_default().push(line);
        }
        for (address, mut lines) in told {
            // a function that calls itself is told as often as it is in the stack
            let times = times.get(&address).copied().unwrap_or(1);
            lines.truncate((lines.len() / times).max(1));
            self.names.entry(address).or_insert(lines);
        }
    }

    /// The profile.
    pub fn finish(mut self) -> Result<Decoded, DecodeError> {
        self.settle();
        if self.stacks.ends.is_empty() {
            return Err(self.building.malformed("no sample in it"));
        }
        let stacks = std::mem::take(&mut self.stacks);
        let mappings = std::mem::take(&mut self.mappings);
        let mappings = mappings.settle(&stacks.addresses).intern(&mut self.building)?;
        // nothing else has made rows of that table
        self.profile.mappings = self.building.interner.dictionary().mappings.ids().skip(1).collect();
        let mut locations: Map<u64, LocationId> = Map::default();
        let mut rows = Rows {
            sample_types: std::mem::take(&mut self.profile.sample_types),
            ..Rows::default()
        };
        let mut stack = Vec::new();
        for sample in 0..stacks.ends.len() {
            stack.clear();
            for address in stacks.of(sample) {
                let location = locations
                    .entry(*address)
                    .or_insert_with(|| self.location(*address, mappings.of(*address)));
                stack.push(*location);
            }
            rows.stacks.push(self.building.interner.stack(&stack));
            self.building.element(0)?;
        }
        (rows.attributes, rows.values) = (self.labels, self.values);
        let of_rows = rows.profile();
        let profile = Profile {
            sample_types: of_rows.sample_types,
            samples: of_rows.samples,
            ..self.profile
        };
        let limits = self.building.limits;
        let decoded = Decoded {
            profiles: self.building.finish(vec![profile]),
            ..Decoded::default()
        };
        Ok(overflow::bound(decoded, limits))
    }

    fn location(&mut self, address: u64, mapping: MappingId) -> LocationId {
        let interner = &mut self.building.interner;
        let lines = self.names.get(&address).map(Vec::as_slice).unwrap_or_default();
        if !self.addresses_are_numbers {
            let location = Location {
                mapping,
                address,
                ..Location::default()
            };
            return interner.location(location, lines);
        }
        let unknown = Function {
            name: interner.string(UNKNOWN),
            ..Function::default()
        };
        let unknown = [Line {
            function: interner.function(unknown),
            ..Line::default()
        }];
        interner.location(Location::default(), if lines.is_empty() { &unknown } else { lines })
    }
}

impl Stacks {
    fn push(&mut self, addresses: impl Iterator<Item = u64>) {
        self.addresses.extend(addresses);
        self.ends.push(self.addresses.len());
    }

    fn of(&self, sample: usize) -> &[u64] {
        let start = sample.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or_default();
        let end = self.ends.get(sample).copied().unwrap_or_default();
        self.addresses.get(start..end).unwrap_or_default()
    }
}
