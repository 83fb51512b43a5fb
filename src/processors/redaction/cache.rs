//! What was found in texts, remembered from batch to batch: whole texts are compared, so that no two are ever taken for one.
//!
//! Two generations: texts enter the young one; when that has half of the room, it becomes the old one and the old one goes. A
//! text is looked for in both.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::config::CacheLimits;
use super::measures::{Class, Masking};

/// Texts longer than this are not worth their room.
const LONGEST: usize = 4096;
/// So many texts are looked up together.
pub const TOGETHER: usize = 32;
/// Bytes that an entry takes beside its text.
const ENTRY: usize = size_of::<Entry>() * 2;

/// What is remembered of one policy.
#[derive(Default)]
pub struct Cache {
    most_entries: usize,
    most_bytes: usize,
    memory: RwLock<Memory>,
}

/// What became of a text: nothing, if there is no masking.
pub type Found = Option<Arc<Masking>>;

#[derive(Default)]
pub struct Memory {
    hasher: RandomState,
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    texts: String,
    entries: HashTable<Entry>,
    maskings: Vec<Arc<Masking>>,
    masked_bytes: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    length: u16,
    class: Class,
    /// One more than the number of the masking; 0 for a text that stays.
    masking: u32,
}

impl Generation {
    fn text(&self, entry: &Entry) -> &str {
        let start = entry.start as usize;
        self.texts
            .get(start..start + usize::from(entry.length))
            .unwrap_or_default()
    }

    fn find(&self, hash: u64, class: Class, text: &str) -> Option<Found> {
        let entry = self
            .entries
            .find(hash, |entry| entry.class == class && self.text(entry) == text)?;
        Some(match entry.masking {
            0 => None,
            number => self.maskings.get(number as usize - 1).cloned(),
        })
    }

    /// Something of the entry that `find` will look at first.
    fn touch(&self, hash: u64) -> u32 {
        self.entries.find(hash, |_| true).map_or(0, |entry| entry.start)
    }

    fn bytes(&self) -> usize {
        self.texts.len() + self.entries.len() * ENTRY + self.masked_bytes
    }

    fn add(&mut self, hasher: &RandomState, class: Class, text: &str, found: Found) {
        let (Ok(start), Ok(length)) = (u32::try_from(self.texts.len()), u16::try_from(text.len())) else {
            return;
        };
        let masking = match found {
            None => 0,
            Some(masking) => {
                self.masked_bytes += masking.text.len() + size_of::<Masking>();
                self.maskings.push(masking);
                u32::try_from(self.maskings.len()).unwrap_or(u32::MAX)
            }
        };
        self.texts.push_str(text);
        let entry = Entry {
            start,
            length,
            class,
            masking,
        };
        let hash = hasher.hash_one((class, text));
        let texts = &self.texts;
        let again = |entry: &Entry| {
            let start = entry.start as usize;
            let text = texts.get(start..start + usize::from(entry.length)).unwrap_or_default();
            hasher.hash_one((entry.class, text))
        };
        self.entries.insert_unique(hash, entry, again);
    }
}

impl Memory {
    /// What became of the text, if it is remembered.
    pub fn find(&self, class: Class, text: &str) -> Option<Found> {
        if text.len() > LONGEST {
            return None;
        }
        self.find_hashed(self.hasher.hash_one((class, text)), class, text)
    }

    fn find_hashed(&self, hash: u64, class: Class, text: &str) -> Option<Found> {
        self.young
            .find(hash, class, text)
            .or_else(|| self.old.find(hash, class, text))
    }

    /// The same of [`TOGETHER`] texts at most, with the place of each. Nothing waits for the memory of one entry before it asks for that of
    /// the next.
    pub fn find_each<'t>(
        &self,
        texts: impl Iterator<Item = (Class, &'t str)> + Clone,
        mut tell: impl FnMut(usize, Option<Found>),
    ) {
        let mut hashes = [0; TOGETHER];
        let mut touched = 0;
        for (slot, text) in hashes.iter_mut().zip(texts.clone()) {
            *slot = self.hasher.hash_one(text);
            touched ^= self.young.touch(*slot);
        }
        std::hint::black_box(touched);
        for (place, ((class, text), hash)) in texts.zip(hashes).enumerate() {
            let is_kept = text.len() <= LONGEST;
            tell(place, is_kept.then(|| self.find_hashed(hash, class, text)).flatten());
        }
    }

    /// Texts and bytes that it holds.
    fn size(&self) -> (usize, usize) {
        let generations = [&self.young, &self.old];
        let entries = generations.iter().map(|generation| generation.entries.len()).sum();
        (entries, generations.iter().map(|generation| generation.bytes()).sum())
    }
}

impl Cache {
    /// An empty one with room for so much.
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            most_entries: limits.entries as usize,
            most_bytes: usize::try_from(limits.bytes.0).unwrap_or(usize::MAX),
            memory: RwLock::default(),
        }
    }

    /// What it holds, to look many texts up.
    pub fn read(&self) -> RwLockReadGuard<'_, Memory> {
        // whoever panicked while adding left whole entries behind
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers. Says how many texts and bytes it holds now.
    pub fn add<'a>(&self, fresh: impl Iterator<Item = (Class, &'a str, Found)>) -> (usize, usize) {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let Memory { hasher, young, old } = &mut *memory;
        for (class, text, found) in fresh {
            if text.len() > LONGEST || young.find(hasher.hash_one((class, text)), class, text).is_some() {
                continue;
            }
            let more = text.len() + ENTRY + found.as_ref().map_or(0, |masking| masking.text.len());
            if young.entries.len() >= self.most_entries / 2 || young.bytes() + more > self.most_bytes / 2 {
                *old = std::mem::take(young);
            }
            if more <= self.most_bytes / 2 && self.most_entries >= 2 {
                young.add(hasher, class, text, found);
            }
        }
        memory.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::units::ByteSize;

    fn cache(entries: u32, bytes: u64) -> Cache {
        Cache::new(CacheLimits {
            entries,
            bytes: ByteSize(bytes),
        })
    }

    fn add(cache: &Cache, texts: &[&str]) -> (usize, usize) {
        cache.add(texts.iter().map(|text| (Class::Text, *text, None)))
    }

    #[test]
    fn what_was_added_is_found_in_its_class_alone() {
        let cache = cache(10, 10_000);
        let masking = Arc::new(Masking {
            text: "[REDACTED:email]".to_owned(),
            rules: vec!["email"],
        });
        cache.add([(Class::Text, "a@x.com", Some(masking)), (Class::Name, "a", None)].into_iter());
        let memory = cache.read();
        assert_eq!(
            memory.find(Class::Text, "a@x.com").unwrap().unwrap().text,
            "[REDACTED:email]"
        );
        assert!(memory.find(Class::Name, "a").unwrap().is_none());
        assert!(memory.find(Class::Name, "a@x.com").is_none() && memory.find(Class::Text, "b@x.com").is_none());
    }

    #[test]
    fn texts_are_found_together_as_they_are_one_by_one() {
        let cache = cache(200, 1 << 20);
        let long = "x".repeat(LONGEST + 1);
        let texts: Vec<String> = (0..100).map(|i| format!("text {i}")).collect();
        let masking = || {
            Arc::new(Masking {
                text: "masked".to_owned(),
                rules: vec!["email"],
            })
        };
        let known = texts.iter().enumerate().filter(|(i, _)| i % 3 != 0);
        cache.add(known.map(|(i, text)| (Class::Text, text.as_str(), (i % 3 == 1).then(masking))));
        let memory = cache.read();
        for count in [0, 1, TOGETHER - 1, TOGETHER] {
            let mut asked: Vec<(Class, &str)> = texts.iter().map(|text| (Class::Text, text.as_str())).collect();
            asked.splice(5..7, [(Class::Name, "text 1"), (Class::Text, long.as_str())]);
            asked.truncate(count);
            let said = |found: Option<Found>| found.map(|found| found.map(|masking| masking.text.clone()));
            let mut told = Vec::new();
            memory.find_each(asked.iter().copied(), |place, found| told.push((place, said(found))));
            let one_by_one = asked.iter().map(|(class, text)| said(memory.find(*class, text)));
            assert_eq!(told, one_by_one.enumerate().collect::<Vec<_>>());
        }
    }

    #[test]
    fn it_stays_within_its_bounds_and_forgets_the_oldest() {
        let small = cache(8, 1 << 20);
        for i in 0..100 {
            let (entries, _) = add(&small, &[&format!("text {i}")]);
            assert!(entries <= 8);
        }
        let memory = small.read();
        assert!(memory.find(Class::Text, "text 99").is_some() && memory.find(Class::Text, "text 0").is_none());
        let narrow = cache(1000, 4096);
        for i in 0..100 {
            let (_, bytes) = add(&narrow, &[&"x".repeat(i)]);
            assert!(bytes <= 4096, "{bytes}");
        }
        assert_eq!(add(&cache(0, 1 << 20), &["a"]), (0, 0));
        assert_eq!(add(&cache(8, 0), &["a"]), (0, 0));
        assert_eq!(add(&cache(8, 1 << 20), &[&"x".repeat(LONGEST + 1)]), (0, 0));
    }
}
