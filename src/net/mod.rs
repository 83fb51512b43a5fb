//! Servers and clients: one accept loop, one HTTP client.

pub mod client;
