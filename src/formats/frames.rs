//! Stacks as lists of names, for the formats that know nothing else: root first, inlined functions expanded.

use std::borrow::Cow;

use crate::profile::{Dictionary, Line, LocationId, StackId};

/// What a frame without any name is called.
pub(super) const UNKNOWN: &str = "[unknown]";

/// Every frame of a stack, the root first: each location with one of its lines, or with none if it was never symbolised.
pub(super) fn root_first(dictionary: &Dictionary, stack: StackId) -> impl Iterator<Item = (LocationId, Option<&Line>)> {
    dictionary.stacks[stack].iter().rev().flat_map(|location| {
        let lines = &dictionary.lines[*location];
        let unsymbolised = lines.is_empty().then_some((*location, None));
        let symbolised = lines.iter().rev().map(|line| (*location, Some(line)));
        unsymbolised.into_iter().chain(symbolised)
    })
}

/// The name for people, else the system's, else where the code lies: `0x1f40 [libc.so.6]`.
pub(super) fn name<'a>(dictionary: &'a Dictionary, location: LocationId, line: Option<&Line>) -> Cow<'a, str> {
    if let Some(line) = line {
        let function = dictionary.functions[line.function];
        let named = [function.name, function.system_name]
            .into_iter()
            .find(|name| name.is_set());
        if let Some(name) = named {
            return dictionary.str(name).into();
        }
    }
    let location = dictionary.locations[location];
    let binary = dictionary.str(dictionary.mappings[location.mapping].filename);
    let binary = binary.rsplit(['/', '\\']).next().unwrap_or_default();
    match (location.address, binary) {
        (0, "") => UNKNOWN.into(),
        (0, binary) => format!("[{binary}]").into(),
        (address, "") => format!("{address:#x}").into(),
        (address, binary) => format!("{address:#x} [{binary}]").into(),
    }
}

/// A profile whose parts are being put together by a text format.
pub(super) mod build {
    use crate::profile::{
        AttributeSetId, Function, Id, Interner, Line, LinkId, Location, LocationId, Observations, Profile, Profiles,
        Samples, StackId, ValueType,
    };
    use std::sync::Arc;

    /// The location of a frame that is a name and perhaps a place in a source file.
    pub fn location(interner: &mut Interner, name: &str, file: &str, line: i64, column: i64) -> LocationId {
        let function = Function {
            name: interner.string(name),
            filename: interner.string(file),
            ..Function::default()
        };
        let function = interner.function(function);
        let line = Line { function, line, column };
        interner.location(Location::default(), &[line])
    }

    /// Samples, and the types of their values.
    #[derive(Default)]
    pub struct Rows {
        pub sample_types: Vec<ValueType>,
        pub stacks: Vec<StackId>,
        pub attributes: Vec<AttributeSetId>,
        pub values: Vec<i64>,
    }

    impl Rows {
        /// Adds a sample: as many values as there are types.
        pub fn push(&mut self, stack: StackId, attributes: AttributeSetId, values: &[i64]) {
            self.stacks.push(stack);
            self.attributes.push(attributes);
            self.values.extend_from_slice(values);
        }

        /// A profile of them.
        pub fn profile(self) -> Profile {
            let links: Vec<LinkId> = vec![Id::UNSET; self.stacks.len()];
            Profile {
                sample_types: self.sample_types,
                samples: Arc::new(Samples {
                    stacks: self.stacks,
                    attributes: self.attributes,
                    links,
                    observations: Observations::Totals(self.values),
                }),
                ..Profile::default()
            }
        }
    }

    /// One profile for each of the lists, all of one resource.
    pub fn profiles(interner: Interner, lists: Vec<Rows>) -> Profiles {
        Profiles::of(interner.finish(), lists.into_iter().map(Rows::profile).collect())
    }
}
