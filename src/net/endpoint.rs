//! Where a server listens: `host:port`, as the configuration has it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Address of a server. `localhost` means 127.0.0.1 and ::1, no host at all means every interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Text that is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an endpoint; write host:port, such as localhost:4318, [::1]:4318 or 0.0.0.0:4318")]
pub struct NotAnEndpoint;

/// An endpoint that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has it.
    #[error("{0} is in use, by another program or another part of this gate; stop that or choose another port")]
    Busy(Endpoint),
    /// The host has no address here.
    #[error("{endpoint} cannot be resolved: {source}")]
    Resolve {
        /// What was asked for.
        endpoint: Endpoint,
        /// Why not.
        source: io::Error,
    },
    /// Anything else: no right to the port, an address of another machine.
    #[error("cannot listen on {endpoint}: {source}")]
    Refused {
        /// What was asked for.
        endpoint: Endpoint,
        /// Why not.
        source: io::Error,
    },
}

impl std::str::FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        let (host, port) = text.trim().rsplit_once(':').ok_or(NotAnEndpoint)?;
        let host = match host.strip_prefix('[') {
            Some(inside) => {
                let inside = inside.strip_suffix(']').ok_or(NotAnEndpoint)?;
                inside.parse::<Ipv6Addr>().map_err(|_| NotAnEndpoint)?;
                inside
            }
            None if host.contains([':', '/', '@', ' ']) => return Err(NotAnEndpoint),
            None => host,
        };
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| NotAnEndpoint)?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Endpoint {
    /// Whether only this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// The sockets that listen on it: two for `localhost` where the machine has both families, else one.
    pub(super) async fn bind(&self) -> Result<Vec<TcpListener>, BindError> {
        match self.host.as_str() {
            "localhost" => self.bind_loopback().await,
            "" => self.bind_everywhere().await,
            host => {
                let address = match host.parse::<IpAddr>() {
                    Ok(address) => SocketAddr::new(address, self.port),
                    Err(_) => self.resolve(host).await?,
                };
                Ok(vec![self.bind_one(address).await?])
            }
        }
    }

    async fn bind_loopback(&self) -> Result<Vec<TcpListener>, BindError> {
        let v4 = self.bind_one((Ipv4Addr::LOCALHOST, self.port).into()).await;
        // port 0 is the system's choice, and the second socket takes the same one
        let port = match &v4 {
            Ok(listener) => listener.local_addr().map_or(self.port, |address| address.port()),
            Err(_) => self.port,
        };
        let v6 = self.bind_one((Ipv6Addr::LOCALHOST, port).into()).await;
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok(vec![v4, v6]),
            // whoever has one of the two would get a part of our traffic
            (Err(busy @ BindError::Busy(_)), _) => Err(busy),
            (Ok(_), Err(busy @ BindError::Busy(_))) if self.port != 0 => Err(busy),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(vec![one]),
            (Err(error), Err(_)) => Err(error),
        }
    }

    async fn bind_everywhere(&self) -> Result<Vec<TcpListener>, BindError> {
        let both = self.bind_one((Ipv6Addr::UNSPECIFIED, self.port).into()).await;
        match both {
            Err(BindError::Refused { .. }) => Ok(vec![self.bind_one((Ipv4Addr::UNSPECIFIED, self.port).into()).await?]),
            both => Ok(vec![both?]),
        }
    }

    async fn bind_one(&self, address: SocketAddr) -> Result<TcpListener, BindError> {
        TcpListener::bind(address).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::Busy(self.clone()),
            _ => self.refused(source),
        })
    }

    /// The error for a socket that the system does not give.
    pub(super) fn refused(&self, source: io::Error) -> BindError {
        BindError::Refused {
            endpoint: self.clone(),
            source,
        }
    }

    /// Whether the system chooses the port.
    pub(super) fn is_any_port(&self) -> bool {
        self.port == 0
    }

    async fn resolve(&self, host: &str) -> Result<SocketAddr, BindError> {
        let unresolved = |source| BindError::Resolve {
            endpoint: self.clone(),
            source,
        };
        let mut addresses = tokio::net::lookup_host((host, self.port)).await.map_err(unresolved)?;
        addresses
            .next()
            .ok_or_else(|| unresolved(io::Error::from(io::ErrorKind::NotFound)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_ports() {
        for text in ["localhost:4317", "0.0.0.0:1", "[::1]:80", ":4318", "gate.example.com:0"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        for text in [
            "",
            "localhost",
            "http://localhost:4318",
            "::1:80",
            "[::1:80",
            "[x]:80",
            "h:70000",
            "h:-1",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(NotAnEndpoint), "{text}");
        }
    }

    #[tokio::test]
    async fn localhost_is_both_families_on_one_port() {
        let endpoint: Endpoint = "localhost:0".parse().unwrap();
        let sockets = endpoint.bind().await.unwrap();
        let ports: Vec<u16> = sockets.iter().map(|s| s.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
        assert!(sockets.iter().all(|s| s.local_addr().unwrap().ip().is_loopback()));
    }

    #[tokio::test]
    async fn a_busy_port_is_named_whichever_family_has_it() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(taken) = TcpListener::bind(address).await else {
                eprintln!("skipped: no {address} on this machine");
                continue;
            };
            let port = taken.local_addr().unwrap().port();
            let endpoint: Endpoint = format!("localhost:{port}").parse().unwrap();
            let error = endpoint.bind().await.unwrap_err();
            assert!(matches!(error, BindError::Busy(_)), "{error}");
            assert!(error.to_string().contains(&format!("localhost:{port}")), "{error}");
        }
    }
}
