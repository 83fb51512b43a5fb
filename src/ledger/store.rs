//! The file that a ledger is kept in.
//!
//! Every line is a fact with its checksum: what an account has on a day, that an alert was raised, that it was told. Facts never say how
//! much was added, so a line that is read twice changes nothing, one that a crash cut off is made up for by the next one of its account,
//! and whichever lines are left, no sum is less than what an earlier line of them said. Lines are appended and brought to the disk
//! together; now and then, and after any trouble, everything is written anew, whole or not at all.

use std::io;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::alert::{Key as AlertKey, Told};
use super::calendar::Day;
use super::volume::{Sheet, Volume};

/// The file.
pub(super) const NAME: &str = "ledger.log";
/// The next one, while it is written.
const NEXT: &str = "ledger.new";
/// What begins it.
const FIRST_LINE: &str = "flamegate ledger 1\n";
/// Lines appended beyond the number of facts before all are written anew.
const LINES_MORE: usize = if cfg!(test) { 8 } else { 4_096 };

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Fact {
    /// What was sent for a tenant by an exporter on a day, all in all.
    Sent {
        tenant: String,
        exporter: String,
        day: String,
        bytes: u64,
    },
    /// An alert, and how far it has come.
    Alert { key: AlertKey, told: Told },
}

impl Fact {
    pub(super) fn sent((tenant, exporter): &super::book::Key, day: Day, bytes: u64) -> Self {
        Self::Sent {
            tenant: tenant.to_string(),
            exporter: exporter.to_string(),
            day: day.to_string(),
            bytes,
        }
    }
}

/// An open file of facts.
pub(super) struct Store {
    volume: Box<dyn Volume>,
    /// None if everything has to be written anew, because nobody knows what is on the disk after an error.
    sheet: Option<Box<dyn Sheet>>,
    lines: usize,
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) facts: Vec<Fact>,
    /// Lines that are no facts: cut off by a crash, or damaged.
    pub(super) spoilt: usize,
}

impl Store {
    /// Opens what is there, or begins; says what was known. Nothing is written before the first [`save`](Self::save).
    pub(super) fn open(volume: Box<dyn Volume>) -> io::Result<(Self, Read)> {
        let read = match volume.read(NAME)? {
            Some(text) => parse(&text)?,
            None => Read::default(),
        };
        let store = Self {
            volume,
            sheet: None,
            lines: 0,
        };
        Ok((store, read))
    }

    /// Brings facts to the disk; `all` are all there are, for when they must be written anew.
    pub(super) fn save(&mut self, new: &[Fact], all: impl FnOnce() -> Vec<Fact>) -> io::Result<()> {
        if self.sheet.is_none() || self.lines >= LINES_MORE {
            let written = self.write_anew(&all());
            if written.is_ok() || self.sheet.is_none() {
                return written;
            }
        }
        let Some(sheet) = &mut self.sheet else { return Ok(()) };
        let written = write(sheet.as_mut(), "", new);
        self.lines += new.len();
        if written.is_err() {
            self.sheet = None;
        }
        written
    }

    fn write_anew(&mut self, all: &[Fact]) -> io::Result<()> {
        let mut sheet = self.volume.create(NEXT)?;
        write(sheet.as_mut(), FIRST_LINE, all)?;
        // whether the old file still has the name is not known if the next step fails
        self.sheet = None;
        self.volume.rename(NEXT, NAME)?;
        (self.sheet, self.lines) = (Some(sheet), 0);
        Ok(())
    }
}

fn write(sheet: &mut dyn Sheet, head: &str, facts: &[Fact]) -> io::Result<()> {
    let mut text = head.to_owned();
    for fact in facts {
        text.push_str(&line(fact)?);
    }
    sheet.write(text.as_bytes())?;
    sheet.sync()
}

fn line(fact: &Fact) -> io::Result<String> {
    let text = serde_json::to_string(fact)?;
    Ok(format!("{:08x} {text}\n", checksum(&text)))
}

fn checksum(text: &str) -> u32 {
    let digest = digest(&SHA256, text.as_bytes());
    let (head, _) = digest.as_ref().split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    u32::from_be_bytes(*head)
}

/// The facts of a file.
pub(super) fn parse(text: &[u8]) -> io::Result<Read> {
    let Some(lines) = text.strip_prefix(FIRST_LINE.as_bytes()) else {
        let why = "not a ledger of this version; move it away to begin a new one";
        return Err(io::Error::other(why));
    };
    let mut read = Read::default();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        match fact(line) {
            Some(fact) => read.facts.push(fact),
            None => read.spoilt += 1,
        }
    }
    Ok(read)
}

fn fact(line: &[u8]) -> Option<Fact> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, text) = line.split_once(' ')?;
    let is_whole = u32::from_str_radix(sum, 16).ok()? == checksum(text);
    is_whole.then(|| serde_json::from_str(text).ok()).flatten()
}
