//! Removes what nothing refers to, and stores what is equal once.

use super::intern::Interner;
use super::profiles::Profiles;
use super::transfer::Transfer;

impl Profiles {
    /// Leaves only rows that some profile refers to, each once, and joins samples of equal identity.
    ///
    /// Afterwards the dictionary keeps every rule of OTLP, and a string that was replaced is gone from it. Sums per sample
    /// type, stack and attribute set stay as they were. Resources and scopes without profiles go.
    pub fn compact(&mut self) {
        if self.is_compact() {
            return;
        }
        let mut interner = Interner::new();
        let mut transfer = Transfer::new(self.dictionary(), &mut interner);
        let resources = self.resources().iter().filter_map(|r| transfer.resource(r)).collect();
        *self = Self::new_compact(interner.finish(), resources);
    }
}
