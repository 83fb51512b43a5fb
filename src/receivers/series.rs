//! The labels that a Pyroscope client names its profiles with, and their way into the model.
//!
//! | label | becomes |
//! |---|---|
//! | `service_name`, else `service.name`, else the application's name | resource attribute `service.name` |
//! | `__name__`, `__session_id__`, the query's `spyName` | profile attributes `pyroscope.name`, `pyroscope.session_id`, `pyroscope.spy` |
//! | any other that begins with `__` | nothing: `__sampled__` from outside would hide data at the backend |
//! | the rest | resource attribute of the same key |

use std::collections::BTreeMap;

use crate::profile::{Attribute, Dictionary, Id, KeyValue, Profiles, ResourceProfiles, Value};

/// Labels of one series, those that are repeated or left out among them; more are refused.
const MAX_LABELS: usize = 1_024;
/// About what a label takes beside its text: two allocations, and its place in a map.
const LABEL_BYTES: usize = 192;

/// What a client says about the profiles it sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    app: String,
    service_name: String,
    service_dot_name: String,
    /// Profile attributes, by key.
    own: Vec<(&'static str, String)>,
    /// Resource attributes, by key.
    labels: BTreeMap<String, String>,
    /// How often a label was added.
    added: usize,
}

/// Text that does not name a series. It never quotes what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SeriesError {
    #[error("an application name is missing; write my.app or my.app{{key=value}}")]
    NoName,
    #[error("an application name may hold 0-9 a-z A-Z _ . - / only")]
    Name,
    #[error("labels begin with {{, end with }} and are written key=value, with commas between them")]
    Braces,
    #[error("a label name is empty or holds more than 0-9 a-z A-Z _ .")]
    Label,
    #[error("more than {MAX_LABELS} labels")]
    TooMany,
}

impl Series {
    /// Reads `my.app{key=value,other=value}`. Values are neither quoted nor escaped; blanks around keys and values go.
    pub(super) fn parse(text: &str) -> Result<Self, SeriesError> {
        let text = text.trim();
        let (app, labels) = match text.split_once('{') {
            None => (text, ""),
            Some((app, rest)) => (app, rest.strip_suffix('}').ok_or(SeriesError::Braces)?),
        };
        let app = app.trim();
        if app.is_empty() {
            return Err(SeriesError::NoName);
        }
        if !app.bytes().all(|b| is_name_byte(b) || b == b'-' || b == b'/') {
            return Err(SeriesError::Name);
        }
        let mut series = Self {
            app: app.to_owned(),
            ..Self::default()
        };
        for label in labels.split(',').map(str::trim).filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').ok_or(SeriesError::Braces)?;
            let name = name.trim();
            if name.is_empty() || !name.bytes().all(is_name_byte) {
                return Err(SeriesError::Label);
            }
            series.label(name, value.trim())?;
        }
        Ok(series)
    }

    /// Adds a label; the last one of a name counts.
    pub(super) fn label(&mut self, name: &str, value: &str) -> Result<(), SeriesError> {
        if self.added == MAX_LABELS {
            return Err(SeriesError::TooMany);
        }
        self.added += 1;
        match name {
            "" => return Err(SeriesError::Label),
            "service_name" => self.service_name = value.to_owned(),
            "service.name" => self.service_dot_name = value.to_owned(),
            "__name__" => self.say("pyroscope.name", value),
            "__session_id__" => self.say("pyroscope.session_id", value),
            _ if name.starts_with("__") => {}
            _ => {
                self.labels.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// What a label takes, here and in each profile that it is written into.
    pub(super) fn label_bytes(name: &str, value: &str) -> usize {
        LABEL_BYTES + name.len() + value.len()
    }

    /// About the bytes that it adds to a profile.
    pub(super) fn heap_bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| (name.as_str(), value));
        let own = self.own.iter().map(|(name, value)| (*name, value));
        let all = labels.chain(own).map(|(name, value)| Self::label_bytes(name, value));
        all.sum::<usize>() + Self::label_bytes("service.name", self.service())
    }

    /// Adds an attribute of the profiles themselves.
    pub(super) fn say(&mut self, key: &'static str, value: &str) {
        self.own.retain(|(known, _)| *known != key);
        if !value.is_empty() {
            self.own.push((key, value.to_owned()));
        }
    }

    /// Whether the profiles themselves were given an attribute.
    pub(super) fn says(&self, key: &str) -> bool {
        self.own.iter().any(|(known, _)| *known == key)
    }

    /// The name in front of the labels.
    pub(super) fn app(&self) -> &str {
        &self.app
    }

    /// Puts another name in front of the labels.
    pub(super) fn rename(&mut self, app: &str) {
        app.clone_into(&mut self.app);
    }

    /// The service that it is of; empty if it does not say.
    pub(super) fn service(&self) -> &str {
        let names = [&self.service_name, &self.service_dot_name, &self.app];
        names
            .into_iter()
            .find(|name| !name.is_empty())
            .map_or("", String::as_str)
    }

    /// Writes it into profiles just decoded: what the client says wins over what the payload says.
    pub(super) fn write_to(&self, profiles: &mut Profiles) {
        let (dictionary, resources) = profiles.edit();
        let mut labels = Vec::with_capacity(self.labels.len() + 1);
        if !self.service().is_empty() {
            labels.push(attribute(dictionary, "service.name", self.service()));
        }
        for (key, value) in &self.labels {
            labels.push(attribute(dictionary, key, value));
        }
        let own: Vec<_> = self
            .own
            .iter()
            .map(|(key, value)| attribute(dictionary, key, value))
            .collect();
        for resource in resources {
            put(dictionary, &mut resource.attributes, &labels);
            mark(dictionary, resource, &own);
        }
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

fn attribute(dictionary: &mut Dictionary, key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: dictionary.strings.push(key),
        value: Value::String(dictionary.strings.push(value)),
    }
}

fn put(dictionary: &Dictionary, attributes: &mut Vec<KeyValue>, new: &[KeyValue]) {
    let replaced = |old: &KeyValue| new.iter().any(|kv| dictionary.str(kv.key) == dictionary.str(old.key));
    attributes.retain(|old| !replaced(old));
    attributes.extend_from_slice(new);
}

fn mark(dictionary: &mut Dictionary, resource: &mut ResourceProfiles, own: &[KeyValue]) {
    if own.is_empty() {
        return;
    }
    let ids: Vec<_> = own
        .iter()
        .map(|kv| {
            dictionary.attributes.push(Attribute {
                key: kv.key,
                value: kv.value.clone(),
                unit: Id::UNSET,
            })
        })
        .collect();
    for profile in resource.scopes.iter_mut().flat_map(|scope| &mut scope.profiles) {
        let mut set = dictionary.attribute_sets[profile.attributes].to_vec();
        set.extend_from_slice(&ids);
        profile.attributes = dictionary.attribute_sets.push(&set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, collapsed};
    use crate::receivers::testing::{profile_attributes, resource};

    #[test]
    fn names_carry_labels() {
        let series = Series::parse(" my.app-1/x { region = eu west , k8s.pod.name=a=b,,} ").unwrap();
        assert_eq!(series.app(), "my.app-1/x");
        let labels = [("region", "eu west"), ("k8s.pod.name", "a=b")];
        assert_eq!(series.labels, labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(Series::parse("app{}"), Series::parse("app"));
        for (text, error) in [
            ("", SeriesError::NoName),
            ("{a=b}", SeriesError::NoName),
            ("a b", SeriesError::Name),
            ("app{a=b", SeriesError::Braces),
            ("app{a}", SeriesError::Braces),
            ("app{a-b=c}", SeriesError::Label),
            ("app{=c}", SeriesError::Label),
        ] {
            assert_eq!(Series::parse(text), Err(error), "{text}");
        }
        let different: String = (0..=MAX_LABELS).map(|i| format!("l{i}=v,")).collect();
        for many in [
            different,
            "l=v,".repeat(MAX_LABELS + 1),
            "__l=v,".repeat(MAX_LABELS + 1),
        ] {
            assert_eq!(Series::parse(&format!("app{{{many}}}")), Err(SeriesError::TooMany));
        }
    }

    #[test]
    fn labels_find_their_places_in_the_model() {
        let mut profiles = collapsed::decode(b"main;work 3\n", &Limits::default())
            .unwrap()
            .profiles;
        let name =
            "app{region=eu,region=us,__name__=process_cpu,__session_id__=01ab,__sampled__=true,service.name=dot}";
        let mut series = Series::parse(name).unwrap();
        series.say("pyroscope.spy", "gospy");
        series.write_to(&mut profiles);
        let pairs = |map: std::collections::BTreeMap<String, String>| -> Vec<String> {
            map.into_iter().map(|(k, v)| format!("{k}={v}")).collect()
        };
        assert_eq!(pairs(resource(&profiles)), ["region=us", "service.name=dot"]);
        assert_eq!(
            pairs(profile_attributes(&profiles)),
            [
                "pyroscope.name=process_cpu",
                "pyroscope.session_id=01ab",
                "pyroscope.spy=gospy"
            ]
        );
        series.label("service_name", "wins").unwrap();
        series.write_to(&mut profiles);
        assert_eq!(pairs(resource(&profiles)), ["region=us", "service.name=wins"]);
    }
}
