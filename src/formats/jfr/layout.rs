//! How the values of a type stand in the bytes, worked out once from the metadata: which fields to keep, and how to pass over all
//! others.

use super::chunk::Clock;
use super::defect::Defect;
use super::metadata::{Field, Type, Types, Unit};
use super::primitives::{Cursor, Width};
use crate::formats::Limit;

/// One thing to do on the way through a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Pass over so many whole numbers, of so many bytes where they are not compressed.
    Integers { count: usize, bytes: usize },
    /// Pass over so many bytes.
    Bytes(usize),
    /// Pass over a text.
    Text,
    /// Pass over a list; these are the steps of each item.
    List(Box<[Step]>),
    /// Keep a whole number.
    Keep { slot: usize, width: Width, unit: Unit },
    /// Keep a byte or a truth.
    KeepByte { slot: usize },
    /// Keep a number with a fraction, as the bits of a double.
    KeepFloat { slot: usize, is_double: bool },
    /// Keep where something stands, which these steps pass over.
    KeepPlace { slot: usize, over: Box<Step> },
}

/// The steps through the values of one type, as far as the last that is kept.
pub(super) type Layout = Box<[Step]>;

/// A value has so many fields that are kept, at most.
pub(super) const SLOTS: usize = 32;

/// What was kept of a value, by slot. Texts and lists are kept as the place where they stand.
pub(super) type Kept = [i64; SLOTS];

// types in types in types: what real ones have, and much more
const MOST_DEPTH: usize = 8;
const MOST_STEPS: usize = 1 << 18;

/// Works layouts out.
pub(super) struct Layouts<'a> {
    types: &'a Types,
    /// How many more fields may be gone through, and steps come of them: types may hold others many times over, also such as have
    /// none.
    left: usize,
}

impl<'a> Layouts<'a> {
    /// For the types of a chunk.
    pub fn new(types: &'a Types) -> Self {
        Self {
            types,
            left: MOST_STEPS,
        }
    }

    /// The type of a field.
    pub fn type_of(&self, field: &Field) -> Option<&'a Type> {
        self.types.get(field.type_id)
    }

    /// How to pass over a value of a type, whatever is in it.
    pub fn skip(&mut self, of: &Type) -> Result<Layout, Defect> {
        self.of_type(of, &|_| None, 0).map(Vec::into_boxed_slice)
    }

    /// The steps that keep the fields for which `slot` names one, and pass over all others: for values that follow each other.
    pub fn keep_all_the_way(&mut self, of: &Type, slot: &dyn Fn(&str) -> Option<usize>) -> Result<Layout, Defect> {
        self.of_type(of, slot, 0).map(Vec::into_boxed_slice)
    }

    /// The same as far as the last of these fields.
    pub fn keep(&mut self, of: &Type, slot: &dyn Fn(&str) -> Option<usize>) -> Result<Layout, Defect> {
        let mut steps = self.of_type(of, slot, 0)?;
        let wanted = steps.iter().rposition(Step::keeps);
        steps.truncate(wanted.map_or(0, |last| last + 1));
        Ok(steps.into_boxed_slice())
    }

    fn of_type(&mut self, of: &Type, slot: &dyn Fn(&str) -> Option<usize>, depth: usize) -> Result<Vec<Step>, Defect> {
        if depth == MOST_DEPTH {
            return Err(Defect::TooLarge(Limit::Depth));
        }
        let mut steps = Vec::new();
        if let Some(step) = primitive(&of.name) {
            steps.push(step);
            return Ok(steps);
        }
        for field in &of.fields {
            let slot_of_field = if depth == 0 { slot(&field.name) } else { None };
            self.spend()?;
            for step in self.of_field(field, slot_of_field, depth)? {
                self.spend()?;
                add(&mut steps, step);
            }
        }
        Ok(steps)
    }

    fn spend(&mut self) -> Result<(), Defect> {
        self.left = self.left.checked_sub(1).ok_or(Defect::TooLarge(Limit::Elements))?;
        Ok(())
    }

    fn of_field(&mut self, field: &Field, slot: Option<usize>, depth: usize) -> Result<Vec<Step>, Defect> {
        let each = match (field.is_reference, self.types.get(field.type_id)) {
            (true, _) => vec![Step::Integers { count: 1, bytes: 8 }],
            (false, Some(of)) => self.of_type(of, &|_| None, depth + 1)?,
            // its values cannot be passed over
            (false, None) => {
                return Err(Defect::Malformed {
                    at: 0,
                    problem: "the metadata has a field of a type that it does not have",
                });
            }
        };
        let steps = match field.is_list {
            true => vec![Step::List(each.into_boxed_slice())],
            false => each,
        };
        let (Some(slot), [step]) = (slot, &*steps) else {
            return Ok(steps);
        };
        Ok(vec![kept(step, slot, field.unit)])
    }
}

impl Step {
    fn keeps(&self) -> bool {
        !matches!(
            self,
            Self::Integers { .. } | Self::Bytes(_) | Self::Text | Self::List(_)
        )
    }
}

fn primitive(name: &str) -> Option<Step> {
    Some(match name {
        "long" => Step::Integers { count: 1, bytes: 8 },
        "int" => Step::Integers { count: 1, bytes: 4 },
        "short" | "char" => Step::Integers { count: 1, bytes: 2 },
        "boolean" | "byte" => Step::Bytes(1),
        "float" => Step::Bytes(4),
        "double" => Step::Bytes(8),
        "java.lang.String" => Step::Text,
        _ => return None,
    })
}

/// The step that keeps what another one passes over.
fn kept(step: &Step, slot: usize, unit: Unit) -> Step {
    match step {
        Step::Integers { bytes: 2, .. } => Step::Keep {
            slot,
            width: Width::Two,
            unit,
        },
        Step::Integers { bytes: 4, .. } => Step::Keep {
            slot,
            width: Width::Four,
            unit,
        },
        Step::Integers { .. } => Step::Keep {
            slot,
            width: Width::Eight,
            unit,
        },
        Step::Bytes(4) => Step::KeepFloat { slot, is_double: false },
        Step::Bytes(8) => Step::KeepFloat { slot, is_double: true },
        Step::Bytes(_) => Step::KeepByte { slot },
        other => Step::KeepPlace {
            slot,
            over: Box::new(other.clone()),
        },
    }
}

/// Adds a step, or makes the last one longer.
fn add(steps: &mut Vec<Step>, step: Step) {
    match (steps.last_mut(), &step) {
        (
            Some(Step::Integers { count, bytes }),
            Step::Integers {
                count: more,
                bytes: wide,
            },
        ) => {
            *count += more;
            *bytes += wide;
        }
        (Some(Step::Bytes(count)), Step::Bytes(more)) => *count += more,
        _ => steps.push(step),
    }
}

/// Passes over a value.
pub(super) fn skip(cursor: &mut Cursor<'_>, steps: &[Step]) -> Result<(), Defect> {
    for step in steps {
        match step {
            Step::Integers { count, bytes } => cursor.skip_integers(*count, *bytes)?,
            Step::Bytes(count) => cursor.bytes(*count).map(|_| ())?,
            Step::Text => cursor.text().map(|_| ())?,
            Step::List(each) => skip_list(cursor, each)?,
            Step::Keep { width, .. } => cursor.integer(*width).map(|_| ())?,
            Step::KeepByte { .. } => cursor.byte().map(|_| ())?,
            Step::KeepFloat { is_double, .. } => {
                cursor.bytes(if *is_double { 8 } else { 4 }).map(|_| ())?;
            }
            Step::KeepPlace { over, .. } => skip(cursor, std::slice::from_ref(over))?,
        }
    }
    Ok(())
}

fn skip_list(cursor: &mut Cursor<'_>, each: &[Step]) -> Result<(), Defect> {
    // items without any field have no bytes that would bound their number
    let count = cursor.integer(Width::Four)?;
    let count = usize::try_from(count).map_err(|_| cursor.malformed("a list of fewer than no items"))?;
    match each {
        [] => Ok(()),
        [Step::Integers { count: of_each, bytes }] => {
            cursor.skip_integers(count.saturating_mul(*of_each), count.saturating_mul(*bytes))
        }
        _ => {
            for _ in 0..count {
                skip(cursor, each)?;
            }
            Ok(())
        }
    }
}

/// Walks through a value and keeps what is to be kept; times come out in nanoseconds.
#[inline]
pub(super) fn read(cursor: &mut Cursor<'_>, steps: &[Step], clock: Clock, kept: &mut Kept) -> Result<(), Defect> {
    for step in steps {
        let (slot, value) = match step {
            Step::Integers { count, bytes } => {
                cursor.skip_integers(*count, *bytes)?;
                continue;
            }
            Step::Keep { slot, width, unit } => (*slot, in_nanos(cursor.integer(*width)?, *unit, clock)),
            Step::KeepByte { slot } => (*slot, i64::from(cursor.byte()?)),
            Step::KeepFloat { slot, is_double } => {
                let number = if *is_double { cursor.double()? } else { cursor.float()? };
                (*slot, number.to_bits() as i64)
            }
            Step::KeepPlace { slot, over } => {
                let place = cursor.at();
                skip(cursor, std::slice::from_ref(over))?;
                (*slot, place as i64)
            }
            other => {
                skip(cursor, std::slice::from_ref(other))?;
                continue;
            }
        };
        if let Some(kept) = kept.get_mut(slot) {
            *kept = value;
        }
    }
    Ok(())
}

fn in_nanos(value: i64, unit: Unit, clock: Clock) -> i64 {
    match unit {
        Unit::None | Unit::Nanoseconds => value,
        Unit::Ticks => clock.nanos(value),
        Unit::Microseconds => value.saturating_mul(1_000),
        Unit::Milliseconds => value.saturating_mul(1_000_000),
        Unit::Seconds => value.saturating_mul(1_000_000_000),
    }
}
