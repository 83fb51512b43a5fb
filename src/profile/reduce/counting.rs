//! Sorting by small numbers.

/// Keys that are fewer than a part of their kinds are compared with each other: to count takes time for every kind.
const KINDS_OF_A_KEY: usize = 16;

/// The positions of some keys, sorted by key; of equal keys in the order in which they stand.
pub(super) fn sorted(keys: &[u32]) -> Vec<u32> {
    let kinds = keys.iter().max().map_or(0, |most| *most as usize + 1);
    match kinds / KINDS_OF_A_KEY <= keys.len() {
        true => counted(keys, kinds),
        false => compared(keys),
    }
}

fn compared(keys: &[u32]) -> Vec<u32> {
    let mut sorted: Vec<u32> = (0..keys.len() as u32).collect();
    sorted.sort_by_key(|at| keys.get(*at as usize));
    sorted
}

fn counted(keys: &[u32], kinds: usize) -> Vec<u32> {
    let mut starts = vec![0u32; kinds];
    for key in keys {
        if let Some(count) = starts.get_mut(*key as usize) {
            *count += 1;
        }
    }
    let mut start = 0;
    for slot in &mut starts {
        start += std::mem::replace(slot, start);
    }
    let mut sorted = vec![0; keys.len()];
    for (key, position) in keys.iter().zip(0..) {
        let slot = starts.get_mut(*key as usize).map(|start| {
            *start += 1;
            *start as usize - 1
        });
        if let Some(slot) = slot.and_then(|slot| sorted.get_mut(slot)) {
            *slot = position;
        }
    }
    sorted
}

/// The positions of some hashes, sorted. They are spread evenly, so most have their place once their highest bits are sorted.
pub(super) fn sorted_hashes(hashes: &[u64]) -> Vec<u32> {
    let bits = u64::BITS - (hashes.len() as u64).leading_zeros();
    let highest: Vec<u32> = hashes
        .iter()
        .map(|hash| (hash >> 32) as u32 >> (u32::BITS - bits.clamp(1, 32)))
        .collect();
    let mut sorted = sorted(&highest);
    let high = |at: &u32| highest.get(*at as usize);
    let same = sorted
        .chunk_by_mut(|a, b| high(a) == high(b))
        .filter(|same| same.len() > 1);
    same.for_each(|same| same.sort_unstable_by_key(|at| hashes.get(*at as usize)));
    sorted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_keys_are_sorted_and_equal_ones_stay_in_order(keys in prop::collection::vec(0u32..50, 0..200), apart in 1u32..10_000) {
            let keys: Vec<u32> = keys.iter().map(|key| key * apart).collect();
            let mut expected: Vec<u32> = (0..keys.len() as u32).collect();
            expected.sort_by_key(|at| keys[*at as usize]);
            prop_assert_eq!(sorted(&keys), expected);
        }

        #[test]
        fn prop_hashes_are_sorted_however_they_are_spread(hashes in prop::collection::vec(any::<u64>(), 0..200), shift in 0u32..64) {
            let hashes: Vec<u64> = hashes.iter().map(|hash| hash >> shift).collect();
            let found: Vec<u64> = sorted_hashes(&hashes).iter().map(|at| hashes[*at as usize]).collect();
            let mut expected = hashes;
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
