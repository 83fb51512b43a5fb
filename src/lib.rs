//! Flamegate: the gate that profiles pass on their way to a backend.
//!
//! | module | is |
//! |---|---|
//! | [`profile`] | the model: dictionary, samples, compaction; no I/O, no wire format |
//! | [`formats`] | bytes to profiles and back, with limits |
//! | [`pipeline`] | the engine: batches, chain, fan-out, sinks, lifecycle |
//! | [`receivers`] [`processors`] [`exporters`] | the components; each `mod.rs` is the table of its kind |
//! | [`extensions`] | what stands beside the pipelines: health, pages, authenticators |
//! | [`net`] | servers, clients, authentication |
//! | [`config`] | YAML to component configuration |
//! | [`kill`] | the kill switch: who stops what, and until when |
//! | [`ledger`] | what a month costs by tenant and exporter, and what follows from it |
//! | [`telemetry`] | metric names, logs |
//! | [`admin`] | health, readiness, metrics over HTTP |
//! | [`app`] [`cli`] | the daemon and its command line |
//!
//! `docs/architecture.md` walks the path of a request; `tests/` holds the import rule.

// tests may decompress without a budget: see clippy.toml
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod exporters;
pub mod extensions;
pub mod formats;
pub mod kill;
pub mod ledger;
pub mod net;
pub mod pipeline;
pub mod processors;
pub mod profile;
pub mod receivers;
pub mod telemetry;
#[cfg(test)]
mod testing;
