use std::collections::HashMap;

use serde_json::Value as Json;

use super::*;
use crate::formats::any::{decode_any, default_column};
use crate::formats::{EncodeError, Limits, frames};
use crate::profile::{Id, Interner, Profiles, ValueType};
use crate::testing;

fn read(name: &str) -> Profiles {
    let read = decode_any(testing::data(name).into(), &Limits::default());
    read.expect("a recording of our own").decoded.profiles
}

fn collapsed(text: &str) -> Profiles {
    let decoded = crate::formats::collapsed::decode(text.as_bytes(), &Limits::default());
    decoded.expect("collapsed stacks").profiles
}

fn page(profiles: &Profiles) -> String {
    String::from_utf8(html(profiles, usize::MAX).expect("a page")).expect("text")
}

/// What the script of a page reads.
fn data_of(page: &str) -> Json {
    let (_, data) = page.split_once("id=\"data\">").expect("data");
    let (data, _) = data.split_once("</script>").expect("its end");
    serde_json::from_str(data).expect("JSON")
}

fn picture(profiles: &Profiles) -> String {
    let at = profiles.iter().next().expect("a profile");
    let column = default_column(profiles.dictionary(), at.profile);
    let drawn = svg(profiles.dictionary(), at.profile, column, usize::MAX).expect("a picture");
    String::from_utf8(drawn).expect("text")
}

/// What stands below each path of names, of one sample type of one profile in a page.
fn sums_of_page(data: &Json, profile: usize, column: usize) -> HashMap<String, i64> {
    let shown = &data["profiles"][profile];
    let number = |json: &Json| json.as_u64().expect("a number") as usize;
    let mut paths = vec![String::new()];
    for (parent, frame) in shown["parents"]
        .as_array()
        .unwrap()
        .iter()
        .zip(shown["frames"].as_array().unwrap())
        .skip(1)
    {
        let name = data["frames"][number(frame)][0].as_str().unwrap();
        paths.push(format!("{};{name}", paths[number(parent)]));
    }
    let mut sums = HashMap::new();
    for (path, own) in paths.into_iter().zip(shown["own"][column].as_array().unwrap()) {
        *sums.entry(path).or_default() += own.as_i64().unwrap();
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

fn sums_of_model(profiles: &Profiles, profile: usize, column: usize) -> HashMap<String, i64> {
    let dictionary = profiles.dictionary();
    let profile = profiles.iter().nth(profile).unwrap().profile;
    let mut sums = HashMap::new();
    for (row, stack) in profile.samples.stacks.iter().enumerate() {
        let names = frames::root_first(dictionary, *stack).map(|(at, line)| frames::name(dictionary, at, line));
        let path: String = names.map(|name| format!(";{name}")).collect();
        *sums.entry(path).or_default() += profile.samples.total(row, column, profile.sample_types.len());
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

#[test]
fn a_page_has_every_stack_of_every_type_of_every_profile() {
    for name in [
        "go123-heap.pb.gz",
        "node20-wall-cpu-links.otlp",
        "py-spy-native.speedscope.json",
    ] {
        let profiles = read(name);
        let data = data_of(&page(&profiles));
        assert_eq!(
            data["profiles"].as_array().unwrap().len(),
            profiles.profile_count(),
            "{name}"
        );
        for (index, at) in profiles.iter().enumerate() {
            for column in 0..at.profile.sample_types.len() {
                let expected = sums_of_model(&profiles, index, column);
                assert!(!expected.is_empty() || name.starts_with("go123"), "{name}");
                assert_eq!(sums_of_page(&data, index, column), expected, "{name} {index} {column}");
            }
        }
    }
}

#[test]
fn parents_come_before_their_children() {
    let data = data_of(&page(&read("go123-heap.pb.gz")));
    let parents = data["profiles"][0]["parents"].as_array().unwrap();
    let above = |(node, parent): (usize, &Json)| (parent.as_u64().unwrap() as usize) < node;
    assert!(parents.iter().enumerate().skip(1).all(above));
}

#[test]
fn nothing_in_a_name_ends_its_element() {
    let evil = "</script><script>alert(1)</script>&\"'<b>\u{7}\u{ffff}";
    let profiles = collapsed(&format!("main;{evil} 3\n"));
    let page = page(&profiles);
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert_eq!(data_of(&page)["frames"][1][0], evil);
    let picture = picture(&profiles);
    assert!(!picture.contains("<script") && !picture.contains("<b>"), "{picture}");
    assert!(!picture.contains(['\u{7}', '\u{ffff}']));
}

#[test]
fn neither_asks_the_network() {
    let profiles = read("rust-cpu.pb.gz");
    let page = page(&profiles);
    let (head, _) = page.split_once("id=\"data\"").unwrap();
    let script = page.rsplit_once("<script>").unwrap().1;
    for text in [head, script, &picture(&profiles)] {
        let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for word in ["http:", "https:", "src=", "href", "@import", "url(", "fetch("] {
            assert!(!text.contains(word), "{word}");
        }
    }
}

#[test]
fn a_picture_shows_widths_by_value_with_the_root_at_the_bottom() {
    let picture = picture(&collapsed("main;work;deep 3\nmain;idle 1\n"));
    let bar = |name: &str| {
        let line = picture
            .split("<g>")
            .find(|line| line.starts_with(&format!("<title>{name}\n")));
        let line = line.unwrap_or_else(|| panic!("{name} is drawn"));
        let attribute = |name: &str| -> f64 {
            let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        (attribute("x"), attribute("width"), attribute("y"))
    };
    assert_eq!((bar("main").0, bar("main").1), (0.0, 1200.0));
    assert_eq!((bar("idle").0, bar("idle").1), (0.0, 300.0));
    assert_eq!((bar("work").0, bar("work").1), (300.0, 900.0));
    assert_eq!((bar("deep").0, bar("deep").1), (300.0, 900.0));
    assert!(bar("deep").2 < bar("work").2 && bar("work").2 < bar("main").2 && bar("main").2 < bar("all").2);
    assert!(picture.contains("3, 75.00 %"), "{picture}");
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let negative = collapsed("main -1\n");
    let at = negative.iter().next().unwrap();
    let wrong = |drawn: Result<Vec<u8>, EncodeError>| drawn.expect_err("nothing to draw").to_string();
    let dictionary = negative.dictionary();
    assert!(wrong(svg(dictionary, at.profile, 0, 1 << 20)).contains("negative"));
    assert!(wrong(html(&negative, 1 << 20)).contains("negative"));
    assert!(wrong(svg(dictionary, at.profile, 7, 1 << 20)).contains("sample type 7 of 1"));
    assert!(wrong(html(&Profiles::default(), 1 << 20)).contains("no profile"));
    let huge = collapsed(&format!("main {0}\nmain {0}\n", i64::MAX));
    assert!(wrong(html(&huge, 1 << 20)).contains("64 bits"));
}

#[test]
fn a_profile_without_samples_is_an_empty_graph() {
    let mut interner = Interner::new();
    let at = frames::build::location(&mut interner, "idle", "", 0, 0);
    let mut rows = frames::build::Rows {
        sample_types: vec![ValueType::default()],
        ..Default::default()
    };
    rows.push(interner.stack(&[at]), Id::UNSET, &[0]);
    let profiles = frames::build::profiles(interner, vec![rows]);
    assert_eq!(picture(&profiles).matches("<rect").count(), 1);
    assert_eq!(sums_of_page(&data_of(&page(&profiles)), 0, 0), HashMap::new());
}
