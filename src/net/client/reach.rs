//! Where a client may connect to. It is judged by the address, at the moment of connecting: whatever a name resolves to, now or
//! next time, what is not allowed is not reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower::{Service, ServiceExt};

use crate::net::auth::tenant::Network;

/// A wider network may well hold special addresses that nobody thought of.
const NARROW_BITS: u32 = 8;

/// The addresses that a client may connect to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// These alone, unless empty.
    pub allowed: Vec<Network>,
    /// Never these.
    pub denied: Vec<Network>,
    /// Whether loopback is among them where `allowed` is empty.
    pub loopback: bool,
}

/// An address that is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address that may not be connected to")]
pub(super) struct OutOfReach;

impl Reach {
    /// Whether an address may be connected to. Those that no service of one's own has (link-local ones, where clouds keep
    /// credentials, and their like) only if a network among those allowed is about them.
    pub fn holds(&self, address: IpAddr) -> bool {
        let meant = canonical(address);
        // a network may be written as what carries the address, or as what the address stands for
        let has = |network: &Network| network.contains(address) || network.contains(meant);
        if self.denied.iter().any(has) {
            return false;
        }
        if is_special(meant) {
            let about_it = |network: &&Network| network.bits() >= NARROW_BITS && is_special(network.address());
            return self.allowed.iter().filter(about_it).any(|one| one.contains(meant));
        }
        match self.allowed.as_slice() {
            [] => self.loopback || !meant.is_loopback(),
            allowed => allowed.iter().any(has),
        }
    }

    /// The same for what a URL leads to; names are judged when they are resolved.
    pub fn holds_url(&self, url: &str) -> bool {
        let uri: Option<Uri> = url.parse().ok();
        uri.as_ref()
            .and_then(Uri::host)
            .is_none_or(|host| self.holds_host(host))
    }

    /// The same for a host as a URL has it.
    pub(super) fn holds_host(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => self.holds(address),
            Err(_) => true,
        }
    }
}

/// The IPv4 address inside one of IPv6, where it stands for that.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else {
        return address.to_canonical();
    };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)).into();
    match [a, b, c, d, e, f] {
        // NAT64; that of one's own network too, if its prefix has 96 bits
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => v4(g, h),
        // SIIT
        [0, 0, 0, 0, 0xffff, 0] => v4(g, h),
        // 6to4
        [0x2002, high, low, ..] => v4(high, low),
        // compatible, given up long ago; ::1 and :: are none
        [0, 0, 0, 0, 0, 0] if g != 0 => v4(g, h),
        _ => v6.into(),
    }
}

/// Where clouds answer with credentials outside of the link-local networks.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets().first() == Some(&0)
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || METADATA_V6.contains(&v6)
        }
    }
}

/// Resolves names to addresses within reach.
#[derive(Clone)]
pub(super) struct Resolver {
    system: GaiResolver,
    reach: Option<Arc<Reach>>,
}

impl Resolver {
    pub(super) fn new(reach: Option<Arc<Reach>>) -> Self {
        Self {
            system: GaiResolver::new(),
            reach,
        }
    }

    async fn resolve(self, name: Name) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        let mut found: Vec<SocketAddr> = self.system.oneshot(name).await?.collect();
        if let Some(reach) = &self.reach
            && !found.is_empty()
        {
            found.retain(|address| reach.holds(address.ip()));
            if found.is_empty() {
                return Err(io::Error::other(OutOfReach));
            }
        }
        Ok(found.into_iter())
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(allowed: &[&str], denied: &[&str], loopback: bool) -> Reach {
        let networks = |texts: &[&str]| -> Vec<Network> {
            let parse = |text: &&str| serde_json::from_value(serde_json::json!(text)).unwrap();
            texts.iter().map(parse).collect()
        };
        Reach {
            allowed: networks(allowed),
            denied: networks(denied),
            loopback,
        }
    }

    fn holds(reach: &Reach, address: &str) -> bool {
        reach.holds(address.parse().unwrap())
    }

    #[test]
    fn where_clouds_keep_credentials_nobody_gets_by_chance() {
        let everywhere = ["0.0.0.0/0", "::/0", "100.0.0.0/8", "fd00::/8", "168.0.0.0/6"];
        for open in [reach(&[], &[], true), reach(&everywhere, &[], true)] {
            for address in [
                "169.254.169.254",
                "169.254.170.2",
                "::ffff:169.254.169.254",
                "::169.254.169.254",
                "::ffff:0:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::a9fe:a9fe",
                "64:ff9b:1:7:0:0:a9fe:a9fe",
                "2002:a9fe:a9fe::1",
                "fe80::1",
                "fd00:ec2::254",
                "fd20:ce::254",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "0.0.0.0",
                "0.1.2.3",
                "::",
                "224.0.0.1",
                "255.255.255.255",
                "ff02::1",
            ] {
                assert!(!holds(&open, address), "{address} with {:?}", open.allowed);
            }
            for address in ["10.1.2.3", "203.0.113.9", "fd12::7", "2001:db8::1", "127.0.0.1", "::1"] {
                assert!(holds(&open, address), "{address} with {:?}", open.allowed);
            }
        }
    }

    #[test]
    fn whoever_names_a_special_network_means_it() {
        let named = reach(
            &["169.254.0.0/16", "fe80::/10", "10.0.0.0/8"],
            &["169.254.169.254"],
            false,
        );
        assert!(holds(&named, "169.254.1.1") && holds(&named, "fe80::7") && holds(&named, "10.0.0.1"));
        assert!(!holds(&named, "169.254.169.254"), "what is denied stays denied");
        assert!(!holds(&named, "192.168.0.1") && !holds(&named, "127.0.0.1"));
    }

    #[test]
    fn networks_mean_addresses_however_these_are_written() {
        let wrapped = [
            "64:ff9b::a01:203",
            "64:ff9b:1::a01:203",
            "2002:a01:203::1",
            "::ffff:0:10.1.2.3",
        ];
        for (address, own) in wrapped
            .iter()
            .zip(["64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "::ffff:0:0:0/96"])
        {
            for network in [own, "10.0.0.0/8", "::ffff:10.0.0.0/104"] {
                assert!(!holds(&reach(&[], &[network], true), address), "{address} {network}");
                assert!(holds(&reach(&[network], &[], true), address), "{address} {network}");
            }
            assert!(holds(&reach(&[], &[], true), address) && !holds(&reach(&["fd00::/8"], &[], true), address));
        }
        assert!(holds(&reach(&["::ffff:10.0.0.0/104"], &[], true), "10.1.2.3"));
        assert!(!holds(
            &reach(&["64:ff9b::/96", "64:ff9b:1::/48"], &[], true),
            "64:ff9b::a9fe:a9fe"
        ));
        assert!(holds(&reach(&["::ffff:169.254.0.0/112"], &[], true), "169.254.1.1"));
    }

    #[test]
    fn loopback_is_reached_by_leave() {
        assert!(holds(&reach(&[], &[], true), "127.0.0.1"));
        let other = reach(&[], &[], false);
        assert!(!holds(&other, "127.0.0.1") && !holds(&other, "::ffff:127.9.9.9") && !holds(&other, "::1"));
        assert!(!holds(&other, "::ffff:0:127.0.0.1") && !holds(&other, "64:ff9b:1::7f00:1"));
        assert!(holds(&reach(&["127.0.0.0/8"], &[], false), "127.0.0.1"));
        assert!(!holds(&reach(&[], &["127.0.0.0/8"], true), "127.0.0.1"));
    }

    #[tokio::test]
    async fn a_name_leads_only_within_reach() {
        let resolve = |reach| Resolver::new(Some(Arc::new(reach))).resolve("localhost".parse().unwrap());
        let refused = resolve(reach(&["10.0.0.0/8"], &[], true)).await.unwrap_err();
        assert!(refused.get_ref().unwrap().is::<OutOfReach>(), "{refused}");
        assert!(resolve(reach(&[], &[], true)).await.unwrap().len() > 0);
        // of several addresses those that are allowed stay
        let v4: Vec<_> = resolve(reach(&["127.0.0.0/8"], &[], false)).await.unwrap().collect();
        assert!(!v4.is_empty() && v4.iter().all(SocketAddr::is_ipv4), "{v4:?}");
    }
}
