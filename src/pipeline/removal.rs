//! Taking out of a batch what matches conditions: profiles, or single samples of them.

use super::batch::Origin;
use super::matcher::Matcher;
use crate::profile::{AttributeSetId, Dictionary, Profile, ProfileRef, Profiles};

/// Whether something matches one of the conditions.
pub fn touches(matchers: &[&Matcher], profiles: &Profiles, origin: &Origin) -> bool {
    let d = profiles.dictionary();
    profiles.iter().any(|p| {
        applying(matchers, d, p, origin).any(|matcher| {
            let mut sets = p.profile.samples.attributes.iter();
            !matcher.has_sample_conditions() || sets.any(|set| matcher.sample(d, *set))
        })
    })
}

/// Removes what matches and says how many profiles, as received, went whole.
pub fn remove(matchers: &[&Matcher], profiles: &mut Profiles, origin: &Origin) -> u64 {
    // conditions are judged on an unchanged view; cloning it is cheap
    let view = profiles.clone();
    let d = view.dictionary();
    let mut kept = view.iter().map(|p| thin(matchers, d, p, origin));
    let mut gone = 0;
    let resources = profiles.edit_resources();
    for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
        scope.profiles.retain_mut(|profile| match kept.next().flatten() {
            Some(thinned) => {
                *profile = thinned;
                true
            }
            None => {
                gone += profile.received();
                false
            }
        });
    }
    gone
}

fn applying<'a>(
    matchers: &'a [&'a Matcher],
    d: &'a Dictionary,
    p: ProfileRef<'a>,
    origin: &'a Origin,
) -> impl Iterator<Item = &'a Matcher> {
    let all = matchers.iter().copied();
    all.filter(move |matcher| matcher.profile(d, p, origin))
}

/// The profile without the samples that match; none if it goes whole.
fn thin(matchers: &[&Matcher], d: &Dictionary, p: ProfileRef<'_>, origin: &Origin) -> Option<Profile> {
    let matchers: Vec<&Matcher> = applying(matchers, d, p, origin).collect();
    if matchers.iter().any(|matcher| !matcher.has_sample_conditions()) {
        return None;
    }
    let mut profile = p.profile.clone();
    if matchers.is_empty() {
        return Some(profile);
    }
    let stays = |set: &AttributeSetId| !matchers.iter().any(|matcher| matcher.sample(d, *set));
    let rows = p.profile.samples.attributes.iter().enumerate();
    let rows = rows.filter(|(_, set)| stays(set)).map(|(row, _)| row);
    profile.pick_samples(&rows.collect::<Vec<_>>());
    let emptied = profile.samples.is_empty() && !p.profile.samples.is_empty();
    (!emptied).then_some(profile)
}
