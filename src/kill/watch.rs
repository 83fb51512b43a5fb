//! When what lies at the watched path is taken for what its author means.

use super::file::Content;

/// Looks after which a file that never keeps still is taken as it is.
const MOST_UNSETTLED: u32 = 5;

/// The content that was taken last, and the one that may be the next.
#[derive(Debug, Default)]
pub(super) struct Watched {
    taken: Option<Content>,
    next: Option<Content>,
    /// Looks that found another content than the one taken.
    unsettled: u32,
}

impl Watched {
    /// The content, if it is to be taken now. Two looks have to find the same: an editor may be half way through, or have moved
    /// the old file away to put the new one in its place.
    pub(super) fn look(&mut self, content: Content) -> Option<Content> {
        if self.taken.as_ref() == Some(&content) {
            (self.next, self.unsettled) = (None, 0);
            return None;
        }
        self.unsettled += 1;
        let is_settled = self.next.as_ref() == Some(&content) || self.unsettled >= MOST_UNSETTLED;
        if self.taken.is_some() && !is_settled {
            self.next = Some(content);
            return None;
        }
        *self = Self {
            taken: Some(content.clone()),
            ..Self::default()
        };
        Some(content)
    }
}
