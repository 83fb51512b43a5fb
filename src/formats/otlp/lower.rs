//! Makes profiles say what OTLP can say: fields of pprof become attributes, a repeated key an array, and a profile has samples of
//! one shape only.

use std::borrow::Cow;
use std::sync::Arc;

use super::lift::{COMMENT, DOC_URL, DROP_FRAMES, KEEP_FRAMES};
use crate::profile::{
    Attribute, AttributeId, AttributeSetId, Dictionary, Function, Observations, Profile, Profiles, ResourceProfiles,
    Samples, Series, StringId, Value,
};

/// The same profiles, compact, in the words of OTLP. Most need no more than a look.
pub(super) fn lower(profiles: &Profiles) -> Cow<'_, Profiles> {
    let mut profiles = Cow::Borrowed(profiles);
    if !profiles.is_compact() {
        profiles.to_mut().compact();
    }
    if is_sayable(&profiles) {
        return profiles;
    }
    let changed = profiles.to_mut();
    let (dictionary, resources) = changed.edit();
    mend_lines(dictionary);
    fold_repeated_keys(dictionary, resources);
    for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
        let mut lowered = Vec::with_capacity(scope.profiles.len());
        for mut profile in std::mem::take(&mut scope.profiles) {
            fields_to_attributes(dictionary, &mut profile);
            lowered.extend(by_shape(profile));
        }
        scope.profiles = lowered;
    }
    // what was replaced goes, and what became equal becomes one
    changed.compact();
    profiles
}

fn is_sayable(profiles: &Profiles) -> bool {
    let d = profiles.dictionary();
    d.functions
        .rows()
        .iter()
        .all(|f| *f == Function::default() || (is_named(f) && f.start_line >= 0))
        && d.lines.items().iter().all(|l| l.line >= 0 && l.column >= 0)
        && !d.attribute_sets.ids().any(|set| has_repeated_key(d, set))
        && profiles
            .iter()
            .all(|p| !has_pprof_fields(p.profile) && Shapes::of(&p.profile.samples).is_one())
}

fn is_named(function: &Function) -> bool {
    function.name.is_set() || function.system_name.is_set() || function.filename.is_set()
}

fn has_pprof_fields(profile: &Profile) -> bool {
    !profile.comments.is_empty()
        || profile.drop_frames.is_set()
        || profile.keep_frames.is_set()
        || profile.doc_url.is_set()
}

/// Line numbers start at 1, 0 being unknown; a function without any name is none.
fn mend_lines(dictionary: &mut Dictionary) {
    for function in dictionary.functions.rows_mut() {
        if is_named(function) {
            function.start_line = function.start_line.max(0);
        } else {
            *function = Function::default();
        }
    }
    for line in dictionary.lines.items_mut() {
        line.line = line.line.max(0);
        line.column = line.column.max(0);
    }
}

/// Sets of compact profiles are sorted by key.
fn has_repeated_key(dictionary: &Dictionary, set: AttributeSetId) -> bool {
    let key = |id: &AttributeId| dictionary.attributes[*id].key;
    dictionary.attribute_sets[set]
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if key(a) == key(b)))
}

fn fold_repeated_keys(dictionary: &mut Dictionary, resources: &mut [ResourceProfiles]) {
    let sets: Vec<AttributeSetId> = dictionary.attribute_sets.ids().collect();
    let mut folded = Vec::with_capacity(sets.len());
    for set in &sets {
        folded.push(match has_repeated_key(dictionary, *set) {
            true => fold(dictionary, *set),
            false => *set,
        });
    }
    if folded == sets {
        return;
    }
    let new = |set: &mut AttributeSetId| *set = folded.get(set.index()).copied().unwrap_or(*set);
    dictionary
        .mappings
        .rows_mut()
        .iter_mut()
        .for_each(|row| new(&mut row.attributes));
    dictionary
        .locations
        .rows_mut()
        .iter_mut()
        .for_each(|row| new(&mut row.attributes));
    for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
        for profile in &mut scope.profiles {
            new(&mut profile.attributes);
            Arc::make_mut(&mut profile.samples).attributes.iter_mut().for_each(new);
        }
    }
}

fn fold(dictionary: &mut Dictionary, set: AttributeSetId) -> AttributeSetId {
    let rows: Vec<(AttributeId, Attribute)> = dictionary.attribute_sets[set]
        .iter()
        .map(|id| (*id, dictionary.attributes[*id].clone()))
        .collect();
    let mut list = Vec::with_capacity(rows.len());
    for same_key in rows.chunk_by(|(_, a), (_, b)| a.key == b.key) {
        match same_key {
            [(id, _)] => list.push(*id),
            [(_, first), ..] => list.push(dictionary.attributes.push(Attribute {
                key: first.key,
                value: Value::Array(same_key.iter().map(|(_, row)| row.value.clone()).collect()),
                unit: first.unit,
            })),
            [] => {}
        }
    }
    dictionary.attribute_sets.push(&list)
}

/// The fields that only pprof has, as attributes. One of the same key that was there before gives way.
fn fields_to_attributes(dictionary: &mut Dictionary, profile: &mut Profile) {
    if !has_pprof_fields(profile) {
        return;
    }
    let comments = profile.comments.drain(..).map(Value::String).collect::<Box<[Value]>>();
    let text = |field: &mut StringId| Value::String(std::mem::take(field));
    let fields = [
        (!comments.is_empty(), COMMENT, Value::Array(comments)),
        (
            profile.drop_frames.is_set(),
            DROP_FRAMES,
            text(&mut profile.drop_frames),
        ),
        (
            profile.keep_frames.is_set(),
            KEEP_FRAMES,
            text(&mut profile.keep_frames),
        ),
        (profile.doc_url.is_set(), DOC_URL, text(&mut profile.doc_url)),
    ];
    let mut list = dictionary.attribute_sets[profile.attributes].to_vec();
    for (is_set, key, value) in fields {
        if !is_set {
            continue;
        }
        list.retain(|id| dictionary.str(dictionary.attributes[*id].key) != key);
        let key = dictionary.strings.push(key);
        let unit = StringId::UNSET;
        list.push(dictionary.attributes.push(Attribute { key, value, unit }));
    }
    profile.attributes = dictionary.attribute_sets.push(&list);
}

/// Which of the three shapes that OTLP knows occur among samples.
#[derive(Default)]
struct Shapes {
    /// One value.
    totals: bool,
    /// A value for each timestamp.
    series: bool,
    /// Timestamps, each of which counts 1.
    events: bool,
    /// Several values without timestamps, which only their sum can stand for.
    unsummed: bool,
}

impl Shapes {
    fn of(samples: &Samples) -> Self {
        let mut shapes = Self::default();
        let Observations::Series(series) = &samples.observations else {
            shapes.totals = true;
            return shapes;
        };
        for row in 0..samples.len() {
            match (series.values(row), series.timestamps(row)) {
                ([], [_, ..]) => shapes.events = true,
                (_, [_, ..]) => shapes.series = true,
                ([_], []) => shapes.totals = true,
                (_, []) => shapes.unsummed = true,
            }
        }
        shapes
    }

    fn is_one(&self) -> bool {
        !self.unsummed && u8::from(self.totals) + u8::from(self.series) + u8::from(self.events) <= 1
    }
}

/// The profile, or the one of its totals and the one of its timestamps: no single profile should mix them.
fn by_shape(profile: Profile) -> Vec<Profile> {
    let shapes = Shapes::of(&profile.samples);
    let Observations::Series(series) = &profile.samples.observations else {
        return vec![profile];
    };
    if shapes.is_one() {
        return vec![profile];
    }
    let samples = &profile.samples;
    let is_timed = |row: &usize| !series.timestamps(*row).is_empty();
    let (timed, untimed): (Vec<usize>, Vec<usize>) = (0..samples.len()).partition(is_timed);
    let mut parts = Vec::new();
    if !timed.is_empty() {
        let mut filled = Series::default();
        for row in &timed {
            match series.values(*row) {
                [] if shapes.series => {
                    let ones = vec![1; series.timestamps(*row).len()];
                    filled.push(&ones, series.timestamps(*row));
                }
                values => filled.push(values, series.timestamps(*row)),
            }
        }
        parts.push((timed, Observations::Series(filled)));
    }
    if !untimed.is_empty() {
        let totals = untimed.iter().map(|row| series.total(*row)).collect();
        parts.push((untimed, Observations::Totals(totals)));
    }
    let types = profile.sample_types.len();
    parts
        .into_iter()
        .enumerate()
        .map(|(i, (rows, observations))| Profile {
            samples: Arc::new(Samples {
                observations,
                ..samples.pick(types, &rows)
            }),
            // an id names one profile
            ids: if i == 0 { profile.ids.clone() } else { Vec::new() },
            original_payload: profile.original_payload.clone().filter(|_| i == 0),
            ..profile.clone()
        })
        .collect()
}
