//! A component as metrics and readiness name it.

use std::fmt;
use std::sync::Arc;

/// What kind of component: ids are unique among those of one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Brings profiles in.
    Receiver,
    /// Changes them.
    Processor,
    /// Takes them out.
    Exporter,
    /// What holds the others together.
    Pipeline,
}

impl Kind {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Processor => "processor",
            Self::Exporter => "exporter",
            Self::Pipeline => "pipeline",
        }
    }

    /// The section of the configuration that it stands in.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Receiver => "receivers",
            Self::Processor => "processors",
            Self::Exporter => "exporters",
            Self::Pipeline => "pipelines",
        }
    }

    /// The component of this kind and id.
    pub fn named(self, id: impl Into<Arc<str>>) -> Component {
        Component {
            kind: self,
            id: id.into(),
        }
    }
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: Arc<str>,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.label(), self.id)
    }
}
