//! Where the gate tells about itself: metrics and health, served until the process ends, also while everything else drains.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;

use super::RunError;
use crate::admin::{self, Overview, PipelineView};
use crate::config::{Config, ConfigErrors, Loaded};
use crate::extensions::health_check::HealthCheck;
use crate::extensions::zpages::Zpages;
use crate::extensions::{health_check, zpages};
use crate::kill::Switch;
use crate::ledger::Ledger;
use crate::net::auth::{ServerAuth, guard};
use crate::net::endpoint::{Endpoint, NotAnEndpoint};
use crate::net::server::{Listener, ServerSettings, serve};
use crate::net::tls::ServerTls;
use crate::pipeline::compute::Compute;
use crate::pipeline::recent::Ring;
use crate::pipeline::spec::{BuildError, RawConfig};
use crate::pipeline::{Budget, Common, Readiness, Running, Stop};

/// One page and where it is served.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Key that names the endpoint.
    key: String,
    endpoint: Endpoint,
    what: What,
    tls: Option<ServerTls>,
    /// What it was made of: equal pages go on through a reload.
    raw: RawConfig,
}

impl PartialEq for Page {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.endpoint, &self.raw) == (&other.key, &other.endpoint, &other.raw)
    }
}

#[derive(Clone, Debug)]
enum What {
    Metrics,
    Health { path: String },
    Zpages { auth: Option<ServerAuth> },
}

impl What {
    const fn name(&self) -> &'static str {
        match self {
            Self::Metrics => "/metrics, /ready and /live",
            Self::Health { .. } => "the health check",
            Self::Zpages { .. } => "/debug",
        }
    }
}

/// The pages that a configuration asks for.
pub(super) fn of(loaded: &Loaded, config: &Config) -> Result<Vec<Page>, ConfigErrors> {
    let mut pages = Vec::new();
    if let Some((address, key)) = config.service.telemetry.metrics.endpoint() {
        let wrong = |error: NotAnEndpoint| {
            let path: Vec<&str> = key.split('.').collect();
            loaded.error_at(&path, error.to_string())
        };
        pages.push(Page {
            key: key.to_owned(),
            endpoint: address.parse().map_err(wrong)?,
            what: What::Metrics,
            tls: None,
            raw: RawConfig::Null,
        });
    }
    for extension in &config.extensions {
        let raw = extension.raw.clone();
        let read = match extension.type_name {
            name if name == health_check::SPEC.about.name => {
                HealthCheck::read(raw).map(|(endpoint, path, tls)| (endpoint, What::Health { path }, tls))
            }
            name if name == zpages::SPEC.about.name => {
                Zpages::read(raw).map(|(endpoint, auth, tls)| (endpoint, What::Zpages { auth }, tls))
            }
            // authenticators work where they are named
            _ => continue,
        };
        let wrong = |error: BuildError| loaded.error_at(&["extensions", &extension.id], error.message);
        let (endpoint, what, tls) = read.map_err(wrong)?;
        pages.push(Page {
            key: format!("extensions.{}.endpoint", extension.id),
            endpoint,
            what,
            tls,
            raw: extension.raw.clone(),
        });
    }
    Ok(pages)
}

/// What runs, by name.
fn overview(config: &Config) -> Overview {
    let pipelines = config.pipelines.iter().map(|(id, pipeline)| PipelineView {
        id: id.clone(),
        receivers: pipeline.receivers.clone(),
        processors: pipeline.processors.clone(),
        exporters: pipeline.exporters.clone(),
    });
    Overview {
        pipelines: pipelines.collect(),
        extensions: config.extensions.iter().map(|extension| extension.id.clone()).collect(),
    }
}

/// What the pages tell about.
pub(super) struct Sources {
    pub(super) common: Common,
    pub(super) budget: Budget,
    pub(super) started: Instant,
    pub(super) overview: Arc<ArcSwap<Overview>>,
    pub(super) switch: Arc<Switch>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) rings: Arc<ArcSwap<Vec<Arc<Ring>>>>,
    pub(super) compute: Compute,
}

impl Sources {
    /// From now on this configuration runs.
    pub(super) fn show(&self, config: &Config, running: &Running) {
        self.overview.store(Arc::new(overview(config)));
        self.rings.store(Arc::new(running.rings()));
    }

    fn router(&self, page: &Page, readiness: &Readiness) -> Router {
        let readiness = readiness.clone();
        let router = match &page.what {
            // whoever asks for health learns yes or no
            What::Health { path } => return admin::health(path, readiness),
            What::Metrics => admin::metrics(self.common.metrics.clone(), self.budget.clone(), readiness),
            What::Zpages { auth } => {
                let pages = admin::zpages(admin::Watched {
                    overview: self.overview.clone(),
                    metrics: self.common.metrics.clone(),
                    budget: self.budget.clone(),
                    readiness,
                    started: self.started,
                    switch: self.switch.clone(),
                    ledger: self.ledger.clone(),
                    rings: self.rings.clone(),
                    show: super::recent::show,
                    compute: self.compute.clone(),
                });
                match auth {
                    Some(auth) => guard(pages, auth.clone(), |_| ()),
                    None => pages,
                }
            }
        };
        match page.endpoint.is_loopback() {
            true => admin::only_local(router),
            false => router,
        }
    }
}

/// The pages being served.
#[derive(Default)]
pub(super) struct Served(Vec<(Page, Stop)>);

/// Pages that have their ports and are not served yet; those without a listener are served already.
pub(super) struct Bound(Vec<(Page, Option<Listener>)>);

impl Served {
    /// Takes the ports of the pages that are not served yet. A busy port is an error and not a surprise.
    pub(super) async fn bind(&self, pages: &[Page]) -> Result<Bound, RunError> {
        let mut bound = Vec::with_capacity(pages.len());
        for page in pages {
            let served = self.0.iter().any(|(known, _)| known == page);
            let listener = match served {
                true => None,
                false => Some(
                    Listener::bind(&page.key, &page.endpoint)
                        .await
                        .map_err(|why| RunError::Listen {
                            key: page.key.clone(),
                            why,
                        })?,
                ),
            };
            bound.push((page.clone(), listener));
        }
        Ok(Bound(bound))
    }

    /// Serves these pages and no others.
    pub(super) fn serve(&mut self, bound: Bound, sources: &Sources, readiness: &Readiness) {
        let before = std::mem::take(&mut self.0);
        for (page, listener) in bound.0 {
            let Some(listener) = listener else {
                self.0.extend(before.iter().find(|(known, _)| *known == page).cloned());
                continue;
            };
            let addresses = listener.addresses();
            tracing::info!(?addresses, key = page.key, "serving {}", page.what.name());
            let router = sources.router(&page, readiness);
            let stop = Stop::new();
            let settings = ServerSettings {
                tls: page.tls.clone(),
                metrics: sources.common.metrics.server(&page.key.as_str().into()),
                ..ServerSettings::default()
            };
            tokio::spawn(serve(listener, router, stop.clone(), settings));
            self.0.push((page, stop));
        }
        for (page, stop) in before {
            if !self.0.iter().any(|(served, _)| *served == page) {
                stop.ask();
            }
        }
    }
}
