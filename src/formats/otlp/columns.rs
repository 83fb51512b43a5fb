//! The columns of a profile as its samples are read.

use super::twins::Sibling;
use crate::profile::{AttributeSetId, LinkId, Observations, Samples, Series, StackId};

/// Samples as they are read.
pub(super) struct Columns {
    stacks: Vec<StackId>,
    attributes: Vec<AttributeSetId>,
    links: Vec<LinkId>,
    pub(super) values: Vec<i64>,
    pub(super) timestamps: Vec<u64>,
    /// Sample types of the profile.
    types: usize,
    /// Where the values and timestamps of the closed samples end.
    closed: (usize, usize),
    /// See [`Sent`].
    pub(super) identities: Vec<u8>,
    /// So many rows in front are those of the sibling but for their values, and have nothing else here until there is another.
    pub(super) twins: usize,
    /// The same for each sample, once one of them has not just a value for each type.
    series: Option<Series>,
}

impl Columns {
    pub(super) fn with_capacity(samples: usize, types: usize) -> Self {
        Self {
            stacks: Vec::with_capacity(samples),
            attributes: Vec::with_capacity(samples),
            links: Vec::with_capacity(samples),
            values: Vec::with_capacity(samples),
            timestamps: Vec::new(),
            types,
            closed: (0, 0),
            identities: Vec::with_capacity(samples),
            twins: 0,
            series: None,
        }
    }

    /// Adds a row of the sibling with another value.
    #[inline]
    pub(super) fn add_twin(&mut self, value: i64, identity: u8) {
        self.values.push(value);
        self.identities.push(identity);
        self.twins += 1;
    }

    /// Whether every row so far is the sibling's but for its value.
    pub(super) fn are_all_twins(&self) -> bool {
        self.identities.len() == self.twins
    }

    /// Copies what the rows in front say from the sibling: they are not all of it.
    pub(super) fn part(&mut self, sibling: &Sibling<'_, '_>) {
        if self.stacks.len() < self.twins {
            let (stacks, attributes, links) = sibling.rows(self.twins);
            self.stacks.extend_from_slice(stacks);
            self.attributes.extend_from_slice(attributes);
            self.links.extend_from_slice(links);
            self.closed.0 = self.twins;
        }
    }

    /// Values and timestamps of the sample being read.
    pub(super) fn open(&self) -> (usize, usize) {
        (self.values.len() - self.closed.0, self.timestamps.len() - self.closed.1)
    }

    pub(super) fn drop_open_timestamps(&mut self) {
        self.timestamps.truncate(self.closed.1);
    }

    /// Ends the sample being read.
    #[inline]
    pub(super) fn close(&mut self, stack: StackId, attributes: AttributeSetId, link: LinkId) {
        self.stacks.push(stack);
        self.attributes.push(attributes);
        self.links.push(link);
        if self.series.is_some() || self.open() != (self.types, 0) {
            self.close_series();
        }
        self.closed = (self.values.len(), self.timestamps.len());
    }

    /// Notes where a sample ends that is, or comes behind one that is, not just a value for each type.
    fn close_series(&mut self) {
        let series = self.series.get_or_insert_with(|| {
            // all samples so far had one value and no timestamp
            let closed = self.closed.0;
            Series {
                value_ends: (1..=closed as u32).collect(),
                time_ends: vec![0; closed],
                ..Series::default()
            }
        });
        series.value_ends.push(self.values.len() as u32);
        series.time_ends.push(self.timestamps.len() as u32);
    }

    pub(super) fn finish(self) -> Samples {
        let observations = match self.series {
            None => Observations::Totals(self.values),
            Some(series) => Observations::Series(Series {
                values: self.values,
                timestamps: self.timestamps,
                ..series
            }),
        };
        Samples {
            stacks: self.stacks,
            attributes: self.attributes,
            links: self.links,
            observations,
        }
    }
}
