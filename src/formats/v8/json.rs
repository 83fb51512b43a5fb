//! JSON event by event: trees of any depth are read without a stack that grows with them.

use std::borrow::Cow;

use json_event_parser::{JsonEvent, LowLevelJsonParser};

use crate::formats::{DecodeError, Format};

/// A place in a JSON text. Every reader takes one whole value; what has another shape than asked for is an error.
pub(super) struct Json<'a> {
    pub format: Format,
    parser: LowLevelJsonParser,
    rest: &'a [u8],
    /// Bytes before the rest.
    offset: usize,
    peeked: Option<JsonEvent<'a>>,
}

impl<'a> Json<'a> {
    pub fn new(format: Format, text: &'a [u8]) -> Self {
        Self {
            format,
            parser: LowLevelJsonParser::new(),
            rest: text,
            offset: 0,
            peeked: None,
        }
    }

    fn next(&mut self) -> Result<JsonEvent<'a>, DecodeError> {
        if let Some(event) = self.peeked.take() {
            return Ok(event);
        }
        loop {
            let read = self.parser.parse_next(self.rest, true);
            self.rest = self.rest.get(read.consumed_bytes..).unwrap_or_default();
            let at = self.offset;
            self.offset += read.consumed_bytes;
            if let Some(event) = read.event {
                return event.map_err(|_| DecodeError::malformed(self.format, at, "not JSON, or cut short"));
            }
        }
    }

    /// Whether the next value is an object; a list, text, a number and nothing are not.
    pub fn is_object(&mut self) -> Result<bool, DecodeError> {
        let event = self.next()?;
        let is_object = event == JsonEvent::StartObject;
        self.peeked = Some(event);
        Ok(is_object)
    }

    /// Whether the next value is text.
    pub fn is_text(&mut self) -> Result<bool, DecodeError> {
        let event = self.next()?;
        let is_text = matches!(event, JsonEvent::String(_));
        self.peeked = Some(event);
        Ok(is_text)
    }

    /// Begins an object: its fields follow by [`field`](Self::field).
    pub fn open_object(&mut self) -> Result<(), DecodeError> {
        match self.next()? {
            JsonEvent::StartObject => Ok(()),
            _ => Err(self.unexpected("an object")),
        }
    }

    /// The key of the next field of the object that is open, its value to be read next; none where it ends.
    pub fn field(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        match self.next()? {
            JsonEvent::ObjectKey(key) => Ok(Some(key)),
            _ => Ok(None),
        }
    }

    /// Begins a list: its items follow by [`item`](Self::item). Nothing (`null`) is a list without items.
    pub fn open_list(&mut self) -> Result<(), DecodeError> {
        match self.next()? {
            JsonEvent::StartArray => Ok(()),
            JsonEvent::Null => {
                self.peeked = Some(JsonEvent::EndArray);
                Ok(())
            }
            _ => Err(self.unexpected("a list")),
        }
    }

    /// Whether the list that is open has one more item, to be read next.
    pub fn item(&mut self) -> Result<bool, DecodeError> {
        match self.next()? {
            JsonEvent::EndArray => Ok(false),
            event => {
                self.peeked = Some(event);
                Ok(true)
            }
        }
    }

    /// Text; nothing is no text.
    pub fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        match self.next()? {
            JsonEvent::String(text) | JsonEvent::Number(text) => Ok(text),
            JsonEvent::Null => Ok("".into()),
            _ => Err(self.unexpected("text")),
        }
    }

    /// A number, also one that is written as text.
    pub fn number(&mut self) -> Result<f64, DecodeError> {
        let number = match self.next()? {
            JsonEvent::String(text) | JsonEvent::Number(text) => text.parse().ok(),
            JsonEvent::Null => Some(0.0),
            _ => None,
        };
        let finite = number.filter(|number: &f64| number.is_finite());
        finite.ok_or_else(|| self.unexpected("a number"))
    }

    /// Leaves out a value, however deep.
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        let mut depth = 0usize;
        loop {
            match self.next()? {
                JsonEvent::StartObject | JsonEvent::StartArray => depth += 1,
                JsonEvent::EndObject | JsonEvent::EndArray => depth = depth.saturating_sub(1),
                JsonEvent::Eof => return Err(self.unexpected("more")),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Asks that nothing follows.
    pub fn end(&mut self) -> Result<(), DecodeError> {
        match self.next()? {
            JsonEvent::Eof => Ok(()),
            _ => Err(self.unexpected("the end")),
        }
    }

    fn unexpected(&self, wanted: &str) -> DecodeError {
        DecodeError::malformed(self.format, self.offset, format!("something else than {wanted}"))
    }
}
