//! Frames of a trace that begin and end: what py-spy writes.

use std::collections::BTreeMap;

use crate::formats::building::Building;
use crate::formats::frames::build::{self, Rows};
use crate::formats::open::OpenFrames;
use crate::formats::{DecodeError, Limit};
use crate::profile::{AttributeSetId, Profile};

/// All threads of a trace.
#[derive(Default)]
pub(super) struct Spans {
    threads: BTreeMap<(String, String), Thread>,
    rows: Rows,
}

#[derive(Default)]
struct Thread {
    open: OpenFrames,
    label: AttributeSetId,
    /// Up to when time was given to what was open, in nanoseconds.
    reached: i64,
}

impl Spans {
    /// A frame (name, file, line) begins, or the last one ends, at a time in microseconds.
    pub fn event(
        &mut self,
        thread: (String, String),
        time: f64,
        begins: Option<(&str, &str, i64)>,
        building: &mut Building<'_>,
    ) -> Result<(), DecodeError> {
        building.node()?;
        let label = building.interner.text_attribute("thread.id", &thread.1);
        let label = building.interner.attribute_set(&[label]);
        let thread = self.threads.entry(thread).or_default();
        thread.label = label;
        let now = (time * 1e3).round() as i64;
        let passed = now.saturating_sub(thread.reached);
        if passed > 0
            && let Some(stack) = thread.open.stack(&mut building.interner)
        {
            self.rows.push(stack, thread.label, &[passed]);
        }
        thread.reached = now;
        match begins {
            Some(_) if thread.open.depth() == building.limits.stack_depth => {
                Err(building.too_large(Limit::StackDepth, "a stack too deep"))
            }
            Some((name, file, line)) => {
                let (name, file) = (building.text(name)?, building.text(file)?);
                let location = build::location(&mut building.interner, name, file, line, 0);
                thread.open.open(location);
                Ok(())
            }
            None if thread.open.close_last() => Ok(()),
            None => Err(building.malformed("a frame ends that never began")),
        }
    }

    /// The wall time of all threads; none if no frame was there.
    pub fn profile(self, building: &mut Building<'_>) -> Option<Profile> {
        if self.threads.is_empty() {
            return None;
        }
        let wall = building.value_type("wall", "nanoseconds");
        let rows = Rows {
            sample_types: vec![wall],
            ..self.rows
        };
        Some(Profile {
            default_sample_type: wall.kind,
            ..rows.profile()
        })
    }
}
