//! The string table: every text of a profile as a slice of one shared buffer.

// Spans are made by `push` alone and always lie inside `text`.
#![allow(clippy::indexing_slicing)]

use std::ops::Index;

use super::ids::Id;
use super::table::give_back;

/// The row type of the string table; only its id is ever used.
#[derive(Debug)]
pub enum Text {}

/// A string of the dictionary.
pub type StringId = Id<Text>;

/// All strings of a dictionary. String 0 is empty.
#[derive(Clone, Debug)]
pub struct Strings {
    text: String,
    /// `ends[i]` is where string `i` ends and string `i + 1` begins.
    ends: Vec<u32>,
    are_distinct: bool,
}

/// Room for what a decoder adds to the strings of a table: keys of its own.
const EXTRA_STRINGS: usize = 8;
const EXTRA_BYTES: usize = 256;

impl PartialEq for Strings {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.ends) == (&other.text, &other.ends)
    }
}

impl Default for Strings {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl Strings {
    /// Room for `strings` more strings of `bytes` bytes in all.
    pub fn with_capacity(strings: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(strings.saturating_add(1));
        ends.push(0);
        Self {
            text: String::with_capacity(bytes),
            ends,
            are_distinct: false,
        }
    }

    /// Those of a table, of so many bytes in all, behind the empty one and with room for a few more; none if one of them is not UTF-8.
    pub fn of<'a>(texts: impl ExactSizeIterator<Item = &'a [u8]>, bytes: usize) -> Option<Self> {
        let mut joined = Vec::with_capacity(bytes.saturating_add(EXTRA_BYTES));
        let mut strings = Self::with_capacity(texts.len().saturating_add(EXTRA_STRINGS), 0);
        for text in texts {
            joined.extend_from_slice(text);
            strings.ends.push(joined.len().min(u32::MAX as usize) as u32);
        }
        assert!(joined.len() < u32::MAX as usize, "a profile holds 4 GiB of text");
        // far faster than one by one; but a character must not begin in one and end in the next
        strings.text = String::from_utf8(joined).ok()?;
        let text = &strings.text;
        let are_whole = strings.ends.iter().all(|end| text.is_char_boundary(*end as usize));
        are_whole.then_some(strings)
    }

    /// Appends a string without looking whether it is there already.
    pub fn push(&mut self, string: &str) -> StringId {
        let id = self.ends.len();
        self.are_distinct = false;
        self.text.push_str(string);
        assert!(self.text.len() < u32::MAX as usize, "a profile holds 4 GiB of text");
        self.ends.push(self.text.len() as u32);
        Id::at(id as u32)
    }

    /// The id of a position read from a wire, if the table has it.
    pub fn id(&self, position: u64) -> Option<StringId> {
        if position < self.ends.len() as u64 {
            Some(Id::at(position as u32))
        } else {
            None
        }
    }

    /// Every id, the empty string first.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = StringId> + use<> {
        (0..self.ends.len() as u32).map(Id::at)
    }

    /// Number of strings, the empty one at 0 included: never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Keeps the strings of which `stays`, asked of one after the other, says so. Nothing is left of the text of the others.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(StringId) -> bool) {
        let kept: Vec<StringId> = self.ids().filter(|id| stays(*id)).skip(1).collect();
        let bytes = kept.iter().map(|id| self[*id].len()).sum();
        let mut strings = Self::with_capacity(kept.len(), bytes);
        for id in kept {
            strings.push(&self[id]);
        }
        *self = strings;
    }

    /// Whether it is known that no two of them are equal.
    pub fn are_distinct(&self) -> bool {
        self.are_distinct
    }

    /// Notes that no two of them are equal, until one is added.
    pub(super) fn be_distinct(&mut self) {
        self.are_distinct = true;
    }

    /// Gives room for further strings back.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        give_back(&mut self.ends);
    }

    /// Bytes of all strings together.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Bytes held, for the memory budget.
    pub fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

impl Index<StringId> for Strings {
    type Output = str;
    fn index(&self, id: StringId) -> &str {
        let end = self.ends[id.index()] as usize;
        let start = match id.index() {
            0 => 0,
            i => self.ends[i - 1] as usize,
        };
        &self.text[start..end]
    }
}
