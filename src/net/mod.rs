//! Servers and clients: one accept loop, one HTTP client.

pub mod auth;
pub mod body;
pub mod client;
pub mod endpoint;
pub mod files;
pub mod grpc;
mod refusals;
mod reload;
pub mod reply;
pub mod server;
mod sockets;
pub mod tls;

pub use refusals::tell_refusals;
