//! Resources, scopes and profiles: the tree, which is small; what is large hangs in columns below it.

use std::sync::Arc;

use bytes::Bytes;

use super::dictionary::{AttributeSetId, Dictionary, MappingId, Value};
use super::samples::Samples;
use super::strings::StringId;

/// What one request carried: a dictionary and the profiles that use it.
///
/// Cloning is cheap; changing copies what is shared, and only that.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    dictionary: Arc<Dictionary>,
    resources: Arc<Vec<ResourceProfiles>>,
    /// Whether `compact` ran since the last change.
    compact: bool,
}

impl Profiles {
    /// Puts a dictionary and the profiles that use it together.
    pub fn new(dictionary: Dictionary, resources: Vec<ResourceProfiles>) -> Self {
        Self {
            dictionary: Arc::new(dictionary),
            resources: Arc::new(resources),
            compact: false,
        }
    }

    /// The same for profiles of one resource and one scope, of which nothing is said.
    pub fn of(dictionary: Dictionary, profiles: Vec<Profile>) -> Self {
        let scope = ScopeProfiles {
            profiles,
            ..ScopeProfiles::default()
        };
        let resource = ResourceProfiles {
            scopes: vec![scope],
            ..ResourceProfiles::default()
        };
        Self::new(dictionary, vec![resource])
    }

    /// As [`new`](Self::new), when the maker knows that nothing in it is unused or equal.
    pub(super) fn new_compact(dictionary: Dictionary, resources: Vec<ResourceProfiles>) -> Self {
        Self {
            compact: true,
            ..Self::new(dictionary, resources)
        }
    }

    /// Notes that nothing in it is unused or equal.
    pub(super) fn be_compact(&mut self) {
        self.compact = true;
    }

    /// The shared tables.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// The profiles, by resource and scope.
    pub fn resources(&self) -> &[ResourceProfiles] {
        &self.resources
    }

    /// Both, to be changed.
    pub fn edit(&mut self) -> (&mut Dictionary, &mut Vec<ResourceProfiles>) {
        self.compact = false;
        (Arc::make_mut(&mut self.dictionary), Arc::make_mut(&mut self.resources))
    }

    /// The resources, to be changed over the dictionary as it is: nothing of that is copied.
    pub fn edit_resources(&mut self) -> &mut Vec<ResourceProfiles> {
        self.compact = false;
        Arc::make_mut(&mut self.resources)
    }

    /// Both, taken out; copied only if shared.
    pub fn into_parts(self) -> (Dictionary, Vec<ResourceProfiles>) {
        (
            Arc::unwrap_or_clone(self.dictionary),
            Arc::unwrap_or_clone(self.resources),
        )
    }

    /// Whether nothing in it is unused or equal: see [`compact`](Self::compact).
    pub fn is_compact(&self) -> bool {
        self.compact
    }

    /// Every profile with its resource and scope.
    pub fn iter(&self) -> impl Iterator<Item = ProfileRef<'_>> {
        self.resources.iter().flat_map(|resource| {
            resource.scopes.iter().flat_map(move |scope| {
                scope.profiles.iter().map(move |profile| ProfileRef {
                    resource,
                    scope,
                    profile,
                })
            })
        })
    }

    /// Number of profiles. A profile of several sample types counts once.
    pub fn profile_count(&self) -> usize {
        self.iter().count()
    }

    /// Number of profiles as they were received: the unit in which they are accounted for.
    pub fn received_count(&self) -> u64 {
        self.iter().map(|p| p.profile.received()).sum()
    }

    /// Number of samples. A sample of several types counts once.
    pub fn sample_count(&self) -> usize {
        self.iter().map(|p| p.profile.samples.len()).sum()
    }

    /// Whether no profile is left.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Bytes held, for the memory budget.
    pub fn heap_bytes(&self) -> usize {
        self.dictionary.heap_bytes() + self.resources.iter().map(ResourceProfiles::heap_bytes).sum::<usize>()
    }
}

/// A profile seen with its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct ProfileRef<'a> {
    /// What was profiled.
    pub resource: &'a ResourceProfiles,
    /// Who profiled.
    pub scope: &'a ScopeProfiles,
    /// The profile.
    pub profile: &'a Profile,
}

/// The profiles of one resource: a process, a pod, a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceProfiles {
    /// Attributes of the resource.
    pub attributes: Vec<KeyValue>,
    /// Attributes that a sender had to leave out.
    pub dropped_attributes_count: u32,
    /// Schema of the attributes.
    pub schema_url: StringId,
    /// Profiles by scope.
    pub scopes: Vec<ScopeProfiles>,
}

impl ResourceProfiles {
    /// Bytes held by its profiles.
    pub(super) fn heap_bytes(&self) -> usize {
        let profiles = self.scopes.iter().flat_map(|scope| &scope.profiles);
        let bytes = |p: &Profile| size_of::<Profile>() + size_of_val(&*p.mappings) + p.samples.heap_bytes();
        profiles.map(bytes).sum()
    }

    /// The value of an attribute.
    pub fn attribute<'a>(&'a self, dictionary: &Dictionary, key: &str) -> Option<&'a Value> {
        find(&self.attributes, dictionary, key)
    }

    /// The text of an attribute, if it has one and it is text.
    pub fn attribute_str<'a>(&self, dictionary: &'a Dictionary, key: &str) -> Option<&'a str> {
        match self.attribute(dictionary, key) {
            Some(Value::String(id)) => Some(dictionary.str(*id)),
            _ => None,
        }
    }
}

/// The profiles of one instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeProfiles {
    /// Name of the profiler or library.
    pub name: StringId,
    /// Its version.
    pub version: StringId,
    /// Attributes of the scope, without those that OTLP uses to carry pprof's sample type order and default.
    pub attributes: Vec<KeyValue>,
    /// Attributes that a sender had to leave out.
    pub dropped_attributes_count: u32,
    /// Schema of the attributes.
    pub schema_url: StringId,
    /// The profiles.
    pub profiles: Vec<Profile>,
}

fn find<'a>(attributes: &'a [KeyValue], dictionary: &Dictionary, key: &str) -> Option<&'a Value> {
    attributes
        .iter()
        .find(|kv| dictionary.str(kv.key) == key)
        .map(|kv| &kv.value)
}

/// An attribute of a resource or a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// Key.
    pub key: StringId,
    /// Value.
    pub value: Value,
}

/// What a number in a profile counts, and in which unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// `cpu`, `alloc_space` ...
    pub kind: StringId,
    /// `nanoseconds`, `bytes`, `count` ...
    pub unit: StringId,
}

/// Go's sample types that count from the start of the process on, unless somebody made differences of them. What else such a profile
/// holds is how things are.
pub const COUNTERS: [&str; 4] = ["alloc_objects", "alloc_space", "contentions", "delay"];

/// A 16-byte profile id, all zero if unset.
pub type ProfileId = [u8; 16];

/// One profile: samples of one or more types over one stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// What the values of a sample are, in order. More than one only with [`Observations::Totals`](super::Observations).
    pub sample_types: Vec<ValueType>,
    /// The type to show first; unset if the sender did not say.
    pub default_sample_type: StringId,
    /// The samples.
    pub samples: Arc<Samples>,
    /// Start, nanoseconds since the Unix epoch; 0 if unknown.
    pub time_unix_nano: u64,
    /// Length in nanoseconds; 0 for a snapshot.
    pub duration_nano: u64,
    /// What happens between two samples; both parts unset if the sender did not say.
    pub period_type: ValueType,
    /// How much of it.
    pub period: i64,
    /// OTLP profile ids, one for each sample type, or none at all.
    pub ids: Vec<ProfileId>,
    /// The mappings of the process in their order, the main binary first, whether or not a frame lies in them (pprof). Empty for
    /// formats that have no such list.
    pub mappings: Arc<[MappingId]>,
    /// Attributes of the profile.
    pub attributes: AttributeSetId,
    /// Attributes that a sender had to leave out.
    pub dropped_attributes_count: u32,
    /// Free text about the profile (pprof `comment`).
    pub comments: Vec<StringId>,
    /// Regular expression of frames to drop for display (pprof).
    pub drop_frames: StringId,
    /// Regular expression of frames to keep all the same (pprof).
    pub keep_frames: StringId,
    /// Where the profile type is explained (pprof).
    pub doc_url: StringId,
    /// The profile as the profiler wrote it, if the sender attached it.
    pub original_payload: Option<OriginalPayload>,
    /// As how many profiles besides one it was received: OTLP has one for each sample type.
    pub siblings: u32,
}

impl Profile {
    /// How many profiles as received it is.
    pub fn received(&self) -> u64 {
        1 + u64::from(self.siblings)
    }

    /// Leaves the samples of these rows, in their order. An attached original holds all of them: it goes where any goes.
    pub fn pick_samples(&mut self, rows: &[usize]) {
        if rows.len() < self.samples.len() {
            self.samples = Arc::new(self.samples.pick(self.sample_types.len(), rows));
            self.original_payload = None;
        }
    }
}

/// A profile in the form its profiler wrote it, attached to an OTLP profile.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginalPayload {
    /// `pprof`, `jfr`, `linux_perf` ...
    pub format: StringId,
    /// The bytes.
    pub bytes: Bytes,
}
