//! Globs of files: `*` is any text within a name, `?` one character, `[ab]` one of these, `{a,b}` either, `**` any number of
//! directories. As in a shell, only a pattern that begins with a dot matches names that do.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use regex::bytes::Regex;

/// One pattern: a directory without any wildcard, and what may stand below it.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    text: String,
    base: PathBuf,
    segments: Vec<Segment>,
}

/// One name of a path.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// `**`.
    AnyDepth,
    /// Names like this one.
    Name {
        /// The whole name.
        regex: Regex,
        /// Whether it is meant for names that begin with a dot.
        is_hidden: bool,
    },
}

/// What makes a name a pattern.
const WILDCARDS: [char; 5] = ['*', '?', '[', '{', '\\'];

impl Glob {
    /// Reads a pattern; a directory with a slash at its end means all files in it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.contains('\0') {
            return Err("not the path of a file");
        }
        let (mut base, mut segments) = (PathBuf::new(), Vec::new());
        if text.starts_with('/') {
            base.push("/");
        }
        let names: Vec<&str> = text
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
            .collect();
        let files = if text.ends_with('/') { Some("*") } else { None };
        let Some(last) = (names.len() + files.iter().len()).checked_sub(1) else {
            return Err("names a directory; write a slash behind it for every file in it");
        };
        for (at, name) in names.into_iter().chain(files).enumerate() {
            if at < last && segments.is_empty() && !name.contains(WILDCARDS) {
                base.push(name);
                continue;
            }
            match name {
                "**" if matches!(segments.last(), Some(Segment::AnyDepth)) => {}
                "**" => segments.push(Segment::AnyDepth),
                ".." => return Err("may lead up (`..`) only in front of the first wildcard"),
                _ => segments.push(Segment::parse(name)?),
            }
        }
        if let Some(Segment::AnyDepth) = segments.last() {
            segments.push(Segment::parse("*")?);
        }
        if base.as_os_str().is_empty() {
            base.push(".");
        }
        let text = text.to_owned();
        Ok(Self { text, base, segments })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The directory that it begins in.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// What may stand below that.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The file that it names, if it has no wildcard.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let name = self.text.rsplit('/').next().unwrap_or_default();
        let is_plain = !self.text.contains(WILDCARDS) && !name.is_empty();
        is_plain.then(|| self.base.join(name))
    }

    /// Whether it matches a path; one of a single name matches that name in any directory.
    pub(super) fn matches(&self, path: &Path) -> bool {
        if !self.text.contains('/') {
            let name = path.file_name().map(OsStrExt::as_bytes);
            return name.is_some_and(|name| below(&self.segments, &[name]));
        }
        let below_base = match self.base == Path::new(".") {
            true => Ok(path),
            false => path.strip_prefix(&self.base),
        };
        let Ok(rest) = below_base else { return false };
        let names = rest.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        });
        below(&self.segments, &names.collect::<Vec<_>>())
    }
}

/// Whether names one below the other match segments.
fn below(segments: &[Segment], names: &[&[u8]]) -> bool {
    match (segments.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((Segment::AnyDepth, after)), Some((name, rest))) => {
            below(after, names) || (!name.starts_with(b".") && below(segments, rest))
        }
        (Some((segment, after)), Some((name, rest))) => segment.matches(name) && below(after, rest),
        _ => false,
    }
}

impl Segment {
    fn parse(name: &str) -> Result<Self, &'static str> {
        Ok(Self::Name {
            regex: Regex::new(&regex_of(name)?).map_err(|_| "a pattern that nobody understands")?,
            is_hidden: name.starts_with('.') || name.starts_with("\\."),
        })
    }

    /// Whether a name is like it.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::AnyDepth => true,
            Self::Name { regex, is_hidden } => (*is_hidden || !name.starts_with(b".")) && regex.is_match(name),
        }
    }
}

fn regex_of(name: &str) -> Result<String, &'static str> {
    let mut regex = "^(?s:".to_owned();
    let (mut letters, mut open) = (name.chars(), 0);
    while let Some(letter) = letters.next() {
        match letter {
            '*' => regex.push_str("(?-u:.)*"),
            '?' => regex.push('.'),
            '[' => regex.push_str(&class(&mut letters).ok_or("a `[` without its `]`")?),
            '{' => {
                open += 1;
                regex.push_str("(?:");
            }
            ',' if open > 0 => regex.push('|'),
            '}' if open > 0 => {
                open -= 1;
                regex.push(')');
            }
            '\\' => push_letter(&mut regex, letters.next().ok_or("a `\\` with nothing behind it")?),
            _ => push_letter(&mut regex, letter),
        }
    }
    if open > 0 {
        return Err("a `{` without its `}`, which must stand before the next slash");
    }
    regex.push_str(")$");
    Ok(regex)
}

/// What stands up to the `]`, as a class of letters.
fn class(letters: &mut std::str::Chars<'_>) -> Option<String> {
    let mut class = "[".to_owned();
    let mut is_first = true;
    loop {
        match letters.next()? {
            '!' | '^' if is_first => {
                class.push('^');
                continue;
            }
            ']' if !is_first => break,
            '-' => class.push('-'),
            letter => push_letter(&mut class, letter),
        }
        is_first = false;
    }
    class.push(']');
    Some(class)
}

fn push_letter(regex: &mut String, letter: char) {
    regex.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(glob: &str, path: &str) -> bool {
        Glob::parse(glob).unwrap().matches(Path::new(path))
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        for (glob, path) in [
            ("/p/*.jfr", "/p/a.jfr"),
            ("/p/**/*.jfr", "/p/a.jfr"),
            ("/p/**/*.jfr", "/p/x/y/a.jfr"),
            ("/p/**", "/p/x/y/a.jfr"),
            ("/p/", "/p/a"),
            ("/p/{cpu,heap}-?.pb{,.gz}", "/p/heap-é.pb"),
            ("/p/[a-c][!x]", "/p/bz"),
            ("/p/a[]]", "/p/a]"),
            (r"/p/a\*", "/p/a*"),
            ("/p/.*", "/p/.hidden"),
            ("p/a,b", "p/a,b"),
            ("*.jfr", "/anywhere/a.jfr"),
            ("./p/*", "p/a"),
        ] {
            assert!(is_match(glob, path), "{glob} {path}");
        }
        for (glob, path) in [
            ("/p/*.jfr", "/p/x/a.jfr"),
            ("/p/*.jfr", "/p/.a.jfr"),
            ("/p/**/*.jfr", "/p/.git/a.jfr"),
            ("/p/*", "/q/a"),
            ("/p/*.jfr", "/p/a.jfr.tmp"),
            ("/p/[a-c]", "/p/d"),
            ("/p/?", "/p/ab"),
            ("/p/a*b", "/p/a"),
        ] {
            assert!(!is_match(glob, path), "{glob} {path}");
        }
        for wrong in [
            "",
            ".",
            "/p/[a",
            "/p/{a",
            "/p/{a/b,c}",
            "/p/a\\",
            "/p/*/../a",
            "/p/[z-a]",
            "a\0b",
        ] {
            assert!(Glob::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn looking_begins_in_front_of_the_first_wildcard() {
        let base = |glob: &str| Glob::parse(glob).unwrap().base().display().to_string();
        assert_eq!(base("/var/profiles/*/cpu.pb"), "/var/profiles");
        assert_eq!(base("/var/app.jfr"), "/var");
        assert_eq!(base("*.jfr"), ".");
        assert_eq!(base("../up/*.jfr"), "../up");
    }

    proptest::proptest! {
        #[test]
        fn prop_no_pattern_panics(glob in "[a-c*?\\[\\]{},!^\\\\/.é-]{0,12}", path in "[a-c./é]{0,12}") {
            if let Ok(glob) = Glob::parse(&glob) {
                glob.matches(Path::new(&path));
            }
        }
    }
}
