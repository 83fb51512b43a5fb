//! Lines to profiles.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::EVENT;
use super::frame::{self, Frame};
use super::sample::Sample;
use super::{is_comment, is_record};
use crate::formats::attributes;
use crate::formats::building::Building;
use crate::formats::frames::UNKNOWN;
use crate::formats::frames::build::Rows;
use crate::formats::lines::{Line, Lines};
use crate::formats::room::Room;
use crate::formats::{DecodeError, Decoded, Format, Limit, Limits, overflow};
use crate::profile::{
    self as model, AttributeSetId, Function, Id, Interner, Location, LocationId, Mapping, Profile, StackId, StringId,
    ValueType,
};

/// Reads what `perf script` prints, with memory from `room`.
pub fn decode_within(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut script = Script::new(limits, room);
    for line in Lines::new(text) {
        script.line(&line)?;
    }
    script.finish()
}

struct Script<'a> {
    building: Building<'a>,
    events: Vec<Event>,
    known: HashMap<StringId, usize, RandomState>,
    /// What the last line was about, which the indented lines below belong to.
    last: Last,
    frames: Vec<Row>,
    stack: Vec<LocationId>,
    kinds: Kinds,
    /// When the first and the last sample was taken.
    span: Option<(u64, u64)>,
    repairs: u64,
}

enum Last {
    Nothing,
    Record,
    Sample(Open),
}

/// A sample whose frames follow.
struct Open {
    event: usize,
    attributes: AttributeSetId,
    period: i64,
}

/// The samples of an event.
struct Event {
    name: StringId,
    rows: Rows,
    /// Whether any of them says how much it counts; each one for itself where none does.
    has_periods: bool,
}

/// A frame of the sample that is open.
struct Row {
    address: u64,
    /// Unset where perf does not know it.
    symbol: StringId,
    file: StringId,
    line: i64,
    binary: StringId,
    kind: AttributeSetId,
    is_inlined: bool,
}

/// The attributes of a frame that say what runs it.
struct Kinds {
    kernel: AttributeSetId,
    native: AttributeSetId,
}

/// What a sample takes in columns that double, and then in those of the profile.
const ROW_BYTES: usize = 3 * (3 * size_of::<StackId>() + 2 * size_of::<i64>());
/// What an event takes.
const EVENT_BYTES: usize = 2 * size_of::<Event>() + size_of::<Profile>() + size_of::<model::Samples>();

impl<'a> Script<'a> {
    fn new(limits: &'a Limits, room: &'a dyn Room) -> Self {
        let mut building = Building::new(Format::PerfScript, limits, room);
        Self {
            kinds: Kinds {
                kernel: attributes::frame_type(&mut building.interner, "kernel"),
                native: attributes::frame_type(&mut building.interner, "native"),
            },
            building,
            events: Vec::new(),
            known: HashMap::default(),
            last: Last::Nothing,
            frames: Vec::new(),
            stack: Vec::new(),
            span: None,
            repairs: 0,
        }
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), DecodeError> {
        if line.bytes.len() > self.building.limits.string_bytes {
            return Err(self.building.too_large(Limit::String, "a line too long"));
        }
        let text = line.text();
        self.repairs += u64::from(matches!(text, std::borrow::Cow::Owned(_)));
        let inside = text.trim();
        if inside.is_empty() {
            self.close()?;
            self.last = Last::Nothing;
            return Ok(());
        }
        if is_comment(line.bytes) {
            return Ok(());
        }
        let is_indented = text.starts_with('\t');
        // what a tracepoint says may look like a record
        if !is_indented && let Some(sample) = Sample::parse(&text) {
            self.close()?;
            return self.open(&sample);
        }
        if is_record(line.bytes) {
            self.close()?;
            self.last = Last::Record;
            return Ok(());
        }
        match self.last {
            Last::Sample(_) if is_indented => self.frame(&Frame::parse(inside)),
            Last::Sample(_) if is_source(&text) => {
                self.source(inside);
                Ok(())
            }
            Last::Sample(_) if text.starts_with(' ') => self.frame(&Frame::parse(inside)),
            Last::Record if is_indented => Ok(()),
            _ => {
                let problem = format!("line {}: neither a sample nor a frame", line.number);
                Err(DecodeError::malformed(Format::PerfScript, line.offset, problem)
                    .with_remedy("print at least -F comm,tid,event,ip,sym,dso"))
            }
        }
    }

    fn open(&mut self, sample: &Sample<'_>) -> Result<(), DecodeError> {
        let event = self.event(sample.event)?;
        if sample.period.is_some()
            && let Some(event) = self.events.get_mut(event)
        {
            event.has_periods = true;
        }
        if let Some(time) = sample.time {
            let (first, last) = self.span.unwrap_or((time, time));
            self.span = Some((first.min(time), last.max(time)));
        }
        self.last = Last::Sample(Open {
            event,
            attributes: labels(&mut self.building.interner, sample),
            period: sample.period.unwrap_or(1),
        });
        match Frame::with_address(sample.rest) {
            Some(frame) => self.frame(&frame),
            None => Ok(()),
        }
    }

    fn event(&mut self, name: &str) -> Result<usize, DecodeError> {
        let name = self.building.interner.string(name);
        if let Some(known) = self.known.get(&name) {
            return Ok(*known);
        }
        self.building.element(EVENT_BYTES)?;
        self.events.push(Event {
            name,
            rows: Rows::default(),
            has_periods: false,
        });
        self.known.insert(name, self.events.len() - 1);
        Ok(self.events.len() - 1)
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), DecodeError> {
        if self.frames.len() == self.building.limits.stack_depth {
            return Err(self.building.too_large(Limit::StackDepth, "a stack too deep"));
        }
        let interner = &mut self.building.interner;
        let is_unknown = frame.symbol.is_empty() && frame.binary.is_empty();
        self.frames.push(Row {
            // where unwinding went astray the address is any number
            address: if is_unknown { 0 } else { frame.address },
            symbol: interner.string(if is_unknown { UNKNOWN } else { frame.symbol }),
            file: Id::UNSET,
            line: 0,
            binary: interner.string(frame.binary),
            kind: match frame.binary {
                _ if frame.is_kernel() => self.kinds.kernel,
                binary if binary.starts_with('/') && !is_compiled_at_run_time(binary) => self.kinds.native,
                _ => Id::UNSET,
            },
            is_inlined: frame.is_inlined,
        });
        self.building.element(0)
    }

    /// Says where in the source the last frame is, if perf knows it.
    fn source(&mut self, text: &str) {
        if let (Some((file, line)), Some(frame)) = (frame::source(text), self.frames.last_mut()) {
            (frame.file, frame.line) = (self.building.interner.string(file), line);
        }
    }

    /// Ends the sample that is open, if one is.
    fn close(&mut self) -> Result<(), DecodeError> {
        let Last::Sample(open) = std::mem::replace(&mut self.last, Last::Nothing) else {
            return Ok(());
        };
        let interner = &mut self.building.interner;
        self.stack.clear();
        // functions that were inlined stand above the one they are in, at the same address
        for place in self
            .frames
            .chunk_by(|above, below| above.is_inlined && above.address == below.address)
        {
            self.stack.extend(location(interner, place));
        }
        self.frames.clear();
        let stack = interner.stack(&self.stack);
        if let Some(event) = self.events.get_mut(open.event) {
            event.rows.push(stack, open.attributes, &[open.period]);
        }
        self.building.element(ROW_BYTES)
    }

    fn finish(mut self) -> Result<Decoded, DecodeError> {
        self.close()?;
        if self.events.is_empty() {
            return Err(self.building.malformed("no sample in it"));
        }
        let length = self.span.map_or(0, |(first, last)| last - first);
        let mut profiles = Vec::with_capacity(self.events.len());
        for event in self.events {
            profiles.push(Profile {
                duration_nano: length,
                ..event.profile(&mut self.building)
            });
        }
        let limits = self.building.limits;
        let decoded = Decoded {
            profiles: self.building.finish(profiles),
            repairs: self.repairs,
            ..Decoded::default()
        };
        Ok(overflow::bound(decoded, limits))
    }
}

impl Event {
    fn profile(mut self, building: &mut Building<'_>) -> Profile {
        let samples = building.value_type("samples", "count");
        let name = building.interner.dictionary().str(self.name).to_owned();
        let (kind, unit) = measured(&name);
        let measured = building.value_type(kind, unit);
        let mut profile = Profile::default();
        if self.has_periods {
            profile = with_period(&self.rows.values, measured);
            self.rows.sample_types = vec![samples, measured];
            self.rows.values = self.rows.values.iter().flat_map(|period| [1, *period]).collect();
        } else {
            self.rows.sample_types = vec![samples];
        }
        if !name.is_empty() {
            let event = building.interner.text_attribute(EVENT, &name);
            profile.attributes = building.interner.attribute_set(&[event]);
        }
        let shown = self.rows.sample_types.last().copied().unwrap_or_default();
        let of_rows = self.rows.profile();
        Profile {
            sample_types: of_rows.sample_types,
            samples: of_rows.samples,
            default_sample_type: shown.kind,
            ..profile
        }
    }
}

/// A profile that says what lies between two samples, if that is always the same.
fn with_period(periods: &[i64], of: ValueType) -> Profile {
    let first = periods.first().copied().unwrap_or_default();
    match periods.iter().all(|period| *period == first) {
        true => Profile {
            period: first,
            period_type: of,
            ..Profile::default()
        },
        false => Profile::default(),
    }
}

/// What the periods of an event count: clocks count nanoseconds, all else counts itself.
fn measured(event: &str) -> (&str, &'static str) {
    let name = match event.rsplit_once(':') {
        Some((name, modifiers)) if is_modifiers(modifiers) => name,
        _ => event,
    };
    match name {
        "cpu-clock" | "task-clock" => ("cpu", "nanoseconds"),
        "" => ("events", "count"),
        name => (name, "count"),
    }
}

/// Whether a line is what `-F +srcline` puts below a frame: frames are indented more.
fn is_source(line: &str) -> bool {
    line.strip_prefix("  ")
        .is_some_and(|rest| !rest.starts_with([' ', '\t']))
}

/// The letters behind `cycles:`; the last name of a tracepoint is longer.
fn is_modifiers(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.chars().all(|letter| "ukhGHIpPSDWebR".contains(letter))
}

/// Whether a binary is a list of names that some runtime wrote for perf.
fn is_compiled_at_run_time(binary: &str) -> bool {
    binary.starts_with("/tmp/perf-") || binary.contains("/jitted-")
}

fn labels(interner: &mut Interner, sample: &Sample<'_>) -> AttributeSetId {
    let mut labels = Vec::with_capacity(3);
    if !sample.thread.is_empty() {
        labels.push(interner.text_attribute("thread.name", sample.thread));
    }
    labels.push(attributes::number(interner, "thread.id", sample.thread_id));
    if let Some(process) = sample.process_id {
        labels.push(attributes::number(interner, "process.pid", process));
    }
    interner.attribute_set(&labels)
}

/// Frames of one address, the innermost function first, as one location; it lies in the binary of the outermost.
fn location(interner: &mut Interner, place: &[Row]) -> Option<LocationId> {
    let outermost = place.last()?;
    let named = place.iter().filter(|row| row.symbol.is_set());
    let lines: Vec<model::Line> = named
        .map(|row| model::Line {
            function: interner.function(Function {
                name: row.symbol,
                filename: row.file,
                ..Function::default()
            }),
            line: row.line,
            column: 0,
        })
        .collect();
    let mapping = interner.mapping(Mapping {
        filename: outermost.binary,
        ..Mapping::default()
    });
    let location = Location {
        mapping,
        address: outermost.address,
        attributes: outermost.kind,
    };
    Some(interner.location(location, &lines))
}
