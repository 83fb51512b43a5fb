//! `scrape` and the `remote` of `pprof` in a running gate, from programs that really serve profiles.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use flamegate::formats::{Limits, any};
use flamegate::profile::Profiles;

use crate::support::{Gate, config, data, files, free_port, http, wait_for};

/// Allocates when it is asked to, and says nothing otherwise.
const PROGRAM: &str = r#"package main

import (
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"time"
)

var kept [][]byte

//go:noinline
func work(n int) {
	for i := 0; i < n; i++ {
		kept = append(kept, make([]byte, 10000))
	}
	kept = kept[:0]
}

//go:noinline
func burn(until time.Time) (sum int) {
	for time.Now().Before(until) {
		for i := 0; i < 100000; i++ {
			sum += i * i
		}
	}
	return sum
}

func main() {
	runtime.MemProfileRate = 1
	http.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) {
		work(100)
		// the profile of the heap is that of the last whole collection
		runtime.GC()
		runtime.GC()
		fmt.Fprintln(w, "done")
	})
	go func() {
		for {
			burn(time.Now().Add(20 * time.Millisecond))
			time.Sleep(20 * time.Millisecond)
		}
	}()
	fmt.Println(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
"#;

/// Measures itself for as long as it is asked to.
const SCRIPT: &str = r#"
const http = require("http");
const inspector = require("inspector");
const session = new inspector.Session();
session.connect();
const post = (method) =>
  new Promise((done, failed) => session.post(method, (error, answer) => (error ? failed(error) : done(answer))));
function burn() {
  const end = Date.now() + 20;
  let sum = 0;
  while (Date.now() < end) sum += Math.sqrt(sum + 1);
  return sum;
}
setInterval(burn, 30);
const serve = async (request, response) => {
  const seconds = Number(new URL(request.url, "http://localhost").searchParams.get("seconds"));
  await post("Profiler.enable");
  await post("Profiler.start");
  await new Promise((done) => setTimeout(done, seconds * 1000));
  response.end(JSON.stringify((await post("Profiler.stop")).profile));
};
http.createServer(serve).listen(Number(process.argv[2]), "127.0.0.1");
"#;

/// A program at work; killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program in Go, where that is; else none, and a word.
fn go_program(folder: &Path) -> Option<PathBuf> {
    let (source, program) = (folder.join("main.go"), folder.join("program"));
    std::fs::write(&source, PROGRAM).unwrap();
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .env("GO111MODULE", "off")
        .current_dir(folder)
        .output();
    match built {
        Ok(built) => assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr)),
        Err(error) => {
            eprintln!("skipped: no Go here ({error})");
            return None;
        }
    }
    Some(program)
}

fn start(command: &mut Command, port: u16) -> Program {
    let child = command
        .arg(port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let program = Program(child.spawn().unwrap());
    wait_for("the program", || TcpStream::connect(("127.0.0.1", port)).ok());
    program
}

/// What a profile holds of stacks with the function `of`, by type; of all stacks if that is empty.
fn totals(profiles: &Profiles, of: &str) -> BTreeMap<String, i64> {
    let d = profiles.dictionary();
    let mut totals = BTreeMap::new();
    for at in profiles.iter() {
        let (samples, types) = (&at.profile.samples, &at.profile.sample_types);
        for row in 0..samples.len() {
            let mut lines = d.stacks[samples.stacks[row]]
                .iter()
                .flat_map(|location| &d.lines[*location]);
            if !lines.any(|line| d.str(d.functions[line.function].name).starts_with(of)) {
                continue;
            }
            for (column, of) in types.iter().enumerate() {
                *totals.entry(d.str(of.kind).to_owned()).or_default() += samples.total(row, column, types.len());
            }
        }
    }
    totals
}

fn read(path: &Path) -> Profiles {
    let read = any::decode_any(std::fs::read(path).unwrap().into(), &Limits::default());
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .decoded
        .profiles
}

/// The profiles of one kind that the gate wrote.
fn written(folder: &Path, kind: &str) -> Vec<Profiles> {
    let all = files(&folder.join("profiles")).into_iter();
    let kind = format!("-{kind}-");
    all.filter(|path| path.to_string_lossy().contains(&kind))
        .map(|path| read(&path))
        .collect()
}

fn gate_config(receivers: &str, names: &str, metrics: u16, pages: u16) -> String {
    format!(
        "receivers: {receivers}
processors: {{redaction: }}
exporters: {{file: {{directory: ./profiles, format: otlp}}}}
extensions: {{zpages: {{endpoint: \"localhost:{pages}\"}}}}
service:
  extensions: [zpages]
  pipelines: {{profiles: {{receivers: {names}, processors: [redaction], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    )
}

#[test]
fn a_program_in_go_is_measured_and_its_counters_become_differences() {
    let [program_port, metrics, pages] = [(); 3].map(|()| free_port());
    let receivers = format!(
        "{{scrape: {{collection_interval: 3s, profiles: [{{preset: go_cpu, duration: 1s}}, go_heap, go_goroutine],
           static_configs: [{{targets: [\"localhost:{program_port}\"], labels: {{service_name: shop, env: test}}}}]}}}}"
    );
    let (folder, path) = config(&gate_config(&receivers, "[scrape]", metrics, pages));
    let Some(program) = go_program(folder.path()) else {
        return;
    };
    let running = start(&mut Command::new(&program), program_port);
    let work = |times: usize| (0..times).for_each(|_| assert_eq!(http("GET", program_port, "/work", b"").0, 200));
    let counted = || {
        let heap = folder.path().join("heap.pb.gz");
        fetch(program_port, "/debug/pprof/heap", &heap);
        totals(&read(&heap), "main.work")
    };
    // before the first scrape, so that no difference has it
    work(1);
    let before = counted();
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    wait_for("the first scrape", || {
        (!written(folder.path(), "inuse").is_empty()).then_some(())
    });
    work(3);
    let after = counted();
    let added = |kind: &str| {
        let all = written(folder.path(), "inuse");
        let each = all
            .iter()
            .filter_map(|profiles| totals(profiles, "main.work").remove(kind));
        each.sum::<i64>()
    };
    assert!(after["alloc_space"] - before["alloc_space"] >= 300 * 10_000);
    for kind in ["alloc_space", "alloc_objects"] {
        let expected = after[kind] - before[kind];
        wait_for("the differences", || (added(kind) >= expected).then_some(()));
        assert_eq!(added(kind), expected, "{kind}");
    }
    // beside much else it may take several profiles
    let burnt = || {
        let all = written(folder.path(), "cpu");
        let each = all
            .iter()
            .filter_map(|profiles| totals(profiles, "main.burn").remove("cpu"));
        each.sum::<i64>()
    };
    wait_for("CPU", || (burnt() > 100_000_000).then_some(()));
    assert!(!written(folder.path(), "goroutine").is_empty());
    for profiles in written(folder.path(), "cpu")
        .iter()
        .chain(&written(folder.path(), "inuse"))
    {
        let resource = &profiles.resources()[0];
        let said = ["service.name", "env", "service.instance.id"];
        let said = said.map(|key| resource.attribute_str(profiles.dictionary(), key).unwrap());
        assert_eq!(said, ["shop", "test", &format!("localhost:{program_port}")]);
    }
    let (_, page) = http("GET", pages, "/debug/targetz", b"");
    assert!(
        page.contains(&format!("up    http://localhost:{program_port}, ")),
        "{page}"
    );

    drop(running);
    let text = |what: &str| format!("{what} http://localhost:{program_port}");
    wait_for("a target that is down", || {
        let (_, page) = http("GET", pages, "/debug/targetz", b"");
        (page.contains(&text("down ")) && page.contains("go_cpu: cannot connect")).then_some(())
    });
    assert_eq!(
        http("GET", metrics, "/ready", b"").0,
        200,
        "the gate is ready all the same"
    );
    let _again = start(&mut Command::new(&program), program_port);
    wait_for("the new process", || {
        let (_, text) = http("GET", metrics, "/metrics", b"");
        text.contains("flamegate_scrape_deltas_total{receiver=\"scrape\",result=\"restarted\"} 1")
            .then_some(())
    });
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
}

#[test]
fn a_program_in_node_is_measured_for_a_while() {
    if let Err(error) = Command::new("node").arg("--version").output() {
        return eprintln!("skipped: no Node here ({error})");
    }
    let [program_port, metrics, pages] = [(); 3].map(|()| free_port());
    let receivers = format!(
        "{{scrape: {{collection_interval: 2s, profiles: [{{preset: v8_cpu, path: /cpu, duration: 1s}}],
           static_configs: [{{targets: [\"127.0.0.1:{program_port}\"], labels: {{job: cart}}}}]}}}}"
    );
    let (folder, path) = config(&gate_config(&receivers, "[scrape]", metrics, pages));
    let script = folder.path().join("program.js");
    std::fs::write(&script, SCRIPT).unwrap();
    let _running = start(Command::new("node").arg(&script), program_port);
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    // on a busy machine the program may not run at all in the first second
    let burns = |profiles: &Profiles| totals(profiles, "burn").get("wall").is_some_and(|nanos| *nanos > 0);
    let profiles = wait_for("a profile with work in it", || {
        written(folder.path(), "wall").into_iter().find(burns)
    });
    let profile = profiles.iter().next().unwrap().profile;
    assert!(profile.duration_nano > 500_000_000, "{}", profile.duration_nano);
    assert!(
        profile.time_unix_nano >= begun,
        "V8's clock starts with the machine, ours does not"
    );
    let service = profiles.resources()[0].attribute_str(profiles.dictionary(), "service.name");
    assert_eq!(service, Some("cart"));
}

fn fetch(port: u16, path: &str, to: &Path) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    std::fs::write(to, &answer[head + 4..]).unwrap();
}

/// Serves one recording to whoever brings the right credential.
fn serve(body: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let fits =
                head.starts_with("get /profile?seconds=1 ") && head.contains("authorization: bearer planted-token\r\n");
            let status = if fits { "200 OK" } else { "403 Forbidden" };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    port
}

#[test]
fn the_remote_of_a_collector_is_fetched_as_it_is() {
    let target = serve(std::fs::read(data("go123-heap.pb.gz")).unwrap());
    let [metrics, pages] = [(); 2].map(|()| free_port());
    let receivers = format!(
        "{{pprof: {{remote: {{endpoint: \"http://127.0.0.1:{target}/profile?seconds=1\", collection_interval: 1s, initial_delay: 10ms,
           headers: {{authorization: \"Bearer ${{env:TOKEN}}\"}}, max_idle_conns: 7}}}}}}"
    );
    let (folder, path) = config(&gate_config(&receivers, "[pprof]", metrics, pages));
    let token = [("TOKEN", "planted-token")];
    let mut gate = Gate::start_with(folder.path(), &["--config", &path], &token);
    let all = wait_for("two profiles", || {
        Some(written(folder.path(), "inuse")).filter(|all| all.len() > 1)
    });
    let whole = totals(&read(&data("go123-heap.pb.gz")), "");
    for profiles in &all {
        assert_eq!(totals(profiles, ""), whole, "counters go on as they are");
    }
    let pages: Vec<String> = ["/debug/targetz", "/debug/pipelinez"]
        .map(|page| http("GET", pages, page, b"").1)
        .into();
    let (_, numbers) = http("GET", metrics, "/metrics", b"");
    assert!(
        pages[0].contains(&format!("up    http://127.0.0.1:{target}, ")),
        "{}",
        pages[0]
    );
    assert!(
        numbers.contains("flamegate_scrapes_total{receiver=\"pprof\",result=\"ok\"}"),
        "{numbers}"
    );
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    for told in [gate.err(), numbers, pages.concat()] {
        assert!(!told.contains("planted-token"));
    }
    assert!(
        gate.err().contains("remote.max_idle_conns: has no effect"),
        "{}",
        gate.err()
    );
}
