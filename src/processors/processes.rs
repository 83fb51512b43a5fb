//! Which process something is of, by what its resource says. Tracers and profilers describe one process in different words, so there are
//! several levels, and the strongest that both sides speak of decides.

use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::formats::otlp::spans::{self, ResourceSpans};
use crate::profile::{Dictionary, ResourceProfiles, Value};

/// What a process is told by: each a hash, with a key of this run, of a text or number that is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    tenant: Option<NonZeroU64>,
    said: [Option<NonZeroU64>; KEYS.len()],
}

const INSTANCE: usize = 0;
const CONTAINER: usize = 1;
const HOST_ID: usize = 2;
const HOST_NAME: usize = 3;
const PID: usize = 4;
const SERVICE: usize = 5;
const NAMESPACE: usize = 6;

/// The attributes that are looked at.
const KEYS: [&str; 7] = [
    "service.instance.id",
    "container.id",
    "host.id",
    "host.name",
    "process.pid",
    "service.name",
    "service.namespace",
];

impl Process {
    /// Of a resource of profiles.
    pub fn of_profiles(tenant: &str, d: &Dictionary, resource: &ResourceProfiles) -> Self {
        let mut process = Self::of_tenant(tenant);
        for attribute in &resource.attributes {
            match &attribute.value {
                Value::String(text) => process.hear(d.str(attribute.key).as_bytes(), d.str(*text).as_bytes()),
                Value::Int(number) => process.hear(d.str(attribute.key).as_bytes(), number.to_string().as_bytes()),
                _ => {}
            }
        }
        process
    }

    /// Of a resource of spans.
    pub fn of_spans(tenant: &str, resource: ResourceSpans<'_>) -> Self {
        let mut process = Self::of_tenant(tenant);
        for (key, value) in resource.attributes() {
            match value {
                spans::Value::Text(text) => process.hear(key, text),
                spans::Value::Int(number) => process.hear(key, number.to_string().as_bytes()),
                _ => {}
            }
        }
        process
    }

    fn of_tenant(tenant: &str) -> Self {
        Self {
            tenant: Some(hash(tenant.as_bytes())),
            said: Default::default(),
        }
    }

    /// The first that is said under a key counts.
    fn hear(&mut self, key: &[u8], value: &[u8]) {
        let known = KEYS.iter().position(|known| known.as_bytes() == key);
        if let Some(place) = known.and_then(|at| self.said.get_mut(at))
            && !value.is_empty()
        {
            place.get_or_insert_with(|| hash(value));
        }
    }

    /// Whether anything is said of it by which it can be told from others.
    pub fn is_known(&self) -> bool {
        let [instance, container, host_id, host_name, pid, service, _] = self.said;
        let host = pid.and(host_id.or(host_name));
        [instance, container, host, service].iter().any(Option::is_some)
    }

    /// Whether both are of one tenant.
    pub fn has_tenant_of(&self, other: &Self) -> bool {
        self.tenant == other.tenant
    }

    /// Whether both are one process of one tenant, as far as they say: by the instance; else the container; else host and number; else
    /// the service. A container goes before a number, because a program in it knows another one than the host does.
    pub fn is_same(&self, other: &Self) -> bool {
        let agree = |at: usize| match (self.said.get(at), other.said.get(at)) {
            (Some(Some(own)), Some(Some(others))) => Some(own == others),
            _ => None,
        };
        let host = || agree(PID).zip(agree(HOST_ID).or_else(|| agree(HOST_NAME)));
        let service = || agree(SERVICE).map(|name| name && agree(NAMESPACE).unwrap_or(true));
        // an instance is told from others of its service alone
        let instance = || agree(INSTANCE).map(|instance| instance && agree(SERVICE).unwrap_or(true));
        let by_level = instance()
            .or_else(|| agree(CONTAINER))
            .or_else(|| host().map(|(pid, host)| pid && host))
            .or_else(service);
        self.has_tenant_of(other) && by_level.unwrap_or(false)
    }

    /// What stands for its tenant.
    pub fn tenant(&self) -> u64 {
        self.tenant.map_or(0, NonZeroU64::get)
    }

    /// What stands for its service, among those of its tenant and others. Only one side may know the namespace, so that is no part of it.
    pub fn service(&self) -> u64 {
        KEY.hash_one((self.tenant, self.said.get(SERVICE)))
    }
}

/// So that nobody outside can make two texts of one hash.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

fn hash(text: &[u8]) -> NonZeroU64 {
    NonZeroU64::new(KEY.hash_one(text)).unwrap_or(NonZeroU64::MIN)
}

/// Each process once, as long as somebody has it.
#[derive(Debug, Default)]
pub struct Processes(HashTable<Arc<Process>>);

impl Processes {
    /// The one of a process; none if there are `most` others.
    pub fn of(&mut self, process: Process, most: usize) -> Option<Arc<Process>> {
        let hash = KEY.hash_one(&process);
        if let Some(known) = self.0.find(hash, |known| **known == process) {
            return Some(known.clone());
        }
        if self.0.len() >= most {
            return None;
        }
        let process = Arc::new(process);
        self.0
            .insert_unique(hash, process.clone(), |known| KEY.hash_one(&**known));
        Some(process)
    }

    /// Forgets those that nobody has any more.
    pub fn forget_unused(&mut self) {
        self.0.retain(|known| Arc::strong_count(known) > 1);
        self.0.shrink_to(self.0.len(), |known| KEY.hash_one(&**known));
    }

    /// Bytes held.
    pub fn heap_bytes(&self) -> usize {
        // the counts of an `Arc` stand beside what it has
        self.0.allocation_size() + self.0.len() * (size_of::<Process>() + 2 * size_of::<usize>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Limits;
    use crate::formats::otlp::Traces;
    use crate::formats::wire::Writer;
    use crate::profile::{Interner, KeyValue};

    fn profiled(tenant: &str, said: &[(&str, &str)]) -> Process {
        let mut interner = Interner::new();
        let attributes = said.iter().map(|(key, text)| KeyValue {
            key: interner.string(key),
            value: match text.parse() {
                Ok(number) => Value::Int(number),
                Err(_) => Value::String(interner.string(text)),
            },
        });
        let resource = ResourceProfiles {
            attributes: attributes.collect(),
            ..ResourceProfiles::default()
        };
        Process::of_profiles(tenant, &interner.finish(), &resource)
    }

    /// By spans all of it is text, as some tracers write numbers.
    fn traced(tenant: &str, said: &[(&str, &str)]) -> Process {
        let mut request = Writer::default();
        request.message(1, |of| {
            of.message(1, |resource| {
                for (key, text) in said {
                    resource.message(1, |attribute| {
                        attribute.bytes(1, key.as_bytes());
                        attribute.message(2, |value| value.bytes(1, text.as_bytes()));
                    });
                }
            });
        });
        let traces = Traces::new(request.finish().into(), &Limits::default()).unwrap();
        Process::of_spans(tenant, traces.resources().next().unwrap())
    }

    #[test]
    fn the_strongest_level_of_both_decides() {
        let shop = ("service.name", "shop");
        for (profile, span, same) in [
            (&[shop][..], &[shop][..], true),
            (&[shop], &[("service.name", "cart")], false),
            (&[shop], &[("host.id", "h"), ("process.pid", "7")], false),
            (&[shop, ("service.instance.id", "1")], &[shop], true),
            (
                &[shop, ("service.instance.id", "1")],
                &[shop, ("service.instance.id", "2")],
                false,
            ),
            (
                &[("service.instance.id", "a")],
                &[shop, ("service.instance.id", "a")],
                true,
            ),
            // numbers as numbers and as text
            (
                &[("host.id", "h"), ("process.pid", "7")],
                &[shop, ("host.id", "h"), ("process.pid", "7")],
                true,
            ),
            (
                &[("host.id", "h"), ("process.pid", "7")],
                &[("host.id", "h"), ("process.pid", "8")],
                false,
            ),
            (
                &[("host.id", "h"), ("process.pid", "7")],
                &[("host.id", "i"), ("process.pid", "7")],
                false,
            ),
            (
                &[("host.name", "n"), ("process.pid", "7")],
                &[("host.id", "i"), ("host.name", "n"), ("process.pid", "7")],
                true,
            ),
            (
                &[("host.name", "n"), ("process.pid", "7")],
                &[("host.id", "i"), ("process.pid", "7")],
                false,
            ),
            // in the container the number is another one
            (
                &[("container.id", "c"), ("host.id", "h"), ("process.pid", "7")],
                &[("container.id", "c"), ("host.id", "h"), ("process.pid", "1")],
                true,
            ),
            (&[shop, ("container.id", "c")], &[shop, ("container.id", "d")], false),
            (
                &[shop, ("service.namespace", "a")],
                &[shop, ("service.namespace", "b")],
                false,
            ),
            (
                &[shop, ("service.instance.id", "1")],
                &[("service.name", "cart"), ("service.instance.id", "1")],
                false,
            ),
            (&[shop, ("service.namespace", "a")], &[shop], true),
            (&[("service.name", "")], &[("service.name", "")], false),
            (&[], &[], false),
        ] {
            assert_eq!(
                profiled("t", profile).is_same(&traced("t", span)),
                same,
                "{profile:?} {span:?}"
            );
            assert_eq!(
                traced("t", span).is_same(&profiled("t", profile)),
                same,
                "{profile:?} {span:?}"
            );
            assert!(!profiled("t", profile).is_same(&traced("u", span)), "another tenant");
        }
    }

    #[test]
    fn a_process_is_known_by_one_level() {
        for (said, known) in [
            (&[("service.name", "shop")][..], true),
            (&[("container.id", "c")], true),
            (&[("host.name", "h"), ("process.pid", "7")], true),
            (&[("host.name", "h"), ("service.namespace", "n")], false),
            (&[("process.pid", "7")], false),
        ] {
            assert_eq!(profiled("t", said).is_known(), known, "{said:?}");
        }
    }

    #[test]
    fn processes_are_there_once_while_they_are_used() {
        let of = |name: usize| traced("t", &[("service.name", &format!("s{name}"))]);
        let mut processes = Processes::default();
        let kept: Vec<_> = (0..10).map(|n| processes.of(of(n), 10).unwrap()).collect();
        assert!(Arc::ptr_eq(&kept[3], &processes.of(of(3), 10).unwrap()));
        assert!(processes.of(of(10), 10).is_none());
        let full = processes.heap_bytes();
        drop(kept.into_iter().skip(1).collect::<Vec<_>>());
        processes.forget_unused();
        assert!(processes.heap_bytes() < full);
        assert!(processes.of(of(10), 10).is_some());
    }
}
