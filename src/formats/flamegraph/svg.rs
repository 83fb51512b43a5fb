//! One sample type as a picture: the root at the bottom, callers below what they call.

use std::fmt::Write;

use crate::formats::markup;
use crate::formats::quantity::quantity;
use crate::formats::tree::{Frames, NameAndFile as Frame, Tree};
use crate::formats::{EncodeError, Format};
use crate::profile::{Dictionary, Profile};

const WIDTH: f64 = 1200.0;
const ROW: usize = 17;
/// Room for the title.
const HEAD: usize = 34;
/// Frames narrower than this many pixels are left out: nobody sees them.
const NARROWEST: f64 = 0.1;
/// What a letter is wide, about.
const LETTER: f64 = 6.8;
/// Letters of a comment that the width has room for.
const MOST_LETTERS: usize = 200;
const TAIL: &str = "</svg>\n";

/// Draws the flame graph of one sample type, in `most` bytes.
pub fn encode(dictionary: &Dictionary, profile: &Profile, column: usize, most: usize) -> Result<Vec<u8>, EncodeError> {
    let Some(shown) = profile.sample_types.get(column) else {
        let problem = format!("sample type {column} of {}", profile.sample_types.len());
        return Err(EncodeError::new(Format::Svg, problem));
    };
    let (kind, unit) = (dictionary.str(shown.kind), dictionary.str(shown.unit));
    let mut frames = Frames::new(Format::Svg, dictionary, most);
    let tree = Tree::of(&mut frames, profile, &[column])?;
    let layout = Layout::of(&tree, &frames.rows);
    let comment = profile.comments.first().map_or("", |comment| dictionary.str(*comment));
    let mut out = head(kind, &quantity(layout.whole, unit), comment, layout.rows);
    let bottom = HEAD + layout.rows * ROW;
    for bar in &layout.bars {
        draw(&mut out, bar, bottom, unit, layout.whole);
        if out.len() + TAIL.len() > most {
            return Err(EncodeError::too_large(Format::Svg));
        }
    }
    out.push_str(TAIL);
    Ok(out.into_bytes())
}

/// A frame in its place.
struct Bar<'a> {
    frame: Option<&'a Frame<'a>>,
    x: f64,
    width: f64,
    depth: usize,
    total: i128,
}

struct Layout<'a> {
    bars: Vec<Bar<'a>>,
    rows: usize,
    whole: i128,
}

impl<'a> Layout<'a> {
    /// Siblings stand in the order of their names, side by side from where their parent begins.
    fn of(tree: &Tree, frames: &'a [Frame<'a>]) -> Self {
        let own = tree.own.first().map(Vec::as_slice).unwrap_or_default();
        let totals = tree.totals(own);
        let whole = totals.first().copied().unwrap_or_default();
        let mut nodes = Vec::with_capacity(totals.len());
        let mut depths: Vec<usize> = Vec::with_capacity(totals.len());
        for (node, ((parent, frame), total)) in tree.parents.iter().zip(&tree.frames).zip(totals).enumerate() {
            let depth = depths.get(*parent as usize).map_or(0, |depth| depth + 1);
            let frame = frames.get(*frame as usize).filter(|_| node > 0);
            depths.push(depth);
            nodes.push((depth, frame, node, *parent as usize, total));
        }
        nodes.sort_by_key(|(depth, frame, node, ..)| (*depth, frame.map(|frame| &frame.name), *node));
        let scale = WIDTH / (whole.max(1) as f64);
        // where the next child of a node begins
        let mut next = vec![0i128; nodes.len()];
        let mut bars = Vec::new();
        for (depth, frame, node, parent, total) in nodes {
            let start = next.get(parent).copied().unwrap_or_default();
            if node > 0
                && let Some(next) = next.get_mut(parent)
            {
                *next += total;
            }
            if let Some(next) = next.get_mut(node) {
                *next = start;
            }
            let width = total as f64 * scale;
            if width >= NARROWEST {
                let x = start as f64 * scale;
                bars.push(Bar {
                    frame,
                    x,
                    width,
                    depth,
                    total,
                });
            }
        }
        let rows = bars.iter().map(|bar| bar.depth + 1).max().unwrap_or(1);
        Self { bars, rows, whole }
    }
}

fn head(kind: &str, whole: &str, comment: &str, rows: usize) -> String {
    let height = HEAD + rows * ROW + 4;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fffdf8\"/>\n\
         <text x=\"{}\" y=\"21\" text-anchor=\"middle\" font-size=\"15\">{}, {}</text>\n\
         <text x=\"{}\" y=\"31\" text-anchor=\"middle\" font-size=\"9\">{}</text>\n",
        WIDTH / 2.0,
        escape(kind),
        escape(whole),
        WIDTH / 2.0,
        escape(&shortened(comment, MOST_LETTERS))
    )
}

fn draw(out: &mut String, bar: &Bar<'_>, bottom: usize, unit: &str, whole: i128) {
    let (name, file) = bar.frame.map_or(("all", ""), |frame| (&*frame.name, frame.file));
    let y = bottom - (bar.depth + 1) * ROW;
    let share = bar.total as f64 * 100.0 / whole.max(1) as f64;
    let _ = write!(
        out,
        "<g><title>{}{}{}\n{}, {share:.2} %</title><rect x=\"{:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{}\" rx=\"1\" fill=\"{}\"/>",
        escape(name),
        if file.is_empty() { "" } else { "\n" },
        escape(file),
        escape(&quantity(bar.total, unit)),
        bar.x,
        bar.width,
        ROW - 1,
        colour(name)
    );
    let letters = ((bar.width - 6.0) / LETTER).max(0.0) as usize;
    if letters >= 3 {
        let _ = write!(
            out,
            "<text x=\"{:.2}\" y=\"{}\">{}</text>",
            bar.x + 3.0,
            y + 12,
            escape(&shortened(name, letters))
        );
    }
    out.push_str("</g>\n");
}

/// The name if it has no more than so many letters, else its beginning with two dots.
fn shortened(name: &str, letters: usize) -> String {
    match name.char_indices().nth(letters) {
        None => name.to_owned(),
        Some(_) => name.chars().take(letters - 2).chain("..".chars()).collect(),
    }
}

/// A warm colour, always the same for a name.
fn colour(name: &str) -> String {
    let hash = (name.bytes()).fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!(
        "hsl({},{}%,{}%)",
        8 + hash % 42,
        78 + (hash >> 8) % 18,
        62 + (hash >> 16) % 12
    )
}

/// Text inside of XML, without what XML cannot hold.
fn escape(text: &str) -> String {
    let held = text.replace(char::is_control, " ");
    markup::escape(&held.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}"))
}
