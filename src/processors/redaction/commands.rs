//! Command lines that stand where a name should: the program and what its options are called stay, their values go.

use super::detectors::is_masked;

/// Programs whose option takes the secret without a space: `mysql -phunter2`.
const GLUED: &[(&str, &str)] = &[
    ("mysql", "-p"),
    ("mysqldump", "-p"),
    ("mysqladmin", "-p"),
    ("mariadb", "-p"),
    ("mariadb-dump", "-p"),
    ("sshpass", "-p"),
    ("7z", "-p"),
    ("redis-cli", "-a"),
    ("curl", "-u"),
];

/// Whether the name is a program with options, variables of the environment in front of one, or settings behind a script. Signatures hold
/// spaces too, but behind a bracket.
pub(super) fn is_command(name: &str) -> bool {
    let mut words = name.split_ascii_whitespace();
    let Some(first) = words.next().filter(|first| first.len() < name.len()) else {
        return false;
    };
    if is_variable(first) {
        return true;
    }
    let first = first.trim_matches('"');
    let of_program = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/' | b'\\' | b':' | b'~');
    if first.starts_with('-') || !first.bytes().all(of_program) {
        return false;
    }
    let mut has_script = false;
    for word in words {
        let is_set = is_variable(word) || (has_script && setting(word).is_some());
        if is_set || is_option(word) {
            return true;
        }
        if word.contains(['(', '<', '[', '{']) {
            return false;
        }
        has_script |= is_script(word);
    }
    false
}

/// The line without values; without the options too, if they are not to stay.
pub(super) fn without_values(line: &str, keeps_options: bool) -> String {
    let quote = if line.starts_with('"') { "\"" } else { "" };
    let mut out: Vec<String> = Vec::new();
    let mut program = None;
    for word in line.trim_matches('"').split_ascii_whitespace() {
        let kept = match setting(word).filter(|_| keeps_options) {
            _ if is_masked(word) => word.to_owned(),
            Some((name, value)) => format!("{name}={}", hidden(value)),
            None if program.is_none() && setting(word).is_none() => {
                program = Some(base_name(word));
                base_name(word).to_owned()
            }
            None if is_script(word) => base_name(word).to_owned(),
            None if keeps_options => option(program.unwrap_or_default(), word).unwrap_or_else(|| "?".to_owned()),
            None => "?".to_owned(),
        };
        if kept != "?" || out.last().is_none_or(|last| last != "?") {
            out.push(kept);
        }
    }
    format!("{quote}{}{quote}", out.join(" "))
}

/// The option without its value, if the word is one.
fn option(program: &str, word: &str) -> Option<String> {
    let glued = GLUED
        .iter()
        .find(|(name, option)| *name == program && word.len() > option.len() && word.starts_with(option));
    if let Some((_, option)) = glued {
        return Some(format!("{option}{}", hidden(word.strip_prefix(option)?)));
    }
    let bare = word.strip_prefix('-')?;
    let (name, value) = bare
        .split_once('=')
        .map_or((bare, None), |(name, value)| (name, Some(value)));
    let of_option = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'+');
    match (name.bytes().all(of_option), value) {
        (false, _) => None,
        (true, Some(value)) => Some(format!("-{name}={}", hidden(value))),
        (true, None) => Some(format!("-{name}")),
    }
}

/// What stands for the value. A mask stays: it says more, and detectors and this never undo each other's work.
fn hidden(value: &str) -> &str {
    if is_masked(value) { value } else { "?" }
}

/// `-password`, `--token`, `-Dname=value`.
fn is_option(word: &str) -> bool {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    name.and_then(|name| name.bytes().next())
        .is_some_and(|b| b.is_ascii_alphabetic())
}

/// `name=value`.
fn setting(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let is_name = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(of_name);
    (is_name && !value.starts_with(['=', '>'])).then_some((name, value))
}

/// Whether it is `NAME=value`, as variables of the environment are written.
fn is_variable(word: &str) -> bool {
    setting(word).is_some_and(|(name, _)| name.len() > 1 && !name.bytes().any(|b| b.is_ascii_lowercase()))
}

fn base_name(path: &str) -> &str {
    path.trim_matches('"').rsplit(['/', '\\']).next().unwrap_or_default()
}

fn is_script(word: &str) -> bool {
    [".py", ".js", ".mjs", ".ts", ".rb", ".php", ".pl", ".sh", ".jar", ".lua"]
        .into_iter()
        .any(|end| word.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_lose_their_values() {
        for (from, to) in [
            (
                "java -Dspring.datasource.password=hunter2 -XX:+UseG1GC -jar /srv/a.jar",
                "java -Dspring.datasource.password=? -XX:+UseG1GC -jar a.jar",
            ),
            ("./server -password=hunter2", "server -password=?"),
            ("./server -password hunter2", "server -password ?"),
            ("PGPASSWORD=hunter2 psql -h db", "PGPASSWORD=? psql -h ?"),
            ("docker run -e DB_PASS=hunter2 img", "docker ? -e DB_PASS=? ?"),
            ("python3 app.py password=hunter2", "python3 app.py password=?"),
            ("mysql -uroot -phunter2 shop", "mysql -uroot -p? ?"),
            ("sshpass -p hunter2 ssh h", "sshpass -p ?"),
            ("env DB_PASS=hunter2 run", "env DB_PASS=? ?"),
            ("\"C:\\srv\\app.exe\" --user bob", "\"app.exe --user ?\""),
        ] {
            assert!(is_command(from), "{from}");
            assert_eq!(without_values(from, true), to, "{from}");
            assert_eq!(without_values(to, true), to, "twice: {to}");
        }
    }

    #[test]
    fn names_are_no_commands() {
        for name in [
            "main",
            "operator new(unsigned long)",
            "operator- (Foo const&, Foo const&)",
            "static Foo.bar(x: Int) -> Int",
            "-[NSString initWithFormat:]",
            "+[Cache -sweep]",
            "w (planted.py:16)",
            "func planted.py:16",
            "void sort(T) [with T=int; LESS=less]",
            "lambda x: x - y",
            "foo - file.rb:1",
            "block in <main>",
            "a == b",
            "GC Thread",
        ] {
            assert!(!is_command(name), "{name}");
        }
    }
}
