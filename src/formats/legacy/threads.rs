//! Stacks of all threads, as gperftools wrote them.

use super::draft::Draft;
use super::end;
use super::scan::{addresses_anywhere, call, is_empty_or_comment};
use crate::formats::lines::{Line, Lines};
use crate::formats::{DecodeError, Limit};

const SAME: &str = "same as previous thread";

/// A thread whose stack is being read.
#[derive(Default)]
struct Thread {
    name: String,
    id: Option<i64>,
    stack: Vec<u64>,
    is_same: bool,
}

pub(super) fn read(bytes: &[u8], draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    draft.types(&[("thread", "count")]);
    draft.period("thread", "count", 1);
    let mut lines = Lines::new(bytes);
    let mut last = None;
    let mut thread: Option<Thread> = None;
    let mut before = Vec::new();
    for line in lines.by_ref() {
        let text = line.text();
        let text = text.trim();
        if text.starts_with("--- threadz ") || is_empty_or_comment(line.bytes) {
            continue;
        }
        if !text.starts_with("---") {
            // what stands above the first thread is of none
            if let Some(thread) = &mut thread {
                thread.line(text, &line, draft)?;
            }
            continue;
        }
        if let Some(thread) = thread.take() {
            before = thread.add(before, draft)?;
        }
        thread = Thread::parse(text);
        if thread.is_none() {
            last = Some(line);
            break;
        }
    }
    if let Some(thread) = thread {
        thread.add(before, draft)?;
    }
    draft.drop_leaves_told_twice();
    end(last, lines, draft)
}

impl Thread {
    /// `--- Thread 7f794ab90940 (name: main/14748) stack: ---`
    fn parse(line: &str) -> Option<Self> {
        let inside = line.strip_prefix("--- Thread ")?;
        let (_, named) = inside.split_once(" (name: ")?;
        let (named, _) = named.rsplit_once(") stack: ---")?;
        let (name, id) = named.rsplit_once('/')?;
        Some(Self {
            name: name.to_owned(),
            id: Some(id.parse().ok()?),
            ..Self::default()
        })
    }

    /// `0x0040be31: main`, where the name is of the last of several addresses, or a word that the stack is the one above.
    fn line(&mut self, text: &str, line: &Line<'_>, draft: &mut Draft<'_>) -> Result<(), DecodeError> {
        let text = draft.building.text(text)?;
        if text.contains(SAME) {
            self.is_same = true;
            return Ok(());
        }
        let found = addresses_anywhere(text).ok_or_else(|| draft.malformed(line, "an address beyond 64 bits"))?;
        if self.stack.len() + found.len() > draft.building.limits.stack_depth {
            return Err(draft.building.too_large(Limit::StackDepth, "a stack too deep"));
        }
        let has_addresses = !found.is_empty();
        for address in found {
            // the leaf is no call
            self.stack
                .push(if self.stack.is_empty() { address } else { call(address) });
        }
        let behind = text.rsplit_once(": ").map(|(_, name)| name);
        match (behind.filter(|name| !name.contains("0x")), self.stack.last()) {
            (Some(name), Some(last)) if has_addresses => draft.symbol(*last, name, "", 0),
            _ => Ok(()),
        }
    }

    /// Adds the thread as a sample. The stack, for threads that have the same.
    fn add(self, before: Vec<u64>, draft: &mut Draft<'_>) -> Result<Vec<u64>, DecodeError> {
        let stack = if self.is_same { before } else { self.stack };
        draft.sample(&[1], &stack)?;
        if !self.name.is_empty() {
            draft.label("thread.name", &self.name)?;
        }
        if let Some(id) = self.id {
            draft.number("thread.id", id);
        }
        Ok(stack)
    }
}
