//! A receiver of files over an engine that remembers.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use super::*;
use crate::receivers::testing::{Engine, Seen, context, resource};

const RECORDING: &str = "main;work 3\n";

/// A directory that is watched, and one for the ledger.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("in").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Watches it with these keys.
    async fn watch(&self, engine: &Arc<Engine>, keys: &str) -> Running {
        self.watch_after(Duration::ZERO, engine, keys).await
    }

    /// The same, beginning so much later.
    async fn watch_after(&self, delay: Duration, engine: &Arc<Engine>, keys: &str) -> Running {
        let root = self.0.path().display();
        let mut keys: serde_json::Value = serde_saphyr::from_str(&keys.replace("ROOT", &root.to_string())).unwrap();
        let usual = serde_json::json!({
            "include": format!("{root}/in/*"),
            "storage": format!("{root}/state"),
            "poll_interval": "100ms",
            "settle": "0s",
        });
        for (key, value) in usual.as_object().unwrap() {
            let keys = keys.as_object_mut().unwrap();
            keys.entry(key).or_insert_with(|| value.clone());
        }
        let config: WatchConfig = serde_json::from_value(keys).unwrap();
        let watch = config.check("", &context()).unwrap();
        let metrics = watch.metrics.clone();
        let watcher = watch.delayed(delay).open().await.unwrap();
        let (out, stop) = (engine.outlet(), Stop::new());
        let asked = stop.clone();
        Running {
            task: tokio::spawn(async move { watcher.run(&out, &asked).await }),
            stop,
            metrics,
        }
    }
}

struct Running {
    task: JoinHandle<()>,
    stop: Stop,
    metrics: FileMetrics,
}

impl Running {
    async fn end(self) {
        self.stop.ask();
        self.task.await.unwrap();
    }

    /// Waits until so many files ended so.
    async fn finished(&self, result: &'static str, files: u64) {
        until(result, || (self.metrics.finished_count(result) >= files).then_some(())).await;
        assert_eq!(self.metrics.finished_count(result), files, "{result}");
    }
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = found() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited too long for {what}")
}

/// What the engine was handed next.
async fn seen(engine: &Engine) -> Seen {
    until("a batch", || {
        Some(engine.take()).filter(|seen| !seen.batches.is_empty())
    })
    .await
}

/// Nothing comes for several looks.
async fn nothing(engine: &Engine) {
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert!(engine.take().batches.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_when_it_is_delivered_and_not_before() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let path = folder.write("a.collapsed", RECORDING);
    let running = folder
        .watch(&engine, "{after: delete, resource: {service.name: shop}}")
        .await;
    let taken = seen(&engine).await;
    assert_eq!(
        resource(taken.batches[0].as_profiles().unwrap())["service.name"],
        "shop"
    );
    nothing(&engine).await;
    assert!(path.exists() && running.metrics.in_flight.get() == 1);
    drop(taken);
    running.finished("delivered", 1).await;
    until("the end of the file", || (!path.exists()).then_some(())).await;
    until("nothing in flight", || {
        (running.metrics.in_flight.get() == 0).then_some(())
    })
    .await;
    assert_eq!(running.metrics.bytes.get(), RECORDING.len() as u64);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_once_whatever_it_is_called_and_anew_when_it_changed() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let path = folder.write("a.collapsed", RECORDING);
    for _ in 0..2 {
        let running = folder.watch(&engine, "{}").await;
        if !folder.path("b.collapsed").exists() {
            drop(seen(&engine).await);
            running.finished("delivered", 1).await;
            fs::rename(&path, folder.path("b.collapsed")).unwrap();
        }
        nothing(&engine).await;
        running.end().await;
    }
    let running = folder.watch(&engine, "{}").await;
    // as rotation does it, and as `: >` does
    folder.write("a.collapsed", "main;other 5\n");
    assert_eq!(seen(&engine).await.batches.len(), 1);
    folder.write("b.collapsed", "main;work 35\n");
    assert_eq!(seen(&engine).await.batches.len(), 1);
    running.finished("delivered", 2).await;
    nothing(&engine).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_is_taken_again_after_a_crash_with_the_same_ids() {
    let (folder, engine) = (Folder::new(), Engine::new());
    folder.write("a.collapsed", RECORDING);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let running = folder.watch(&engine, "{}").await;
        let taken = seen(&engine).await;
        let profiles = taken.batches[0].as_profiles().unwrap();
        ids.push(profiles.iter().next().unwrap().profile.ids.clone());
        // the process ends before anything is heard of it
        running.task.abort();
        std::mem::forget(taken.followed);
        let _ = running.task.await;
        ledger::close(&folder.outside("state"));
    }
    assert!(!ids[0].is_empty() && ids[0] == ids[1], "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_is_left_until_it_is_whole() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let whole = crate::testing::data("node20-cpu.cpuprofile");
    folder.write("a.cpuprofile", &whole[..whole.len() / 2]);
    let running = folder.watch(&engine, "{}").await;
    nothing(&engine).await;
    folder.write("a.cpuprofile", &whole);
    drop(seen(&engine).await);
    running.finished("delivered", 1).await;
    assert_eq!(running.metrics.finished_count("invalid"), 0);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_recording_is_refused_once_and_put_aside() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let dump = folder.write("a.hprof", "JAVA PROFILE 1.0.2\0 secrets");
    let other = folder.write("b.json", "{\"half\": ");
    let large = folder.write("c.collapsed", RECORDING.repeat(100));
    let keys = "{give_up_after: 300ms, max_file_size: 1000, refused: {move: ROOT/bad}}";
    let running = folder.watch(&engine, keys).await;
    running.finished("invalid", 2).await;
    running.finished("too_large", 1).await;
    for path in [dump, other, large] {
        until("the file to go", || (!path.exists()).then_some(())).await;
    }
    assert_eq!(fs::read_dir(folder.outside("bad")).unwrap().count(), 3);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_files_wait() {
    let (folder, full) = (Folder::new(), Engine::answering(Some(Refusal::no_room("full"))));
    let path = folder.write("a.collapsed", RECORDING);
    let running = folder.watch(&full, "{after: delete}").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(path.exists() && running.metrics.waiting.get() == 1);
    running.end().await;
    let engine = Engine::new();
    let running = folder.watch(&engine, "{after: delete}").await;
    drop(seen(&engine).await);
    running.finished("delivered", 1).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_keep_the_process_from_ending() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let running = folder.watch(&engine, "{refused: delete}").await;
    nothing(&engine).await;
    ledger::fill_disk(&folder.outside("state"));
    let path = folder.write("a.hprof", "JAVA PROFILE 1.0.2\0 secrets");
    nothing(&engine).await;
    let metrics = running.metrics.clone();
    tokio::time::timeout(DISK_PAUSE / 2, running.end()).await.unwrap();
    assert!(path.exists() && metrics.finished_count("invalid") == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_disk_is_full_is_not_what_was_there() {
    let (folder, engine) = (Folder::new(), Engine::new());
    folder.write("a.collapsed", RECORDING);
    let delay = Duration::from_millis(500);
    let keys = "{start_at: end, after: delete}";
    let running = folder.watch_after(delay, &engine, keys).await;
    let state = folder.outside("state");
    ledger::fill_disk(&state);
    until("the first look", || (ledger::unwritten(&state) == 1).then_some(())).await;
    let later = folder.write("b.collapsed", RECORDING);
    nothing(&engine).await;
    ledger::mend_disk(&state);
    drop(seen(&engine).await);
    until("its end", || (!later.exists()).then_some(())).await;
    nothing(&engine).await;
    assert!(folder.path("a.collapsed").exists());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_two_names_is_taken_once() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let path = folder.write("a.collapsed", RECORDING);
    fs::hard_link(&path, folder.path("b.collapsed")).unwrap();
    let running = folder.watch(&engine, "{after: delete}").await;
    drop(seen(&engine).await);
    until("the end of both", || {
        (fs::read_dir(folder.outside("in")).unwrap().count() == 0).then_some(())
    })
    .await;
    nothing(&engine).await;
    running.finished("delivered", 1).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_needs_much_memory_keeps_no_other_waiting() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let others = engine.outlet().budget().permit();
    others.hold(others.limit() - (1 << 20));
    let large = folder.write("a.collapsed", RECORDING.repeat(100_000));
    let then = SystemTime::now() - Duration::from_secs(60);
    fs::File::options()
        .append(true)
        .open(large)
        .unwrap()
        .set_modified(then)
        .unwrap();
    folder.write("b.collapsed", RECORDING);
    let running = folder.watch(&engine, "{concurrency: 1}").await;
    running.finished("delivered", 0).await;
    drop(seen(&engine).await);
    running.finished("delivered", 1).await;
    drop(others);
    drop(seen(&engine).await);
    running.finished("delivered", 2).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beyond_the_memory_of_the_process_is_never_deleted() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let path = folder.0.path().join("in/a.collapsed");
    // larger than the whole budget, and nothing but a hole
    let size = engine.outlet().budget().permit().limit() as u64 + 1;
    fs::File::create(&path).unwrap().set_len(size).unwrap();
    let keys = "{refused: delete, max_file_size: 1024GiB}";
    let running = folder.watch(&engine, keys).await;
    running.finished("too_large", 1).await;
    nothing(&engine).await;
    assert!(path.exists());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_arrive_stays_and_is_not_taken_again() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let path = folder.write("a.collapsed", RECORDING);
    let running = folder.watch(&engine, "{after: delete}").await;
    let taken = seen(&engine).await;
    taken.followed[0].stayed();
    drop(taken);
    running.finished("lost", 1).await;
    nothing(&engine).await;
    assert!(path.exists());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_at_first_may_be_left_and_directories_may_come_later() {
    let (folder, engine) = (Folder::new(), Engine::new());
    folder.write("old.collapsed", RECORDING);
    let keys = "{start_at: end, include: [ROOT/in/*, ROOT/later/*.collapsed]}";
    let running = folder.watch(&engine, keys).await;
    nothing(&engine).await;
    folder.write("new.collapsed", RECORDING);
    drop(seen(&engine).await);
    fs::create_dir(folder.outside("later")).unwrap();
    fs::write(folder.outside("later/x.collapsed"), RECORDING).unwrap();
    drop(seen(&engine).await);
    running.finished("delivered", 2).await;
    running.end().await;
    let running = folder.watch(&engine, keys).await;
    nothing(&engine).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_receiver_of_a_reload_share_what_they_know() {
    let (folder, engine) = (Folder::new(), Engine::new());
    folder.write("a.collapsed", RECORDING);
    let old = folder.watch(&engine, "{}").await;
    let taken = seen(&engine).await;
    let new = folder.watch(&engine, "{concurrency: 3}").await;
    let numbers = old.metrics.clone();
    old.end().await;
    nothing(&engine).await;
    drop(taken);
    until("the file to be remembered", || {
        (numbers.in_flight.get() == 0).then_some(())
    })
    .await;
    nothing(&engine).await;
    new.end().await;
}

#[test]
fn keys_are_checked() {
    let build = |keys: &str| {
        let config: WatchConfig = serde_saphyr::from_str(keys).unwrap();
        config.check("", &context()).err().map(|error| error.path)
    };
    assert_eq!(build("include: /p/*.jfr"), None);
    for (keys, path) in [
        ("exclude: /p/*", "include"),
        ("include: [/p/*, '/p/[']", "include[1]"),
        ("{include: /p/*, poll_interval: 1ms}", "poll_interval"),
        ("{include: /p/*, path_pattern: '('}", "path_pattern"),
        ("{include: /p/*, path_pattern: '/x/'}", "path_pattern"),
        ("{include: /p/*, tenant: 'a/b'}", "tenant"),
        ("{include: /p/*, concurrency: 0}", "concurrency"),
        ("{include: /p/*, after: {move: ''}}", "after"),
        ("{include: /p/*, limits: {elements: 0}}", "limits.elements"),
    ] {
        assert_eq!(build(keys).as_deref(), Some(path), "{keys}");
    }
}

#[test]
fn what_is_wrong_says_what_to_write() {
    let build = |keys: &str| {
        let config: Result<WatchConfig, _> = serde_json::from_value(serde_saphyr::from_str(keys).unwrap());
        match config {
            Ok(config) => config.check("", &context()).err().unwrap().message,
            Err(error) => error.to_string(),
        }
    };
    for (keys, words) in [
        ("{include: /p/*, after: move}", "write `{move: DIRECTORY}`"),
        ("{include: /p/*, after: remove}", "write `keep`, `delete`, or"),
        ("{include: /p/*, refused: {copy: /x}}", "write `{move: DIRECTORY}`"),
        (
            "{include: /p/*, refused: {move: /x, copy: /x}}",
            "write `{move: DIRECTORY}`",
        ),
        ("{include: /p/*, after: {}}", "write `{move: DIRECTORY}`"),
        ("{include: /p/*, after: 7}", "expected `keep`, `delete`, or"),
        (
            "{include: /p/*, path_pattern: '(x'}",
            "not a regular expression: unclosed group",
        ),
        (
            "{include: /p/*, path_pattern: '(?<a>\\w{9999})'}",
            "not a regular expression: ",
        ),
    ] {
        let said = build(keys);
        assert!(said.contains(words) && !said.contains('\n'), "{keys}: {said}");
    }
}

#[test]
fn patterns_that_may_take_the_same_files_are_found() {
    let globs = |text: &str| Globs(text.split(' ').map(str::to_owned).collect());
    for (one, other, overlap) in [
        ("/p/*.jfr", "/q/* /p/*.jfr", true),
        ("/p/*", "/p/*.jfr", true),
        ("/p/a.jfr", "/p/**", true),
        ("/p/*.jfr", "/p/*.cpuprofile", false),
        ("/p/*.jfr", "/q/*.jfr", false),
    ] {
        assert_eq!(globs(one).overlap(&globs(other)), overlap, "{one} {other}");
        assert_eq!(globs(other).overlap(&globs(one)), overlap, "{other} {one}");
    }
}

/// Names of files may be secrets: neither the ledger nor the log has them.
#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_has_no_names_of_files() {
    let (folder, engine) = (Folder::new(), Engine::new());
    folder.write("hunter2.collapsed", RECORDING);
    let running = folder.watch(&engine, "{}").await;
    drop(seen(&engine).await);
    running.finished("delivered", 1).await;
    running.end().await;
    let all = |path: &Path| fs::read_to_string(path).unwrap();
    let files = fs::read_dir(folder.outside("state")).unwrap();
    let text: String = files.map(|file| all(&file.unwrap().path())).collect();
    assert!(text.contains("delivered") && !text.contains("hunter2"), "{text}");
}
