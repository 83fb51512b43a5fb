//! What a hostile client may try. In each case the attack ends or is waited out, and a healthy client is served meanwhile.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const PRIORITY: u8 = 2;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// GET / of http://h, in HPACK.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'h'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A client of HTTP/2 that has said who it is.
async fn http2(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

async fn is_served(running: &Running) {
    let answer = timeout(PATIENCE, talk(running.address, ONCE)).await;
    assert!(answer.unwrap().ends_with("hello"));
}

/// Sends `next` again and again until the server closes the connection; gives back how many went out.
async fn flood(mut stream: TcpStream, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let (mut reader, mut writer) = stream.split();
    let mut sent = 0;
    let send = async {
        while writer.write_all(&next(sent)).await.is_ok() {
            sent += 1;
        }
    };
    let read = async {
        let mut bytes = vec![0; 65_536];
        while matches!(reader.read(&mut bytes).await, Ok(1..)) {}
    };
    let closed = async {
        tokio::select! {
            () = send => {}
            () = read => {}
        }
    };
    timeout(PATIENCE, closed)
        .await
        .expect("the server puts up with it for ever");
    sent
}

#[tokio::test]
async fn trickled_heads_are_cut_off() {
    let limits = ServerLimits {
        read_header_timeout: Duration::from_millis(300),
        ..ServerLimits::default()
    };
    let running = start(hello(), limits).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let trickle = async {
        while stream.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (ended, ()) = tokio::join!(timeout(PATIENCE, trickle), is_served(&running));
    assert!(ended.is_ok());
    assert_eq!(running.metrics.cut_count("header_timeout"), 1);
}

#[tokio::test]
async fn a_head_that_trickles_in_continuations_is_cut_off() {
    let limits = ServerLimits {
        idle_timeout: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let running = start(hello(), limits).await;
    let mut stream = http2(&running).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
    let trickle = async {
        while stream.write_all(&frame(CONTINUATION, 0, 1, &[])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (ended, ()) = tokio::join!(timeout(PATIENCE, trickle), is_served(&running));
    assert!(ended.is_ok());
}

#[tokio::test]
async fn a_flood_of_continuations_is_cut_off() {
    let running = start(hello(), ServerLimits::default()).await;
    let mut stream = http2(&running).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
    // one header after the other, none of them to be remembered
    let header = [&[0, 1, b'x', 120][..], &[b'y'; 120]].concat();
    let block = header.repeat(16_000 / header.len());
    let (sent, ()) = tokio::join!(
        flood(stream, |_| frame(CONTINUATION, 0, 1, &block)),
        is_served(&running)
    );
    assert!(sent < 1_000, "{sent} of 16 KB each");
    assert_eq!(running.metrics.cut_count("protocol"), 1);
}

#[tokio::test]
async fn a_flood_of_empty_continuations_is_cut_off() {
    let running = start(hello(), ServerLimits::default()).await;
    let mut stream = http2(&running).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
    let many = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    let (_, ()) = tokio::join!(flood(stream, |_| many.clone()), is_served(&running));
    assert_eq!(running.metrics.cut_count("protocol"), 1);
}

#[tokio::test]
async fn rapid_resets_are_cut_off() {
    let running = start(hello(), ServerLimits::default()).await;
    let stream = http2(&running).await;
    let pair = |number: u32| {
        let id = number * 2 + 1;
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, id, GET);
        both.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
        both
    };
    // many at once, as they come over a fast network
    let pairs = |batch: u32| (batch * 100..(batch + 1) * 100).flat_map(pair).collect();
    let (_, ()) = tokio::join!(flood(stream, pairs), is_served(&running));
    assert_eq!(running.metrics.cut_count("protocol"), 1);
}

#[tokio::test]
async fn resets_that_the_server_is_made_to_do_are_cut_off() {
    let running = start(hello(), ServerLimits::default()).await;
    let stream = http2(&running).await;
    let wrong = |number: u32| {
        let id = number * 2 + 1;
        let mut both = frame(HEADERS, END_HEADERS, id, GET);
        both.extend(frame(WINDOW_UPDATE, 0, id, &0u32.to_be_bytes()));
        both
    };
    let wrongs = |batch: u32| (batch * 100..(batch + 1) * 100).flat_map(wrong).collect();
    let (_, ()) = tokio::join!(flood(stream, wrongs), is_served(&running));
    assert_eq!(running.metrics.cut_count("protocol"), 1);
}

#[tokio::test]
async fn pings_and_settings_without_end_hold_up_nobody_and_end_with_the_idle_time() {
    let limits = ServerLimits {
        idle_timeout: Duration::from_millis(300),
        ..ServerLimits::default()
    };
    let frames = [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]),
    ];
    let attacks = frames.iter().map(async |frame| {
        let running = start(hello(), limits).await;
        let stream = http2(&running).await;
        let many = frame.repeat(100);
        tokio::join!(flood(stream, |_| many.clone()), is_served(&running));
    });
    futures_util::future::join_all(attacks).await;
}

/// Whether the process may open so many files.
fn may_open(files: u64) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    soft.is_none_or(|soft| soft >= files)
}

#[tokio::test]
async fn idle_connections_in_any_number_keep_nobody_out() {
    if !may_open(4_096) {
        eprintln!("skipped: the process may not open 4096 files (ulimit -n)");
        return;
    }
    let limits = ServerLimits {
        // a slow machine may need its time to make so many
        read_header_timeout: Duration::from_secs(100),
        ..ServerLimits::default()
    };
    let running = start(hello(), limits).await;
    let mut idle = Vec::new();
    for number in 0..1_500u32 {
        // one that said nothing, one that said half a head, one of HTTP/2 that never asks
        let said = [&b""[..], b"GET / HTT", PREFACE][number as usize % 3];
        idle.push(connect_from((number % 10) as u8 + 1, &running, said).await);
        if number % 300 == 299 {
            is_served(&running).await;
        }
    }
    is_served(&running).await;
    assert!(running.metrics.cut_count("crowded") >= 1_500 - 1_024);
    let fewer = async {
        // those that make room say goodbye first
        while running.metrics.open() > 1_024 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, fewer).await.unwrap();
    // the same from one address alone
    for _ in 0..500 {
        idle.push(connect_from(20, &running, b"").await);
    }
    is_served(&running).await;
    assert_eq!(running.metrics.cut_count("peer_limit"), 0);
}
