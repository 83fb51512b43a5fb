//! Where the gate comes for recordings by itself: folders and addresses. All around a recording is planted as well: names and folders of
//! files, queries, headers, labels of targets, and what is there in place of a recording.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::needles::Needle;
use super::ways::{BESIDE, Planted, ask, broken};
use crate::support::wait_for;

/// Where receivers of files look.
const FOLDERS: [&str; 2] = ["watched", "block"];
/// Names of files and folders are no longer.
const NAME_BYTES: usize = 200;

/// Recordings for every receiver that fetches them.
pub struct Sources {
    root: TempDir,
    port: u16,
    recordings: usize,
    /// What becomes of each fault, as the metric has it.
    faults: Vec<&'static str>,
}

impl Sources {
    pub fn new(all: &[Planted], gone: &[&Needle]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let texts: Vec<&str> = gone.iter().map(|needle| needle.text.as_str()).collect();
        let recordings: Vec<Vec<u8>> = all.iter().map(|planted| planted.bytes.clone()).collect();
        let broken = broken(all, &texts);
        let faults = faults(&broken, &texts);
        let port = serve(&recordings, &faults, failure(&texts));
        let [watched, block] = FOLDERS.map(|name| root.path().join(name));
        fill(&watched, recordings.iter().chain(&broken), &texts);
        fill(&block, &recordings, &texts);
        std::fs::write(root.path().join("targets.json"), targets(port, &texts)).unwrap();
        std::fs::write(root.path().join("no-targets.json"), &broken[0]).unwrap();
        Self {
            root,
            port,
            recordings: all.len(),
            faults: faults.into_iter().map(|(result, _)| result).collect(),
        }
    }

    /// A file that lies beside them, where nobody looks for what must not be there.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Whoever takes all of it, by id.
    pub fn receivers(&self) -> Map<String, Value> {
        let root = self.root.path().display();
        let pattern = "/(?<token>[^/]*)/(?<user>[^/]*)/[^/]*$";
        let [watched, block] = FOLDERS.map(|name| format!("{root}/{name}/**/*"));
        let address = format!("127.0.0.1:{}", self.port);
        let own = json!({ "targets": [address], "labels": HashMap::from(BESIDE) });
        let headers = json!({ "authorization": format!("Bearer {}", BESIDE[0].1) });
        let files = json!({ "files": [format!("{root}/*targets.json")], "refresh_interval": "1s" });
        let known = json!({
            "file": {
                "include": watched, "path_pattern": pattern, "after": "delete", "refused": { "move": format!("{root}/refused") },
                "poll_interval": "100ms", "settle": "0s", "give_up_after": "100ms",
            },
            "pprof/files": { "file": {
                "include": block, "path_pattern": pattern, "after": "delete", "collection_interval": "100ms",
            } },
            "scrape": {
                "collection_interval": "1s", "static_configs": [own], "headers": headers, "profiles": self.captures("static"),
            },
            "scrape/files": {
                "collection_interval": "1s", "file_sd_configs": [files], "headers": headers,
                "profiles": self.captures("found"), "allowed_networks": ["127.0.0.0/8"],
            },
        });
        let Value::Object(mut all) = known else { unreachable!() };
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(BESIDE)
            .finish();
        let remote = |path: String| {
            let endpoint = format!("http://{address}{path}?{query}");
            json!({ "remote": { "endpoint": endpoint, "headers": headers, "collection_interval": "1s", "initial_delay": "0s" } })
        };
        all.extend((0..self.recordings).map(|at| (remote_id(at), remote(format!("/remote/{at}")))));
        all.extend((0..self.faults.len()).map(|at| (fault_id(at), remote(format!("/fault/{at}")))));
        all
    }

    fn captures(&self, way: &str) -> Vec<Value> {
        let params = HashMap::from(BESIDE);
        let capture = |at| json!({ "path": format!("/{way}/{at}"), "params": params });
        (0..self.recordings).map(capture).collect()
    }

    /// Waits until all of it was taken or refused.
    pub fn wait(&self, metrics_port: u16) {
        let recordings = self.recordings as u64;
        wait_for("all that is to be fetched", || {
            let metrics = ask("GET", metrics_port, "/metrics", &[], b"");
            let metrics = String::from_utf8_lossy(&metrics);
            let count = |name: &str, receiver: &str, result: &str| {
                let series = format!("{name}{{receiver=\"{receiver}\",result=\"{result}\"}} ");
                let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
                value.map_or(0, |value| value.parse::<u64>().unwrap())
            };
            let delivered = |receiver| count("flamegate_files_total", receiver, "delivered") >= recordings;
            let scraped = |receiver: &str, result| count("flamegate_scrapes_total", receiver, result);
            let is_done = delivered("file")
                && delivered("pprof/files")
                && scraped("scrape", "ok") == recordings
                && scraped("scrape/files", "ok") == recordings
                && (0..self.recordings).all(|at| scraped(&remote_id(at), "ok") == 1)
                && (self.faults.iter().enumerate()).all(|(at, result)| scraped(&fault_id(at), result) > 0)
                && FOLDERS.iter().all(|name| is_without_files(&self.file(name)));
            is_done.then_some(())
        });
        let refused = std::fs::read_dir(self.file("refused")).unwrap().count();
        assert!(refused > 0, "no file was refused");
    }
}

fn remote_id(at: usize) -> String {
    format!("pprof/{at}")
}

fn fault_id(at: usize) -> String {
    format!("pprof/fault-{at}")
}

/// Writes files to a folder in a folder, all with names that hold planted texts.
fn fill<'a>(folder: &Path, files: impl IntoIterator<Item = &'a Vec<u8>>, texts: &[&str]) {
    let folder = folder.join(BESIDE[0].1).join(BESIDE[1].1);
    std::fs::create_dir_all(&folder).unwrap();
    let mut texts = texts.iter().cycle();
    for (at, bytes) in files.into_iter().enumerate() {
        let mut name = at.to_string();
        for text in texts.by_ref().take(3) {
            name = format!("{name} {}", text.replace('/', "\\"));
        }
        name.truncate(name.floor_char_boundary(NAME_BYTES));
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn is_without_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().all(|entry| {
        let path = entry.unwrap().path();
        path.is_dir() && is_without_files(&path)
    })
}

/// A file of targets: one that is right, and some that are wrong.
fn targets(port: u16, texts: &[&str]) -> String {
    let mut labels = HashMap::from(BESIDE);
    let all = texts.join("\n");
    labels.extend([("job", BESIDE[1].1), ("instance", BESIDE[0].1), ("__meta_all", &all)]);
    let mut groups = vec![json!({ "targets": [format!("127.0.0.1:{port}")], "labels": labels })];
    groups.push(json!({ "targets": texts.iter().map(|text| format!("{text}@localhost")).collect::<Vec<_>>() }));
    groups.push(json!({ "targets": ["localhost"], "labels": { "__scheme__": all } }));
    Value::from(groups).to_string()
}

/// Answers without a recording, each with what becomes of it.
fn faults(broken: &[Vec<u8>], texts: &[&str]) -> Vec<(&'static str, Vec<u8>)> {
    let line = one_line(texts);
    let ok = |headers: &str, body: &[u8]| answer("200 OK", headers, body);
    let longer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", broken[0].len() + 9);
    let mut all = vec![
        ("status", failure(texts)),
        (
            "status",
            answer("302 Found", &format!("Location: /{line}\r\n"), &broken[0]),
        ),
        ("invalid", ok(&format!("Content-Encoding: {line}\r\n"), &broken[0])),
        ("invalid", ok(&format!("Content-Type: {line}\r\n"), &broken[0])),
        ("broken", [longer.as_bytes(), &broken[0]].concat()),
        ("broken", broken[0].clone()),
        ("broken", format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n").into_bytes()),
    ];
    // what begins as a recording does
    all.extend(broken.iter().skip(3).map(|body| ("invalid", ok("", body))));
    all
}

fn failure(texts: &[&str]) -> Vec<u8> {
    let line = one_line(texts);
    answer(
        &format!("500 {line}"),
        &format!("X-Planted: {line}\r\n"),
        line.as_bytes(),
    )
}

fn one_line(texts: &[&str]) -> String {
    let texts = texts.iter().filter(|text| text.is_ascii());
    texts.copied().collect::<Vec<_>>().join(" ")
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// Serves each recording once at the paths of each way, so that none comes twice, and faults for as long as they are asked for; all else
/// is a failure.
fn serve(recordings: &[Vec<u8>], faults: &[(&'static str, Vec<u8>)], failure: Vec<u8>) -> u16 {
    let mut once = HashMap::new();
    for way in ["static", "found", "remote"] {
        let recordings = recordings.iter().enumerate();
        once.extend(recordings.map(|(at, bytes)| (format!("/{way}/{at}"), answer("200 OK", "", bytes))));
    }
    let faults = faults.iter().enumerate();
    let always: HashMap<String, Vec<u8>> = faults
        .map(|(at, (_, bytes))| (format!("/fault/{at}"), bytes.clone()))
        .collect();
    let (once, always) = (Arc::new(Mutex::new(once)), Arc::new(always));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (once, always, failure) = (once.clone(), always.clone(), failure.clone());
            std::thread::spawn(move || {
                // whoever asks may be gone
                let Ok((mut stream, path)) = stream.and_then(asked) else {
                    return;
                };
                let recording = once.lock().unwrap().remove(&path);
                let answer = recording.as_ref().or(always.get(&path)).unwrap_or(&failure);
                let _ = stream.write_all(answer);
            });
        }
    });
    port
}

/// Reads a request; its path.
fn asked(stream: TcpStream) -> std::io::Result<(TcpStream, String)> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    reader.read_line(&mut first)?;
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let uri = first.split(' ').nth(1).unwrap_or_default();
    let path = uri.split('?').next().unwrap_or_default().to_owned();
    Ok((reader.into_inner(), path))
}
