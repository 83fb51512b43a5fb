//! Where the gate tells about itself: metrics and health, served until the process ends, also while everything else drains.

use std::sync::Arc;

use super::RunError;
use crate::admin;
use crate::config::{Config, ConfigError, ConfigErrors, Loaded};
use crate::net::endpoint::{Endpoint, NotAnEndpoint};
use crate::net::server::{Listener, ServerSettings, serve};
use crate::pipeline::{Budget, Readiness, Stop};
use crate::telemetry::Metrics;

/// One page and where it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Key that names the endpoint.
    key: &'static str,
    endpoint: Endpoint,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Metrics,
    Health { path: String },
}

/// The pages that a configuration asks for.
pub(super) fn of(loaded: &Loaded, config: &Config) -> Result<Vec<Page>, ConfigErrors> {
    let page = |address: &str, key: &'static str, what: What| match address.parse() {
        Ok(endpoint) => Ok(Page { key, endpoint, what }),
        Err(NotAnEndpoint) => {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            Err(ConfigError::new(loaded.place_of(&path), key, NotAnEndpoint.to_string()))
        }
    };
    let mut pages = Vec::new();
    if let Some((address, key)) = config.service.telemetry.metrics.endpoint() {
        pages.push(page(&address, key, What::Metrics)?);
    }
    if let Some(health) = &config.health_check {
        let path = health.path.clone();
        pages.push(page(
            &health.endpoint,
            "extensions.health_check.endpoint",
            What::Health { path },
        )?);
    }
    Ok(pages)
}

/// What the pages tell about.
pub(super) struct Sources {
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Budget,
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
                    Listener::bind(page.key, &page.endpoint)
                        .await
                        .map_err(|why| RunError::Listen {
                            key: page.key.to_owned(),
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
            let router = match &page.what {
                What::Metrics => {
                    tracing::info!(?addresses, "metrics on /metrics");
                    admin::metrics(sources.metrics.clone(), sources.budget.clone())
                }
                What::Health { path } => {
                    tracing::info!(?addresses, path, "health check");
                    admin::health(path, readiness.clone())
                }
            };
            let stop = Stop::new();
            let settings = ServerSettings {
                metrics: sources.metrics.server(&page.key.into()),
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
