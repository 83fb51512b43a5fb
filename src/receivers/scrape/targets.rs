//! Addresses and labels, as the configuration or a file has them, become targets.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use http::uri::Authority;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::formats::Limits;
use crate::net::auth::tenant;
use crate::net::client::Client;
use crate::receivers::pull::{Capture, Found, Target};
use crate::receivers::series::Series;

/// How targets are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A group of targets, as Prometheus has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Group {
    /// Each with its place in the file.
    pub targets: Vec<Spanned<String>>,
    pub labels: BTreeMap<String, String>,
}

/// Makes targets.
pub(super) struct Maker {
    pub scheme: Scheme,
    pub captures: Arc<[Capture]>,
    pub limits: Limits,
}

impl Maker {
    /// The target at an address with labels, of `tenant` unless they name one, asked by `client`. The error says what is wrong and
    /// quotes nothing.
    pub(super) fn target(
        &self,
        address: &str,
        labels: &BTreeMap<String, String>,
        tenant: &Arc<str>,
        client: &Client,
    ) -> Result<Target, &'static str> {
        let tenant = match labels.get("__tenant_id__") {
            None => tenant.clone(),
            Some(named) if tenant::is_tenant(named) => named.as_str().into(),
            Some(_) => return Err("the label `__tenant_id__` is no name of a tenant"),
        };
        let scheme = match labels.get("__scheme__").map(String::as_str) {
            None => self.scheme,
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) => return Err("the label `__scheme__` is neither http nor https"),
        };
        let instance = instance(scheme, address)?;
        let (labels, service) = self.identity(labels, &instance)?;
        Ok(Target {
            base: format!("{}://{instance}", scheme.name()).into(),
            labels,
            tenant,
            service,
            captures: self.captures.clone(),
            client: client.clone(),
        })
    }

    /// What is said of a target's profiles, and which service it is of. What begins with `__` is for whoever fetches.
    fn identity(&self, labels: &BTreeMap<String, String>, instance: &str) -> Result<(Series, Arc<str>), &'static str> {
        let (most_key, most_value) = (self.limits.label_key_bytes, self.limits.label_value_bytes);
        let said = |name: &str| labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let service = ["service_name", "service.name", "job"]
            .into_iter()
            .find_map(said)
            .unwrap_or_default();
        let instance = ["service.instance.id", "instance"]
            .into_iter()
            .find_map(said)
            .unwrap_or(instance);
        let taken = ["service_name", "service.name", "job", "service.instance.id", "instance"];
        let rest = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let rest = rest.filter(|(name, _)| !name.starts_with("__") && !taken.contains(name));
        let mut series = Series::default();
        for (count, (name, value)) in rest
            .chain([("service.name", service), ("service.instance.id", instance)])
            .enumerate()
        {
            if count >= self.limits.attributes {
                return Err("more labels than `limits.resource_attributes`");
            }
            if name.len() > most_key || value.len() > most_value {
                return Err("a label is longer than `limits.label_key_size` or `limits.label_value_size`");
            }
            series
                .label(name, value)
                .map_err(|_| "a label has no name, or there are too many")?;
        }
        Ok((series, service.into()))
    }
}

/// `host:port` in one form: lower case, and with the port that goes without saying.
fn instance(scheme: Scheme, address: &str) -> Result<String, &'static str> {
    const WRONG: &str = "not an address; write host:port, such as 10.1.2.3:6060 or [fd12::7]:6060";
    if address.contains(['@', '/', '?', '#']) {
        return Err(WRONG);
    }
    let authority: Authority = address.parse().map_err(|_| WRONG)?;
    let host = authority.host().to_ascii_lowercase();
    let after = address.get(host.len()..).unwrap_or_default();
    let port = match after.strip_prefix(':') {
        None if after.is_empty() => scheme.port(),
        None => return Err(WRONG),
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(WRONG)?,
    };
    match host.is_empty() {
        true => Err(WRONG),
        false => Ok(format!("{host}:{port}")),
    }
}

/// Targets one after the other: of one address the first counts, and there is a most.
pub(super) struct Roster {
    most: usize,
    bases: HashSet<Arc<str>>,
    pub found: Found,
}

impl Roster {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            bases: HashSet::new(),
            found: Found::default(),
        }
    }

    /// Takes a target in, or counts it among those that are left out; the error says why.
    pub(super) fn add(&mut self, target: Arc<Target>) -> Result<(), &'static str> {
        let left_out = match self.found.targets.len() < self.most {
            false => Some("there are as many as `max_targets` before it"),
            true if self.bases.insert(target.base.clone()) => None,
            true => Some("its address stands twice"),
        };
        match left_out {
            None => self.found.targets.push(target),
            Some(_) => self.found.left_out += 1,
        }
        left_out.map_or(Ok(()), Err)
    }

    /// Counts one that cannot be made a target.
    pub(super) fn leave_out(&mut self) {
        self.found.left_out += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Format, any};
    use crate::net::client::{ClientSettings, Protocol};
    use crate::receivers::testing::resource;

    fn make(address: &str, labels: &[(&str, &str)]) -> Result<Target, &'static str> {
        let maker = Maker {
            scheme: Scheme::Http,
            captures: Arc::new([]),
            limits: Limits::USUAL,
        };
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let client = Client::new(Protocol::Http, &ClientSettings::default()).unwrap();
        maker.target(address, &labels, &"shop".into(), &client)
    }

    #[test]
    fn addresses_are_hosts_with_ports_and_nothing_else() {
        for (address, scheme, base) in [
            ("10.0.0.1:6060", "http", "http://10.0.0.1:6060"),
            ("Shop.Example", "http", "http://shop.example:80"),
            ("shop", "https", "https://shop:443"),
            ("[fd12::7]:6060", "http", "http://[fd12::7]:6060"),
            ("[fd12::7]", "http", "http://[fd12::7]:80"),
        ] {
            assert_eq!(*make(address, &[("__scheme__", scheme)]).ok().unwrap().base, *base);
        }
        for address in [
            "",
            ":6060",
            "host:",
            "host:0",
            "host:70000",
            "http://host:6060",
            "unix:///run/x.sock",
            "/run/x.sock",
            "user:planted-token@host:6060",
            "host:6060/path",
            "host:60?x",
            "fd12::7",
            "a b:1",
            "host:6060\r\nx: y",
        ] {
            assert!(make(address, &[]).is_err(), "{address}");
        }
        for scheme in ["unix", "file", "HTTP", ""] {
            assert!(make("host:1", &[("__scheme__", scheme)]).is_err(), "{scheme}");
        }
    }

    #[test]
    fn labels_say_what_a_target_is() {
        let written = |labels: &[(&str, &str)]| {
            let target = make("h:1", labels).ok().unwrap();
            let mut profiles = any::decode_as(Format::Collapsed, b"main 1\n", &Limits::default())
                .unwrap()
                .profiles;
            target.labels.write_to(&mut profiles);
            let said = resource(&profiles)
                .into_iter()
                .map(|(key, value)| format!("{key}={value}"));
            (target.service.to_string(), said.collect::<Vec<_>>().join(" "))
        };
        let (service, said) = written(&[("job", "shop"), ("env", "prod"), ("__meta_x", "y"), ("__name__", "z")]);
        assert_eq!(
            (service.as_str(), said.as_str()),
            ("shop", "env=prod service.instance.id=h:1 service.name=shop")
        );
        let (service, said) = written(&[("job", "shop"), ("service_name", "cart"), ("instance", "pod-7")]);
        assert_eq!(
            (service.as_str(), said.as_str()),
            ("cart", "service.instance.id=pod-7 service.name=cart")
        );
        assert_eq!(written(&[]), (String::new(), "service.instance.id=h:1".to_owned()));
    }

    #[test]
    fn a_label_may_name_the_tenant() {
        let tenant = |labels: &[(&str, &str)]| make("h:1", labels).map(|target| target.tenant.to_string());
        assert_eq!(tenant(&[("job", "x")]).ok().as_deref(), Some("shop"));
        assert_eq!(tenant(&[("__tenant_id__", "team-a")]).ok().as_deref(), Some("team-a"));
        assert!(tenant(&[("__tenant_id__", "a/b")]).is_err() && tenant(&[("__tenant_id__", "")]).is_err());
    }

    #[test]
    fn labels_have_limits() {
        let long = "x".repeat(Limits::USUAL.label_value_bytes + 1);
        assert!(make("h:1", &[("env", &long)]).is_err() && make("h:1", &[(&long, "x")]).is_err());
        let many: Vec<String> = (0..Limits::USUAL.attributes).map(|label| format!("l{label}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|label| (label.as_str(), "x")).collect();
        assert!(make("h:1", &many).is_err());
    }

    #[test]
    fn of_one_address_the_first_target_counts_and_there_is_a_most() {
        let mut roster = Roster::new(2);
        for (address, job) in [("a:1", "x"), ("A:1", "y"), ("b:1", "z"), ("c:1", "x")] {
            let added = roster.add(Arc::new(make(address, &[("job", job)]).ok().unwrap()));
            assert_eq!(
                added.is_ok(),
                ["x", "z"].contains(&job) && address != "c:1",
                "{address}"
            );
        }
        roster.leave_out();
        let services: Vec<&str> = roster.found.targets.iter().map(|target| &*target.service).collect();
        assert_eq!((services, roster.found.left_out), (vec!["x", "z"], 3));
    }
}
