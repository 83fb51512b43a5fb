//! Chrome traces: V8's `Profile` and `ProfileChunk` events, and the frames that py-spy writes as events that begin and end.
//!
//! Whatever else a trace tells, of requests, messages and screens, is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cpu::{NodeList, numbers};
use super::json::Json;
use super::recording::Recording;
use super::spans::Spans;
use crate::formats::building::Building;
use crate::formats::room::Room;
use crate::formats::{DecodeError, Decoded, Format, Limits, overflow};
use crate::profile::Profile;

/// Reads the profiles of a Chrome trace, with memory from `room`.
pub fn decode_within(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut building = Building::new(Format::ChromeTrace, limits, room);
    let mut json = Json::new(Format::ChromeTrace, text);
    let mut trace = Trace::default();
    if json.is_object()? {
        json.open_object()?;
        while let Some(key) = json.field()? {
            match &*key {
                "traceEvents" => trace.events(&mut json, &mut building)?,
                _ => json.skip()?,
            }
        }
    } else {
        trace.events(&mut json, &mut building)?;
    }
    json.end()?;
    let profiles = trace.profiles(&mut building)?;
    let decoded = Decoded {
        profiles: building.finish(profiles),
        ..Decoded::default()
    };
    Ok(overflow::bound(decoded, limits))
}

/// A thread, or a recording of one: process and number, as they are written.
type Key = (String, String);

#[derive(Default)]
struct Trace {
    recordings: BTreeMap<Key, Recorded>,
    /// Names of threads.
    names: BTreeMap<Key, String>,
    spans: Spans,
}

/// A recording that comes in chunks.
#[derive(Default)]
struct Recorded {
    recording: Recording,
    thread: Key,
    /// When the last sample was taken.
    now: f64,
}

/// One event; what it is called comes after what it says.
#[derive(Default)]
struct Event<'a> {
    name: Cow<'a, str>,
    phase: Cow<'a, str>,
    category: Cow<'a, str>,
    process: Cow<'a, str>,
    thread: Cow<'a, str>,
    id: Cow<'a, str>,
    time: f64,
    said: Said<'a>,
}

/// What an event says of profiles: its `args`.
#[derive(Default)]
struct Said<'a> {
    name: Cow<'a, str>,
    file: Cow<'a, str>,
    line: i64,
    start: Option<f64>,
    end: Option<f64>,
    deltas: Vec<f64>,
    nodes: NodeList,
    samples: Vec<u64>,
}

impl Trace {
    fn events<'a>(&mut self, json: &mut Json<'a>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        json.open_list()?;
        while json.item()? {
            let event = Event::read(json, building)?;
            self.event(event, building)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        let thread = || (event.process.clone().into_owned(), event.thread.clone().into_owned());
        match (&*event.name, &*event.phase) {
            ("thread_name", "M") => {
                building.node()?;
                self.names.insert(thread(), building.text(&event.said.name)?.to_owned());
            }
            ("Profile" | "ProfileChunk", _) => {
                building.node()?;
                let key = (event.process.clone().into_owned(), event.id.clone().into_owned());
                let recorded = self.recordings.entry(key).or_default();
                if event.name == "Profile" {
                    recorded.thread = thread();
                }
                recorded.chunk(event.said);
            }
            (name, phase @ ("B" | "E")) if event.category == "py-spy" => {
                let begins = (phase == "B").then_some((name, &*event.said.file, event.said.line));
                self.spans.event(thread(), event.time, begins, building)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn profiles(self, building: &mut Building<'_>) -> Result<Vec<Profile>, DecodeError> {
        let mut profiles = Vec::with_capacity(self.recordings.len());
        for recorded in self.recordings.into_values() {
            let name = self.names.get(&recorded.thread).map(String::as_str);
            profiles.push(recorded.recording.profile(building, name)?);
        }
        profiles.extend(self.spans.profile(building));
        match profiles.is_empty() {
            true => Err(building
                .malformed("no profile in it")
                .with_remedy("record with the JavaScript profiler switched on")),
            false => Ok(profiles),
        }
    }
}

impl Recorded {
    fn chunk(&mut self, said: Said<'_>) {
        let recording = &mut self.recording;
        if let Some(start) = said.start {
            recording.start = start;
            self.now = start;
        }
        said.nodes.join(&mut recording.nodes);
        recording.samples.extend(said.samples);
        for delta in said.deltas {
            self.now += delta;
            recording.times.push(self.now);
        }
        recording.end = recording.end.max(said.end.unwrap_or_default()).max(self.now);
    }
}

impl<'a> Event<'a> {
    fn read(json: &mut Json<'a>, building: &mut Building<'_>) -> Result<Self, DecodeError> {
        let mut event = Self::default();
        json.open_object()?;
        while let Some(key) = json.field()? {
            match &*key {
                "name" => event.name = json.text()?,
                "ph" => event.phase = json.text()?,
                "cat" => event.category = json.text()?,
                "pid" => event.process = json.text()?,
                "tid" => event.thread = json.text()?,
                "id" => event.id = json.text()?,
                "ts" => event.time = json.number()?,
                "args" if json.is_object()? => event.said.read(json, building)?,
                _ => json.skip()?,
            }
        }
        Ok(event)
    }
}

impl<'a> Said<'a> {
    /// Takes the fields that tell of profiles from `args`, `data` and `cpuProfile`, which lie within one another.
    fn read(&mut self, json: &mut Json<'a>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        let mut depth = 1;
        json.open_object()?;
        while depth > 0 {
            let Some(key) = json.field()? else {
                depth -= 1;
                continue;
            };
            match &*key {
                "data" | "cpuProfile" if depth < 3 && json.is_object()? => {
                    json.open_object()?;
                    depth += 1;
                }
                "name" if depth == 1 && json.is_text()? => self.name = json.text()?,
                "filename" if depth == 1 && json.is_text()? => self.file = json.text()?,
                "line" if depth == 1 => self.line = json.number()? as i64,
                "startTime" if depth > 1 => self.start = Some(json.number()?),
                "endTime" if depth > 1 => self.end = Some(json.number()?),
                "timeDeltas" if depth > 1 => numbers(json, building, |delta| self.deltas.push(delta))?,
                "nodes" if depth == 3 => self.nodes = NodeList::read(json, building)?,
                "samples" if depth == 3 => numbers(json, building, |id| self.samples.push(id as u64))?,
                _ => json.skip()?,
            }
        }
        Ok(())
    }
}
