//! The time that some profiles are of.

/// So many stretches apart are told from each other; of more, the closest become one.
const MOST: usize = 64;

/// Stretches of time, in order and apart from each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Covered(Vec<(u64, u64)>);

impl Covered {
    /// One more stretch, in nanoseconds since the Unix epoch.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        let first = self.0.partition_point(|(_, before)| *before < start);
        let after = self.0.partition_point(|(behind, _)| *behind <= end);
        let touched = self.0.get(first..after).unwrap_or_default();
        let from = touched.first().map_or(start, |(from, _)| start.min(*from));
        let to = touched.last().map_or(end, |(_, to)| end.max(*to));
        self.0.splice(first..after.max(first), [(from, to)]);
        if self.0.len() > MOST {
            self.join_closest();
        }
    }

    fn join_closest(&mut self) {
        let gap = |at: &usize| match self.0.get(*at..at + 2) {
            Some([(_, end), (start, _)]) => start - end,
            _ => u64::MAX,
        };
        if let Some(at) = (0..self.0.len()).min_by_key(gap)
            && at + 1 < self.0.len()
        {
            let (_, end) = self.0.remove(at + 1);
            if let Some(stretch) = self.0.get_mut(at) {
                stretch.1 = end;
            }
        }
    }

    /// When it began.
    pub(super) fn start(&self) -> u64 {
        self.0.first().map_or(0, |(start, _)| *start)
    }

    /// From its beginning to its end.
    pub(super) fn span(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| end - self.start())
    }

    /// How much time it is: gaps do not count, and what overlaps counts once.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u64, u64)>()
    }
}
