//! What the tests of the binary have in common.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary.
pub fn flamegate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_flamegate"))
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Finished {
    Finished(flamegate().args(args).output().unwrap())
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

/// A folder of the test's own, with a configuration file in it.
pub fn config(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (folder, path)
}
