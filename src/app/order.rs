//! Processors that stand in an order in which one of them does less than its reader may think.

use crate::config::{Config, Loaded};

/// Types of which the first do less in front of the others, and why.
const TOO_EARLY: [(&[&str], &[&str], &str); 2] = [
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
];

/// A warning for each processor that stands too early in a pipeline.
pub(super) fn too_early(loaded: &Loaded, config: &Config) -> Vec<String> {
    let type_of = |id: &str| {
        let processor = config.processors.iter().find(|processor| processor.id == id);
        processor.map_or("", |processor| processor.type_name)
    };
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
