//! Chunks made by hand, right and wrong.

use How::{List, Plain, Reference};

/// A type: id, name, and its fields as (name, id of the type, how).
pub type Type<'a> = (u64, &'a str, &'a [(&'a str, u64, How)]);

/// The constants of a type, by number.
pub type Pool<'a> = (u64, &'a [(u64, Vec<u8>)]);

pub const LONG: u64 = 10;
pub const INT: u64 = 11;
pub const BOOLEAN: u64 = 12;
pub const STRING: u64 = 13;
pub const SYMBOL: u64 = 20;
pub const CLASS: u64 = 21;
pub const METHOD: u64 = 22;
pub const FRAME: u64 = 23;
pub const STACK: u64 = 24;
pub const THREAD: u64 = 25;
pub const SAMPLE: u64 = 30;

/// What every recording of samples has: the types, and events of one.
pub const TYPES: &[Type<'static>] = &[
    (LONG, "long", &[]),
    (INT, "int", &[]),
    (BOOLEAN, "boolean", &[]),
    (STRING, "java.lang.String", &[]),
    (SYMBOL, "jdk.types.Symbol", &[("string", STRING, Plain)]),
    (CLASS, "java.lang.Class", &[("name", SYMBOL, Reference)]),
    (
        METHOD,
        "jdk.types.Method",
        &[("type", CLASS, Reference), ("name", SYMBOL, Reference)],
    ),
    (
        FRAME,
        "jdk.types.StackFrame",
        &[("method", METHOD, Reference), ("lineNumber", INT, Plain)],
    ),
    (
        STACK,
        "jdk.types.StackTrace",
        &[("truncated", BOOLEAN, Plain), ("frames", FRAME, List)],
    ),
    (THREAD, "java.lang.Thread", &[("javaName", STRING, Plain)]),
    (
        SAMPLE,
        "jdk.ExecutionSample",
        &[
            ("startTime", LONG, Plain),
            ("sampledThread", THREAD, Reference),
            ("stackTrace", STACK, Reference),
        ],
    ),
];

/// How a field stands in its type.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    Plain,
    Reference,
    List,
}

/// A chunk to be written.
pub struct Chunk {
    pub version: u8,
    pub compressed: bool,
    pub bytes: Vec<u8>,
    /// When it begins and how fast its clock runs.
    pub start_ticks: u64,
    pub ticks_per_second: u64,
    metadata: u64,
    checkpoint: u64,
}

impl Chunk {
    pub fn new(compressed: bool) -> Self {
        Self {
            version: 2,
            compressed,
            bytes: vec![0; 68],
            start_ticks: 0,
            ticks_per_second: 1_000_000_000,
            metadata: 0,
            checkpoint: 0,
        }
    }

    /// Values one after the other.
    pub fn values(&self, values: &[Value<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for value in values {
            match value {
                Value::Long(value) => self.number(*value, 8, &mut out),
                Value::Int(value) => self.number(*value, 4, &mut out),
                Value::Byte(value) => out.push(*value),
                Value::Text(text) => {
                    out.push(3);
                    self.number(text.len() as u64, 4, &mut out);
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
        out
    }

    fn number(&self, value: u64, width: usize, out: &mut Vec<u8>) {
        if !self.compressed {
            out.extend_from_slice(&value.to_be_bytes()[8 - width..]);
            return;
        }
        let mut rest = value;
        for _ in 0..8 {
            if rest < 0x80 {
                return out.push(rest as u8);
            }
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    /// Adds an event.
    pub fn event(&mut self, type_id: u64, payload: &[u8]) -> &mut Self {
        let type_id = self.values(&[Value::Long(type_id)]);
        // the size is padded to four bytes, as the JDK pads it
        let size = (4 + type_id.len() + payload.len()) as u32;
        match self.compressed {
            true => {
                let bits = |at: u32| (size >> (7 * at)) as u8 & 0x7f;
                self.bytes
                    .extend([bits(0) | 0x80, bits(1) | 0x80, bits(2) | 0x80, bits(3)]);
            }
            false => self.bytes.extend(size.to_be_bytes()),
        }
        self.bytes.extend(type_id);
        self.bytes.extend_from_slice(payload);
        self
    }

    /// Adds the metadata.
    pub fn metadata(&mut self, types: &[Type<'_>]) -> &mut Self {
        self.metadata = self.bytes.len() as u64;
        let mut texts: Vec<String> = Vec::new();
        let mut number = |text: &str| match texts.iter().position(|known| known == text) {
            Some(at) => at as u64,
            None => {
                texts.push(text.to_owned());
                texts.len() as u64 - 1
            }
        };
        let mut tree = vec![number("root"), 0, 1, number("metadata"), 0, types.len() as u64];
        for (id, name, fields) in types {
            tree.extend([number("class"), 2, number("id"), number(&id.to_string())]);
            tree.extend([number("name"), number(name), fields.len() as u64]);
            for (name, of, how) in *fields {
                tree.extend([number("field"), 4, number("name"), number(name)]);
                tree.extend([number("class"), number(&of.to_string())]);
                let is = |wanted| if *how == wanted { "true" } else { "false" };
                tree.extend([number("constantPool"), number(is(How::Reference))]);
                let dimension = if *how == How::List { "1" } else { "0" };
                tree.extend([number("dimension"), number(dimension)]);
                if ["startTime", "duration"].contains(name) {
                    tree.extend([1, number("annotation"), 1, number("value"), number("TICKS")]);
                }
                tree.push(0);
            }
        }
        let mut values = vec![Value::Long(0), Value::Long(0), Value::Long(1)];
        values.push(Value::Int(texts.len() as u64));
        values.extend(texts.iter().map(|text| Value::Text(text)));
        values.extend(tree.into_iter().map(Value::Int));
        let payload = self.values(&values);
        self.event(0, &payload)
    }

    /// Adds the newest checkpoint, `back` bytes behind an older one.
    pub fn checkpoint(&mut self, back: i64, pools: &[Pool<'_>]) -> &mut Self {
        self.checkpoint = self.bytes.len() as u64;
        let head = [Value::Long(0), Value::Long(0), Value::Long(back as u64), Value::Byte(0)];
        let mut payload = self.values(&head);
        payload.extend(self.values(&[Value::Int(pools.len() as u64)]));
        for (type_id, constants) in pools {
            payload.extend(self.values(&[Value::Long(*type_id), Value::Int(constants.len() as u64)]));
            for (key, value) in *constants {
                payload.extend(self.values(&[Value::Long(*key)]));
                payload.extend_from_slice(value);
            }
        }
        self.event(1, &payload)
    }

    /// Writes the header.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut header = b"FLR\0".to_vec();
        header.extend([0, self.version, 0, 0]);
        let (size, nanos) = (self.bytes.len() as u64, 1_700_000_000_000_000_000);
        let (second, start) = (1_000_000_000, self.start_ticks);
        let times = [nanos, second, start, self.ticks_per_second];
        for value in [size, self.checkpoint, self.metadata].into_iter().chain(times) {
            header.extend(u64::to_be_bytes(value));
        }
        header.extend([0, 0, 0, u8::from(self.compressed)]);
        self.bytes[..68].copy_from_slice(&header);
        self.bytes.clone()
    }
}

/// A value.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Long(u64),
    Int(u64),
    Byte(u8),
    Text(&'a str),
}
