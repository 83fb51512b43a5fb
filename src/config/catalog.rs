//! The tables of components, as the configuration sees them.

use crate::pipeline::spec::{
    About, BuildContext, BuildError, ExporterSpec, ExtensionSpec, ProcessorSpec, RawConfig, ReceiverSpec,
};

/// What is built in.
#[derive(Clone, Copy)]
pub struct Catalog {
    /// Every receiver.
    pub receivers: &'static [ReceiverSpec],
    /// Every processor.
    pub processors: &'static [ProcessorSpec],
    /// Every exporter.
    pub exporters: &'static [ExporterSpec],
    /// Every extension.
    pub extensions: &'static [ExtensionSpec],
}

/// A kind of component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Brings profiles in.
    Receiver,
    /// Changes them.
    Processor,
    /// Takes them out.
    Exporter,
    /// Stands beside them.
    Extension,
}

impl Kind {
    /// All of them: what pipelines are made of in the order of the data's way, then the extensions.
    pub const ALL: [Self; 4] = [Self::Receiver, Self::Processor, Self::Exporter, Self::Extension];

    /// Its section of the configuration.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Receiver => "receivers",
            Self::Processor => "processors",
            Self::Exporter => "exporters",
            Self::Extension => "extensions",
        }
    }

    /// The word for one of them.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Processor => "processor",
            Self::Exporter => "exporter",
            Self::Extension => "extension",
        }
    }
}

impl Catalog {
    /// The rows of one kind.
    pub fn rows(&self, kind: Kind) -> Vec<&'static About> {
        match kind {
            Kind::Receiver => self.receivers.iter().map(|row| &row.about).collect(),
            Kind::Processor => self.processors.iter().map(|row| &row.about).collect(),
            Kind::Exporter => self.exporters.iter().map(|row| &row.about).collect(),
            Kind::Extension => self.extensions.iter().map(|row| &row.about).collect(),
        }
    }

    /// The row of a type name or of one of its aliases.
    pub fn row(&self, kind: Kind, type_name: &str) -> Option<&'static About> {
        self.rows(kind)
            .into_iter()
            .find(|about| about.name == type_name || about.aliases.contains(&type_name))
    }

    /// Builds a component and throws it away: nothing is bound or connected, everything is checked.
    pub fn check(&self, kind: Kind, type_name: &str, raw: RawConfig, cx: &BuildContext) -> Result<(), BuildError> {
        let is = |about: &About| about.name == type_name;
        match kind {
            Kind::Receiver => match self.receivers.iter().find(|row| is(&row.about)) {
                Some(row) => (row.build)(raw, cx).map(drop),
                None => Ok(()),
            },
            Kind::Processor => match self.processors.iter().find(|row| is(&row.about)) {
                Some(row) => (row.build)(raw, cx).map(drop),
                None => Ok(()),
            },
            Kind::Exporter => match self.exporters.iter().find(|row| is(&row.about)) {
                Some(row) => (row.build)(raw, cx)?.sink.check(),
                None => Ok(()),
            },
            Kind::Extension => match self.extensions.iter().find(|row| is(&row.about)) {
                Some(row) => (row.check)(raw, cx),
                None => Ok(()),
            },
        }
    }
}
