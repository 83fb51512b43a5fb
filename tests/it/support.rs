//! What the tests of the binary have in common.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The binary, or the one at `FLAMEGATE_BINARY`: a release that is to be held to the same.
pub fn flamegate() -> Command {
    let built = || env!("CARGO_BIN_EXE_flamegate").into();
    Command::new(std::env::var_os("FLAMEGATE_BINARY").unwrap_or_else(built))
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Finished {
    Finished(flamegate().args(args).output().unwrap())
}

/// The same with something on the standard input.
pub fn run_on(input: &[u8], args: &[&str]) -> Finished {
    let mut command = flamegate();
    command.args(args).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Finished(child.wait_with_output().unwrap())
}

/// What a run left behind.
pub struct Finished(pub Output);

impl Finished {
    /// Exit code.
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    /// Standard output.
    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    /// Standard error.
    pub fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}

/// One of the project's own recordings.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The corpus of real profiles beside the checkout (or at `FLAMEGATE_CORPUS`); where it is absent, tests over it say so and pass.
pub fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var_os("FLAMEGATE_CORPUS").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no corpus at {}", folder.display());
    None
}

/// A folder of the test's own, with a configuration file in it.
pub fn config(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

/// A port that nobody listens on. Each is given out once, and none is one that the system gives to outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 110) as u16 * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 11_000;
        let free = |address: &str| std::net::TcpListener::bind((address, port)).is_ok();
        if free("127.0.0.1") && (free("::1") || std::net::TcpListener::bind("[::1]:0").is_err()) {
            return port;
        }
    }
}

/// Longest wait for anything: long, for a test that passes waits no longer than it must, and machines may be busy.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Waits until `found` finds something.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running gate; killed when dropped.
pub struct Gate {
    child: Child,
    folder: PathBuf,
}

impl Gate {
    /// Starts the binary in `folder`, where its output goes to files, and waits until it says `ready`.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// The same with variables of the environment.
    pub fn start_with(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut gate = Self::spawn_with(folder, args, env);
        wait_for("ready", || {
            let ended = gate.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended before it was ready: {}", gate.err());
            gate.err().contains(" ready").then_some(())
        });
        gate
    }

    /// Starts the binary.
    pub fn spawn(folder: &Path, args: &[&str]) -> Self {
        Self::spawn_with(folder, args, &[])
    }

    fn spawn_with(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::of(flamegate().args(args).envs(env.iter().copied()), folder)
    }

    /// Starts a command that becomes the binary.
    pub fn of(command: &mut Command, folder: &Path) -> Self {
        let file = |name: &str| File::create(folder.join(name)).unwrap();
        let child = command
            .current_dir(folder)
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        Self {
            child,
            folder: folder.to_owned(),
        }
    }

    /// Standard output so far.
    pub fn out(&self) -> String {
        std::fs::read_to_string(self.folder.join("out")).unwrap()
    }

    /// Standard error so far.
    pub fn err(&self) -> String {
        std::fs::read_to_string(self.folder.join("err")).unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Whether it has ended, in whatever way.
    pub fn ended(&mut self) -> Option<()> {
        self.child.try_wait().unwrap().map(|_| ())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had so far without the code of its own binary, of which a debug build has three times what a
    /// release has.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        let (all, code) = (bytes("VmHWM:"), bytes("RssFile:"));
        eprintln!("memory: {} MiB at the peak, {} MiB of them code", all >> 20, code >> 20);
        all - code
    }

    /// Forgets the peak so far, where the system lets us.
    pub fn forget_peak(&self) {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// Waits for the end.
    pub fn code(&mut self) -> i32 {
        wait_for("the end of the process", || self.child.try_wait().unwrap())
            .code()
            .unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP/1.1 request; the answer's status and body.
pub fn http(method: &str, port: u16, path: &str, body: &[u8]) -> (u16, String) {
    http_with(method, port, path, &[], body)
}

/// The same with headers.
pub fn http_with(method: &str, port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    (status, body)
}

/// Finished files of a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    files.sort();
    files
}
