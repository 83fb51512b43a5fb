//! Recordings of the JVM, made long by repeating their chunks: how fast the binary turns them into OTLP and how much memory it takes,
//! beside the JDK's own tool where that is on the path.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::inputs;

/// For comparison, and to see that memory does not follow the length.
const LENGTHS: [usize; 2] = [100 << 20, 1 << 30];
/// What the JDK's tool prints: the events that become samples.
const EVENTS: &str = "ExecutionSample,NativeMethodSample,ObjectAllocationSample,ObjectAllocationInNewTLAB,\
    ObjectAllocationOutsideTLAB,OldObjectSample,JavaMonitorEnter,ThreadPark,JavaExceptionThrow,JavaErrorThrow";

pub fn run() {
    println!("recording of the JVM                        MB      s    MB/s    MiB   jfr print  times");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.jfr");
    for input in inputs::recordings() {
        for length in LENGTHS {
            let bytes = write_long(&path, &input.plain, length);
            let mut convert = Command::new(env!("CARGO_BIN_EXE_flamegate"));
            convert.arg("convert").arg(&path).arg(folder.path().join("out.otlp"));
            let ours = measure(convert).unwrap();
            let megabytes = bytes as f64 / 1e6;
            print!(
                "{:38} {megabytes:7.0} {:6.2} {:7.0} {:6.0}",
                input.name,
                ours.seconds,
                megabytes / ours.seconds,
                ours.peak as f64 / f64::from(1 << 20)
            );
            // the JDK takes minutes for the long one
            let mut print = Command::new("jfr");
            print.args(["print", "--json", "--events", EVENTS]).arg(&path);
            match (length == LENGTHS[0]).then(|| measure(print)).flatten() {
                Some(theirs) => println!(" {:11.2} {:6.1}", theirs.seconds, theirs.seconds / ours.seconds),
                None => println!(),
            }
        }
    }
}

/// Writes a recording as often as it fits, and at least once; how many bytes that is.
fn write_long(path: &Path, chunks: &[u8], most: usize) -> usize {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let repeats = (most / chunks.len()).max(1);
    for _ in 0..repeats {
        file.write_all(chunks).unwrap();
    }
    file.flush().unwrap();
    repeats * chunks.len()
}

struct Measured {
    /// User time.
    seconds: f64,
    /// Most bytes that were resident.
    peak: u64,
}

/// Runs a command to its good end; none if there is no such command.
fn measure(mut command: Command) -> Option<Measured> {
    let before = user_time_of_children();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or_default() << 10);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{command:?}");
    Some(Measured {
        seconds: user_time_of_children() - before,
        peak,
    })
}

/// Seconds that children that ended spent in user mode.
fn user_time_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // the name of the process is in brackets, and may hold blanks
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: f64 = fields.split_whitespace().nth(13).unwrap().parse().unwrap();
    ticks / 100.0
}
