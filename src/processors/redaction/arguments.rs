//! Values that stand in the names of functions: arguments of calls, SQL text, routes, command lines. Signatures of C++, Java, Go, Rust
//! and .NET stand in parentheses too, and stay.

use schemars::JsonSchema;
use serde::Deserialize;

use super::detectors::{is_route, is_thread};
use super::literals::{closing, is_literal, quotes, typographic};
use super::{commands, sql};

/// What becomes of argument values in names of functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arguments {
    /// They stay.
    Keep,
    /// All that stands where a value stands goes, with the names of arguments, the paths of URLs and the options of commands.
    Strip,
    /// Values go: quoted text, numbers, what stands behind `=`. Names of arguments and options, paths and the shape of SQL stay.
    #[default]
    StripLiterals,
}

impl Arguments {
    /// The name without the values, if it holds any.
    pub fn rewrite(self, name: &str) -> Option<String> {
        // most names hold nothing of what follows, and that is quickly seen
        let may_hold = name
            .bytes()
            .any(|b| matches!(b, b'"' | b'\'' | b'=' | b'?' | b' ' | b'(' | b'`'));
        if self == Self::Keep || !may_hold {
            return None;
        }
        let rewritten = self.whole(name).unwrap_or_else(|| self.calls(name));
        (rewritten != name).then_some(rewritten)
    }

    /// A name that is no call but a text of a kind of its own.
    fn whole(self, name: &str) -> Option<String> {
        if sql::is_sql(name) {
            return Some(sql::shape(name));
        }
        if let Some(command) = name.strip_prefix("process ") {
            let (id, line) = command.split_once(':')?;
            return Some(format!("process {id}:{}", self.command(line)));
        }
        if is_thread(name) {
            return Some(name.to_owned());
        }
        if is_route(name) {
            let (method, path) = name.split_once(' ')?;
            return Some(format!("{method} {}", self.route(path)));
        }
        commands::is_command(name).then(|| self.command(name))
    }

    fn command(self, line: &str) -> String {
        commands::without_values(line, self == Self::StripLiterals)
    }

    /// `/users/7?token=x` becomes `/users/*?token=?`.
    fn route(self, path: &str) -> String {
        let (path, query) = path.split_once(['?', '#']).unwrap_or((path, ""));
        let is_value = |segment: &str| {
            let digits = segment.bytes().filter(u8::is_ascii_digit).count();
            digits > 0 && (digits == segment.len() || segment.len() >= 16)
        };
        let segments: Vec<&str> = path
            .split('/')
            .map(|segment| if is_value(segment) { "*" } else { segment })
            .collect();
        let path = segments.join("/");
        match self {
            Self::StripLiterals if !query.is_empty() => format!("{path}?{}", assignments(query)),
            _ => path,
        }
    }

    /// Calls and everything else: literals become `?`.
    fn calls(self, name: &str) -> String {
        let urls = urls(self, name);
        let name = urls.as_deref().unwrap_or(name);
        let plain = typographic(name);
        let name = plain.as_deref().unwrap_or(name);
        let Some(groups) = groups(name) else {
            return quotes(name);
        };
        let mut out = String::with_capacity(name.len());
        let mut copied = 0;
        for (start, end) in groups {
            let inside = name.get(start..end).unwrap_or_default();
            out.push_str(&quotes(name.get(copied..start).unwrap_or_default()));
            out.push_str(&self.group(inside));
            copied = end;
        }
        out.push_str(&quotes(name.get(copied..).unwrap_or_default()));
        out
    }

    /// What stands in one pair of parentheses.
    fn group(self, inside: &str) -> String {
        let parts = split(inside);
        let rewritten: Vec<String> = parts.iter().map(|part| argument(part)).collect();
        let changed = rewritten.iter().zip(&parts).any(|(new, old)| new != old);
        match self {
            Self::Strip if changed => "?".to_owned(),
            _ if !changed => inside.to_owned(),
            _ => rewritten.join(","),
        }
    }
}

/// `a=1&b=2` becomes `a=?&b=?`.
fn assignments(query: &str) -> String {
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) => format!("{key}=?"),
            None => "?".to_owned(),
        })
        .collect();
    pairs.join("&")
}

/// The queries of URLs in a name, and with `strip` all of them behind the scheme.
fn urls(mode: Arguments, name: &str) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    while let Some(found) = name.get(copied..)?.find("://") {
        let start = copied + found + 3;
        let length = name
            .get(start..)?
            .find(|c: char| c.is_whitespace() || "\"'<>)],;".contains(c));
        let end = length.map_or(name.len(), |length| start + length);
        let url = name.get(start..end)?;
        out.push_str(name.get(copied..start)?);
        match (mode, url.split_once('?')) {
            (Arguments::Strip, _) => out.push('?'),
            (_, Some((path, query))) => {
                // the place in a script stands behind it: `app.js?v=1:10:5`
                out.push_str(path);
                out.push('?');
                out.push_str(&assignments(query));
            }
            (_, None) => out.push_str(url),
        }
        copied = end;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(name.get(copied..)?);
    Some(out)
}

/// The insides of the outermost parentheses, if they pair up.
fn groups(name: &str) -> Option<Vec<(usize, usize)>> {
    let mut groups = Vec::new();
    let mut depth = 0usize;
    let mut start = 0;
    let bytes = name.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        match byte {
            b'"' if depth > 0 => {
                at = closing(bytes, at)?;
                continue;
            }
            b'(' => {
                if depth == 0 {
                    start = at + 1;
                }
                depth += 1;
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    groups.push((start, at));
                }
            }
            _ => {}
        }
        at += 1;
    }
    // what is cut off is read to its end
    if depth > 0 {
        groups.push((start, name.len()));
    }
    (!groups.is_empty()).then_some(groups)
}

/// The arguments between the commas of the outermost level.
fn split(inside: &str) -> Vec<&str> {
    let bytes = inside.as_bytes();
    let mut parts = Vec::new();
    let (mut depth, mut start, mut at) = (0i32, 0, 0);
    while let Some(byte) = bytes.get(at).copied() {
        match byte {
            b'"' => {
                at = closing(bytes, at).unwrap_or(bytes.len());
                continue;
            }
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' | b']' | b'}' | b'>' => depth -= 1,
            b',' if depth <= 0 => {
                parts.extend(inside.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.extend(inside.get(start..));
    parts
}

/// One argument: a literal becomes `?`, a type stays.
fn argument(part: &str) -> String {
    let trimmed = part.trim();
    let lead = part.get(..part.len() - part.trim_start().len()).unwrap_or_default();
    if is_literal(trimmed) {
        return format!("{lead}?");
    }
    if let Some((key, separator, value)) = assigned(trimmed) {
        let keeps = value.is_empty() || value == "?" || (separator.starts_with(':') && !is_literal(value));
        if !keeps {
            return format!("{lead}{key}{separator}?");
        }
    }
    quotes(part)
}

/// `key=value`, `key: value` and `"key":value`, where the key is a name and nothing that compares; not the place `app.py:7`.
fn assigned(part: &str) -> Option<(&str, &str, &str)> {
    let at = part.find(['=', ':'])?;
    let (key, rest) = part.split_at_checked(at)?;
    let value = rest.get(1..)?;
    let bare = key.trim().trim_matches(['"', '\'']);
    let is_name = !bare.is_empty()
        && bare
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    let compares = value.starts_with(['=', ':', '>']);
    let is_place = rest.starts_with(':') && !value.starts_with(' ') && bare == key;
    if !is_name || compares || is_place {
        return None;
    }
    let value = value.trim_start();
    Some((key, rest.strip_suffix(value)?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_lose_their_values() {
        for (from, literals, all) in [
            (
                "connect(host=\"db\", password=\"x\")",
                "connect(host=?, password=?)",
                "connect(?)",
            ),
            ("connect(\"db\", 5432, 'x')", "connect(?, ?, ?)", "connect(?)"),
            ("login(b\"x\", f'y', r#\"z\"#)", "login(?, ?, ?)", "login(?)"),
            (
                "login(@\"x\", rb\"y\", u8\"z\", $\"w\")",
                "login(?, ?, ?, ?)",
                "login(?)",
            ),
            ("login(“x, y”, «z»)", "login(?, ?)", "login(?, ?)"),
            ("Proc<\"x\",\"y\">", "Proc<?,?>", "Proc<?,?>"),
            ("pay(4111 1111 1111 1111)", "pay(?)", "pay(?)"),
            ("fetch({\"user\": \"bob\"})", "fetch({?: ?})", "fetch(?)"),
            ("lambda x: x == \"bob\"", "lambda x: x == ?", "lambda x: x == ?"),
            (
                "SELECT * FROM t WHERE id = 7",
                "SELECT * FROM t WHERE id = ?",
                "SELECT * FROM t WHERE id = ?",
            ),
            (
                "GET /users/12345/orders?token=x&n=1",
                "GET /users/*/orders?token=?&n=?",
                "GET /users/*/orders",
            ),
            (
                "connect postgres://db.corp/orders?user=bob",
                "connect postgres://db.corp/orders?user=?",
                "connect postgres://?",
            ),
            (
                "eval at run (https://x.io/app.js?user=bob)",
                "eval at run (https://x.io/app.js?user=?)",
                "eval at run (https://?)",
            ),
            (
                "process 7:\"python /srv/app.py --user bob -k=v x y\"",
                "process 7:\"python app.py --user ? -k=? ?\"",
                "process 7:\"python app.py ?\"",
            ),
        ] {
            assert_eq!(Arguments::StripLiterals.rewrite(from).as_deref(), Some(literals));
            assert_eq!(Arguments::Strip.rewrite(from).as_deref(), Some(all));
            assert_eq!(Arguments::Keep.rewrite(from), None);
            assert_eq!(Arguments::StripLiterals.rewrite(literals), None, "twice: {literals}");
            assert_eq!(Arguments::Strip.rewrite(all), None, "twice: {all}");
        }
    }

    #[test]
    fn signatures_stay() {
        for name in [
            "std::vector<int, std::allocator<int> >::operator()(int, char const*) const",
            "Foo<(Bar)3, 'a'>::baz(unsigned long (&) [16])",
            "main::'lambda'(int)::operator()(int) const",
            "std::function<void (main::'lambda'(int))>::operator=(int&&)",
            "operator\"\" _s(char const*, unsigned long)",
            "bool operator==(Foo const&, Foo const&)",
            "(anonymous namespace)::run(std::array<int, 4ul>)",
            "`anonymous namespace'::foo",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "<extern \"C\" fn(i32) as core::fmt::Debug>::fmt",
            "<[u8; 4] as core::fmt::Debug>::fmt::{closure#0}",
            "foo::<Box<dyn Iterator<Item = (&'static str, u32)>>>",
            "(*T).Method",
            "main.main.func1.2",
            "main.(*Cache[go.shape.struct { A string \"json:\\\"a\\\"\" }]).Do",
            "$anonfun$1",
            "com.acme.Foo.lambda$main$0(Ljava/lang/String;I)V",
            "Object.<anonymous> (/srv/app.js:10:5)",
            "Foo.Bar(Int32 x, String[] y)",
            "block (2 levels) in <main>",
            "w (planted.py:16)",
            "I2C/C2I adapters(0xb)",
            "(program)",
            "eval at run (evalmachine.<anonymous>:1:1)",
            "thread (22): pool-1",
            "[pool-1-thread-2 tid=7]",
            "anonymous fn/2 in Foo.bar/3",
            "RMI TCP Connection(2)",
            "-[NSString initWithFormat:]",
            "foo(_:bar:)",
            "operator<<(std::ostream&, int)",
        ] {
            assert_eq!(Arguments::StripLiterals.rewrite(name), None, "{name}");
            assert_eq!(Arguments::Strip.rewrite(name), None, "{name}");
        }
    }
}
