//! The real binary, from outside.

// helpers of tests may panic as tests do
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod aggregate;
mod audit;
mod auth;
mod boundary;
mod carriers;
mod cli;
mod collector;
mod conformance;
mod connections;
mod corpus;
mod daemon;
mod debug;
mod drain;
mod escrow;
mod fan_out;
mod files;
mod floods;
mod fuzzed;
mod graph;
mod grpc;
mod hostile;
mod house;
mod kill;
mod leaks;
mod ledger;
#[path = "../../src/testing/traces.rs"]
mod messages;
mod policy;
mod push;
mod quickstart;
mod rate_limit;
mod recordings;
mod redaction;
mod reduction;
mod refusals;
mod reload;
mod routing;
mod scan;
mod schema;
mod scrape;
mod secrets;
mod see_it;
mod services;
mod span_profiles;
mod support;
mod tls;
mod told_otlp;
mod told_pprof;
mod trace_join;
mod trace_links;
mod traces;
