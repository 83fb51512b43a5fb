//! Names of what spans did, each once, and so many of each service: whoever writes ids into names must not fill the memory, nor make
//! as many groups of samples as there are ids.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

/// What stands for names beyond the first of a service.
pub(super) const OTHER: &str = "other";
/// Bytes of a name; a longer one is none that anybody groups by.
const LONGEST: usize = 256;
/// What a name needs beside its text: counts, and its places in the tables.
const AROUND: usize = 64;

#[derive(Debug)]
pub(super) struct Names {
    by_service: HashMap<u64, HashSet<Arc<str>, RandomState>, RandomState>,
    bytes: usize,
    most_of_service: usize,
    most_bytes: usize,
    other: Arc<str>,
}

impl Names {
    pub(super) fn new(most_of_service: usize, most_bytes: usize) -> Self {
        Self {
            by_service: HashMap::default(),
            bytes: 0,
            most_of_service,
            most_bytes,
            other: OTHER.into(),
        }
    }

    /// The one of this text; none of what is no text.
    pub(super) fn of(&mut self, service: u64, text: &[u8]) -> Option<Arc<str>> {
        let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
        let known = self.by_service.get(&service);
        if let Some(known) = known.and_then(|names| names.get(text)) {
            return Some(known.clone());
        }
        let is_full = known.is_some_and(|names| names.len() >= self.most_of_service);
        if is_full || text.len() > LONGEST || self.bytes + text.len() + AROUND > self.most_bytes {
            return Some(self.other.clone());
        }
        let name: Arc<str> = text.into();
        self.by_service.entry(service).or_default().insert(name.clone());
        self.bytes += text.len() + AROUND;
        Some(name)
    }

    /// Forgets those that no span has any more.
    pub(super) fn forget_unused(&mut self) {
        for names in self.by_service.values_mut() {
            names.retain(|name| Arc::strong_count(name) > 1);
        }
        self.by_service.retain(|_, names| !names.is_empty());
        let names = self.by_service.values().flatten();
        self.bytes = names.map(|name| name.len() + AROUND).sum();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_of_each_service_are_known_and_the_rest_are_others() {
        let mut names = Names::new(3, 1 << 20);
        let mut told = |service, text: &str| names.of(service, text.as_bytes()).unwrap().to_string();
        for name in ["a", "b", "c"] {
            assert_eq!(told(1, name), name);
        }
        assert_eq!(told(1, "d"), OTHER);
        assert_eq!((told(1, "b"), told(2, "d")), ("b".to_owned(), "d".to_owned()));
        assert_eq!(told(2, &"x".repeat(LONGEST + 1)), OTHER);
    }

    #[test]
    fn what_is_no_text_has_no_name() {
        let mut names = Names::new(3, 1 << 20);
        assert_eq!(names.of(1, b"\xff\xfe"), None);
        assert_eq!(names.of(1, b""), None);
        assert_eq!(names.heap_bytes(), 0);
    }

    #[test]
    fn names_are_bounded_in_bytes_and_forgotten_when_no_span_has_them() {
        let mut names = Names::new(1_000, 10 * (AROUND + 4));
        let kept = names.of(1, b"0000").unwrap();
        for n in 1..100 {
            let service = n % 7;
            names.of(service, format!("{n:04}").as_bytes());
        }
        assert_eq!(names.heap_bytes(), 10 * (AROUND + 4));
        assert_eq!(&*names.of(1, b"0099").unwrap(), OTHER);
        names.forget_unused();
        assert_eq!(names.heap_bytes(), AROUND + 4);
        assert!(Arc::ptr_eq(&kept, &names.of(1, b"0000").unwrap()));
        assert_eq!(&*names.of(1, b"0099").unwrap(), "0099");
    }
}
