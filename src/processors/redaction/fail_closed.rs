//! What cannot be worked on whole does not pass, and leaves nothing of itself behind.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::escrow::Keep;
use super::*;
use crate::formats::{Decoded, Format, Limits, collapsed};
use crate::pipeline::chain::{Chain, Stage};
use crate::pipeline::component::Reason;
use crate::pipeline::{Origin, Permit, Readiness, Received};
use crate::profile::Role;
use crate::telemetry::Signal;
use crate::telemetry::audit::Settings;

const TEXT: &[u8] = b"main;plantedEXAMPLE.one;ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0;plantedEXAMPLE.two 7\n";

/// Panics at the second name, with the name as the message.
#[derive(Default)]
struct Breaking(AtomicUsize);

impl Keep for Breaking {
    fn keep(&self, _: Role, _: &str, name: &str) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) != 1, "{name}");
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn batch() -> Batch {
    let decoded = Decoded {
        exact: true,
        ..collapsed::decode(TEXT, &Limits::default()).unwrap()
    };
    let received = Received {
        format: Format::Collapsed,
        bytes: TEXT.into(),
    };
    Batch::profiles(decoded, received, Arc::new(Origin::local("test")), Permit::unlimited())
}

#[test]
fn a_panic_half_way_costs_the_batch_and_tells_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        path: folder.path().join("audit.jsonl"),
        max_bytes: 1 << 20,
        max_files: 1,
        fingerprint_key: Some(vec![7; 32]),
    };
    let metrics = Arc::new(Metrics::default());
    metrics.audit.configure(Some(&settings)).unwrap();
    let yaml =
        json!({ "frames": { "default": "hash" }, "pseudonyms": { "keys": [{ "id": "k1", "key": "k".repeat(32) }] } });
    let mut policy = Policy::new(parse(yaml).unwrap()).unwrap();
    let keeper: Arc<dyn Keep> = Arc::new(Breaking::default());
    policy.keep_names(&keeper);
    let processor = Box::new(Redaction {
        id: "redaction".into(),
        policy,
        metrics: metrics.clone(),
        escrow_directory: None,
    });
    let stage = Stage {
        id: "redaction".into(),
        processor,
        holds: false,
    };
    let chain = Chain::new(Signal::Profiles, vec![stage], metrics.clone(), Readiness::default());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let outcome = tracing::subscriber::with_default(subscriber, || chain.run(batch()));
    assert!(outcome.batches.is_empty() && outcome.refusal.is_none());
    assert_eq!((outcome.rejected, outcome.stayed[0].1), (1, Reason::Panic));
    chain.settle(&outcome);
    metrics.audit.flush();
    let trail = std::fs::read_to_string(&settings.path).unwrap();
    let line: Value = serde_json::from_str(trail.trim()).unwrap();
    assert_eq!(
        (&line["event"], &line["component"]),
        (&"refused".into(), &"redaction".into())
    );
    assert!(line["bytes"].as_u64() > Some(TEXT.len() as u64) && line["fingerprint"].as_str().map(str::len) == Some(20));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("processor panicked"), "{log}");
    let told = [log, trail, outcome.message.clone(), metrics.text()].concat();
    assert!(!told.contains("planted") && !told.contains("EXAMPLE"));

    // what was under way is no harm to the next one
    let outcome = chain.run(batch());
    let profiles = outcome.batches[0].as_profiles().unwrap();
    let texts = crate::formats::any::encode(Format::Collapsed, profiles, usize::MAX).unwrap();
    assert!(!String::from_utf8(texts).unwrap().contains("EXAMPLE"));
}

#[test]
fn a_tenant_that_the_policy_would_mask_is_refused_and_numbers_are_not() {
    let redaction = |yaml: Value| Redaction {
        id: "redaction".into(),
        policy: Policy::new(parse(yaml).unwrap()).unwrap(),
        metrics: Arc::default(),
        escrow_directory: None,
    };
    let now = Context {
        now: std::time::SystemTime::now(),
    };
    for (tenant, passes) in [
        ("default", true),
        ("team-a", true),
        ("4111111111111111", true),
        ("123e4567-e89b-12d3-a456-426614174000", true),
        ("ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0", false),
    ] {
        let decoded = collapsed::decode(b"main 1\n", &Limits::default()).unwrap();
        let origin = Origin {
            tenant: tenant.into(),
            ..Origin::local("test")
        };
        let batch = Batch::made(decoded.profiles, 1, Arc::new(origin), Permit::unlimited());
        match redaction(json!({})).process(batch.clone(), &now) {
            Verdict::Refuse(refusal) => {
                assert!(!passes && refusal.to_string().contains("github"), "{refusal}");
                assert!(!refusal.to_string().contains("EXAMPLE"));
            }
            _ => assert!(passes, "{tenant}"),
        }
        let counted = redaction(json!({ "dry_run": true })).process(batch, &now);
        assert!(matches!(counted, Verdict::Pass { .. }));
    }
}
