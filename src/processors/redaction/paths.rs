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

/// Where homes are, and whose: on Windows in any case, and a name of several words as far as a path goes on behind it.
const HOME: &str = concat!(
    r"(?:/homes?|/Users|(?i:\\users|\\homes?|[a-z]:/{1,2}users|/(?:mnt|cygdrive)/[a-z]/users|[/\\]documents and settings))",
    r#"[/\\]{1,2}(?:(?P<full_name>[^/\\\s"'<>|:;,?&#]+(?: [^/\\\s"'<>|:;,?&#]+){1,3})\\|(?P<user>[^/\\\s"'<>|:;,?&#]+))"#
);

/// Rewrites paths.
pub struct Paths {
    mode: PathMode,
    home: Regex,
}

impl Paths {
    /// For one mode.
    pub fn new(mode: PathMode) -> Result<Self, String> {
        let home = Regex::new(HOME).map_err(|error| error.to_string())?;
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
            let user = captures.name("full_name").or(captures.name("user"));
            let Some(user) = user.filter(|user| user.as_str() != "_") else {
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
        let begins = |word: &[u8]| {
            rest.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        begins(b"home") || begins(b"users") || begins(b"documents and settings")
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
            (r"c:\users\alice\a.py", r"c:\users\_\a.py"),
            (r"C:\USERS\ALICE\a.py", r"C:\USERS\_\a.py"),
            (r"C:\\Users\\alice\\a.py", r"C:\\Users\\_\\a.py"),
            (r"C:\Users\Alice Example\a.py", r"C:\Users\_\a.py"),
            ("d:/users/alice/a.py", "d:/users/_/a.py"),
            ("/mnt/c/users/alice/a.py", "/mnt/c/users/_/a.py"),
            (
                r"C:\Documents and Settings\alice\a.py",
                r"C:\Documents and Settings\_\a.py",
            ),
            (r"\\srv\home\alice\a.py", r"\\srv\home\_\a.py"),
            ("/homes/alice/a.py", "/homes/_/a.py"),
        ] {
            assert_eq!(paths.rewrite(from, true).as_deref(), Some(to));
            assert_eq!(paths.rewrite(to, true), None);
        }
        for path in [
            "/usr/lib/libc.so.6",
            "/users/7/orders",
            "/api/users/{id}",
            "/srv/homework/x.go",
        ] {
            assert_eq!(paths.rewrite(path, true), None, "{path}");
        }
    }

    #[test]
    fn basename_is_for_files_alone() {
        let paths = Paths::new(PathMode::Basename).unwrap();
        assert_eq!(paths.rewrite("/usr/lib/libc.so.6", true).as_deref(), Some("libc.so.6"));
        assert_eq!(paths.rewrite("crypto/sha256.Sum", false), None);
    }
}
