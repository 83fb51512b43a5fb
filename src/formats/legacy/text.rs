//! A text line by line: a heading, then samples with what Go writes below each, then the binaries.

use super::draft::Draft;
use super::scan::is_empty_or_comment;
use super::{below, end, maps};
use crate::formats::DecodeError;
use crate::formats::lines::{Line, Lines};

/// What is left of a text.
pub(super) struct Text<'a> {
    lines: Lines<'a>,
    is_begun: bool,
    /// The line that ended the samples.
    last: Option<Line<'a>>,
}

impl<'a> Text<'a> {
    /// All of it.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            lines: Lines::new(bytes),
            is_begun: false,
            last: None,
        }
    }

    /// The heading, then each line of the samples; none behind them. What stands below a sample goes to it.
    pub fn next(&mut self, draft: &mut Draft<'_>) -> Result<Option<Line<'a>>, DecodeError> {
        for line in self.lines.by_ref() {
            let text = line.text();
            if is_empty_or_comment(line.bytes) {
                below::read(&text, draft)?;
                continue;
            }
            // a heading may begin so too
            if self.is_begun && (text.starts_with("---") || maps::is_heading(&text)) {
                self.last = Some(line);
                return Ok(None);
            }
            self.is_begun = true;
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// Reads what follows the samples.
    pub fn end(self, draft: &mut Draft<'_>) -> Result<(), DecodeError> {
        end(self.last, self.lines, draft)
    }
}
