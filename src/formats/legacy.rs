//! What pprof was before it was a protobuf: texts and machine words of gperftools, of Go (`?debug=1`) and of Java's agents of old.
//!
//! | kind | begins with | types |
//! |---|---|---|
//! | CPU | machine words 0, 3 | `samples`, `cpu`/nanoseconds |
//! | heap, growth | `heap profile:` | `objects`, `space`/bytes; with `alloc_` and `inuse_` where both are told |
//! | Go's counts | `goroutine profile: total 7` | that name |
//! | threads | `--- threadz` | `thread` |
//! | contention | `--- contentionz`, `--- mutex:` | `contentions`, `delay`/nanoseconds |
//! | Java's | `--- heapz`, `format = java` | `inuse_objects`, `inuse_space`; `contentions`, `delay` |
//!
//! Values are scaled up to all that the samples stand for, and addresses behind calls moved back into them, as pprof's own
//! library does it. Beyond it, the names, lines and labels that Go writes below a stack are read, and the names of threads.

mod below;
mod contention;
mod counts;
mod cpu;
mod draft;
mod heap;
mod java;
mod maps;
mod scan;
#[cfg(test)]
mod tests;
mod text;
mod threads;

use super::lines::{Line, Lines};
use super::room::Room;
use super::{DecodeError, Decoded, Format, Limits};
use draft::Draft;

/// Which of the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Cpu,
    Heap,
    Counts,
    Threads,
    Contention,
    JavaHeap,
}

impl Form {
    fn of(bytes: &[u8]) -> Option<Self> {
        if cpu::Words::of(bytes).is_some() {
            return Some(Self::Cpu);
        }
        let first = Lines::of_head(bytes).find(|line| !scan::is_empty_or_comment(line.bytes))?;
        let first = first.bytes.trim_ascii();
        let begins = |with: &[&[u8]]| with.iter().any(|with| first.starts_with(with));
        if begins(&[b"heap profile:"]) {
            Some(Self::Heap)
        } else if begins(&[b"--- threadz ", b"--- Thread "]) {
            Some(Self::Threads)
        } else if begins(&[b"--- contentionz ", b"--- mutex:", b"--- contention:"]) {
            Some(Self::Contention)
        } else if begins(&[b"--- heapz "]) {
            Some(Self::JavaHeap)
        } else {
            counts::name(first).map(|_| Self::Counts)
        }
    }
}

/// Whether bytes are of one of the forms.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    Form::of(bytes).is_some()
}

/// Reads what follows the samples, from the line that ends them: the binaries that were mapped, if they are told.
fn end(last: Option<Line<'_>>, mut lines: Lines<'_>, draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    let is_heading = |line: &Line<'_>| maps::is_heading(&line.text());
    if !last.is_some_and(|line| is_heading(&line)) && !lines.any(|line| is_heading(&line)) {
        return Ok(());
    }
    draft.mappings.read(lines, &mut draft.building)
}

/// Reads any of the forms, with memory from `room`.
pub fn decode_within(bytes: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut draft = Draft::new(limits, room);
    match Form::of(bytes) {
        Some(Form::Cpu) => cpu::read(bytes, &mut draft)?,
        Some(Form::Heap) => heap::read(bytes, &mut draft)?,
        Some(Form::Counts) => counts::read(bytes, &mut draft)?,
        Some(Form::Threads) => threads::read(bytes, &mut draft)?,
        Some(Form::Contention) => contention::read(bytes, &mut draft)?,
        Some(Form::JavaHeap) => java::read_heap(bytes, &mut draft)?,
        None => {
            let why = "none of the old forms of pprof";
            return Err(DecodeError::malformed(Format::PprofLegacy, 0, why));
        }
    }
    draft.finish()
}
