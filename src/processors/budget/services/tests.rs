//! What files of services may do to each other, which is nothing.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::pipeline::units::ByteSize;
use crate::processors::budget::config::Limits;
use crate::telemetry::Metrics;

const DEFAULT: Limits = Limits {
    target_hz: 99.0,
    bytes_per_s: 1.0,
    profiles_per_s: 1.0,
    burst: 1.0,
    weight: 1.0,
    keep_linked: true,
};

/// A directory that is looked at by hand.
struct Bench {
    folder: TempDir,
    directory: Directory,
    metrics: Arc<Metrics>,
}

impl Bench {
    fn new() -> Self {
        Self::within(&Bounds::default())
    }

    fn within(bounds: &Bounds) -> Self {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Arc::new(Metrics::default()));
        let directory = Directory {
            path: folder.path().to_owned(),
            bounds: bounds.clone(),
            processor: "budget".into(),
            metrics: metrics.service_files(&"budget".into()),
            current: Arc::default(),
            state: Mutex::default(),
        };
        Self {
            folder,
            directory,
            metrics,
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // beside it first: a new inode, whatever the clock of the file system
        let new = path.with_extension("next");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// The rates after as many looks as a change takes.
    fn rates(&self) -> Vec<f64> {
        self.directory.look();
        self.directory.look();
        let rules = self.directory.current.load();
        rules.iter().map(|rule| rule.limits(&DEFAULT).target_hz).collect()
    }

    fn wrongs(&self) -> Vec<String> {
        let state = self.directory.state();
        let files = state.files.iter();
        let root = format!("{}/", self.folder.path().display());
        let fault = |(path, file): (&PathBuf, &Known)| Some(file.fault(path)?.replace(&root, ""));
        files.filter_map(fault).collect()
    }
}

fn service(name: &str, hz: f64) -> String {
    format!("match: {{ service.name: {name} }}\ntarget_hz: {hz}\n")
}

#[test]
fn files_count_in_the_order_of_their_names_wherever_they_lie() {
    let bench = Bench::new();
    bench.write("zebra.yaml", &service("zebra", 1.0));
    bench.write("team-a/service.yaml", &service("a", 2.0));
    bench.write("team-a/batch.yml", &service("b", 3.0));
    bench.write("checkout.yaml", &service("checkout", 4.0));
    for passed_by in [
        ".hidden.yaml",
        "..data/service.yaml",
        "notes.txt",
        "team-a/deeper/service.yaml",
    ] {
        bench.write(passed_by, &service("x", 7.0));
    }
    assert_eq!(bench.rates(), [4.0, 3.0, 2.0, 1.0]);
    assert_eq!(bench.wrongs(), [""; 0]);
}

#[test]
fn a_change_is_taken_when_two_looks_find_it_and_a_file_that_goes_takes_its_rule_along() {
    let bench = Bench::new();
    bench.write("a.yaml", &service("a", 5.0));
    assert_eq!(bench.rates(), [5.0]);
    bench.write("a.yaml", &service("a", 6.0));
    bench.directory.look();
    let rates = |bench: &Bench| {
        bench
            .directory
            .current
            .load()
            .first()
            .map(|rule| rule.limits(&DEFAULT).target_hz)
    };
    assert_eq!(rates(&bench), Some(5.0), "half written, for all we know");
    bench.directory.look();
    assert_eq!(rates(&bench), Some(6.0));
    fs::remove_file(bench.folder.path().join("a.yaml")).unwrap();
    bench.directory.look();
    assert_eq!(rates(&bench), Some(6.0), "moved away to be put back, for all we know");
    assert_eq!(bench.rates(), [0.0; 0]);
    assert!(bench.directory.state().files.is_empty());
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_place_and_costs_nobody_else_anything() {
    let bench = Bench::new();
    bench.write("good.yaml", &service("good", 1.0));
    bench.write("other.yaml", &service("other", 2.0));
    assert_eq!(bench.rates(), [1.0, 2.0]);
    for (text, told) in [
        (
            "match: { service.name: other }\ntarget_hz: fast\n",
            "other.yaml:2:12: target_hz: ",
        ),
        ("match: { service.name: other }\ntarget_h: 5\n", "other.yaml:2:11: "),
        ("target_hz: 5\n", "other.yaml: missing field `match`"),
        ("match: {}\n", "other.yaml:1:8: an empty match"),
        (
            "match: { service.name: { regex: '(' } }\n",
            "other.yaml:1:8: match.resource.service.name",
        ),
        ("match: { sample.thread: x }\n", "other.yaml:1:8: match"),
        (
            "match: { service.name: a }\ntarget_hz: -1\n",
            "other.yaml:2:12: target_hz: a rate is",
        ),
        ("match: [\n", "other.yaml:"),
        ("- a\n- b\n", "other.yaml:1:1: "),
        ("", "other.yaml"),
        ("just words", "other.yaml:1:1: "),
    ] {
        bench.write("other.yaml", text);
        assert_eq!(bench.rates(), [1.0, 2.0], "{text}: the last good rule stays");
        let wrongs = bench.wrongs();
        assert!(wrongs.len() == 1 && wrongs[0].starts_with(told), "{text}: {wrongs:?}");
        bench.directory.tell();
        let line = "flamegate_service_files{processor=\"budget\",state=\"wrong\"} 1";
        assert!(bench.metrics.text().contains(line));
    }
    // one that was never good has no rule, and is told once
    bench.write("third.yaml", "match: 5\n");
    assert_eq!(bench.rates(), [1.0, 2.0]);
    bench.directory.tell();
    bench.directory.look();
    assert_eq!(bench.directory.state().news, []);
    bench.write("other.yaml", &service("other", 3.0));
    fs::remove_file(bench.folder.path().join("third.yaml")).unwrap();
    assert_eq!(bench.rates(), [1.0, 3.0]);
    assert_eq!(bench.wrongs(), [""; 0]);
}

#[test]
fn numbers_stay_within_the_bounds_of_the_platform() {
    let mut bounds = Bounds::default();
    bounds.target_hz.max = Some(50.0);
    bounds.bytes_per_s.min = Some(ByteSize(1_000));
    let bench = Bench::within(&bounds);
    bench.write(
        "greedy.yaml",
        "match: { service.name: greedy }\ntarget_hz: 1000\nbytes_per_s: 10\n",
    );
    bench.write("modest.yaml", &service("modest", 10.0));
    assert_eq!(bench.rates(), [50.0, 10.0]);
    let bytes = bench.directory.current.load()[0].limits(&DEFAULT).bytes_per_s;
    assert_eq!(bytes, 1_000.0);
    let held = News::Held("greedy.yaml".into(), vec!["target_hz", "bytes_per_s"]);
    let told = || {
        bench
            .directory
            .state()
            .news
            .iter()
            .filter(|news| **news == held)
            .count()
    };
    assert_eq!(told(), 1);
    let line = "flamegate_service_numbers_held_total{processor=\"budget\",number=\"target_hz\"} 1";
    assert!(bench.metrics.text().contains(line));
    assert_eq!(bench.rates(), [50.0, 10.0], "and is not said again");
    assert_eq!(told(), 1);
}

#[test]
fn of_two_files_about_the_same_the_first_counts_until_it_is_gone() {
    let bench = Bench::new();
    bench.write("b.yaml", &service("shop", 2.0));
    assert_eq!(bench.rates(), [2.0]);
    bench.write("a.yaml", &service("shop", 1.0));
    assert_eq!(bench.rates(), [1.0]);
    assert_eq!(bench.wrongs(), ["b.yaml: about the same as a.yaml, which counts"]);
    fs::remove_file(bench.folder.path().join("a.yaml")).unwrap();
    assert_eq!(bench.rates(), [2.0]);
    assert_eq!(bench.wrongs(), [""; 0]);
}

#[test]
fn a_config_map_is_swapped_as_a_whole() {
    let bench = Bench::new();
    let root = bench.folder.path();
    let version = |name: &str, hz: f64| {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("shop.yaml"), service("shop", hz)).unwrap();
    };
    version("..2026_01", 1.0);
    symlink("..2026_01", root.join("..data")).unwrap();
    symlink("..data/shop.yaml", root.join("shop.yaml")).unwrap();
    assert_eq!(bench.rates(), [1.0]);
    version("..2026_02", 2.0);
    symlink("..2026_02", root.join("..next")).unwrap();
    fs::rename(root.join("..next"), root.join("..data")).unwrap();
    fs::remove_dir_all(root.join("..2026_01")).unwrap();
    assert_eq!(bench.rates(), [2.0]);
}

#[test]
fn links_lead_nowhere_else_and_nothing_is_read_without_end() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.yaml"), "hunter2: hunter2\n").unwrap();
    symlink(outside.path().join("secret.yaml"), bench.folder.path().join("a.yaml")).unwrap();
    symlink("nowhere", bench.folder.path().join("b.yaml")).unwrap();
    bench.write("c.yaml", &"#".repeat(1 << 17));
    let pipe = std::ffi::OsString::from(bench.folder.path().join("d.yaml"));
    rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o600.into()).unwrap();
    bench.write("e.yaml", &service("e", 5.0));
    assert_eq!(bench.rates(), [5.0]);
    let expected = [
        "a.yaml: a link that leads out of the directory",
        "b.yaml: a link that leads nowhere",
        "c.yaml: larger than 65536 bytes",
        "d.yaml: not a file",
    ];
    assert_eq!(bench.wrongs(), expected);
}

#[test]
fn a_directory_that_cannot_be_looked_at_changes_nothing() {
    let bench = Bench::new();
    bench.write("a.yaml", &service("a", 5.0));
    assert_eq!(bench.rates(), [5.0]);
    let away = bench.folder.path().with_extension("away");
    fs::rename(bench.folder.path(), &away).unwrap();
    assert_eq!(bench.rates(), [5.0]);
    assert!(
        bench
            .directory
            .state()
            .trouble
            .as_ref()
            .is_some_and(|why| why.contains("no such file"))
    );
    fs::rename(&away, bench.folder.path()).unwrap();
    assert_eq!(bench.rates(), [5.0]);
    assert_eq!(bench.directory.state().trouble, None);
    // more files than anybody means
    for n in 0..=MOST_FILES {
        fs::write(bench.folder.path().join(format!("n{n}.yaml")), "").unwrap();
    }
    assert_eq!(bench.rates(), [5.0]);
    assert!(
        bench
            .directory
            .state()
            .trouble
            .as_ref()
            .is_some_and(|why| why.contains("more than 1024 files"))
    );
}

#[test]
fn who_opens_a_directory_has_its_rules_at_once_and_hears_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), service("a", 5.0)).unwrap();
    fs::write(folder.path().join("b.yaml"), "match: 7\n").unwrap();
    let cx = BuildContext::new("budget", Arc::default());
    let services = Services::open(folder.path(), &Bounds::default(), &cx).unwrap();
    assert_eq!(services.current().len(), 1);
    let [doubt] = services.doubts() else {
        panic!("{:?}", services.doubts())
    };
    assert!(
        doubt.path == "services_dir" && doubt.message.contains("b.yaml:1:8"),
        "{doubt}"
    );
    let missing = Services::open(&folder.path().join("none"), &Bounds::default(), &cx).unwrap();
    assert!(missing.current().is_empty() && missing.doubts().len() == 1);
    assert!(Services::open(Path::new(""), &Bounds::default(), &cx).is_err());
}
