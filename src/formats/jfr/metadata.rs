//! The metadata of a chunk: which types there are and what fields they have, all as texts in a tree of elements.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::defect::Defect;
use super::primitives::{Cursor, Width};
use super::text::Text;
use crate::formats::Limit;

/// The types of a chunk.
#[derive(Debug, Default)]
pub(super) struct Types {
    list: Vec<Type>,
    by_id: HashMap<u64, usize, foldhash::fast::RandomState>,
}

/// A type: of events, of constants, or of what those are made of.
#[derive(Debug, Default)]
pub(super) struct Type {
    /// What events and fields call it by.
    pub id: u64,
    pub name: Box<str>,
    pub fields: Vec<Field>,
}

/// A field of a type.
#[derive(Debug, Default)]
pub(super) struct Field {
    pub name: Box<str>,
    /// The id of its type.
    pub type_id: u64,
    /// Whether it is a reference into the pool of that type.
    pub is_reference: bool,
    /// Whether it is a list.
    pub is_list: bool,
    pub unit: Unit,
}

/// The unit of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unit {
    /// No unit, or one of something else.
    #[default]
    None,
    Ticks,
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
}

impl Unit {
    fn named(name: &str) -> Self {
        match name {
            "TICKS" => Self::Ticks,
            "NANOSECONDS" => Self::Nanoseconds,
            "MICROSECONDS" => Self::Microseconds,
            "MILLISECONDS" => Self::Milliseconds,
            "SECONDS" => Self::Seconds,
            _ => Self::None,
        }
    }
}

// A JDK writes some 10,000 texts, 300 types and 3,000 fields, in elements four deep.
const MOST_TEXTS: usize = 1 << 18;
const MOST_TYPES: usize = 1 << 14;
const MOST_FIELDS: usize = 1 << 17;
const MOST_DEPTH: usize = 16;
/// Bytes of the name of a type or field.
const MOST_NAME_BYTES: usize = 1 << 10;

impl Types {
    /// Reads the event of metadata whose size, type, times and id `cursor` is behind.
    pub fn read(mut cursor: Cursor<'_>) -> Result<Self, Defect> {
        let count = cursor.count()?;
        if count > MOST_TEXTS {
            return Err(Defect::TooLarge(Limit::Elements));
        }
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(name(cursor.text()?));
        }
        let mut tree = Tree {
            texts,
            fields: 0,
            types: Vec::new(),
        };
        tree.element(&mut cursor, Parent::Other, 0)?;
        let list = tree.types;
        let by_id = list.iter().enumerate().map(|(at, of)| (of.id, at)).collect();
        Ok(Self { list, by_id })
    }

    /// The type of an id.
    pub fn get(&self, id: u64) -> Option<&Type> {
        self.list.get(*self.by_id.get(&id)?)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Type> {
        self.list.iter()
    }
}

/// What an element is, as far as it matters.
enum Element {
    Class,
    Field,
    Annotation,
    Other,
}

impl Element {
    fn named(name: &str) -> Self {
        match name {
            "class" => Self::Class,
            "field" => Self::Field,
            "annotation" => Self::Annotation,
            _ => Self::Other,
        }
    }
}

/// What an element stands in, as far as it matters.
#[derive(Clone, Copy)]
enum Parent {
    Type,
    Field,
    Other,
}

struct Tree<'a> {
    texts: Vec<Cow<'a, str>>,
    types: Vec<Type>,
    fields: usize,
}

impl<'a> Tree<'a> {
    fn element(&mut self, cursor: &mut Cursor<'a>, parent: Parent, depth: usize) -> Result<(), Defect> {
        if depth == MOST_DEPTH {
            return Err(Defect::TooLarge(Limit::Depth));
        }
        let element = Element::named(self.text(cursor)?);
        let own = match (element, parent) {
            (Element::Class, _) => {
                let of = self.class(cursor)?;
                self.types.push(of);
                if self.types.len() > MOST_TYPES {
                    return Err(Defect::TooLarge(Limit::Elements));
                }
                Parent::Type
            }
            (Element::Field, Parent::Type) => {
                let field = self.field(cursor)?;
                self.fields += 1;
                if self.fields > MOST_FIELDS {
                    return Err(Defect::TooLarge(Limit::Elements));
                }
                if let Some(of) = self.types.last_mut() {
                    of.fields.push(field);
                }
                Parent::Field
            }
            (Element::Annotation, Parent::Field) => {
                let unit = self.unit(cursor)?;
                let field = self.types.last_mut().and_then(|of| of.fields.last_mut());
                if let Some(field) = field.filter(|_| unit != Unit::None) {
                    field.unit = unit;
                }
                Parent::Other
            }
            _ => {
                self.attributes(cursor, |_, _| {})?;
                Parent::Other
            }
        };
        for _ in 0..cursor.count()? {
            self.element(cursor, own, depth + 1)?;
        }
        Ok(())
    }

    fn class(&self, cursor: &mut Cursor<'a>) -> Result<Type, Defect> {
        let mut of = Type::default();
        self.attributes(cursor, |key, value| match key {
            "id" => of.id = id(value),
            "name" => of.name = value.into(),
            _ => {}
        })?;
        Ok(of)
    }

    fn field(&self, cursor: &mut Cursor<'a>) -> Result<Field, Defect> {
        let mut field = Field::default();
        self.attributes(cursor, |key, value| match key {
            "name" => field.name = value.into(),
            "class" => field.type_id = id(value),
            "constantPool" => field.is_reference = value == "true",
            "dimension" => field.is_list = value == "1",
            _ => {}
        })?;
        Ok(field)
    }

    fn unit(&self, cursor: &mut Cursor<'a>) -> Result<Unit, Defect> {
        let mut unit = Unit::None;
        self.attributes(cursor, |key, value| {
            if key == "value" {
                unit = Unit::named(value);
            }
        })?;
        Ok(unit)
    }

    fn attributes(&self, cursor: &mut Cursor<'a>, mut each: impl FnMut(&str, &str)) -> Result<(), Defect> {
        for _ in 0..cursor.count()? {
            let (key, value) = (self.text(cursor)?, self.text(cursor)?);
            each(key, value);
        }
        Ok(())
    }

    /// The text whose number comes next.
    fn text(&self, cursor: &mut Cursor<'a>) -> Result<&str, Defect> {
        let before = *cursor;
        let number = usize::try_from(cursor.integer(Width::Four)?).unwrap_or(usize::MAX);
        let text = self.texts.get(number);
        text.map(Cow::as_ref)
            .ok_or_else(|| before.malformed("the metadata names a text that it does not have"))
    }
}

fn id(text: &str) -> u64 {
    text.parse::<i64>().unwrap_or_default() as u64
}

/// What names something; nothing of what is too long to, as texts may be named any number of times.
fn name(text: Text<'_>) -> Cow<'_, str> {
    match text.most_bytes() > 3 * MOST_NAME_BYTES {
        true => Cow::Borrowed(""),
        false => Some(text.plain())
            .filter(|text| text.len() <= MOST_NAME_BYTES)
            .unwrap_or_default(),
    }
}
