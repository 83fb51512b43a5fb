//! speedscope to the model.

use hashbrown::HashMap;

use super::schema::{Amount, EventKind, File, Frame, Profile};
use super::{PROFILE_NAME, unit_in};
use crate::formats::frames::build::{self, Rows};
use crate::formats::open::OpenFrames;
use crate::formats::room::{Room, Unlimited};
use crate::formats::{DecodeError, Decoded, Format, Limit, Limits, overflow};
use crate::profile::{self as model, AttributeSetId, Id, Interner, LocationId, StackId, ValueType};

/// Reads a speedscope file: all its profiles, those of equal type joined.
pub fn decode(json: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    decode_within(json, limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_within(json: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let given = room.take(memory(json));
    given.map_err(|why| DecodeError::no_room(Format::Speedscope, why))?;
    let file: File = serde_json::from_slice(json).map_err(|error| json_error(json, &error))?;
    let mut decoder = Decoder::new(&file.shared.frames, limits, room)?;
    let ours = file.exporter.is_some_and(|exporter| exporter.starts_with("flamegate@"));
    for profile in &file.profiles {
        decoder.profile(profile, ours)?;
    }
    if decoder.columns.is_empty() {
        return Err(malformed("no profile in it"));
    }
    let decoded = Decoded {
        profiles: build::profiles(decoder.interner, decoder.columns),
        ..Decoded::default()
    };
    Ok(overflow::bound(decoded, limits))
}

/// The most that a frame, an event or a profile takes as it is read and as it is kept.
const OBJECT_BYTES: usize = size_of::<Profile<'_>>();
/// The same for a number of a list, which is in a column that doubles and then in a table.
const NUMBER_BYTES: usize = 16;

/// About the bytes that a file takes: a rough guess, never much too small.
fn memory(json: &[u8]) -> usize {
    let mut bytes = 0;
    for byte in json {
        bytes += match byte {
            b'{' => OBJECT_BYTES,
            b',' | b'[' => NUMBER_BYTES,
            _ => 0,
        };
    }
    bytes
}

/// What a type takes: its column, in a list that doubles, and the profile that it becomes.
const COLUMN_BYTES: usize =
    2 * size_of::<Rows>() + size_of::<ValueType>() + size_of::<model::Profile>() + size_of::<model::Samples>();

struct Decoder<'a> {
    limits: &'a Limits,
    room: &'a dyn Room,
    interner: Interner,
    /// The location of each frame of the file.
    frames: Vec<LocationId>,
    columns: Vec<Rows>,
    /// The column of each type.
    known: HashMap<ValueType, usize, foldhash::fast::RandomState>,
    rows: usize,
}

/// Where the samples of a profile go, and in which measure.
struct Target {
    column: usize,
    attributes: AttributeSetId,
    scale: i64,
}

impl<'a> Decoder<'a> {
    fn new(frames: &[Frame<'_>], limits: &'a Limits, room: &'a dyn Room) -> Result<Self, DecodeError> {
        if frames.len() > limits.elements {
            return Err(too_large(Limit::Elements));
        }
        let mut interner = Interner::new();
        let mut locations = Vec::with_capacity(frames.len());
        for frame in frames {
            let file = frame.file.as_deref().unwrap_or_default();
            if frame.name.len().max(file.len()) > limits.string_bytes {
                return Err(too_large(Limit::String));
            }
            let (line, column) = (frame.line.unwrap_or_default(), frame.col.unwrap_or_default());
            locations.push(build::location(&mut interner, &frame.name, file, line, column));
        }
        Ok(Self {
            limits,
            room,
            interner,
            frames: locations,
            columns: Vec::new(),
            known: HashMap::default(),
            rows: 0,
        })
    }

    fn profile(&mut self, profile: &Profile<'_>, ours: bool) -> Result<(), DecodeError> {
        let target = self.target(profile, ours)?;
        match &*profile.kind {
            "sampled" => self.sampled(profile, &target),
            "evented" => self.evented(profile, &target),
            _ => Err(malformed("a profile that is neither sampled nor evented")),
        }
    }

    fn target(&mut self, profile: &Profile<'_>, ours: bool) -> Result<Target, DecodeError> {
        let Some((kind, unit, scale)) = unit_in(&profile.unit) else {
            return Err(malformed("an unknown unit")
                .with_remedy("use none, bytes, nanoseconds, microseconds, milliseconds or seconds"));
        };
        if profile.name.len() > self.limits.string_bytes {
            return Err(too_large(Limit::String));
        }
        let named = !profile.name.is_empty();
        let sample_type = ValueType {
            kind: self.interner.string(if ours && named { &profile.name } else { kind }),
            unit: self.interner.string(unit),
        };
        let attributes = match named && !ours {
            true => {
                let name = self.interner.text_attribute(PROFILE_NAME, &profile.name);
                self.interner.attribute_set(&[name])
            }
            false => Id::UNSET,
        };
        Ok(Target {
            column: self.column(sample_type)?,
            attributes,
            scale,
        })
    }

    fn column(&mut self, sample_type: ValueType) -> Result<usize, DecodeError> {
        if let Some(known) = self.known.get(&sample_type) {
            return Ok(*known);
        }
        if self.columns.len() == self.limits.elements {
            return Err(too_large(Limit::Elements));
        }
        let given = self.room.take(COLUMN_BYTES);
        given.map_err(|why| DecodeError::no_room(Format::Speedscope, why))?;
        self.columns.push(Rows {
            sample_types: vec![sample_type],
            ..Rows::default()
        });
        self.known.insert(sample_type, self.columns.len() - 1);
        Ok(self.columns.len() - 1)
    }

    fn sampled(&mut self, profile: &Profile<'_>, target: &Target) -> Result<(), DecodeError> {
        if profile.samples.len() != profile.weights.len() {
            return Err(malformed("samples and weights of different length"));
        }
        let mut carry = 0.0;
        let mut stack = Vec::new();
        for (frames, weight) in profile.samples.iter().zip(&profile.weights) {
            if frames.len() > self.limits.stack_depth {
                return Err(too_large(Limit::StackDepth));
            }
            stack.clear();
            for frame in frames.iter().rev() {
                stack.push(self.location(*frame)?);
            }
            let stack = self.interner.stack(&stack);
            let value = weight.scaled(target.scale, &mut carry).ok_or_else(too_big_a_number)?;
            self.push(target, stack, value)?;
        }
        Ok(())
    }

    fn evented(&mut self, profile: &Profile<'_>, target: &Target) -> Result<(), DecodeError> {
        let mut open = OpenFrames::default();
        let mut reached = None;
        for event in &profile.events {
            let at = self.elapse(target, &mut open, reached, event.at)?;
            reached = Some(at);
            let location = self.location(event.frame)?;
            match event.kind {
                EventKind::Open if open.depth() == self.limits.stack_depth => return Err(too_large(Limit::StackDepth)),
                EventKind::Open => open.open(location),
                EventKind::Close if open.close(location) => {}
                EventKind::Close => return Err(malformed("a frame closes that is not the last one opened")),
            }
        }
        // frames still open are open to the end
        if let (Some(end), true) = (profile.end_value, !open.is_empty()) {
            self.elapse(target, &mut open, reached, end)?;
        }
        Ok(())
    }

    /// Gives the time since `reached` to the frames that were open; the new time.
    fn elapse(
        &mut self,
        target: &Target,
        open: &mut OpenFrames,
        reached: Option<i64>,
        at: Amount,
    ) -> Result<i64, DecodeError> {
        // each time is rounded by itself: differences then add up to the whole
        let at = at.scaled(target.scale, &mut 0.0).ok_or_else(too_big_a_number)?;
        let passed = at.checked_sub(reached.unwrap_or(at)).ok_or_else(too_big_a_number)?;
        if passed < 0 {
            return Err(malformed("events that go back in time"));
        }
        if passed > 0
            && let Some(stack) = open.stack(&mut self.interner)
        {
            self.push(target, stack, passed)?;
        }
        Ok(at)
    }

    fn location(&self, frame: u32) -> Result<LocationId, DecodeError> {
        let location = usize::try_from(frame).ok().and_then(|frame| self.frames.get(frame));
        location
            .copied()
            .ok_or_else(|| malformed("a frame number outside the table of frames"))
    }

    fn push(&mut self, target: &Target, stack: StackId, value: i64) -> Result<(), DecodeError> {
        self.rows += 1;
        let items = self.interner.dictionary().stacks.items().len();
        if self.rows.max(items) > self.limits.elements {
            return Err(too_large(Limit::Elements));
        }
        if let Some(column) = self.columns.get_mut(target.column) {
            column.push(stack, target.attributes, &[value]);
        }
        Ok(())
    }
}

fn malformed(problem: &'static str) -> DecodeError {
    DecodeError {
        offset: None,
        ..DecodeError::malformed(Format::Speedscope, 0, problem)
    }
}

fn too_large(limit: Limit) -> DecodeError {
    let problem = "more frames, samples or text than a profile may have";
    DecodeError::too_large(Format::Speedscope, limit, problem, "record for a shorter time")
}

fn too_big_a_number() -> DecodeError {
    malformed("a number beyond 64 bits")
}

/// The parser's own text may quote the payload, so only its kind and place go on.
fn json_error(json: &[u8], error: &serde_json::Error) -> DecodeError {
    let problem = match error.classify() {
        serde_json::error::Category::Eof => "the JSON is cut short",
        serde_json::error::Category::Syntax => "not JSON",
        _ => "a field that is missing or of the wrong type",
    };
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = (json.split_inclusive(|byte| *byte == b'\n').take(lines_before))
        .map(<[u8]>::len)
        .sum();
    let offset = line_start + error.column().saturating_sub(1);
    DecodeError::malformed(Format::Speedscope, offset.min(json.len()), problem)
}
