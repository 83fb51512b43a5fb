//! Where profiles to scan come from: files, directories, addresses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::header::HeaderMap;

use crate::cli::Failure;
use crate::cli::files::{self, Input};
use crate::config::io_reason;
use crate::net::client::{Client, ClientSettings, Protocol};

/// Most files of all directories together, and how deep they may lie.
const MOST_FILES: usize = 20_000;
const DEEPEST: usize = 32;
/// Largest answer of an address, as sent.
const ANSWER_BYTES: usize = 256 << 20;
/// Longest time for one: `/debug/pprof/profile` records for 30 s before it answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of one source: what was in it, or why it could not be read.
type Read = Result<Input, String>;

/// Reads one after the other; only one is in memory at a time.
pub(super) fn each(sources: &[String], look: &mut dyn FnMut(String, Read)) -> Result<(), Failure> {
    let mut left = MOST_FILES;
    for source in sources {
        let path = Path::new(source);
        if source.starts_with("http://") || source.starts_with("https://") {
            look(shown(source), fetch(source));
        } else if path.is_dir() {
            each_below(path, &mut left, look)?;
        } else {
            look(source.clone(), file(path));
        }
    }
    warn_of_more(left);
    Ok(())
}

/// The same for the files of one directory and of those below it.
pub(in crate::cli) fn each_of_directory(path: &Path, look: &mut dyn FnMut(String, Read)) -> Result<(), Failure> {
    let mut left = MOST_FILES;
    each_below(path, &mut left, look)?;
    warn_of_more(left);
    Ok(())
}

fn each_below(path: &Path, left: &mut usize, look: &mut dyn FnMut(String, Read)) -> Result<(), Failure> {
    let mut files = Vec::new();
    let walked = walk(path, 0, left, &mut files);
    walked.map_err(|error| Failure::Trouble(format!("{}: {}", path.display(), io_reason(&error))))?;
    for path in files {
        look(path.display().to_string(), file(&path));
    }
    Ok(())
}

fn warn_of_more(left: usize) {
    if left == 0 {
        eprintln!("warning: more than {MOST_FILES} files; the others were not looked at");
    }
}

fn file(path: &Path) -> Read {
    files::read(path, None).map_err(|failure| {
        let (Failure::No(why) | Failure::Trouble(why)) = failure;
        let named = format!("{}: ", path.display());
        why.strip_prefix(&named).unwrap_or(&why).to_owned()
    })
}

/// The files of a directory and of those below it, in order; links are not followed.
fn walk(directory: &Path, depth: usize, left: &mut usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(directory)?.collect();
    let mut entries = entries?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEEPEST {
            // one that nobody may read hides no other
            let _ = walk(&entry.path(), depth + 1, left, files);
        } else if kind.is_file() && *left > 0 {
            *left -= 1;
            files.push(entry.path());
        }
    }
    Ok(())
}

/// An address without what may be a secret in it.
fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((host, path)) => format!("{scheme}://{}/{path}", without_user(host)),
            None => format!("{scheme}://{}", without_user(rest)),
        },
        None => plain.to_owned(),
    }
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn fetch(url: &str) -> Read {
    let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| io_reason(&error))?;
    let body: Result<Bytes, String> = runtime.block_on(async {
        let client = Client::new(Protocol::Http, &ClientSettings::default()).map_err(|error| error.to_string())?;
        let asked = tokio::time::timeout(PATIENCE, client.get(&uri, HeaderMap::new(), ANSWER_BYTES));
        let answer = asked.await.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status.is_success() {
            true => Ok(answer.body),
            false => Err(format!("it answered {}", answer.status)),
        }
    });
    files::of_bytes(body?, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_user_and_query() {
        for (url, plain) in [
            ("http://u:p@h:6060/debug?token=x#y", "http://h:6060/debug"),
            ("http://h:6060", "http://h:6060"),
            ("https://u@h?x", "https://h"),
        ] {
            assert_eq!(shown(url), plain);
        }
    }
}
