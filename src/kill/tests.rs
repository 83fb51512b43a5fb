//! The switch with a clock in the hand, and what it does about whatever it finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::*;
use crate::pipeline::Kills;
use crate::telemetry::Metrics;

const HOUR: Duration = Duration::from_secs(3_600);
const TTL: Duration = Duration::from_secs(4 * 3_600);

/// A switch over a folder of its own, and two clocks.
struct Bench {
    folder: tempfile::TempDir,
    kills: Kills,
    metrics: Arc<Metrics>,
    switch: Switch,
    now: Now,
}

fn settings(folder: &Path) -> Settings {
    Settings {
        file: Some(folder.join("kill.yaml")),
        storage: folder.join("state"),
        default_ttl: TTL,
        operators: Vec::new(),
        components: Default::default(),
        dry_run: false,
    }
}

impl Bench {
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), Now::read())
    }

    fn in_folder(folder: tempfile::TempDir, now: Now) -> Self {
        let (kills, metrics) = (Kills::default(), Arc::new(Metrics::default()));
        let switch = Switch::new(settings(folder.path()), kills.clone(), metrics.clone());
        switch.begin(now);
        Self {
            folder,
            kills,
            metrics,
            switch,
            now,
        }
    }

    /// The process ends, and the next one begins.
    fn restart(self) -> Self {
        let Self {
            folder, now, switch, ..
        } = self;
        drop(switch);
        Self::in_folder(folder, now)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("kill.yaml")
    }

    /// Both clocks go on.
    fn wait(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.steady += time;
        self.switch.look(self.now);
    }

    /// As many looks as it takes.
    fn settle(&mut self) {
        self.wait(EVERY);
        self.wait(EVERY);
    }

    fn write(&mut self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
        self.settle();
    }

    fn kill(&self, asked: serde_json::Value) -> Kill {
        let asked = serde_json::from_value(asked).unwrap();
        let (kill, stored) = self.switch.kill(asked, Source::Route, self.now).unwrap();
        stored.unwrap();
        kill
    }

    /// What is in force, in words.
    fn killed(&self) -> Vec<String> {
        let kills = self.switch.kills();
        assert_eq!(self.kills.is_any(), !kills.is_empty());
        let mut killed: Vec<String> = kills.iter().map(|kill| kill.what.to_string()).collect();
        killed.sort();
        killed
    }

    fn is_broken(&self, part: &str) -> bool {
        let line = format!("flamegate_kill_switch_broken{{part=\"{part}\"}} 1\n");
        self.metrics.text().contains(&line)
    }
}

#[test]
fn a_kill_expires_and_a_restart_does_not_lift_it() {
    let mut bench = Bench::new();
    bench.kill(json!({ "match": { "tenant": "shop" }, "for": "2h" }));
    bench.kill(json!({ "match": "all" }));
    bench.wait(HOUR);
    bench = bench.restart();
    assert_eq!(bench.killed(), ["everything", "tenant shop"]);
    bench.wait(HOUR);
    assert_eq!(bench.killed(), ["everything"], "the one that was for two hours is over");
    bench.wait(2 * HOUR);
    assert!(bench.killed().is_empty(), "the default is over");
    bench = bench.restart();
    assert!(bench.killed().is_empty());
}

#[test]
fn two_kills_that_overlap_are_lifted_one_by_one() {
    let bench = Bench::new();
    let (one, other) = (
        json!({ "match": { "service": "a*" } }),
        json!({ "match": { "service": "*" } }),
    );
    let (one, other) = (bench.kill(one), bench.kill(other));
    let lift = |kill: &Kill| bench.switch.lift(&kill.id, "ann", |_| true, bench.now);
    assert!(lift(&one).is_ok());
    assert_eq!(bench.killed(), ["service *"]);
    assert_eq!(lift(&one).unwrap_err(), NotLifted::Unknown);
    assert_eq!(
        bench.switch.lift(&other.id, "bob", |_| false, bench.now).unwrap_err(),
        NotLifted::Denied
    );
    assert!(lift(&other).is_ok());
    assert!(bench.killed().is_empty());
}

#[test]
fn a_clock_that_is_set_makes_no_kill_longer_or_shorter() {
    let mut bench = Bench::new();
    bench.kill(json!({ "match": "all", "for": "1h" }));
    bench.now.wall += 1_000 * HOUR;
    bench.wait(Duration::ZERO);
    assert_eq!(bench.killed().len(), 1, "the date jumped ahead");
    bench.now.wall -= 2_000 * HOUR;
    bench.wait(HOUR / 2);
    assert_eq!(bench.killed().len(), 1);
    // a process that begins with a clock that is far behind kills for no longer than was asked for
    bench = bench.restart();
    assert_eq!(bench.killed().len(), 1);
    bench.wait(HOUR);
    assert!(bench.killed().is_empty());
}

#[test]
fn a_date_in_the_file_is_meant_as_a_date() {
    let mut bench = Bench::new();
    let until = humantime::format_rfc3339_seconds(bench.now.wall + 2 * HOUR).to_string();
    bench.write(&format!("kills: [{{match: all, expires: {until}}}]"));
    assert_eq!(bench.killed(), ["everything"]);
    // the clock was behind, and is right now
    bench.now.wall += 3 * HOUR;
    bench.wait(Duration::ZERO);
    assert!(bench.killed().is_empty());
    // what is over is not begun anew by a clock that is set back
    bench.now.wall -= 3 * HOUR;
    bench.wait(Duration::ZERO);
    assert!(bench.killed().is_empty());
}

#[test]
fn a_kill_of_the_file_lasts_for_the_default_from_when_it_was_seen_first() {
    let mut bench = Bench::new();
    bench.write("kills: [{match: {receiver: otlp}, reason: why}, {match: {receiver: otlp}, reason: why}]");
    bench.wait(3 * HOUR);
    bench = bench.restart();
    assert_eq!(bench.killed(), ["receiver otlp"], "twice the same is one");
    bench.wait(HOUR);
    assert!(bench.killed().is_empty(), "a restart did not make it longer");
    bench.write("kills: [{match: {receiver: otlp}, reason: still}]");
    assert_eq!(bench.killed(), ["receiver otlp"], "written anew it is another one");
    std::fs::remove_file(bench.file()).unwrap();
    bench.settle();
    assert!(bench.killed().is_empty(), "no file, no kills");
}

#[test]
fn a_broken_file_keeps_the_kills_it_had_and_kills_everything() {
    let mut bench = Bench::new();
    bench.write("kills: [{match: {tenant: shop}}]");
    let big = format!("kills: []{}", " ".repeat(MOST_BYTES as usize));
    let many = format!("kills: [{}]", "{match: {tenant: a}},".repeat(MOST + 1));
    for broken in [
        "kills: [{match: {tenant: shop}}",
        "kills: [{match: {tennant: shop}}]",
        "kills: [{match: nothing}]",
        "kills: [{match: all, untill: x}]",
        "kills: [{match: all, expires: soon}]",
        "kills: [{match: all, for: 1h, expires: 2026-11-21T23:00:00Z}]",
        "kills: [{match: all, for: 900d}]",
        "kills: [{match: all, reason: \"a\\nb\"}]",
        "kills: [{match: {}}]",
        "kils: []",
        "",
        "# nothing",
        &big,
        &many,
    ] {
        bench.write(broken);
        let what: String = broken.chars().take(60).collect();
        assert_eq!(bench.killed(), ["everything", "tenant shop"], "{what}");
        assert!(bench.is_broken("file"), "{what}");
        let kill = bench
            .switch
            .kills()
            .into_iter()
            .find(|kill| kill.source == Source::Gate);
        assert!(kill.as_ref().unwrap().reason.contains("kill.yaml"), "{kill:?}");
        let lifted = bench.switch.lift(&kill.unwrap().id, "ann", |_| true, bench.now);
        assert_eq!(lifted.unwrap_err(), NotLifted::InFile);
    }
    // it does not expire, but what the file had does
    bench.wait(100 * HOUR);
    assert_eq!(bench.killed(), ["everything"]);
    bench = bench.restart();
    assert_eq!(bench.killed(), ["everything"]);
    bench.write("kills: []");
    assert!(bench.killed().is_empty() && !bench.is_broken("file"));
}

#[test]
fn what_is_there_and_cannot_be_read_is_not_a_file_that_is_missing() {
    let mut bench = Bench::new();
    assert!(bench.killed().is_empty());
    std::fs::create_dir(bench.file()).unwrap();
    bench.settle();
    assert_eq!(bench.killed(), ["everything"], "a directory");
    std::fs::remove_dir(bench.file()).unwrap();
    bench.settle();
    assert!(bench.killed().is_empty());
    std::os::unix::fs::symlink(bench.folder.path().join("nowhere"), bench.file()).unwrap();
    bench.settle();
    assert_eq!(bench.killed(), ["everything"], "a link to nowhere");
    std::fs::remove_file(bench.file()).unwrap();
    // nobody writes to it: whoever opens it as a file waits for ever
    let made = std::process::Command::new("mkfifo").arg(bench.file()).status().unwrap();
    assert!(made.success());
    bench.settle();
    assert_eq!(bench.killed(), ["everything"], "a pipe");
}

#[test]
fn a_swap_of_the_data_of_a_config_map_is_seen_and_an_editor_at_work_is_not() {
    let mut bench = Bench::new();
    let folder = bench.folder.path().to_owned();
    let link = |to: &str, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
    for (name, text) in [("..1", "kills: []"), ("..2", "kills: [{match: {exporter: vendor}}]")] {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("kill.yaml"), text).unwrap();
    }
    link("..1", &folder.join("..data"));
    link("..data/kill.yaml", &bench.file());
    bench.settle();
    assert!(bench.killed().is_empty());
    link("..2", &folder.join("..data_tmp"));
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    bench.settle();
    assert_eq!(bench.killed(), ["exporter vendor"]);
    // an editor moves the old file away, and cuts the new one short before it writes it
    std::fs::remove_file(bench.file()).unwrap();
    bench.wait(EVERY);
    assert_eq!(bench.killed(), ["exporter vendor"]);
    std::fs::write(bench.file(), "").unwrap();
    bench.wait(EVERY);
    assert_eq!(bench.killed(), ["exporter vendor"]);
    bench.write("kills: [{match: {exporter: vendor}}, {match: {tenant: shop}}]");
    assert_eq!(bench.killed(), ["exporter vendor", "tenant shop"]);
}

#[test]
fn a_file_that_never_keeps_still_is_taken_as_it_is() {
    let mut bench = Bench::new();
    bench.write("kills: []");
    for n in 0..5 {
        std::fs::write(bench.file(), format!("kills: [{{match: all, reason: \"{n}\"}}]")).unwrap();
        bench.wait(EVERY);
    }
    assert_eq!(bench.killed(), ["everything"]);
}

#[test]
fn a_storage_that_cannot_be_read_kills_everything_until_somebody_lifts_that() {
    let bench = Bench::new();
    bench.kill(json!({ "match": { "tenant": "shop" } }));
    let kept = bench.folder.path().join("state/kills.json");
    std::fs::write(&kept, "{").unwrap();
    let bench = bench.restart();
    assert_eq!(bench.killed(), ["everything"]);
    assert!(bench.is_broken("storage"));
    let (_, stored) = bench.switch.lift("broken-storage", "ann", |_| true, bench.now).unwrap();
    stored.unwrap();
    assert!(bench.killed().is_empty() && !bench.is_broken("storage"));
    assert!(bench.restart().killed().is_empty());
}

#[test]
fn a_storage_that_is_mended_is_heeded() {
    let bench = Bench::new();
    bench.kill(json!({ "match": { "tenant": "shop" } }));
    let path = bench.folder.path().join("state/kills.json");
    let kept = std::fs::read(&path).unwrap();
    std::fs::write(&path, "{").unwrap();
    let mut bench = bench.restart();
    bench.wait(EVERY);
    assert_eq!(bench.killed(), ["everything"]);
    std::fs::remove_file(&path).unwrap();
    bench.wait(EVERY);
    assert_eq!(bench.killed(), ["everything"], "it may be about to be put back");
    std::fs::write(&path, &kept).unwrap();
    bench.wait(EVERY);
    assert_eq!(bench.killed(), ["tenant shop"]);
    assert!(!bench.is_broken("storage"));
    assert_eq!(bench.restart().killed(), ["tenant shop"]);
}

#[test]
fn a_kill_that_cannot_be_stored_is_in_force_all_the_same() {
    let bench = Bench::new();
    std::fs::write(bench.folder.path().join("state"), "a file in the way").unwrap();
    let asked = serde_json::from_value(json!({ "match": "all" })).unwrap();
    let (_, stored) = bench.switch.kill(asked, Source::Signal, bench.now).unwrap();
    assert!(stored.is_err());
    assert_eq!(bench.killed(), ["everything"]);
    assert!(bench.is_broken("storage"));
}

#[test]
fn what_is_stored_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.kill(json!({ "match": "all" }));
    let mode = |path: &str| {
        let path = bench.folder.path().join(path);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("state"), mode("state/kills.json")), (0o700, 0o600));
}

#[test]
fn there_are_only_so_many_and_none_that_nobody_can_mean() {
    let bench = Bench::new();
    for _ in 0..MOST {
        bench.kill(json!({ "match": { "tenant": "a" } }));
    }
    let refused = |asked: serde_json::Value| {
        let asked = serde_json::from_value::<Asked>(asked);
        asked.is_err() || bench.switch.kill(asked.unwrap(), Source::Route, bench.now).is_err()
    };
    assert!(refused(json!({ "match": "all" })), "one too many");
    let bench = Bench::new();
    let refused = |asked: serde_json::Value| {
        let asked = serde_json::from_value::<Asked>(asked);
        asked.is_err() || bench.switch.kill(asked.unwrap(), Source::Route, bench.now).is_err()
    };
    for wrong in [
        json!({}),
        json!({ "match": {} }),
        json!({ "match": "everything" }),
        json!({ "match": { "service": "a", "resource.service.name": "b" } }),
        json!({ "match": { "tenant": { "regex": "(" } } }),
        json!({ "match": "all", "for": "0s" }),
        json!({ "match": "all", "for": "31d" }),
        json!({ "match": "all", "expires": "2001-01-01T00:00:00Z" }),
        json!({ "match": "all", "expires": "2999-01-01T00:00:00Z" }),
        json!({ "match": "all", "reason": "x".repeat(301) }),
        json!({ "match": "all", "actor": "a\u{1b}[31m" }),
    ] {
        assert!(refused(wrong.clone()), "{wrong}");
    }
    assert!(bench.killed().is_empty());
}

#[test]
fn a_second_signal_is_the_same_kill_and_one_lifts_them() {
    let mut bench = Bench::new();
    let asked: Asked = serde_json::from_value(json!({ "match": "all" })).unwrap();
    for _ in 0..2 {
        bench
            .switch
            .kill(asked.clone(), Source::Signal, bench.now)
            .unwrap()
            .1
            .unwrap();
        bench.wait(HOUR);
    }
    assert_eq!(bench.killed(), ["everything"]);
    bench.kill(json!({ "match": { "tenant": "a" } }));
    assert_eq!(bench.switch.lift_signals("SIGUSR2", bench.now), 1);
    assert_eq!(bench.killed(), ["tenant a"]);
}

#[test]
fn other_settings_keep_what_is_in_force() {
    let mut bench = Bench::new();
    bench.kill(json!({ "match": { "tenant": "a" } }));
    bench.write("kills: [{match: {tenant: b}}]");
    let other = bench.folder.path().join("other.yaml");
    std::fs::write(&other, "kills: [{match: {tenant: c}}]").unwrap();
    let moved = Settings {
        file: Some(other),
        ..settings(bench.folder.path())
    };
    bench.switch.configure(moved.clone(), bench.now);
    assert_eq!(bench.killed(), ["tenant a", "tenant c"]);
    bench.switch.configure(Settings { file: None, ..moved }, bench.now);
    assert_eq!(bench.killed(), ["tenant a"]);
}

#[test]
fn kills_go_along_to_another_storage() {
    let bench = Bench::new();
    bench.kill(json!({ "match": { "tenant": "a" } }));
    let moved = Settings {
        storage: bench.folder.path().join("elsewhere"),
        ..settings(bench.folder.path())
    };
    bench.switch.configure(moved.clone(), bench.now);
    let next = Switch::new(moved, Kills::default(), Arc::new(Metrics::default()));
    next.begin(bench.now);
    assert_eq!(next.kills().len(), 1);
}

#[test]
fn a_kill_belongs_to_a_tenant_only_if_it_can_be_no_others() {
    let of_shop = |asked: serde_json::Value| serde_json::from_value::<What>(asked).unwrap().is_of_tenant("shop");
    assert!(of_shop(json!({ "tenant": "shop" })));
    assert!(of_shop(json!({ "tenant": { "eq": "shop" }, "exporter": "*" })));
    for others in [
        json!("all"),
        json!({ "tenant": "sho?" }),
        json!({ "tenant": "*" }),
        json!({ "tenant": { "regex": "shop" } }),
        json!({ "service": "shop" }),
        json!({ "tenant": "other" }),
    ] {
        assert!(!of_shop(others.clone()), "{others}");
    }
}

#[test]
fn commands_write_files_that_the_gate_reads() {
    let mut bench = Bench::new();
    let asked = |asked| serde_json::from_value::<Asked>(asked).unwrap();
    let until = SystemTime::now() + HOUR;
    let until = humantime::format_rfc3339_seconds(until).to_string();
    let path = bench.file();
    add_to(
        &path,
        asked(json!({ "match": { "service": "a: *#" }, "reason": "'x\"", "expires": until })),
    )
    .unwrap();
    add_to(&path, asked(json!({ "match": "all", "actor": "ann" }))).unwrap();
    bench.settle();
    assert_eq!(bench.killed(), ["everything", "service a: *#"]);
    remove_from(&path, &[1]).unwrap();
    bench.settle();
    assert_eq!(bench.killed(), ["service a: *#"]);
    std::fs::write(&path, "kills: [").unwrap();
    assert!(
        add_to(&path, asked(json!({ "match": "all" }))).is_err(),
        "what is broken is not written over"
    );
}

#[test]
fn metrics_and_trail_tell_of_kills() {
    let bench = Bench::new();
    let trail = bench.folder.path().join("audit.jsonl");
    let kept = crate::telemetry::audit::Settings {
        path: trail.clone(),
        max_bytes: 1 << 20,
        max_files: 1,
        fingerprint_key: None,
    };
    bench.metrics.audit.configure(Some(&kept)).unwrap();
    let kill = bench.kill(json!({ "match": { "profile.type": "wall" }, "reason": "too much", "actor": "ann" }));
    bench.kill(json!({ "match": { "sample.thread": "x", "tenant": "a" } }));
    let text = bench.metrics.text();
    assert!(text.contains("flamegate_kills{scope=\"profile_type\"} 1\n"), "{text}");
    assert!(text.contains("flamegate_kills{scope=\"several\"} 1\n"), "{text}");
    assert!(text.contains("flamegate_kills{scope=\"all\"} 0\n"), "{text}");
    bench
        .switch
        .lift(&kill.id, "bob", |_| true, bench.now)
        .unwrap()
        .1
        .unwrap();
    let text = std::fs::read_to_string(trail).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["event"], &lines[0]["reason"]),
        (&json!("killed"), &json!("too much"))
    );
    assert_eq!(
        (&lines[0]["actor"], &lines[0]["match"]),
        (&json!("ann"), &json!({ "profile.type": "wall" }))
    );
    assert_eq!((&lines[2]["event"], &lines[2]["by"]), (&json!("lifted"), &json!("bob")));
    assert_eq!(
        (&lines[2]["id"], &lines[2]["cause"]),
        (&json!(kill.id), &json!("lifted"))
    );
}

#[test]
fn instants_are_taken_as_they_come() {
    // a switch is asked with moments that others took before it was: none of them lies before its beginning
    let bench = Bench::new();
    let early = Now {
        wall: SystemTime::UNIX_EPOCH,
        steady: Instant::now(),
    };
    let asked = serde_json::from_value(json!({ "match": "all" })).unwrap();
    bench.switch.kill(asked, Source::Signal, early).unwrap().1.unwrap();
    assert_eq!(bench.killed(), ["everything"]);
}
