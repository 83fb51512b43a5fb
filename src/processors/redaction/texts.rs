//! The texts of one batch, each looked at once for each class of roles, however often it is met; and not at all if an earlier
//! batch had it.

use std::sync::Arc;

use super::cache::{Memory, TOGETHER};
use super::config::TextAction;
use super::measures::{Class, Masking, Measures};
use crate::profile::{Dictionary, Profiles, Role, StringId};

const UNKNOWN: u32 = 0;
const PENDING: u32 = 1;
const STAYS: u32 = 2;
/// From here on the number of a masking.
const MASKED: u32 = 3;

/// What became of the texts of one batch.
pub struct Texts<'m> {
    measures: &'m Measures,
    /// For each class what is known of each string.
    known: [Vec<u32>; Class::COUNT],
    maskings: Vec<Arc<Masking>>,
    /// What no earlier batch had.
    fresh: Vec<(Class, StringId)>,
}

impl<'m> Texts<'m> {
    pub fn new(measures: &'m Measures) -> Self {
        Self {
            measures,
            known: Default::default(),
            maskings: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Looks at every text that is no value, and says whether one of them changes. Values depend on their keys.
    pub fn look(&mut self, profiles: &Profiles) -> bool {
        let measures = self.measures;
        let d = profiles.dictionary();
        let mut changes = false;
        let memory = measures.cache.read();
        let mut asked = Vec::with_capacity(TOGETHER);
        profiles.strings_by_role(|role, id| {
            if !id.is_set() || is_value(role) {
                return;
            }
            let class = Class::of(role);
            let state = self.state(d, class, id);
            changes |= state >= MASKED;
            if state == UNKNOWN {
                self.set(class, id, PENDING);
                asked.push((class, id));
                if asked.len() == TOGETHER {
                    changes |= self.recall(&memory, d, &mut asked);
                }
            }
        });
        changes |= self.recall(&memory, d, &mut asked);
        drop(memory);
        for (class, id) in std::mem::take(&mut self.fresh) {
            changes |= self.look_at(d, class, id).is_some();
        }
        changes || self.carriers_change(profiles)
    }

    /// Looks up what earlier batches had, and says whether one of these texts changes.
    fn recall(&mut self, memory: &Memory, d: &Dictionary, asked: &mut Vec<(Class, StringId)>) -> bool {
        let mut changes = false;
        let texts = asked.iter().map(|(class, id)| (*class, d.str(*id)));
        memory.find_each(texts, |place, found| {
            let Some((class, id)) = asked.get(place).copied() else {
                return;
            };
            match found {
                Some(found) => {
                    changes |= found.is_some();
                    self.know(class, id, found);
                }
                None => self.fresh.push((class, id)),
            }
        });
        asked.clear();
        changes
    }

    fn carriers_change(&mut self, profiles: &Profiles) -> bool {
        let carriers = self.measures.carriers;
        if carriers.all_stay() {
            return false;
        }
        let d = profiles.dictionary();
        let mut changes = false;
        profiles.strings_by_role(|role, id| {
            if id.is_set() && !changes && carriers.action(role) != TextAction::Keep {
                changes = carriers.replace(role, d.str(id), &self.measures.pseudonyms).is_some();
            }
        });
        changes
    }

    /// What the text becomes, if it does not stay.
    pub fn masking(&mut self, d: &Dictionary, class: Class, id: StringId) -> Option<Arc<Masking>> {
        if !id.is_set() {
            return None;
        }
        match self.state(d, class, id) {
            STAYS => None,
            UNKNOWN | PENDING => {
                let found = self.measures.cache.read().find(class, d.str(id));
                match found {
                    Some(found) => {
                        self.know(class, id, found.clone());
                        found
                    }
                    None => self.look_at(d, class, id),
                }
            }
            number => self.maskings.get((number - MASKED) as usize).cloned(),
        }
    }

    /// Keeps for later batches what was found. Says how much is kept, if that changed.
    pub fn remember(&self, d: &Dictionary) -> Option<(usize, usize)> {
        if self.fresh.is_empty() {
            return None;
        }
        let found = |(class, id): &(Class, StringId)| {
            let number = self
                .known
                .get(*class as usize)
                .and_then(|known| known.get(id.index()))
                .copied();
            let masking = number.unwrap_or_default().checked_sub(MASKED);
            let masking = masking.and_then(|number| self.maskings.get(number as usize)).cloned();
            (*class, d.str(*id), masking)
        };
        Some(self.measures.cache.add(self.fresh.iter().map(found)))
    }

    fn look_at(&mut self, d: &Dictionary, class: Class, id: StringId) -> Option<Arc<Masking>> {
        let found = self.measures.mask(d.str(id), class).map(Arc::new);
        self.know(class, id, found.clone());
        self.fresh.push((class, id));
        found
    }

    fn know(&mut self, class: Class, id: StringId, found: Option<Arc<Masking>>) {
        let state = match found {
            None => STAYS,
            Some(masking) => {
                self.maskings.push(masking);
                // a batch has fewer strings than that
                MASKED + u32::try_from(self.maskings.len() - 1).unwrap_or(u32::MAX - MASKED)
            }
        };
        self.set(class, id, state);
    }

    fn state(&mut self, d: &Dictionary, class: Class, id: StringId) -> u32 {
        let Some(known) = self.known.get_mut(class as usize) else {
            return UNKNOWN;
        };
        // strings that the pass itself adds come later
        if known.len() <= id.index() {
            known.resize(d.strings.len().max(id.index() + 1), UNKNOWN);
        }
        known.get(id.index()).copied().unwrap_or(UNKNOWN)
    }

    fn set(&mut self, class: Class, id: StringId, state: u32) {
        let slot = self
            .known
            .get_mut(class as usize)
            .and_then(|known| known.get_mut(id.index()));
        if let Some(slot) = slot {
            *slot = state;
        }
    }
}

/// Whether texts of this role are judged with their keys.
pub fn is_value(role: Role) -> bool {
    matches!(role, Role::LabelValue | Role::ResourceValue)
}
