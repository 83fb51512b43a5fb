//! Whether what an exporter sends stays in the house. What leaves it must have passed redaction.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an exporter's backend stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// In the house: names may be read there.
    Internal,
    /// Outside: only what passed `redaction` may go there.
    External,
}

/// Names below which public DNS has nothing.
const PRIVATE_SUFFIXES: [&str; 7] = [
    "localhost",
    "local",
    "internal",
    "lan",
    "home.arpa",
    "svc",
    "cluster.local",
];

impl Boundary {
    /// What the host of an endpoint says, as it stands there: nothing is looked up. Outside is what might be outside.
    pub fn of_host(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_ascii_lowercase();
        let is_private = match host.parse::<IpAddr>() {
            Ok(address) => is_private_address(address),
            Err(_) => is_private_name(&host),
        };
        if is_private { Self::Internal } else { Self::External }
    }
}

fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_private_v4(address),
            None => is_private_v6(address),
        },
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // 100.64.0.0/10 stands behind the address translation of a carrier or a cloud
    let is_shared = first == 100 && (64..128).contains(&second);
    address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified() || is_shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let is_local = address.is_unique_local() || address.is_unicast_link_local();
    address.is_loopback() || address.is_unspecified() || is_local
}

/// Names that public DNS cannot hold.
fn is_private_name(host: &str) -> bool {
    let under = |suffix: &str| {
        let above = host.trim_end_matches('.').strip_suffix(suffix);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    };
    let is_single = !host.is_empty() && !host.contains('.') && !is_number(host);
    is_single || PRIVATE_SUFFIXES.iter().any(|suffix| under(suffix))
}

/// Resolvers take `134744072` and `0x08080808` for addresses.
fn is_number(host: &str) -> bool {
    host.starts_with(|first: char| first.is_ascii_digit())
        && host.chars().all(|letter| letter.is_ascii_hexdigit() || letter == 'x')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_public_dns_cannot_hold_and_addresses_of_the_house_are_internal() {
        for host in [
            "localhost",
            "LOCALHOST",
            "pyroscope",
            "backend-1",
            "gate.local",
            "profiles.internal",
            "profiles.Internal.",
            "nas.lan",
            "box.home.arpa",
            "pyroscope.monitoring.svc",
            "pyroscope.monitoring.svc.cluster.local",
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "[::1]",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
        ] {
            assert_eq!(Boundary::of_host(host), Boundary::Internal, "{host}");
        }
    }

    #[test]
    fn what_might_be_outside_is_external() {
        for host in [
            "",
            "otlp.example.com",
            "internal.example.com",
            "localhost.example.com",
            "mylocalhost.com",
            "xinternal.io",
            "pyroscope.monitoring",
            "ai.",
            "8.8.8.8",
            "134744072",
            "0x08080808",
            "8.8.2056",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "169.253.0.1",
            "[2001:db8::1]",
            "[64:ff9b::a00:1]",
            "[::ffff:8.8.8.8]",
        ] {
            assert_eq!(Boundary::of_host(host), Boundary::External, "{host}");
        }
    }
}
