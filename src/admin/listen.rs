//! Listening and serving, for pages about the gate itself.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::{TcpListener, lookup_host};

/// Sockets that listen; nothing is answered yet.
#[derive(Debug)]
pub struct Listening(Vec<TcpListener>);

/// Listens on an address. `localhost` means 127.0.0.1 and ::1, on the same port, as far as the host has both.
pub async fn bind(address: &str) -> io::Result<Listening> {
    let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    let is_local = address.starts_with("localhost:");
    if !is_local {
        addresses.truncate(1);
    }
    let mut listeners: Vec<TcpListener> = Vec::new();
    for mut address in addresses {
        // port 0: the second socket takes the port that the first one got
        if let Some(first) = listeners.first() {
            address.set_port(first.local_addr()?.port());
        }
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            // a host without IPv6
            Err(_) if !listeners.is_empty() => {}
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && is_local => {}
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    Ok(Listening(listeners))
}

impl Listening {
    /// The first address, for the log.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.first().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until the process ends: health is asked for also while everything else drains.
    pub fn serve(self, pages: &Router) {
        for listener in self.0 {
            let pages = pages.clone();
            tokio::spawn(async move {
                // accept errors are retried inside; it never ends by itself
                let _ = axum::serve(listener, pages).await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_free_port_is_taken_and_a_busy_one_is_an_error() {
        let listening = bind("localhost:0").await.unwrap();
        let port = listening.address().unwrap().port();
        assert_ne!(port, 0);
        let error = bind(&format!("127.0.0.1:{port}")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
