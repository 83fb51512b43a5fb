//! `--dry-run`: everything is done but the sending. Receivers are told so, and leave what they read as it is.

use std::sync::Arc;

use async_trait::async_trait;

use crate::exporters;
use crate::pipeline::spec::{BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig};
use crate::pipeline::{Batch, Encoded, ExportError, Exporter, Sent, Signal};

/// The exporters, each without its last step.
pub fn exporters() -> Vec<ExporterSpec> {
    let quiet = |row: &ExporterSpec| ExporterSpec { build, ..*row };
    exporters::ALL.iter().map(quiet).collect()
}

/// Encodes as the exporter would, and sends nothing.
struct Quiet(Arc<dyn Exporter>);

fn build(raw: RawConfig, cx: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let type_name = cx.id.split('/').next().unwrap_or_default();
    let is = |row: &&ExporterSpec| row.about.name == type_name || row.about.aliases.contains(&type_name);
    let row = exporters::ALL
        .iter()
        .find(is)
        .ok_or_else(|| BuildError::at("", "unknown exporter"))?;
    let built = (row.build)(raw, cx)?;
    Ok(BuiltExporter {
        exporter: Arc::new(Quiet(built.exporter)),
        ..built
    })
}

#[async_trait]
impl Exporter for Quiet {
    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        self.0.encode(part)
    }

    fn check_signal(&self, signal: Signal) -> Result<(), BuildError> {
        self.0.check_signal(signal)
    }

    async fn export(&self, _: &Batch, _: Encoded) -> Result<Sent, ExportError> {
        Ok(Sent::default())
    }
}
