//! What `node --prof-process --preprocess` makes of the log of `--prof`, and 0x reads: a list of code, and ticks with stacks of it.

use std::borrow::Cow;

use super::frames::{ANONYMOUS, path};
use super::json::Json;
use super::recording::nanoseconds;
use crate::formats::attributes;
use crate::formats::building::Building;
use crate::formats::frames::UNKNOWN;
use crate::formats::frames::build::Rows;
use crate::formats::room::Room;
use crate::formats::{DecodeError, Decoded, Format, Limit, Limits};
use crate::profile::{AttributeSetId, Function, Id, Line, Location, LocationId, Mapping, Profile};

/// V8 says of a tick what it did: this is collecting garbage.
const COLLECTING: f64 = 1.0;
/// The frame that a `.cpuprofile` has for it.
const COLLECTOR: &str = "(garbage collector)";

/// Reads the ticks, with memory from `room`.
pub fn decode_within(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut building = Building::new(Format::V8Prof, limits, room);
    let mut json = Json::new(Format::V8Prof, text);
    let mut log = Log::default();
    json.open_object()?;
    while let Some(key) = json.field()? {
        match &*key {
            "code" => log.read_code(&mut json, &mut building)?,
            "ticks" => log.read_ticks(&mut json, &mut building)?,
            // among them the whole source of every script
            _ => json.skip()?,
        }
    }
    json.end()?;
    if log.ticks.is_empty() {
        return Err(building.malformed("no tick in it"));
    }
    let profile = log.profile(&mut building)?;
    Ok(Decoded {
        profiles: building.finish(vec![profile]),
        ..Decoded::default()
    })
}

#[derive(Default)]
struct Log<'a> {
    code: Vec<Code<'a>>,
    ticks: Vec<Tick>,
    /// The code of the frames of all ticks, the leaf of each first; below 0 what is none.
    frames: Vec<i64>,
}

/// A function, or a whole library.
#[derive(Default)]
struct Code<'a> {
    name: Cow<'a, str>,
    kind: Kind,
    location: Option<LocationId>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Kind {
    /// The name has its place in a script behind it.
    JavaScript,
    Native,
    /// The name is its path.
    Library,
    /// What V8 made for itself.
    #[default]
    Builtin,
}

struct Tick {
    /// Microseconds.
    time: f64,
    is_collecting: bool,
    /// Where its frames end in the list of all.
    end: usize,
}

impl<'a> Log<'a> {
    fn read_code(&mut self, json: &mut Json<'a>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        json.open_list()?;
        while json.item()? {
            let mut code = Code::default();
            json.open_object()?;
            while let Some(key) = json.field()? {
                match &*key {
                    "name" => code.name = json.text()?,
                    "type" => code.kind = Kind::of(&json.text()?),
                    _ => json.skip()?,
                }
            }
            building.text(&code.name)?;
            self.code.push(code);
            building.node()?;
        }
        Ok(())
    }

    fn read_ticks(&mut self, json: &mut Json<'a>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        json.open_list()?;
        while json.item()? {
            let (mut time, mut state) = (0.0, 0.0);
            let before = self.frames.len();
            json.open_object()?;
            while let Some(key) = json.field()? {
                match &*key {
                    "tm" => time = json.number()?,
                    "vm" => state = json.number()?,
                    "s" => self.read_stack(json, building)?,
                    _ => json.skip()?,
                }
            }
            if self.frames.len() - before > building.limits.stack_depth {
                return Err(building.too_large(Limit::StackDepth, "a stack too deep"));
            }
            self.ticks.push(Tick {
                time,
                is_collecting: state == COLLECTING,
                end: self.frames.len(),
            });
            building.node()?;
        }
        Ok(())
    }

    /// Each code with the place in it, which is of no use without the machine's code.
    fn read_stack(&mut self, json: &mut Json<'a>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        json.open_list()?;
        while json.item()? {
            self.frames.push(json.number()? as i64);
            building.number()?;
            if json.item()? {
                json.number()?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// A profile of ticks and wall time.
    fn profile(mut self, building: &mut Building<'_>) -> Result<Profile, DecodeError> {
        let ticks = std::mem::take(&mut self.ticks);
        let frames = std::mem::take(&mut self.frames);
        let (lasted, period) = lasted(&ticks).ok_or_else(|| building.malformed("a time beyond 64 bits"))?;
        let wall = building.value_type("wall", "nanoseconds");
        let mut rows = Rows {
            sample_types: vec![building.value_type("samples", "count"), wall],
            ..Rows::default()
        };
        let kinds = Kinds::new(building);
        let mut stack = Vec::new();
        let mut start = 0;
        for (tick, time) in ticks.iter().zip(&lasted) {
            stack.clear();
            if tick.is_collecting {
                stack.push(frame(&Place::nowhere(COLLECTOR), Id::UNSET, building));
            }
            for code in frames.get(start..tick.end).unwrap_or_default() {
                let code = usize::try_from(*code).ok().and_then(|code| self.code.get_mut(code));
                stack.push(match code {
                    Some(code) => code.location(&kinds, building)?,
                    None => frame(&Place::nowhere(UNKNOWN), Id::UNSET, building),
                });
            }
            start = tick.end;
            rows.push(building.interner.stack(&stack), Id::UNSET, &[1, *time]);
            building.element(0)?;
        }
        Ok(Profile {
            default_sample_type: wall.kind,
            duration_nano: lasted
                .iter()
                .fold(0, |sum: u64, time| sum.saturating_add(time.unsigned_abs())),
            period,
            period_type: wall,
            ..rows.profile()
        })
    }
}

/// How long each tick lasted, which is to the next one, and the last one as long as most do; and that.
fn lasted(ticks: &[Tick]) -> Option<(Vec<i64>, i64)> {
    let between = |(tick, next): (&Tick, &Tick)| nanoseconds((next.time - tick.time).max(0.0));
    let mut lasted = ticks
        .iter()
        .zip(ticks.iter().skip(1))
        .map(between)
        .collect::<Option<Vec<i64>>>()?;
    let mut sorted = lasted.clone();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    lasted.push(usual);
    Some((lasted, usual))
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "JS" => Self::JavaScript,
            "CPP" => Self::Native,
            "SHARED_LIB" => Self::Library,
            _ => Self::Builtin,
        }
    }
}

impl Code<'_> {
    fn location(&mut self, kinds: &Kinds, building: &mut Building<'_>) -> Result<LocationId, DecodeError> {
        if let Some(known) = self.location {
            return Ok(known);
        }
        let interner = &mut building.interner;
        let location = match self.kind {
            Kind::Library => {
                let filename = interner.string(&self.name);
                let mapping = interner.mapping(Mapping {
                    filename,
                    ..Mapping::default()
                });
                let attributes = kinds.native;
                let location = Location {
                    mapping,
                    attributes,
                    ..Location::default()
                };
                interner.location(location, &[])
            }
            Kind::JavaScript => frame(&Place::of_script(&self.name), kinds.script, building),
            Kind::Native => frame(&Place::nowhere(&self.name), kinds.native, building),
            Kind::Builtin => frame(&Place::nowhere(&self.name), Id::UNSET, building),
        };
        building.element(0)?;
        self.location = Some(location);
        Ok(location)
    }
}

/// The attributes that say what runs a frame.
struct Kinds {
    script: AttributeSetId,
    native: AttributeSetId,
}

impl Kinds {
    fn new(building: &mut Building<'_>) -> Self {
        Self {
            script: attributes::frame_type(&mut building.interner, "v8js"),
            native: attributes::frame_type(&mut building.interner, "native"),
        }
    }
}

/// A function and where in a script it begins.
#[derive(Debug, PartialEq)]
struct Place<'a> {
    name: &'a str,
    file: &'a str,
    line: i64,
    column: i64,
}

/// What an address of a script begins with, behind the name of a function.
const ADDRESSES: [&str; 6] = [" file://", " node:", " /", " http://", " https://", " evalmachine."];

impl<'a> Place<'a> {
    const fn nowhere(name: &'a str) -> Self {
        Self {
            name,
            file: "",
            line: 0,
            column: 0,
        }
    }

    /// `total file:///srv/app.js:9:12`, where the name may be empty, and hold blanks as the address may.
    fn of_script(text: &'a str) -> Self {
        let split = || {
            let (rest, column) = text.rsplit_once(':')?;
            let (rest, line) = rest.rsplit_once(':')?;
            let at = ADDRESSES.iter().filter_map(|begin| rest.find(begin)).min();
            let (name, file) = rest.split_at_checked(at.or_else(|| rest.rfind(' '))?)?;
            Some(Self {
                name: if name.is_empty() { ANONYMOUS } else { name },
                file: path(file.trim_start()),
                line: line.parse().ok()?,
                column: column.parse().ok()?,
            })
        };
        split().unwrap_or(Self::nowhere(text))
    }
}

fn frame(place: &Place<'_>, attributes: AttributeSetId, building: &mut Building<'_>) -> LocationId {
    let interner = &mut building.interner;
    let function = Function {
        name: interner.string(place.name),
        system_name: Id::UNSET,
        filename: interner.string(place.file),
        start_line: place.line,
    };
    let line = Line {
        function: interner.function(function),
        line: place.line,
        column: place.column,
    };
    let location = Location {
        attributes,
        ..Location::default()
    };
    interner.location(location, &[line])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_may_hold_blanks() {
        let place = |name, file, line, column| Place {
            name,
            file,
            line,
            column,
        };
        for (text, expected) in [
            ("fib /srv/a b/app.js:3:13", place("fib", "/srv/a b/app.js", 3, 13)),
            (
                "get total file:///srv/app.js:9:12",
                place("get total", "/srv/app.js", 9, 12),
            ),
            (" node:internal/main:1:1", place(ANONYMOUS, "node:internal/main", 1, 1)),
            (
                "run evalmachine.<anonymous>:2:1",
                place("run", "evalmachine.<anonymous>", 2, 1),
            ),
            ("odd C:\\app.js:2:1", place("odd", "C:\\app.js", 2, 1)),
            ("alone", Place::nowhere("alone")),
            ("a b:x:1", Place::nowhere("a b:x:1")),
        ] {
            assert_eq!(Place::of_script(text), expected, "{text}");
        }
    }
}
