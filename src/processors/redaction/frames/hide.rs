//! Takes hidden frames out of the tables: their names, files, lines and addresses, and the binaries in which a backend could
//! look the names up again.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::{Fate, Frame, Frames, is_public_name, public_file, thread_name};
use crate::processors::redaction::config::NameAction;
use crate::processors::redaction::detectors::is_masked;
use crate::processors::redaction::pseudonym::{Kind, Pseudonyms};
use crate::profile::{
    Dictionary, Function, FunctionId, Id, Line, Lists, Location, LocationId, MappingId, Profiles, ResourceProfiles,
    StringId, Value,
};

/// The mask of a frame.
pub const MASK: &str = "[REDACTED:frame]";
const THREAD_MASK: &str = "[REDACTED:thread]";

/// What becomes of the frames of one batch.
pub struct Plan {
    /// For each line of each location, in the order of the table.
    lines: Vec<Fate>,
    /// For each location that has no line.
    bare: HashMap<LocationId, Fate, RandomState>,
    /// For each mapping, whether something in its binary is hidden: then nothing of it keeps its address, for a backend that has
    /// the binary finds inlined names below every address.
    tainted: Vec<bool>,
    /// For each mapping, whether its name is that of a public binary: frames that are public by it alone need it, and without an
    /// address it tells nothing.
    public: Vec<bool>,
}

/// What hidden names become.
pub struct Names<'a> {
    /// The rules.
    pub frames: &'a Frames,
    /// The keys.
    pub pseudonyms: &'a Pseudonyms,
    /// What becomes of names of threads.
    pub threads: NameAction,
    /// The name as the rest of the policy leaves it: what a detector hits is in no pseudonym.
    pub masked: &'a dyn Fn(&str) -> Option<String>,
    /// Hears of each rule that hit.
    pub hit: &'a mut dyn FnMut(&'static str),
    /// Hears of each pseudonym and the name it stands for.
    pub made: &'a mut dyn FnMut(Kind, &str, &str),
}

impl Plan {
    /// Looks at every frame; none if all of them stay as they are, and so do the lists of mappings.
    pub fn new(frames: &Frames, pseudonyms: &Pseudonyms, profiles: &Profiles) -> Option<Self> {
        if frames.keeps_all() {
            return None;
        }
        let d = profiles.dictionary();
        let mut judge = Judge {
            frames,
            pseudonyms,
            d,
            known: HashMap::default(),
        };
        let mut plan = Self {
            lines: Vec::with_capacity(d.lines.items().len()),
            bare: HashMap::default(),
            tainted: Vec::new(),
            public: Vec::new(),
        };
        let mut changes = false;
        let mut hidden = HashSet::new();
        for id in d.locations.ids() {
            let location = d.locations[id];
            let lines = &d.lines[id];
            let kernel = is_kernel(d, location);
            let mut hides = false;
            for line in lines {
                let fate = judge.fate(line.function, location.mapping, kernel);
                hides |= fate.hides();
                changes |= judge.changes(fate, line);
                plan.lines.push(fate);
            }
            if lines.is_empty() && id.is_set() {
                let fate = judge.fate(Id::UNSET, location.mapping, kernel);
                if fate.hides() && (location.address != 0 || location.mapping.is_set()) {
                    plan.bare.insert(id, fate);
                    (hides, changes) = (true, true);
                }
            }
            if hides {
                hidden.insert(binary(d, location.mapping));
            }
        }
        // a binary is mapped in pieces: what is hidden in one of them is hidden in all
        let tainted = d.mappings.ids().map(|mapping| hidden.contains(binary(d, mapping)));
        plan.tainted = tainted.collect();
        let public = d
            .mappings
            .rows()
            .iter()
            .map(|row| frames.keeps_binary(d.str(row.filename)));
        plan.public = public.collect();
        changes |= d.locations.ids().any(|id| plan.exposes(d.locations[id]));
        changes |= frames.may_hide() && profiles.lists_unused_mappings();
        changes.then_some(plan)
    }

    /// Whether the location says where in a binary with hidden names it lies.
    fn exposes(&self, location: Location) -> bool {
        let tainted = self.tainted.get(location.mapping.index()).copied().unwrap_or(false);
        tainted && (location.address != 0 || (location.mapping.is_set() && !self.is_public(location)))
    }

    /// Where lines of a location are afterwards: nowhere, if any is hidden. Those that stay still say which public binary they are of.
    fn place(&self, location: Location, fates: &[Fate], exposes: bool) -> Location {
        if !exposes && !fates.iter().any(|fate| fate.hides()) {
            return location;
        }
        let says_binary = self.is_public(location) && !fates.iter().all(|fate| fate.hides());
        Location {
            mapping: if says_binary {
                location.mapping
            } else {
                MappingId::UNSET
            },
            attributes: location.attributes,
            ..Location::default()
        }
    }

    fn is_public(&self, location: Location) -> bool {
        self.public.get(location.mapping.index()).copied().unwrap_or(false)
    }

    /// Changes the tables. What is hidden stays behind in rows that nothing refers to, until the batch is made compact.
    pub fn apply(self, d: &mut Dictionary, resources: &mut [ResourceProfiles], names: Names<'_>) {
        let mut hider = Hider {
            functions: HashMap::default(),
            runs: HashMap::new(),
            current: Vec::new(),
            names,
        };
        let mut pieces = Pieces::default();
        let mut fates = self.lines.iter().copied();
        let ids = d.locations.ids();
        for id in ids {
            let location = d.locations[id];
            let lines = d.lines[id].to_vec();
            let fates: Vec<Fate> = fates.by_ref().take(lines.len()).collect();
            let exposes = self.exposes(location);
            if lines.is_empty() {
                match self.bare.get(&id).copied().or(exposes.then_some(Fate::Hash)) {
                    Some(fate) => hider.unsymbolised(d, location, fate, &mut pieces),
                    None => pieces.add(id),
                }
            } else if exposes || fates.iter().any(|fate| *fate != Fate::Keep) {
                let place = self.place(location, &fates, exposes);
                hider.symbolised(d, (location, place), &lines, &fates, &mut pieces);
            } else {
                pieces.add(id);
            }
            pieces.close();
        }
        let runs: Vec<LocationId> = hider.runs.into_values().collect();
        let mut stacks = Lists::with_capacity(d.stacks.len(), d.stacks.items().len());
        for stack in d.stacks.ids().skip(1) {
            let mut last = None;
            for location in d.stacks[stack].iter().flat_map(|old| pieces.of(*old)) {
                if last != Some(*location) || !runs.contains(location) {
                    stacks.add(*location);
                }
                last = Some(*location);
            }
            stacks.close();
        }
        d.stacks = stacks;
        // where names are hidden, a list tells of no binary but those of frames that are shown
        if hider.names.frames.may_hide() {
            for _ in 0..d.unlist_unused_mappings(resources) {
                (hider.names.hit)("frame_mapping");
            }
        }
    }
}

struct Judge<'a> {
    frames: &'a Frames,
    pseudonyms: &'a Pseudonyms,
    d: &'a Dictionary,
    known: HashMap<(FunctionId, MappingId, bool), Fate, RandomState>,
}

impl Judge<'_> {
    fn fate(&mut self, function: FunctionId, mapping: MappingId, kernel: bool) -> Fate {
        let (frames, pseudonyms, d) = (self.frames, self.pseudonyms, self.d);
        *self.known.entry((function, mapping, kernel)).or_insert_with(|| {
            let row = d.functions[function];
            let frame = Frame {
                name: d.str(row.name),
                system_name: d.str(row.system_name),
                file: d.str(row.filename),
                mapping: d.str(d.mappings[mapping].filename),
                kernel,
            };
            let fate = frames.fate(frame);
            let name = d.str(row.called());
            let done = match fate {
                Fate::Hash => is_masked(name) || frames.is_run(name) || pseudonyms.is_ours(name),
                Fate::Mask => is_masked(name) || frames.is_run(name),
                _ => false,
            };
            if done { Fate::Bare } else { fate }
        })
    }

    /// Whether the line becomes another one.
    fn changes(&self, fate: Fate, line: &Line) -> bool {
        let row = self.d.functions[line.function];
        let is_bare = row.name.is_set() && is_bare(&row) && line.line == 0 && line.column == 0;
        match fate {
            Fate::Keep => false,
            Fate::KeepPublic => !has_public_names(self.d, &row) || public_part(self.d, &row).is_some(),
            Fate::Bare => !is_bare,
            Fate::Collapse(rule) => !is_bare || self.d.str(row.name) != self.frames.run(rule),
            Fate::Thread => {
                let thread = thread_name(self.d.str(row.name)).map_or("", |(_, name, _)| name);
                !(thread.is_empty() || is_masked(thread) || self.pseudonyms.is_ours(thread))
            }
            Fate::Mask | Fate::Hash | Fate::Drop => true,
        }
    }
}

fn is_bare(row: &Function) -> bool {
    !row.system_name.is_set() && !row.filename.is_set() && row.start_line == 0
}

/// Whether the linker's name of a public function says no more than its name for people does.
fn has_public_names(d: &Dictionary, row: &Function) -> bool {
    let system_name = d.str(row.system_name);
    system_name.is_empty()
        || row.system_name == row.name
        || system_name == d.str(row.name)
        || is_public_name(system_name, "")
}

/// The public part of the function's file, where there is more in front of it.
fn public_part<'a>(d: &'a Dictionary, row: &Function) -> Option<&'a str> {
    let file = d.str(row.filename);
    public_file(file).filter(|part| *part != file)
}

fn is_kernel(d: &Dictionary, location: Location) -> bool {
    let kind = d.attribute(location.attributes, "profile.frame.type");
    matches!(kind, Some(Value::String(id)) if d.str(*id) == "kernel")
}

/// The locations that each old location became.
#[derive(Default)]
struct Pieces {
    flat: Vec<LocationId>,
    ends: Vec<usize>,
}

impl Pieces {
    fn add(&mut self, id: LocationId) {
        self.flat.push(id);
    }

    fn close(&mut self) {
        self.ends.push(self.flat.len());
    }

    fn of(&self, old: LocationId) -> &[LocationId] {
        let end = self.ends.get(old.index()).copied().unwrap_or_default();
        let start = old.index().checked_sub(1).and_then(|before| self.ends.get(before));
        self.flat
            .get(start.copied().unwrap_or_default()..end)
            .unwrap_or_default()
    }
}

struct Hider<'a> {
    names: Names<'a>,
    functions: HashMap<(FunctionId, Fate), FunctionId, RandomState>,
    /// The location of each run.
    runs: HashMap<usize, LocationId>,
    current: Vec<Line>,
}

impl Hider<'_> {
    fn symbolised(
        &mut self,
        d: &mut Dictionary,
        (location, place): (Location, Location),
        lines: &[Line],
        fates: &[Fate],
        pieces: &mut Pieces,
    ) {
        for (line, fate) in lines.iter().zip(fates) {
            match *fate {
                Fate::Keep => self.current.push(*line),
                Fate::Drop => (self.names.hit)("frame_drop"),
                Fate::Collapse(rule) => {
                    self.flush(d, place, pieces);
                    pieces.add(self.run(d, rule));
                }
                Fate::KeepPublic | Fate::Thread => {
                    let function = self.function(d, line.function, location, *fate);
                    self.current.push(Line { function, ..*line });
                }
                Fate::Mask | Fate::Hash | Fate::Bare => {
                    let function = self.function(d, line.function, location, *fate);
                    self.current.push(Line {
                        function,
                        ..Line::default()
                    });
                }
            }
        }
        self.flush(d, place, pieces);
    }

    fn flush(&mut self, d: &mut Dictionary, place: Location, pieces: &mut Pieces) {
        if !self.current.is_empty() {
            pieces.add(d.push_location(place, &self.current));
            self.current.clear();
        }
    }

    fn unsymbolised(&mut self, d: &mut Dictionary, location: Location, fate: Fate, pieces: &mut Pieces) {
        let place = Location {
            attributes: location.attributes,
            ..Location::default()
        };
        match fate {
            Fate::Drop => (self.names.hit)("frame_drop"),
            Fate::Collapse(rule) => pieces.add(self.run(d, rule)),
            _ => {
                let function = self.function(d, Id::UNSET, location, fate);
                let line = Line {
                    function,
                    ..Line::default()
                };
                pieces.add(d.push_location(place, &[line]));
            }
        }
    }

    fn run(&mut self, d: &mut Dictionary, rule: usize) -> LocationId {
        (self.names.hit)("frame_collapse");
        let frames = self.names.frames;
        *self.runs.entry(rule).or_insert_with(|| {
            let name = d.strings.push(frames.run(rule));
            d.push_named(name)
        })
    }

    /// The function that stands for another, made once; one without a name is told by its place.
    fn function(&mut self, d: &mut Dictionary, old: FunctionId, location: Location, fate: Fate) -> FunctionId {
        let row = d.functions[old];
        let is_named = row.called().is_set();
        if let Some(known) = self.functions.get(&(old, fate)).filter(|_| is_named) {
            return *known;
        }
        let new = match fate {
            Fate::KeepPublic => {
                let file = public_part(d, &row).map(str::to_owned);
                if file.is_none() && has_public_names(d, &row) {
                    return old;
                }
                let mut new = row;
                if let Some(file) = file {
                    new.filename = d.strings.push(&file);
                }
                if !has_public_names(d, &row) {
                    (self.names.hit)("frame_system_name");
                    new.system_name = Id::UNSET;
                }
                new
            }
            Fate::Thread => match self.thread(d.str(row.name)) {
                Some(text) => Function {
                    name: d.strings.push(&text),
                    system_name: Id::UNSET,
                    ..row
                },
                None => return old,
            },
            Fate::Bare => named(row.called()),
            _ => {
                let text = match is_named {
                    true => d.str(row.called()).to_owned(),
                    false => place_of(d, location),
                };
                let text = self.hidden(&text, fate);
                named(d.strings.push(&text))
            }
        };
        let id = d.functions.push(new);
        self.functions.insert((old, fate), id);
        id
    }

    fn hidden(&mut self, name: &str, fate: Fate) -> String {
        if fate == Fate::Hash {
            let masked = (self.names.masked)(name);
            let name = masked.as_deref().unwrap_or(name);
            if let Some(pseudonym) = self.names.pseudonyms.of(Kind::Function, name) {
                (self.names.hit)("frame_hash");
                (self.names.made)(Kind::Function, &pseudonym, name);
                return pseudonym;
            }
        }
        (self.names.hit)("frame_mask");
        MASK.to_owned()
    }

    fn thread(&mut self, frame: &str) -> Option<String> {
        let (before, name, after) = thread_name(frame)?;
        if name.is_empty() || is_masked(name) || self.names.pseudonyms.is_ours(name) {
            return None;
        }
        let masked = (self.names.masked)(name);
        let name = masked.as_deref().unwrap_or(name);
        let pseudonym = match self.names.threads {
            NameAction::Hash => self.names.pseudonyms.of(Kind::Thread, name),
            NameAction::Mask | NameAction::Keep => None,
        };
        (self.names.hit)("thread");
        if let Some(pseudonym) = &pseudonym {
            (self.names.made)(Kind::Thread, pseudonym, name);
        }
        Some(format!(
            "{before}{}{after}",
            pseudonym.as_deref().unwrap_or(THREAD_MASK)
        ))
    }
}

fn named(name: StringId) -> Function {
    Function {
        name,
        ..Function::default()
    }
}

/// What a backend knows the binary by: its build id, or else its path.
fn binary(d: &Dictionary, mapping: MappingId) -> &str {
    let mapping = d.mappings[mapping];
    let build_id = d
        .attributes_of(mapping.attributes)
        .find_map(|attribute| match &attribute.value {
            Value::String(id) if d.str(attribute.key).starts_with("process.executable.build_id.") => Some(d.str(*id)),
            _ => None,
        });
    build_id.unwrap_or_else(|| d.str(mapping.filename))
}

/// Where an unsymbolised frame lies, the same for every process that runs the binary: its build id or path, and the offset.
fn place_of(d: &Dictionary, location: Location) -> String {
    let mapping = d.mappings[location.mapping];
    let offset = location
        .address
        .wrapping_sub(mapping.memory_start)
        .wrapping_add(mapping.file_offset);
    format!("{}+{offset:#x}", binary(d, location.mapping))
}
