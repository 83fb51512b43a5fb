//! A component as metrics and readiness name it, and what kind of data goes through it.

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

/// A kind of data, which has pipelines and numbers of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Profiles.
    #[default]
    Profiles,
    /// Spans of traces.
    Traces,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Profiles, Self::Traces];

    /// The name, as pipelines begin with.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Profiles => "profiles",
            Self::Traces => "traces",
        }
    }

    /// What is counted, so that nothing vanishes.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Profiles => "profiles",
            Self::Traces => "spans",
        }
    }

    /// That of a pipeline, `signal` or `signal/name`.
    pub fn of_pipeline(id: &str) -> Option<Self> {
        let label = id.split('/').next().unwrap_or_default();
        Self::ALL.into_iter().find(|signal| signal.label() == label)
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
