//! Redaction leaves what people look at: names, files and labels of real programs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::measures::Class;
use super::*;
use crate::formats::any;
use crate::profile::{Profile, Profiles, Role};

fn default() -> Policy {
    Policy::new(parse(serde_json::json!({})).unwrap()).unwrap()
}

/// Whether the policy changes a text in this part. Whose home directory it is, is not counted: that is private.
fn changes(policy: &Policy, text: &str, role: Role) -> bool {
    let masking = policy.measures.mask(text, Class::of(role));
    masking.is_some_and(|masking| masking.rules.iter().any(|rule| *rule != "paths"))
}

/// The readable profiles of the corpus that hold no planted secrets.
fn recordings(corpus: &Path) -> Vec<(PathBuf, Profiles)> {
    let mut read: Vec<(PathBuf, Profiles)> = Vec::new();
    for path in files(corpus) {
        if path.to_string_lossy().contains("planted") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if let Ok(recognised) = any::decode_any(bytes.into(), &Default::default()) {
            read.push((path, recognised.decoded.profiles));
        }
    }
    assert!(read.len() > 30, "{}", read.len());
    read
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
    let policy = default();
    let mut seen: BTreeMap<Role, HashSet<String>> = BTreeMap::new();
    let mut changed: BTreeMap<Role, usize> = BTreeMap::new();
    for (path, profiles) in recordings(&corpus) {
        texts(&profiles, |role, text| {
            if !seen.entry(role).or_default().insert(text.to_owned()) || !changes(&policy, text, role) {
                return;
            }
            println!("{}: {role:?} {text}", path.display());
            *changed.entry(role).or_default() += 1;
        });
    }
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

/// The names of the fifty functions that most of this type was measured in, and of the fifty below which most was.
fn heaviest<'p>(profiles: &'p Profiles, profile: &'p Profile, column: usize) -> HashSet<&'p str> {
    let d = profiles.dictionary();
    let (mut own, mut below): (HashMap<&str, i64>, HashMap<&str, i64>) = Default::default();
    let samples = &profile.samples;
    for row in 0..samples.len() {
        let total = samples.total(row, column, profile.sample_types.len());
        let lines = d.stacks[samples.stacks[row]]
            .iter()
            .flat_map(|location| &d.lines[*location]);
        let names: Vec<&str> = lines.map(|line| d.str(d.functions[line.function].name)).collect();
        if let Some(leaf) = names.first() {
            *own.entry(leaf).or_default() += total;
        }
        for name in names.into_iter().collect::<HashSet<&str>>() {
            *below.entry(name).or_default() += total;
        }
    }
    let most = |weights: HashMap<&'p str, i64>| {
        let mut ranked: Vec<(&str, i64)> = weights.into_iter().collect();
        ranked.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        ranked.into_iter().take(50).map(|(name, _)| name)
    };
    most(own).chain(most(below)).collect()
}

#[test]
fn the_heaviest_frames_of_every_profile_stay() {
    let Some(corpus) = crate::testing::corpus() else { return };
    let policy = default();
    let mut frames = 0;
    for (path, profiles) in recordings(&corpus) {
        for at in profiles.iter() {
            for column in 0..at.profile.sample_types.len() {
                for name in heaviest(&profiles, at.profile, column) {
                    frames += 1;
                    assert!(
                        !changes(&policy, name, Role::FunctionName),
                        "{}: {name}",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(frames > 3000, "{frames}");
}

/// `FLAMEGATE_NAMES` is a folder that `tests/names/gather.sh` filled.
#[test]
fn texts_of_real_programs_stay() {
    let Some(folder) = std::env::var_os("FLAMEGATE_NAMES").map(PathBuf::from) else {
        eprintln!("skipped: FLAMEGATE_NAMES names no folder");
        return;
    };
    let policy = default();
    let mut seen: BTreeMap<Role, HashSet<String>> = BTreeMap::new();
    for path in files(&folder) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let roles: &[Role] = match () {
            () if name.starts_with("names") => &[Role::FunctionName, Role::LabelValue],
            () if name.starts_with("files") => &[Role::SourceFile, Role::LabelValue],
            () if name.starts_with("texts") => &[Role::LabelValue],
            () => continue,
        };
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for role in roles {
            let lines = text.lines().filter(|line| !line.is_empty()).map(str::to_owned);
            seen.entry(*role).or_default().extend(lines);
        }
    }
    for (role, texts) in seen {
        let changed: Vec<&String> = texts.iter().filter(|text| changes(&policy, text, role)).collect();
        println!("{}: {} of {} changed", role.label(), changed.len(), texts.len());
        for text in &changed {
            println!("    {text}");
        }
        assert!(
            changed.len() * 10_000 < texts.len(),
            "{role:?}: {} of {}",
            changed.len(),
            texts.len()
        );
    }
}
