//! Paths: who a home directory belongs to, and where a program was built.

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

/// What becomes of paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathMode {
    /// They stay.
    Keep,
    /// The user's name in a home directory becomes `_`.
    #[default]
    Home,
    /// As `home`, and of source files and binaries only the last segment stays.
    Basename,
}

/// Rewrites paths.
pub struct Paths {
    mode: PathMode,
    home: Regex,
}

impl Paths {
    /// For one mode.
    pub fn new(mode: PathMode) -> Result<Self, String> {
        let home = Regex::new(r#"(?:/home|/Users|\\Users)[/\\]{1,2}(?P<user>[^/\\\s"'<>|:;,?&#]+)"#)
            .map_err(|error| error.to_string())?;
        Ok(Self { mode, home })
    }

    /// The text with its paths rewritten, if there is something to rewrite. `file` says that all of it is one path.
    pub fn rewrite(&self, text: &str, file: bool) -> Option<String> {
        if self.mode == PathMode::Keep {
            return None;
        }
        if file && self.mode == PathMode::Basename {
            let (_, name) = text.rsplit_once(['/', '\\'])?;
            return Some(name.to_owned());
        }
        if !may_hold_home(text) {
            return None;
        }
        let mut out = String::new();
        let mut copied = 0;
        for captures in self.home.captures_iter(text) {
            let Some(user) = captures.name("user").filter(|user| user.as_str() != "_") else {
                continue;
            };
            out.push_str(text.get(copied..user.start())?);
            out.push('_');
            copied = user.end();
        }
        if copied == 0 {
            return None;
        }
        out.push_str(text.get(copied..)?);
        Some(out)
    }
}

/// Whether a home directory may be in it: most texts hold none, and that is quickly seen.
fn may_hold_home(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'/', b'\\', bytes).any(|at| {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        rest.starts_with(b"home") || rest.starts_with(b"Users")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_loses_its_owner() {
        let paths = Paths::new(PathMode::Home).unwrap();
        for (from, to) in [
            ("/home/alice.planted/x/main.go", "/home/_/x/main.go"),
            (r"C:\Users\carol.planted\h.cc", r"C:\Users\_\h.cc"),
            ("file:///Users/bob.planted/x.rs", "file:///Users/_/x.rs"),
        ] {
            assert_eq!(paths.rewrite(from, true).as_deref(), Some(to));
            assert_eq!(paths.rewrite(to, true), None);
        }
        assert_eq!(paths.rewrite("/usr/lib/libc.so.6", true), None);
    }

    #[test]
    fn basename_is_for_files_alone() {
        let paths = Paths::new(PathMode::Basename).unwrap();
        assert_eq!(paths.rewrite("/usr/lib/libc.so.6", true).as_deref(), Some("libc.so.6"));
        assert_eq!(paths.rewrite("crypto/sha256.Sum", false), None);
    }
}
