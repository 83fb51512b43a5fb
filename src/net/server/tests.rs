//! Real connections against the accept loop.

mod attacks;

use axum::routing::{get, post};
use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::net::client::{Client, ClientSettings, Protocol};

struct Running {
    address: SocketAddr,
    metrics: ServerMetrics,
    stop: Stop,
    server: JoinHandle<()>,
}

async fn start(router: Router, limits: ServerLimits) -> Running {
    let metrics = ServerMetrics::default();
    let settings = ServerSettings {
        limits,
        metrics: metrics.clone(),
        ..ServerSettings::default()
    };
    let listener = Listener::bind("test", &"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.addresses()[0];
    let stop = Stop::new();
    let server = tokio::spawn(serve(listener, router, stop.clone(), settings));
    Running {
        address,
        metrics,
        stop,
        server,
    }
}

/// Longest wait for what must come, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn talk(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    // a reset after an early answer is fine
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer));
    assert!(read.await.is_ok(), "neither answered nor left");
    String::from_utf8_lossy(&answer).into_owned()
}

/// What HTTP/2 lets a client send on one stream, and on a connection, before anybody reads it.
async fn windows(address: SocketAddr) -> (u32, u32) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&empty_settings).await.unwrap();
    let (mut of_stream, mut of_connection) = (65_535, 65_535);
    let mut head = [0; 9];
    while let Ok(Ok(_)) = timeout(Duration::from_millis(500), stream.read_exact(&mut head)).await {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let number = |at: &[u8]| u32::from_be_bytes(at[..4].try_into().unwrap());
        match head[3] {
            4 => {
                for setting in payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                    of_stream = number(&setting[2..]);
                }
            }
            8 => of_connection += number(&payload),
            _ => {}
        }
    }
    (of_stream, of_connection)
}

#[tokio::test]
async fn a_patience_without_end_is_one() {
    let limits = ServerLimits {
        read_header_timeout: Duration::MAX,
        idle_timeout: Duration::MAX,
        ..ServerLimits::default()
    };
    let running = start(hello(), limits).await;
    let answer = talk(
        running.address,
        b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn little_is_held_of_a_request_that_nobody_reads_yet() {
    let running = start(hello(), ServerLimits::default()).await;
    let (of_stream, of_connection) = windows(running.address).await;
    assert!(
        of_stream <= 256 << 10 && of_connection <= 1 << 20,
        "{of_stream} {of_connection}"
    );
    assert!(of_connection > 65_535, "the server has said nothing");
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_on_one_port_and_the_peer_is_known() {
    let whoami = async |peer: axum::Extension<Peer>, request: axum::extract::Request| {
        format!("{:?} {}", request.version(), peer.0.0.ip())
    };
    let running = start(Router::new().route("/", post(whoami)), ServerLimits::default()).await;
    for (protocol, version) in [(Protocol::Http, "HTTP/1.1"), (Protocol::Http2, "HTTP/2.0")] {
        let client = Client::new(protocol, &ClientSettings::default()).unwrap();
        let uri = format!("http://{}/", running.address).parse().unwrap();
        let answer = client.post(&uri, HeaderMap::new(), Bytes::new()).await.unwrap();
        assert_eq!(answer.body, format!("{version} 127.0.0.1"));
    }
}

#[tokio::test]
async fn requests_taken_on_are_answered_before_the_end_and_idle_connections_are_not_waited_for_long() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (seen, gate) = (begun.clone(), go_on.clone());
    let slow = async move || {
        seen.notify_one();
        gate.notified().await;
        "done"
    };
    let mut running = start(Router::new().route("/", get(slow)), ServerLimits::default()).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let request = tokio::spawn(async move { talk(running.address, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await });
    begun.notified().await;
    running.stop.ask();
    assert!(
        timeout(Duration::from_millis(50), &mut running.server).await.is_err(),
        "one is under way"
    );
    assert!(TcpStream::connect(running.address).await.is_err(), "no new connections");
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap(), 0);
    go_on.notify_one();
    let answer = request.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
        "{answer}"
    );
    timeout(PATIENCE, running.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_gets_one_more_answer_after_stop() {
    let running = start(hello(), ServerLimits::default()).await;
    let mut kept = TcpStream::connect(running.address).await.unwrap();
    let mut fresh = TcpStream::connect(running.address).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    while kept.read_u8().await.unwrap() != b'o' {}
    running.stop.ask();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for stream in [&mut kept, &mut fresh] {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.contains("connection: close") && answer.ends_with("hello"),
            "{answer}"
        );
    }
    timeout(PATIENCE, running.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_next_server_of_an_owner_takes_its_port_over() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint: Endpoint = free.to_string().parse().unwrap();
    let old = Listener::bind("a", &endpoint).await.unwrap();
    assert!(Listener::bind("b", &endpoint).await.is_err(), "another owner");
    let (stop, next) = (Stop::new(), Listener::bind("a", &endpoint).await.unwrap());
    let old = tokio::spawn(serve(old, hello(), stop.clone(), ServerSettings::default()));
    stop.ask();
    old.await.unwrap();
    let request = tokio::spawn(talk(free, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"));
    let stop = Stop::new();
    let next = tokio::spawn(serve(next, hello(), stop.clone(), ServerSettings::default()));
    assert!(
        request.await.unwrap().ends_with("hello"),
        "it waited in the queue of the port"
    );
    stop.ask();
    next.await.unwrap();
    assert!(TcpStream::connect(free).await.is_err(), "nobody has it any more");
}

#[tokio::test]
async fn clients_that_say_nothing_or_half_a_thing_are_left() {
    let limits = ServerLimits {
        idle_timeout: Duration::from_millis(400),
        read_header_timeout: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let running = start(hello(), limits).await;
    let whole = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    for (beginning, reason) in [
        (&b""[..], "handshake"),
        (b"GET / HTTP/1.1\r\nhost:", "header_timeout"),
        (b"PRI * HTTP/2.0\r\n", "header_timeout"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "idle"),
        (whole, "idle"),
    ] {
        let before = running.metrics.cut_count(reason);
        talk(running.address, beginning).await;
        let counted = async {
            while running.metrics.cut_count(reason) == before {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, counted).await.is_ok(), "{reason}");
    }
    let closed = async {
        while running.metrics.open() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let running = start(hello(), ServerLimits::default()).await;
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(64 << 10));
    for headers in [many, long] {
        let answer = talk(running.address, format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    }
    let answer = talk(running.address, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("hello"), "{answer}");
}

/// A request whose answer does not come until the test says so.
fn slow(go_on: &Arc<Notify>) -> Router {
    let gate = go_on.clone();
    let wait = async move || {
        gate.notified().await;
        "done"
    };
    hello().route("/slow", get(wait))
}

/// A connection from an address of its own of this machine, with the beginning of a conversation.
async fn connect_from(host: u8, running: &Running, sent: &[u8]) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, host], 0).into()).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream
}

const ONCE: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n";

/// Waits until the server has seen so many connections.
async fn seen(running: &Running, connections: u64) {
    let open = async {
        while running.metrics.open() < connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, open).await.unwrap();
}

#[tokio::test]
async fn where_all_are_busy_further_connections_wait_and_idle_ones_make_room() {
    let limits = ServerLimits {
        max_connections: 1,
        ..ServerLimits::default()
    };
    let go_on = Arc::new(Notify::new());
    let running = start(slow(&go_on), limits).await;
    let mut first = connect_from(1, &running, SLOW).await;
    seen(&running, 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let address = running.address;
    let mut second = tokio::spawn(async move { talk(address, ONCE).await });
    assert!(timeout(Duration::from_millis(150), &mut second).await.is_err());
    go_on.notify_one();
    assert!(second.await.unwrap().ends_with("hello"));
    assert_eq!(running.metrics.cut_count("crowded"), 1);
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_peer_with_too_many_busy_connections_is_refused_and_others_are_served() {
    let limits = ServerLimits {
        max_connections_per_peer: 2,
        ..ServerLimits::default()
    };
    let go_on = Arc::new(Notify::new());
    let running = start(slow(&go_on), limits).await;
    let _busy = (
        connect_from(2, &running, SLOW).await,
        connect_from(2, &running, SLOW).await,
    );
    seen(&running, 2).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut third = connect_from(2, &running, b"").await;
    assert!(matches!(third.read(&mut [0]).await, Ok(0) | Err(_)));
    assert_eq!(running.metrics.cut_count("peer_limit"), 1);
    assert!(talk(running.address, ONCE).await.ends_with("hello"));
}

#[tokio::test]
async fn old_connections_end_after_their_requests() {
    let limits = ServerLimits {
        max_age: Some(Duration::from_millis(50)),
        ..ServerLimits::default()
    };
    let go_on = Arc::new(Notify::new());
    let running = start(slow(&go_on), limits).await;
    let mut busy = connect_from(1, &running, SLOW).await;
    let mut idle = connect_from(1, &running, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let mut said = Vec::new();
    let goodbye = timeout(PATIENCE, idle.read_to_end(&mut said)).await;
    assert!(goodbye.unwrap().is_ok() && said.len() > 9);
    go_on.notify_one();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(running.metrics.cut_count("age"), 2);
}

#[tokio::test]
async fn who_is_refused_before_its_body_has_come_hears_it_and_may_stay() {
    let refuse = async || (http::StatusCode::SERVICE_UNAVAILABLE, "later");
    let running = start(hello().route("/", post(refuse)), ServerLimits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let piece = vec![7; 1 << 20];
    let head = format!(
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
        4 * piece.len()
    );
    for _ in 0..2 {
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.write_all(&piece).await.unwrap();
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"later") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 503"));
    }
    // whoever never stops is left
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut answer));
    assert!(ended.await.is_ok());
}

#[tokio::test]
async fn a_probe_that_only_connects_is_no_attack() {
    let running = start(hello(), ServerLimits::default()).await;
    for _ in 0..3 {
        drop(connect_from(1, &running, b"").await);
    }
    assert!(talk(running.address, ONCE).await.ends_with("hello"));
    let closed = async {
        while running.metrics.open() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    for reason in ["handshake", "protocol", "header_timeout", "idle"] {
        assert_eq!(running.metrics.cut_count(reason), 0, "{reason}");
    }
}
