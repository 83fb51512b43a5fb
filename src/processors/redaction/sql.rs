//! SQL that stands where a name should: its shape stays, its literals go.

/// What a statement may begin with.
const VERBS: &[&str] = &[
    "select", "with", "insert", "replace", "merge", "update", "delete", "call", "exec", "execute", "create", "alter",
    "drop", "set", "explain", "values", "grant", "revoke", "show", "begin", "start", "prepare", "declare", "copy",
];

const VERBS_OF_DATA: &[&str] = &["select", "insert", "update", "delete"];

/// Whether the text is a statement, perhaps with its kind in front: `Query: SELECT ...`, `[SQL] SELECT ...`.
pub(super) fn is_sql(text: &str) -> bool {
    let mut words = Words::new(text);
    let statement = words.rest;
    let Some(first) = words.next() else { return false };
    // most names are settled here
    if !VERBS.iter().any(|verb| first.eq_ignore_ascii_case(verb)) {
        return false;
    }
    let second = words.next().unwrap_or_default();
    let is = |word: &str, known: &[&str]| known.iter().any(|known| word.eq_ignore_ascii_case(known));
    let has = |wanted: &[&str]| Words::new(text).skip(1).any(|word| is(word, wanted));
    let after = words.rest.bytes().next();
    // `SELECT 1`, `SELECT now()`, `CALL f('x')`, but not `Select (tix.py:7)`
    let begins = statement.get(first.len()..).unwrap_or_default();
    let has_literal = begins_with_literal(begins);
    // quotes of C++ and Rust, as in `Begin 'a`, are no literals of SQL
    let has_quoted = begins.matches('\'').count() > 1;
    let is_call =
        begins.starts_with(' ') && !begins.starts_with(" (") && after == Some(b'(') && words.rest.contains(')');
    match first.to_ascii_lowercase().as_str() {
        "select" => has(&["from"]) || has_literal || is_call,
        "with" => has(&["as"]) && has(VERBS_OF_DATA),
        "insert" | "replace" | "merge" => is(second, &["into", "ignore", "low_priority"]),
        "update" => has(&["set"]),
        "delete" => is(second, &["from"]),
        "call" | "exec" | "execute" => is_call || (begins.starts_with(' ') && (begins.contains(" @") || has_quoted)),
        "grant" | "revoke" => has(&["to", "from"]) && (has_quoted || has(&["on", "identified", "role"])),
        "show" => has(&["for", "like", "where"]) && has_quoted,
        "begin" | "start" => begins.split(';').skip(1).any(is_sql),
        "prepare" | "declare" => has(&["as", "for", "from"]) && has(VERBS_OF_DATA),
        "copy" => has(&["from", "to"]) && has_quoted,
        "create" | "alter" | "drop" => is(second, &["table", "user", "role", "index", "view", "database", "login"]),
        "set" => is(second, &["password", "session", "role"]),
        "explain" => has(VERBS_OF_DATA),
        "values" => begins.starts_with(" ('") || begins.starts_with("('"),
        _ => false,
    }
}

/// `SELECT 'x'`, `SELECT 1`, `SELECT E'x'`, `SELECT $$x$$`.
fn begins_with_literal(begins: &str) -> bool {
    let Some(literal) = begins.strip_prefix(' ').map(str::trim_start) else {
        return false;
    };
    let quoted = literal.trim_start_matches(|c| "nNeExXbB".contains(c));
    literal.starts_with(|c: char| c.is_ascii_digit())
        || (quoted.starts_with('\'') && literal.len() - quoted.len() < 2)
        || (literal.starts_with('$') && dollar_quoted(literal.as_bytes(), 0).is_some())
}

/// What callers put in front of statements: `Query:`, `[SQL]`, parentheses.
fn without_label(text: &str) -> &str {
    const LABELS: &[&str] = &["query:", "sql:", "statement:", "stmt:", "execute:", "[sql]", "[query]"];
    let is_start = |label: &str| {
        text.get(..label.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(label))
    };
    let label = LABELS
        .iter()
        .find(|label| is_start(label))
        .map_or(0, |label| label.len());
    text.get(label..)
        .unwrap_or(text)
        .trim_start_matches(['(', ' ', '\t', '\r', '\n'])
}

/// The words of a statement, without what stands before it and comments.
struct Words<'t> {
    rest: &'t str,
}

impl<'t> Words<'t> {
    fn new(text: &'t str) -> Self {
        let mut rest = without_label(text.trim_start());
        while let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after).trim_start();
        }
        Self { rest }
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let of_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let start = self.rest.bytes().position(of_word).unwrap_or(self.rest.len());
        let rest = self.rest.get(start..)?;
        let end = rest.bytes().position(|b| !of_word(b)).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end)?;
        self.rest = after;
        (!word.is_empty()).then_some(word)
    }
}

/// The statement with `?` for every literal and no comments; lists of literals become one.
pub(super) fn shape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let after_word = out
            .bytes()
            .next_back()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let next = bytes.get(at + 1).copied();
        let end = match byte {
            b'-' if next == Some(b'-') => {
                comment(&mut out);
                find(bytes, at, b"\n").unwrap_or(bytes.len())
            }
            b'/' if next == Some(b'*') => {
                comment(&mut out);
                find(bytes, at + 2, b"*/").map_or(bytes.len(), |end| end + 2)
            }
            b'\'' => {
                drop_prefix(&mut out);
                out.push('?');
                quoted(bytes, at)
            }
            b'"' => {
                let end = quoted(bytes, at);
                match is_identifier(&out, bytes.get(end).copied()) {
                    true => out.push_str(text.get(at..end).unwrap_or("?")),
                    false => out.push('?'),
                }
                end
            }
            b'`' => {
                let end = quoted(bytes, at);
                out.push_str(text.get(at..end).unwrap_or("?"));
                end
            }
            b'$' if !after_word => match dollar_quoted(bytes, at) {
                Some(end) => {
                    out.push('?');
                    end
                }
                None => verbatim(text, at, &mut out),
            },
            b'0'..=b'9' if !after_word && !out.ends_with(['$', ':', '@']) => {
                out.push('?');
                number(bytes, at)
            }
            b'A'..=b'Z' | b'a'..=b'z' if !after_word && ends_with_word(&out, "identified by") => {
                out.push('?');
                at + word(bytes, at)
            }
            b'[' => {
                // a mask, or the name of a column in brackets
                let end = find(bytes, at, b"]").map_or(at + 1, |end| end + 1);
                out.push_str(text.get(at..end).unwrap_or("["));
                end
            }
            _ => verbatim(text, at, &mut out),
        };
        at = end.max(at + 1);
    }
    collapse(out.trim())
}

fn verbatim(text: &str, at: usize, out: &mut String) -> usize {
    let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else {
        return at + 1;
    };
    out.push(c);
    at + c.len_utf8()
}

fn comment(out: &mut String) {
    while out.ends_with(' ') {
        out.pop();
    }
    if !out.is_empty() {
        out.push(' ');
    }
}

/// `N'...'`, `E'...'`, `x'...'`.
fn drop_prefix(out: &mut String) {
    let mut end = out.chars().rev();
    let is_prefix = end.next().is_some_and(|c| "nNeExXbB".contains(c))
        && end.next().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
    if is_prefix {
        out.pop();
    }
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes.get(from..)?, what).map(|at| from + at)
}

/// Behind the closing quote; a quote is doubled or follows a backslash inside.
fn quoted(bytes: &[u8], at: usize) -> usize {
    let quote = bytes.get(at).copied();
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end).copied() {
        if byte == b'\\' {
            end += 2;
        } else if Some(byte) == quote {
            if bytes.get(end + 1).copied() != quote {
                return end + 1;
            }
            end += 2;
        } else {
            end += 1;
        }
    }
    bytes.len()
}

fn dollar_quoted(bytes: &[u8], at: usize) -> Option<usize> {
    let tag = find(bytes, at + 1, b"$")? + 1;
    let mark = bytes.get(at..tag)?;
    let is_tag = mark
        .iter()
        .skip(1)
        .take(mark.len() - 2)
        .all(|b| b.is_ascii_alphabetic() || *b == b'_');
    if !is_tag {
        return None;
    }
    Some(find(bytes, tag, mark).map_or(bytes.len(), |end| end + mark.len()))
}

fn number(bytes: &[u8], at: usize) -> usize {
    let mut end = at;
    while let Some(byte) = bytes.get(end).copied() {
        let is_sign = matches!(byte, b'+' | b'-')
            && end
                .checked_sub(1)
                .and_then(|at| bytes.get(at))
                .is_some_and(|b| matches!(b, b'e' | b'E'));
        if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || is_sign) {
            break;
        }
        end += 1;
    }
    end
}

fn word(bytes: &[u8], at: usize) -> usize {
    bytes
        .iter()
        .skip(at)
        .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
        .count()
}

/// Whether what stands in double quotes is a name: beside a dot, or where names stand.
fn is_identifier(out: &str, next: Option<u8>) -> bool {
    if out.ends_with('.') || next == Some(b'.') {
        return true;
    }
    ["from", "join", "into", "update", "table", "select", "by", "as"]
        .into_iter()
        .any(|word| ends_with_word(out, word))
}

fn ends_with_word(out: &str, word: &str) -> bool {
    let out = out.trim_end();
    let tail = out.len().checked_sub(word.len()).and_then(|start| out.get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word))
}

/// `?, ?, ?` becomes `?`, and `(?), (?)` becomes `(?)`.
fn collapse(shape: &str) -> String {
    fold(&fold(shape, "?"), "(?)")
}

/// One in the place of several with commas between them.
fn fold(shape: &str, item: &str) -> String {
    let mut out = String::with_capacity(shape.len());
    let mut rest = shape;
    while let Some((before, after)) = rest.split_once(item) {
        out.push_str(before);
        out.push_str(item);
        rest = after;
        while let Some(next) = rest
            .trim_start()
            .strip_prefix(',')
            .and_then(|next| next.trim_start().strip_prefix(item))
        {
            rest = next;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_keep_their_shape() {
        for (from, to) in [
            (
                "SELECT * FROM users WHERE email='dave@example.com'",
                "SELECT * FROM users WHERE email=?",
            ),
            (
                "select a1, b from t where id = 42 and x in (1, 2, 3)",
                "select a1, b from t where id = ? and x in (?)",
            ),
            (
                "INSERT INTO t (a, b) VALUES ('x', 1), ('y', 2)",
                "INSERT INTO t (a, b) VALUES (?)",
            ),
            ("/* user=bob */ SELECT 1 -- secret", "SELECT ?"),
            (
                "UPDATE t SET a = 'it''s', b = \"O'Hara\" WHERE c = $1",
                "UPDATE t SET a = ?, b = ? WHERE c = $1",
            ),
            (
                "SELECT \"Name\" FROM \"Users\".\"T\" WHERE n = N'x' AND h = 0xFF",
                "SELECT \"Name\" FROM \"Users\".\"T\" WHERE n = ? AND h = ?",
            ),
            ("SELECT $$secret$$ FROM t", "SELECT ? FROM t"),
            ("DELETE FROM t WHERE name LIKE '%bo", "DELETE FROM t WHERE name LIKE ?"),
            ("ALTER USER bob IDENTIFIED BY hunter2", "ALTER USER bob IDENTIFIED BY ?"),
            ("SELECT 1.5e-3, -7 FROM t", "SELECT ?, -? FROM t"),
            (
                "GRANT ALL ON d.* TO 'bob'@'%' IDENTIFIED BY 'hunter2'",
                "GRANT ALL ON d.* TO ?@? IDENTIFIED BY ?",
            ),
            ("GRANT admin TO 'bob'", "GRANT admin TO ?"),
            ("EXEC sp_login 'hunter2'", "EXEC sp_login ?"),
            ("SHOW GRANTS FOR 'bob'", "SHOW GRANTS FOR ?"),
            ("BEGIN; UPDATE t SET pw='hunter2'", "BEGIN; UPDATE t SET pw=?"),
            ("PREPARE p AS SELECT 'hunter2'", "PREPARE p AS SELECT ?"),
            ("DECLARE c CURSOR FOR SELECT 'hunter2'", "DECLARE c CURSOR FOR SELECT ?"),
            (
                "COPY t FROM 's3://b' CREDENTIALS 'hunter2'",
                "COPY t FROM ? CREDENTIALS ?",
            ),
            ("(SELECT 'hunter2')", "(SELECT ?)"),
            ("Query: SELECT 'hunter2' FROM t", "Query: SELECT ? FROM t"),
            (
                "[SQL] SELECT a FROM t WHERE b='hunter2'",
                "[SQL] SELECT a FROM t WHERE b=?",
            ),
            ("SELECT $$hunter2$$", "SELECT ?"),
            ("SELECT E'\\'hunter2'", "SELECT ?"),
        ] {
            assert!(is_sql(from), "{from}");
            assert_eq!(shape(from), to, "{from}");
            assert_eq!(shape(to), to, "twice: {to}");
        }
    }

    #[test]
    fn names_are_no_statements() {
        for name in [
            "select",
            "Select",
            "SelectStatement::execute",
            "update",
            "core::iter::Iterator::with",
            "delete",
            "operator delete(void*)",
            "call",
            "exec_binprm",
            "insert into",
            "with",
            "create",
            "Select all",
            "set password",
            "runtime.selectgo",
            "select_task_rq_fair",
            "CALL_AND_RETRY",
            "Begin",
            "begin; end",
            "start_thread",
            "grant access to role",
            "Show (app.py:7)",
            "copy from user",
            "__copy_from_user",
            "copy_to_iter",
            "prepare to wait",
            "declare",
            "(anonymous namespace)::select",
            "(program)",
        ] {
            assert!(!is_sql(name) || shape(name) == name, "{name}");
        }
    }
}
