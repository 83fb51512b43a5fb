//! Removes what nothing refers to, and stores what is equal once.

use super::intern::Interner;
use super::profiles::Profiles;
use super::transfer::Transfer;

impl Profiles {
    /// Leaves only rows that some profile refers to, each once, and joins samples of equal identity.
    ///
    /// Afterwards the dictionary keeps every rule of OTLP, and a string that was replaced is gone from it. Sums per sample
    /// type, stack and attribute set stay as they were. Resources and scopes without profiles go. Says whether anything went.
    pub fn compact(&mut self) -> bool {
        if self.is_compact() {
            return false;
        }
        let before = self.census();
        let mut interner = Interner::with_room_for(self.dictionary());
        let mut transfer = Transfer::new(self.dictionary(), &mut interner);
        let resources = self.resources().iter().filter_map(|r| transfer.resource(r)).collect();
        *self = Self::new_compact(interner.finish(), resources);
        self.census() != before
    }

    /// Rows of the tables, samples, resources: fewer of any means that something was unused or stood twice. Strings are not
    /// counted: those of attributes that a decoder lifted into fields are in no row any more.
    fn census(&self) -> [usize; 10] {
        let d = self.dictionary();
        [
            d.functions.len(),
            d.mappings.len(),
            d.locations.len(),
            d.stacks.len(),
            d.attributes.len(),
            d.attribute_sets.len(),
            d.links.len(),
            self.resources().len(),
            self.resources().iter().map(|resource| resource.scopes.len()).sum(),
            self.sample_count(),
        ]
    }
}
