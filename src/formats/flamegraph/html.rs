//! Everything of a batch as one page that needs no network: each profile and sample type can be chosen, searched and zoomed.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::formats::any::default_column;
use crate::formats::tree::{Frames, NameAndFile as Frame, Tree};
use crate::formats::{Bounded, EncodeError, Format};
use crate::profile::{Dictionary, ProfileRef, Profiles};

/// So many comments of a profile are shown.
const MOST_COMMENTS: usize = 8;

const STYLE: &str = include_str!("viewer.css");
const SCRIPT: &str = include_str!("viewer.js");
const BODY: &str = include_str!("viewer.html");

#[derive(Serialize)]
struct Data<'a> {
    frames: Vec<(&'a str, &'a str)>,
    profiles: Vec<Shown<'a>>,
}

/// One profile: a tree, and what every node of it has of each sample type.
#[derive(Serialize)]
struct Shown<'a> {
    service: &'a str,
    comments: Vec<&'a str>,
    time_unix_nano: u64,
    types: Vec<Type<'a>>,
    default: usize,
    parents: Vec<u32>,
    frames: Vec<u32>,
    own: Vec<Vec<i64>>,
}

#[derive(Serialize)]
struct Type<'a> {
    kind: &'a str,
    unit: &'a str,
}

/// Writes the page, in `most` bytes.
pub fn encode(profiles: &Profiles, most: usize) -> Result<Vec<u8>, EncodeError> {
    let dictionary = profiles.dictionary();
    let mut frames = Frames::new(Format::Html, dictionary, most);
    let mut shown = Vec::with_capacity(profiles.profile_count());
    for at in profiles.iter() {
        shown.push(shown_as(dictionary, at, &mut frames)?);
    }
    if shown.is_empty() {
        return Err(EncodeError::new(Format::Html, "no profile to write"));
    }
    let data = Data {
        frames: frames.rows.iter().map(row).collect(),
        profiles: shown,
    };
    let mut page = Bounded::new(most);
    match write(&mut page, &data) {
        Ok(()) => Ok(page.into_inner()),
        Err(_) => Err(EncodeError::too_large(Format::Html)),
    }
}

fn write(page: &mut Bounded, data: &Data<'_>) -> std::io::Result<()> {
    page.write_all(head().as_bytes())?;
    serde_json::to_writer(InPage(page), data)?;
    page.write_all(b"</script>\n<script>")?;
    page.write_all(SCRIPT.as_bytes())?;
    page.write_all(b"</script>\n")
}

fn row<'a>(frame: &'a Frame<'a>) -> (&'a str, &'a str) {
    (&frame.name, frame.file)
}

fn shown_as<'a>(
    dictionary: &'a Dictionary,
    at: ProfileRef<'a>,
    frames: &mut Frames<'a, Frame<'a>>,
) -> Result<Shown<'a>, EncodeError> {
    let types: Vec<usize> = (0..at.profile.sample_types.len()).collect();
    let tree = Tree::of(frames, at.profile, &types)?;
    let named = |kind: &crate::profile::ValueType| Type {
        kind: dictionary.str(kind.kind),
        unit: dictionary.str(kind.unit),
    };
    Ok(Shown {
        service: at
            .resource
            .attribute_str(dictionary, "service.name")
            .unwrap_or_default(),
        comments: at
            .profile
            .comments
            .iter()
            .take(MOST_COMMENTS)
            .map(|comment| dictionary.str(*comment))
            .collect(),
        time_unix_nano: at.profile.time_unix_nano,
        types: at.profile.sample_types.iter().map(named).collect(),
        default: default_column(dictionary, at.profile),
        parents: tree.parents,
        frames: tree.frames,
        own: tree.own,
    })
}

/// All before the data. Only the one script may run, and nothing may be loaded.
fn head() -> String {
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes()));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Flame graph</title>\n<style>{STYLE}</style>\n\
         {BODY}<script type=\"application/json\" id=\"data\">"
    )
}

/// JSON inside of a page: no text in it can end its element.
struct InPage<'a>(&'a mut Bounded);

impl Write for InPage<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for (index, piece) in bytes.split(|byte| *byte == b'<').enumerate() {
            if index > 0 {
                self.0.write_all(b"\\u003c")?;
            }
            self.0.write_all(piece)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
