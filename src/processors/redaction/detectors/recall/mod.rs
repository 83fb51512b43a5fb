//! How much is found: secrets are drawn at random in the shape of their family, put into every carrier that a profile has, and
//! looked for in the bytes that leave under the default policy. The figures are the tables in `docs/redaction.md`.
//!
//! `FLAMEGATE_RECALL=10000 cargo test --lib recall` draws so many of each family; with `FLAMEGATE_WRITE=1` it writes the tables,
//! with `FLAMEGATE_SHOW=1` it shows what is missed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::pipeline::spec::parse;
use crate::processors::redaction::Policy;

mod carriers;
mod draw;

use carriers::{Carrier, Kind, holds, leaving};
use draw::{COMPOSED, CONTEXT, Dice, Drawn, PEOPLE, STRUCTURAL, TELLING_KEYS};

/// How many were drawn, and how many of them found.
#[derive(Clone, Copy, Default)]
struct Found {
    drawn: usize,
    found: usize,
}

impl Found {
    fn add(&mut self, found: bool) {
        self.drawn += 1;
        self.found += usize::from(found);
    }

    fn percent(self) -> f64 {
        self.found as f64 * 100.0 / self.drawn as f64
    }
}

/// By tier and family, and by carrier and tier.
#[derive(Default)]
struct Figures {
    families: BTreeMap<(char, &'static str), Found>,
    carriers: BTreeMap<&'static str, BTreeMap<char, Found>>,
}

struct Run {
    dice: Dice,
    carriers: Vec<Carrier>,
    default: Policy,
    /// With what has to be asked for.
    asked: Policy,
    figures: Figures,
}

impl Run {
    fn new() -> Self {
        let policy = |detectors| Policy::new(parse(json!({ "detectors": detectors })).unwrap()).unwrap();
        Self {
            dice: Dice(0x9E37_79B9_7F4A_7C15),
            carriers: Carrier::all(),
            default: Policy::new(parse(json!({})).unwrap()).unwrap(),
            asked: policy(json!(["secrets", "pii", "phones", "uuids"])),
            figures: Figures::default(),
        }
    }

    /// Draws of one family, one carrier after the other.
    fn draw(
        &mut self,
        tier: char,
        family: &'static str,
        count: usize,
        fits: impl Fn(Carrier) -> bool,
        mut make: impl FnMut(&mut Dice, Carrier, usize) -> Drawn,
        key: impl Fn(usize) -> &'static str,
    ) {
        let carriers: Vec<Carrier> = self.carriers.iter().copied().filter(|carrier| fits(*carrier)).collect();
        // few draws begin elsewhere in each family, so that all of them together reach every carrier
        let start = self.figures.families.len() * 7;
        for turn in 0..count {
            let carrier = carriers[(start + turn) % carriers.len()];
            let drawn = make(&mut self.dice, carrier, turn / carriers.len() + start);
            let policy = if family.ends_with("by_shape") {
                &self.asked
            } else {
                &self.default
            };
            let bytes = leaving(carrier.with(key(turn), &drawn.text), policy);
            let found = !holds(&bytes, &drawn.secret);
            if !found && std::env::var_os("FLAMEGATE_SHOW").is_some() {
                eprintln!("missed {family}: {carrier:?} {}", drawn.text);
            }
            self.figures.families.entry((tier, family)).or_default().add(found);
            let by_tier = self.figures.carriers.entry(carrier.name()).or_default();
            by_tier.entry(tier).or_default().add(found);
        }
    }
}

/// A key that says nothing.
fn plain(_: usize) -> &'static str {
    "note"
}

/// Draws so many of each family.
fn figures(count: usize) -> Figures {
    let mut run = Run::new();
    let family = |row: &'static str| row.split_once(' ').unwrap().0;
    let is_text = |carrier: Carrier| carrier.kind() != Kind::Number;
    for row in STRUCTURAL {
        let shapes = STRUCTURAL.iter().filter(|other| family(other) == family(row)).count();
        let make = |dice: &mut Dice, carrier: Carrier, turn| draw::structural(dice, row, carrier.kind(), turn);
        run.draw('A', family(row), count.div_ceil(shapes), is_text, make, plain);
    }
    for family in COMPOSED {
        let make = |dice: &mut Dice, carrier: Carrier, turn| draw::composed(dice, family, carrier.kind(), turn);
        run.draw('A', family, count, is_text, make, plain);
    }
    for row in CONTEXT {
        let shapes = CONTEXT.iter().filter(|other| other.family == row.family).count();
        let fits = |carrier: Carrier| row.kinds.contains(&carrier.kind());
        let make = |dice: &mut Dice, _, _| draw::contextual(dice, row);
        run.draw('B', row.family, count.div_ceil(shapes), fits, make, plain);
    }
    let make = |dice: &mut Dice, carrier: Carrier, _| draw::told_by_key(dice, carrier.kind());
    let key = |turn: usize| TELLING_KEYS[turn % TELLING_KEYS.len()];
    run.draw('B', "sensitive_key", count, Carrier::has_key, make, key);
    for (family, kinds) in PEOPLE {
        let of_thread = *family == "phone_in_thread";
        let fits = |carrier: Carrier| kinds.contains(&carrier.kind()) && (!of_thread || carrier.is_value());
        let key = |_| if of_thread { "thread.name" } else { "note" };
        let make = |dice: &mut Dice, carrier: Carrier, turn| draw::person(dice, family, carrier.kind(), turn);
        run.draw('D', family, count, fits, make, key);
    }
    run.figures
}

fn least(tier: char) -> f64 {
    if tier == 'A' { 99.9 } else { 99.0 }
}

fn family_table(figures: &Figures) -> String {
    let mut table = String::from("| tier | family | drawn | found |\n|---|---|---|---|\n");
    for ((tier, family), row) in &figures.families {
        table.push_str(&format!(
            "| {tier} | {family} | {} | {:.2} % |\n",
            row.drawn,
            row.percent()
        ));
    }
    table
}

fn carrier_table(figures: &Figures) -> String {
    let mut table = String::from("| carrier | drawn | A | B | D |\n|---|---|---|---|---|\n");
    for (carrier, tiers) in &figures.carriers {
        let drawn: usize = tiers.values().map(|row| row.drawn).sum();
        table.push_str(&format!("| {carrier} | {drawn} |"));
        for tier in ['A', 'B', 'D'] {
            match tiers.get(&tier) {
                Some(row) => table.push_str(&format!(" {:.2} % |", row.percent())),
                None => table.push_str(" |"),
            }
        }
        table.push('\n');
    }
    table
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/redaction.md")
}

/// What stands on the page between the marks of this name: before, inside, behind.
fn between<'t>(page: &'t str, name: &str) -> (&'t str, &'t str, &'t str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = page.find(&begin).unwrap() + begin.len();
    let stop = start + page[start..].find(&end).unwrap();
    (&page[..start], &page[start..stop], &page[stop..])
}

#[test]
fn what_is_drawn_is_found() {
    let count = std::env::var("FLAMEGATE_RECALL").map_or(150, |count| count.parse().unwrap());
    let figures = figures(count);
    if std::env::var_os("FLAMEGATE_WRITE").is_some() {
        for (name, table) in [
            ("recall", family_table(&figures)),
            ("recall by carrier", carrier_table(&figures)),
        ] {
            let text = std::fs::read_to_string(page()).unwrap();
            let (before, _, after) = between(&text, name);
            std::fs::write(page(), format!("{before}{table}{after}")).unwrap();
        }
    }
    for ((tier, family), row) in &figures.families {
        assert!(row.percent() >= least(*tier), "{family}: {:.2} %", row.percent());
    }
    for rule in &Detectors::new(Detector::DEFAULT).unwrap().rules {
        let drawn = figures.families.keys().any(|(_, family)| *family == rule.name);
        assert!(drawn || rule.name == "declared", "nothing is drawn for {}", rule.name);
    }
    let reached: usize = figures.carriers.len();
    let names: std::collections::BTreeSet<&str> = Carrier::all().into_iter().map(Carrier::name).collect();
    assert_eq!(reached, names.len());
}

#[test]
fn the_page_has_the_figures_of_every_family() {
    let text = std::fs::read_to_string(page()).unwrap();
    let mut told = Vec::new();
    for row in between(&text, "recall").1.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let found: f64 = cells[4].trim_end_matches(" %").parse().unwrap();
        let tier = cells[1].chars().next().unwrap();
        assert!(
            cells[3].parse::<usize>().unwrap() >= 10_000 && found >= least(tier),
            "{row}"
        );
        told.push((tier, cells[2].to_owned()));
    }
    let known = figures(1).families.into_keys();
    let known: Vec<(char, String)> = known.map(|(tier, family)| (tier, family.to_owned())).collect();
    assert_eq!(told, known);
}

#[test]
fn a_secret_that_stays_would_be_seen() {
    let nothing = Policy::new(parse(json!({ "detectors": [], "arguments": "keep" })).unwrap()).unwrap();
    for carrier in Carrier::all() {
        let secret = match carrier.kind() {
            Kind::Number => "4111111111111111",
            _ => "a text that stays as it is",
        };
        assert!(
            holds(&leaving(carrier.with("note", secret), &nothing), secret),
            "{carrier:?}"
        );
    }
}
