//! `scan`: what profiles give away, in counts and never in text.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::{data, run};

fn json(args: &[&str]) -> Value {
    let scan = run(&[&["scan", "--format", "json"], args].concat());
    serde_json::from_str(&scan.out()).unwrap_or_else(|_| panic!("{}", scan.err()))
}

fn found(scan: &Value, class: &str) -> u64 {
    let findings = scan["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["class"] == class)
        .map(|finding| finding["count"].as_u64().unwrap())
        .sum()
}

#[test]
fn planted_secrets_are_counted_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("leaks.html");
    let planted = std::fs::read_to_string(data("planted.txt")).unwrap();
    let sources: Vec<String> = [
        "planted-everywhere.otlp",
        "planted-go123-cpu.pb.gz",
        "planted-node20-labels.pb.gz",
    ]
    .map(|name| data(name).display().to_string())
    .into();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let scan = json(&sources);
    assert!(
        found(&scan, "credential") > 20 && found(&scan, "personal_data") > 5,
        "{scan}"
    );
    assert!(
        scan["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["service"] == "billing")
    );
    let text = run(&[&["scan", "--html", page.to_str().unwrap()], sources.as_slice()].concat());
    assert_eq!(text.code(), 0, "{}", text.err());
    assert!(text.out().contains("texts that give something away"));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("By service"));
    assert!(!page.contains("<script") && !page.contains("href"), "self-contained");
    let shown = format!("{scan}{}{}{page}", text.out(), text.err());
    for secret in planted.lines().filter(|line| line.len() > 7 && *line != "billing") {
        assert!(!shown.contains(secret), "a planted text is shown");
    }
    assert_eq!(run(&["scan", "--fail", sources[0]]).code(), 1);
}

#[test]
fn directories_are_walked_and_what_cannot_be_read_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::copy(data("py-spy-threads.collapsed"), below.join("threads")).unwrap();
    std::fs::write(folder.path().join("notes.bin"), [0xffu8, 0xfe, 0, 1, 2]).unwrap();
    let scan = json(&[folder.path().to_str().unwrap()]);
    assert_eq!(scan["read"].as_array().unwrap().len(), 1);
    assert_eq!(scan["read"][0]["source"], below.join("threads").display().to_string());
    assert_eq!(
        scan["unreadable"][0]["source"],
        folder.path().join("notes.bin").display().to_string()
    );
    assert!(!scan["unreadable"][0]["reason"].as_str().unwrap().is_empty());
    let nothing = run(&["scan", folder.path().join("notes.bin").to_str().unwrap()]);
    assert_eq!(nothing.code(), 1);
    let missing = run(&["scan", "/no/such/file"]);
    assert!(
        missing.out().contains("/no/such/file: no such file or directory"),
        "{}",
        missing.out()
    );
}

#[test]
fn an_address_is_asked_and_its_query_stays_untold() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let length = stream.read(&mut head).unwrap();
        assert!(head[..length].starts_with(b"GET /debug/pprof/heap?token=plantedEXAMPLE HTTP/1.1\r\n"));
        let body = std::fs::read(data("go123-heap.pb.gz")).unwrap();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        )
        .unwrap();
        stream.write_all(&body).unwrap();
    });
    let scan = json(&[&format!(
        "http://localhost:{port}/debug/pprof/heap?token=plantedEXAMPLE"
    )]);
    assert_eq!(
        scan["read"][0]["source"],
        format!("http://localhost:{port}/debug/pprof/heap"),
        "{scan}"
    );
    assert!(scan["read"][0]["samples"].as_u64() > Some(0));
    assert!(!scan.to_string().contains("plantedEXAMPLE"));
}
