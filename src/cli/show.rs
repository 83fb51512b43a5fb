//! `components`, `print-config`, `schema`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{ConfigArgs, Failure, Markup, print};
use crate::app::{self, CATALOG};
use crate::config::{self, Kind};
use crate::pipeline::spec::{About, Stability};

/// What `components` takes.
#[derive(Args)]
pub struct ComponentsArgs {
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    format: TableFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum TableFormat {
    Text,
    Yaml,
    Json,
}

/// What `print-config` takes.
#[derive(Args)]
pub struct PrintArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whether secrets are shown, and what came from the environment
    #[arg(long, value_enum, default_value = "redacted")]
    mode: Mode,
    /// How to show it
    #[arg(long, value_enum, default_value = "yaml")]
    format: Markup,
    /// Checks the configuration as well
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    validate: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Redacted,
    Unredacted,
}

/// Shows what is built in.
pub fn components(args: &ComponentsArgs) -> Result<(), Failure> {
    let format = match args.format {
        TableFormat::Text => return print(&table()),
        TableFormat::Yaml => Markup::Yaml,
        TableFormat::Json => Markup::Json,
    };
    let rows = |kind: Kind| {
        let row = |about: &&About| {
            json!({ "name": about.name, "aliases": about.aliases, "summary": about.summary,
                    "stability": stability(about), "signals": about.signals })
        };
        CATALOG.rows(kind).iter().map(row).collect::<Vec<_>>()
    };
    let all = json!({
        "buildinfo": { "command": "flamegate", "version": env!("CARGO_PKG_VERSION") },
        "receivers": rows(Kind::Receiver),
        "processors": rows(Kind::Processor),
        "exporters": rows(Kind::Exporter),
        "extensions": rows(Kind::Extension),
    });
    let text = match format {
        Markup::Yaml => serde_saphyr::to_string(&all).map_err(|error| error.to_string()),
        Markup::Json => serde_json::to_string_pretty(&all)
            .map(|text| text + "\n")
            .map_err(|error| error.to_string()),
    };
    print(&text.map_err(Failure::Trouble)?)
}

fn table() -> String {
    let all = || Kind::ALL.into_iter().flat_map(|kind| CATALOG.rows(kind));
    let widest = all().map(|about| about.name.len()).max().unwrap_or_default();
    let signals = all()
        .map(|about| about.signals.join(", ").len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for kind in Kind::ALL {
        text.push_str(&format!("{}\n", kind.section()));
        for about in CATALOG.rows(kind) {
            let aliases = match about.aliases {
                [] => String::new(),
                aliases => format!(" (also {})", aliases.join(", ")),
            };
            text.push_str(&format!(
                "  {:<widest$}  {:<6}  {:<signals$}  {}{aliases}\n",
                about.name,
                stability(about),
                about.signals.join(", "),
                about.summary,
            ));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The word for how far users may lean on a component.
pub fn stability(about: &About) -> &'static str {
    match about.stability {
        Stability::Alpha => "alpha",
        Stability::Beta => "beta",
        Stability::Stable => "stable",
    }
}

/// Shows the merged configuration.
pub fn print_config(args: &PrintArgs) -> Result<(), Failure> {
    let loaded = app::load(&args.config.sources()?).map_err(|error| Failure::No(error.to_string()))?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    if args.validate {
        app::check(&loaded).map_err(|error| Failure::No(error.to_string()))?;
    }
    let tree = match args.mode {
        Mode::Redacted => loaded.redacted(&CATALOG),
        Mode::Unredacted => loaded.tree,
    };
    let text = match args.format {
        Markup::Yaml => config::to_yaml(&tree),
        Markup::Json => config::to_json(&tree).map(|text| text + "\n"),
    };
    print(&text.map_err(Failure::Trouble)?)
}

/// Writes the JSON Schema of the configuration.
pub fn schema() -> Result<(), Failure> {
    print(&format!("{:#}\n", config::schema(&CATALOG)))
}
