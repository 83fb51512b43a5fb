//! Removes what nothing refers to and joins what is equal.
use super::profiles::Profiles;
impl Profiles {
    /// x
    pub fn compact(&mut self) {}
}
