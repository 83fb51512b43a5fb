//! V8's `callFrame`.

use std::borrow::Cow;

use super::json::Json;
use crate::formats::DecodeError;
use crate::formats::building::Building;
use crate::profile::{Function, Id, Line, Location, LocationId};

/// What V8 calls a function without a name, for people.
pub(super) const ANONYMOUS: &str = "(anonymous)";

/// A frame as V8 writes it; lines and columns from 0, -1 where there are none.
pub(super) struct CallFrame<'a> {
    name: Cow<'a, str>,
    url: Cow<'a, str>,
    line: i64,
    column: i64,
}

/// The place of a frame in the model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// Above all others, and no function.
    Root,
    /// The thread waits.
    Idle(LocationId),
    Code(LocationId),
}

impl Frame {
    /// None for the root.
    pub fn location(self) -> Option<LocationId> {
        match self {
            Self::Root => None,
            Self::Idle(location) | Self::Code(location) => Some(location),
        }
    }
}

impl<'a> CallFrame<'a> {
    pub const NONE: Self = Self {
        name: Cow::Borrowed(""),
        url: Cow::Borrowed(""),
        line: -1,
        column: -1,
    };

    /// Takes a field, if it is one of a call frame.
    fn any_field(&mut self, key: &str, json: &mut Json<'a>) -> Result<bool, DecodeError> {
        match key {
            "functionName" => self.name = json.text()?,
            "url" => self.url = json.text()?,
            "lineNumber" => self.line = json.number()? as i64,
            "columnNumber" => self.column = json.number()? as i64,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub fn read(json: &mut Json<'a>) -> Result<Self, DecodeError> {
        let mut frame = Self::NONE;
        json.open_object()?;
        while let Some(key) = json.field()? {
            if !frame.any_field(&key, json)? {
                json.skip()?;
            }
        }
        Ok(frame)
    }

    /// The same for the first generation, which wrote them into the node itself, and counted from 1.
    pub fn field(&mut self, key: &str, json: &mut Json<'a>) -> Result<bool, DecodeError> {
        let is_one = self.any_field(key, json)?;
        match key {
            "lineNumber" => self.line -= 1,
            "columnNumber" => self.column -= 1,
            _ => {}
        }
        Ok(is_one)
    }

    /// The row of the frame.
    pub fn intern(&self, building: &mut Building<'_>) -> Result<Frame, DecodeError> {
        let (name, url) = (building.text(&self.name)?, building.text(&self.url)?);
        let interner = &mut building.interner;
        let is_code = !self.url.is_empty() || self.line >= 0;
        if !is_code && self.name == "(root)" {
            return Ok(Frame::Root);
        }
        let line = self.line.saturating_add(1).max(0);
        let function = Function {
            name: interner.string(if name.is_empty() { ANONYMOUS } else { name }),
            system_name: Id::UNSET,
            filename: interner.string(path(url)),
            start_line: line,
        };
        let line = Line {
            function: interner.function(function),
            line,
            column: self.column.saturating_add(1).max(0),
        };
        let location = interner.location(Location::default(), &[line]);
        Ok(match !is_code && self.name == "(idle)" {
            true => Frame::Idle(location),
            false => Frame::Code(location),
        })
    }
}

/// `file:///srv/app.js` as `/srv/app.js`; any other address stays.
pub(super) fn path(url: &str) -> &str {
    url.strip_prefix("file://")
        .filter(|path| path.starts_with('/'))
        .unwrap_or(url)
}
