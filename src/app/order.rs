//! Processors that stand where one of them does less than its reader may think.

use crate::config::{Component, Config, Loaded};
use crate::telemetry::Signal;

/// Types of which the first do less in front of the others, and why.
const TOO_EARLY: [(&[&str], &[&str], &str); 6] = [
    (
        &["compact"],
        &["downsample"],
        "what is left of a profile has no raw counts any more, and `downsample` lets it pass as it is: put `downsample` in front",
    ),
    (
        &["downsample", "compact", "budget"],
        &["trace_links", "trace_join"],
        "links are not known yet, so samples that get one are left out like any: put what makes links in front",
    ),
    (
        &["span_profiles"],
        &["trace_links", "trace_join"],
        "links are not known yet, so spans that only a link will name count as spans without samples: put what makes links in front",
    ),
    (
        &["span_profiles"],
        &["filter", "downsample", "compact", "budget"],
        "spans are told of samples that are left out behind it, and never arrive: put what leaves out samples in front",
    ),
    (
        &["aggregate"],
        &["span_profiles"],
        "profiles are held for longer than spans wait for them: put what notes their spans in front",
    ),
    (
        &["trace_join"],
        &["trace_links"],
        "links are not made yet, and nothing is told of their spans: put `trace_links` in front",
    ),
];

/// Types that work between pipelines of both kinds, and what comes of one that stands in one kind alone: of profiles, of traces.
const OF_BOTH_KINDS: [(&str, [&str; 2]); 2] = [
    (
        "span_profiles",
        [
            "it notes which spans have samples, and no pipeline of traces names it to tell them so",
            "it tells spans what samples they have, and no pipeline of profiles names it, so it never knows of any",
        ],
    ),
    (
        "trace_join",
        [
            "it looks for the spans of samples, and no pipeline of traces names it, so it never knows of any",
            "it remembers spans, and no pipeline of profiles names it to look for them",
        ],
    ),
];

/// A warning for each processor that stands too early in a pipeline, or lacks the pipeline that it works with.
pub(super) fn warnings(loaded: &Loaded, config: &Config) -> Vec<String> {
    let mut warnings = too_early(loaded, config);
    warnings.extend(alone(loaded, config));
    warnings.extend(behind_hashes(loaded, config));
    warnings
}

fn type_of<'a>(config: &'a Config, id: &str) -> &'a str {
    let processor = config.processors.iter().find(|processor| processor.id == id);
    processor.map_or("", |processor| processor.type_name)
}

fn alone(loaded: &Loaded, config: &Config) -> Vec<String> {
    let signal = |pipeline: &str| Signal::of_pipeline(pipeline).unwrap_or_default();
    let mut warnings = Vec::new();
    for (pipeline, of) in &config.pipelines {
        for id in &of.processors {
            let own = OF_BOTH_KINDS.iter().find(|(name, _)| *name == type_of(config, id));
            let Some((_, [in_profiles, in_traces])) = own else {
                continue;
            };
            let mut others = config
                .pipelines
                .iter()
                .filter(|(other, _)| signal(other) != signal(pipeline));
            if others.any(|(_, other)| other.processors.contains(id)) {
                continue;
            }
            let why = match signal(pipeline) {
                Signal::Profiles => in_profiles,
                Signal::Traces => in_traces,
            };
            let path = ["service", "pipelines", pipeline, "processors"];
            warnings.push(
                loaded
                    .error_at(&path, format!("`{id}` stands alone: {why}"))
                    .to_string(),
            );
        }
    }
    warnings
}

/// Whoever looks for spans finds none by hashes of their ids.
fn behind_hashes(loaded: &Loaded, config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (pipeline, of) in &config.pipelines {
        let named = |id: &String| config.processors.iter().find(|processor| processor.id == *id);
        let chain: Vec<&Component> = of.processors.iter().filter_map(named).collect();
        let hashes = |one: &Component| one.raw.get("labels").is_some_and(|labels| labels == "hash");
        let first = chain
            .iter()
            .position(|one| one.type_name == "trace_links" && hashes(one));
        let behind = chain.iter().skip(first.unwrap_or(chain.len()));
        for blind in behind.filter(|one| OF_BOTH_KINDS.iter().any(|(name, _)| one.type_name == *name)) {
            let path = ["service", "pipelines", pipeline, "processors"];
            let why = format!(
                "`{}` looks for spans by hashes of their ids, and finds none of them",
                blind.id
            );
            warnings.push(loaded.error_at(&path, why).to_string());
        }
    }
    warnings
}

fn too_early(loaded: &Loaded, config: &Config) -> Vec<String> {
    let type_of = |id: &str| type_of(config, id);
    let mut warnings = Vec::new();
    for (pipeline, of) in &config.pipelines {
        for (position, id) in of.processors.iter().enumerate() {
            let behind = of.processors.iter().skip(position + 1);
            for (_, late, why) in TOO_EARLY.iter().filter(|(early, ..)| early.contains(&type_of(id))) {
                if let Some(other) = behind.clone().find(|other| late.contains(&type_of(other))) {
                    let path = ["service", "pipelines", pipeline, "processors"];
                    let why = format!("`{id}` stands in front of `{other}`: {why}");
                    warnings.push(loaded.error_at(&path, why).to_string());
                }
            }
        }
    }
    warnings
}
