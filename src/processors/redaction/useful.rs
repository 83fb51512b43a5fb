//! Redaction leaves what people look at: names, files and labels of real programs.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::arguments::Arguments;
use super::detectors::{Detector, Detectors, Place};
use crate::formats::any;
use crate::profile::{Profiles, Role};

/// Whether the default policy would change a text in this part.
struct Judge(Detectors);

impl Judge {
    fn new() -> Self {
        Self(Detectors::new(Detector::DEFAULT).unwrap())
    }

    fn changes(&self, text: &str, role: Role) -> bool {
        let is_name = matches!(role, Role::FunctionName | Role::SystemName);
        let rewritten = is_name && Arguments::default().rewrite(text).is_some();
        rewritten || self.0.mask(text, Place::of(role), |_| {}).is_some()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}

/// Values of these keys are what redaction is for.
const PRIVATE_KEYS: &[&str] = &["user", "email", "session", "password", "token"];

/// Asks about every text of a profile; texts of labels that are private by their key are left out.
fn texts(profiles: &Profiles, mut ask: impl FnMut(Role, &str)) {
    let d = profiles.dictionary();
    let mut private = HashSet::new();
    for row in d.attributes.rows() {
        if PRIVATE_KEYS.iter().any(|key| d.str(row.key).contains(key))
            && let crate::profile::Value::String(id) = row.value
        {
            private.insert(id);
        }
    }
    profiles.strings_by_role(|role, id| {
        if id.is_set() && !(role == Role::LabelValue && private.contains(&id)) {
            ask(role, d.str(id));
        }
    });
}

#[test]
fn texts_of_real_profiles_stay() {
    let Some(corpus) = crate::testing::corpus() else { return };
    let judge = Judge::new();
    let mut seen: BTreeMap<Role, HashSet<String>> = BTreeMap::new();
    let mut changed: BTreeMap<Role, usize> = BTreeMap::new();
    let mut profiles = 0;
    for path in files(&corpus) {
        if path.to_string_lossy().contains("planted") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let Ok(read) = any::decode_any(bytes.into(), &Default::default()) else {
            continue;
        };
        profiles += 1;
        texts(&read.decoded.profiles, |role, text| {
            if !seen.entry(role).or_default().insert(text.to_owned()) || !judge.changes(text, role) {
                return;
            }
            println!("{}: {role:?} {text}", path.display());
            *changed.entry(role).or_default() += 1;
        });
    }
    assert!(profiles > 30, "{profiles}");
    for (role, texts) in seen {
        let changed = changed.get(&role).copied().unwrap_or(0);
        println!("{}: {changed} of {} changed", role.label(), texts.len());
        assert!(
            changed * 10_000 < texts.len().max(10_000),
            "{role:?}: {changed} of {}",
            texts.len()
        );
    }
}

/// `FLAMEGATE_NAMES` names a folder with texts of real programs, one a line: `names*` of functions (`nm -C`, `javap`, ...), `files*`
/// paths, `texts*` values. Gathered where the test runs; not part of the project.
#[test]
fn texts_of_real_programs_stay() {
    let Some(folder) = std::env::var_os("FLAMEGATE_NAMES").map(PathBuf::from) else {
        eprintln!("skipped: FLAMEGATE_NAMES names no folder");
        return;
    };
    let judge = Judge::new();
    for path in files(&folder) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let roles: &[Role] = match () {
            () if name.starts_with("names") => &[Role::FunctionName, Role::LabelValue],
            () if name.starts_with("files") => &[Role::SourceFile, Role::LabelValue],
            () if name.starts_with("texts") => &[Role::LabelValue],
            () => continue,
        };
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let lines: HashSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        for role in roles {
            let changed = lines.iter().filter(|line| judge.changes(line, *role)).count();
            println!("{name} as {}: {changed} of {} changed", role.label(), lines.len());
            assert!(
                changed * 10_000 < lines.len(),
                "{name} as {role:?}: {changed} of {}",
                lines.len()
            );
        }
    }
}
