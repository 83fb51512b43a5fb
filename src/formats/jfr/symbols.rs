//! Stacks, methods and classes of a chunk as rows of the model, each resolved once.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::defect::Defect;
use super::layout::SLOTS;
use super::pools::Pools;
use super::schema::{PoolName, slot};
use crate::formats::frames::{UNKNOWN, build};
use crate::formats::{Limit, attributes};
use crate::profile::{
    AttributeSetId, Function, FunctionId, Id, Interner, Line, Location, LocationId, Mapping, MappingId, StackId,
};

/// The root of a stack of which only the part next to the leaf was recorded.
const TRUNCATED: &str = "[truncated]";

/// Stacks by number.
pub(super) type Stacks = Map<u64, StackId>;

type Map<Key, Value> = HashMap<Key, Value, foldhash::fast::RandomState>;

/// What of a chunk was resolved so far. Numbers mean nothing in another chunk.
#[derive(Debug)]
pub(super) struct Symbols {
    is_async_profiler: bool,
    /// Most frames of a stack.
    most_frames: usize,
    stacks: Stacks,
    /// Those of the chunk before, if this one goes on where that one ended.
    before: Stacks,
    locations: Map<(u64, i64, Code), LocationId>,
    functions: Map<(u64, bool), (FunctionId, MappingId)>,
    codes: Map<u64, Code>,
    attributes: Map<Code, AttributeSetId>,
    frames: Vec<LocationId>,
}

/// What runs in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Code {
    Java,
    Native,
    Kernel,
}

impl Code {
    /// The value of `profile.frame.type`.
    const fn label(self) -> &'static str {
        match self {
            Self::Java => "jvm",
            Self::Native => "native",
            Self::Kernel => "kernel",
        }
    }
}

impl Symbols {
    /// Nothing yet, but for the stacks of the chunk before.
    pub fn new(is_async_profiler: bool, most_frames: usize, before: Stacks) -> Self {
        Self {
            is_async_profiler,
            most_frames,
            stacks: Map::default(),
            before,
            locations: Map::default(),
            functions: Map::default(),
            codes: Map::default(),
            attributes: Map::default(),
            frames: Vec::new(),
        }
    }

    /// The stacks that were resolved.
    pub fn into_stacks(self) -> Stacks {
        self.stacks
    }

    /// About the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let stacks = (self.stacks.capacity() + self.before.capacity()) * size_of::<(u64, StackId)>();
        let locations = self.locations.capacity() * size_of::<((u64, i64, Code), LocationId)>();
        let functions = self.functions.capacity() * size_of::<((u64, bool), (FunctionId, MappingId))>();
        2 * (stacks + locations + functions)
    }

    /// A stack of one frame that is only a name, if the sample has none of its own.
    pub fn only(&mut self, name: &str, interner: &mut Interner) -> StackId {
        let frame = build::location(interner, name, "", 0, 0);
        interner.stack(&[frame])
    }

    /// The stack of a number with a method called from its leaf.
    pub fn called(
        &mut self,
        method: u64,
        from: u64,
        pools: &Pools<'_>,
        interner: &mut Interner,
    ) -> Result<StackId, Defect> {
        let callers = self.stack(from, pools, interner)?;
        let leaf = self.location(method, 0, Code::Java, pools, interner)?;
        self.frames.clear();
        self.frames.push(leaf);
        self.frames.extend_from_slice(&interner.dictionary().stacks[callers]);
        Ok(interner.stack(&self.frames))
    }

    /// The stack of a number; one unknown frame if there is no such stack. An event that began in the chunk before may have its stack
    /// there: the JDK numbers them from the start of the JVM.
    pub fn stack(&mut self, number: u64, pools: &Pools<'_>, interner: &mut Interner) -> Result<StackId, Defect> {
        if let Some(known) = self.stacks.get(&number) {
            return Ok(*known);
        }
        let kept = pools.get(PoolName::StackTrace, number);
        if let (None, Some(known)) = (kept, self.before.get(&number)) {
            return Ok(*known);
        }
        self.frames.clear();
        if let Some(kept) = kept {
            self.read_frames(kept.get(slot::FRAMES).copied().unwrap_or_default(), pools, interner)?;
            if kept.get(slot::TRUNCATED).is_some_and(|truncated| *truncated != 0) {
                self.frames.push(build::location(interner, TRUNCATED, "", 0, 0));
            }
        }
        if self.frames.is_empty() {
            self.frames.push(build::location(interner, UNKNOWN, "", 0, 0));
        }
        let stack = interner.stack(&self.frames);
        self.stacks.insert(number, stack);
        Ok(stack)
    }

    fn read_frames(&mut self, place: i64, pools: &Pools<'_>, interner: &mut Interner) -> Result<(), Defect> {
        let mut frames = pools.frames(place)?;
        if frames.left() > self.most_frames {
            return Err(Defect::TooLarge(Limit::StackDepth));
        }
        let mut kept = [0; SLOTS];
        while frames.next(&mut kept)? {
            let [method, line, frame_type, ..] = kept;
            let code = self.code(frame_type as u64, pools);
            let location = self.location(method as u64, line.max(0), code, pools, interner)?;
            self.frames.push(location);
        }
        Ok(())
    }

    fn code(&mut self, frame_type: u64, pools: &Pools<'_>) -> Code {
        let is_async_profiler = self.is_async_profiler;
        *self.codes.entry(frame_type).or_insert_with(|| {
            let kept = pools.get(PoolName::FrameType, frame_type);
            let name = kept.and_then(|kept| pools.text(*kept.get(slot::NAME)?).ok());
            match name.as_deref() {
                Some("Kernel") => Code::Kernel,
                Some("C++") => Code::Native,
                // to the JDK a method of Java that is implemented natively
                Some("Native") if is_async_profiler => Code::Native,
                _ => Code::Java,
            }
        })
    }

    fn location(
        &mut self,
        method: u64,
        line: i64,
        code: Code,
        pools: &Pools<'_>,
        interner: &mut Interner,
    ) -> Result<LocationId, Defect> {
        if let Some(known) = self.locations.get(&(method, line, code)) {
            return Ok(*known);
        }
        let (function, mapping) = self.function(method, code != Code::Java, pools, interner)?;
        let attributes = self.attributes.entry(code);
        let attributes = *attributes.or_insert_with(|| attributes::frame_type(interner, code.label()));
        let location = Location {
            mapping,
            attributes,
            ..Location::default()
        };
        let line_of_function = Line {
            function,
            line,
            column: 0,
        };
        let location = interner.location(location, &[line_of_function]);
        self.locations.insert((method, line, code), location);
        Ok(location)
    }

    /// The function of a method, and for native code the library that it is of.
    pub fn function(
        &mut self,
        method: u64,
        is_native: bool,
        pools: &Pools<'_>,
        interner: &mut Interner,
    ) -> Result<(FunctionId, MappingId), Defect> {
        if let Some(known) = self.functions.get(&(method, is_native)) {
            return Ok(*known);
        }
        let kept = pools.get(PoolName::Method, method).unwrap_or([0; SLOTS]);
        let [of, name, descriptor, ..] = kept;
        let class = class_symbol(of as u64, pools)?;
        let name = symbol(name as u64, pools)?;
        let descriptor = symbol(descriptor as u64, pools)?;
        let found = match is_native {
            true => native_function(&class, &name, interner),
            false => (java_function(&class, &name, &descriptor, interner), Id::UNSET),
        };
        self.functions.insert((method, is_native), found);
        Ok(found)
    }
}

fn native_function(library: &str, name: &str, interner: &mut Interner) -> (FunctionId, MappingId) {
    let mapping = Mapping {
        filename: interner.string(library),
        ..Mapping::default()
    };
    let function = Function {
        name: interner.string(if name.is_empty() { UNKNOWN } else { name }),
        ..Function::default()
    };
    (interner.function(function), interner.mapping(mapping))
}

fn java_function(class: &str, name: &str, descriptor: &str, interner: &mut Interner) -> FunctionId {
    let class = dotted(class);
    let full = match (&*class, name) {
        ("", "") => UNKNOWN.to_owned(),
        ("", name) => name.to_owned(),
        (class, name) => format!("{class}.{name}"),
    };
    let system_name = match descriptor {
        "" => Id::UNSET,
        descriptor => interner.string(&format!("{full}{descriptor}")),
    };
    let function = Function {
        name: interner.string(&full),
        system_name,
        ..Function::default()
    };
    interner.function(function)
}

/// The text of a symbol; empty if there is none.
fn symbol<'a>(number: u64, pools: &Pools<'a>) -> Result<Cow<'a, str>, Defect> {
    pools.constant(PoolName::Symbol, number)
}

fn class_symbol<'a>(number: u64, pools: &Pools<'a>) -> Result<Cow<'a, str>, Defect> {
    let kept = pools.get(PoolName::Class, number);
    match kept.and_then(|kept| kept.get(slot::NAME).copied()) {
        Some(name) => symbol(name as u64, pools),
        None => Ok(Cow::Borrowed("")),
    }
}

/// The name of a class as it stands in source code.
pub(super) fn class_name(number: u64, pools: &Pools<'_>) -> Result<String, Defect> {
    Ok(in_source(&class_symbol(number, pools)?))
}

/// `java/lang/String` with dots. A slash before a digit stays: what follows numbers a class that has no name of its own.
fn dotted(symbol: &str) -> String {
    let mut after = symbol.chars().skip(1);
    let with_next = symbol.chars().map(|c| (c, after.next()));
    with_next
        .map(|(c, next)| match (c, next) {
            ('/', Some('0'..='9')) => '/',
            ('/', _) => '.',
            (c, _) => c,
        })
        .collect()
}

/// The same for classes that may be arrays: `[[B` is `byte[][]`.
fn in_source(symbol: &str) -> String {
    let element = symbol.trim_start_matches('[');
    let dimensions = symbol.len() - element.len();
    if dimensions == 0 {
        return dotted(symbol);
    }
    let name = match element {
        "B" => "byte".to_owned(),
        "C" => "char".to_owned(),
        "D" => "double".to_owned(),
        "F" => "float".to_owned(),
        "I" => "int".to_owned(),
        "J" => "long".to_owned(),
        "S" => "short".to_owned(),
        "Z" => "boolean".to_owned(),
        other => {
            let class = other.strip_prefix('L').and_then(|class| class.strip_suffix(';'));
            dotted(class.unwrap_or(other))
        }
    };
    name + &"[]".repeat(dimensions.min(MOST_DIMENSIONS))
}

/// Java allows no more.
const MOST_DIMENSIONS: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_in_source_code() {
        let cases = [
            ("java/lang/String", "java.lang.String"),
            ("[Ljava/lang/String;", "java.lang.String[]"),
            ("[[B", "byte[][]"),
            ("App$$Lambda$14/0x0000000800c03000", "App$$Lambda$14/0x0000000800c03000"),
            (
                "java/lang/invoke/LambdaForm$MH/90518167",
                "java.lang.invoke.LambdaForm$MH/90518167",
            ),
            ("", ""),
        ];
        for (symbol, name) in cases {
            assert_eq!(in_source(symbol), name);
        }
    }
}
