//! The model: what a profile is, whatever it came as.
//!
//! A [`Profiles`] is one [`Dictionary`] of flat tables and a small tree of resources, scopes and profiles whose samples
//! are columns of ids into those tables. Ids are typed and made only by the tables, so an id in hand is always in range.
//! No input or output, no async, no wire format lives here.

mod aggregate;
mod compact;
mod dictionary;
mod gather;
mod ids;
mod intern;
mod join;
mod mappings;
mod merge;
mod profiles;
#[cfg(test)]
mod properties;
mod reduce;
mod roles;
mod samples;
mod select;
mod split;
mod strings;
mod table;
#[cfg(test)]
pub mod testing;
pub mod trace_ids;
mod transfer;

pub use aggregate::{Addend, Aggregate, Column, Detail};
pub use dictionary::{
    Attribute, AttributeId, AttributeSet, AttributeSetId, Dictionary, Function, FunctionId, Line, Link, LinkId,
    Location, LocationId, Mapping, MappingId, Stack, StackId, Value,
};
pub use gather::{Counted, Counting, Evidence, Gathered, Gathering};
pub use ids::Id;
pub use intern::Interner;
pub use merge::Merger;
pub use profiles::{
    COUNTERS, KeyValue, OriginalPayload, Profile, ProfileId, ProfileRef, Profiles, ResourceProfiles, ScopeProfiles,
    ValueType,
};
pub use reduce::{
    Choice, ContentHashes, Counts, Errors, Estimate, Expected, FEWEST_ROWS, Fewer, Fit, Fitting, Forecast, KEEP_RATIO,
    Leaving, Linked, OTHER, OTHER_NAME, Order, Ratio, Reduced, SAMPLING_THRESHOLD, Sampling, TOTALS_ONLY, Thinned,
    Thinning, Unsampled, largest, thin, thin_profiles, totals_only,
};
pub use roles::Role;
pub use samples::{Observations, Samples, Series};
pub use select::{Finder, NotAnId, ROUTE_KEYS, SPAN_NAME_KEYS, Wanted};
pub use split::{Scratch, Splitter};
pub use strings::{StringId, Strings, Text};
pub use table::{Lists, Table};
