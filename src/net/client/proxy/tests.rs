//! Rules, and real connections through a proxy that knows CONNECT and requests of whole addresses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::client::{Client, ClientError, ClientSettings};
use crate::net::server::{Listener, ServerSettings, serve};
use crate::net::tls::ServerTlsConfig;
use crate::net::tls::testing::Authority;
use crate::pipeline::Stop;

fn of(variables: &[(&str, &str)], protocol: Protocol) -> Proxies {
    let read = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Proxies::new(None, protocol, read).unwrap()
}

fn way(proxies: &Proxies, to: &'static str) -> Option<(String, bool)> {
    let proxy = proxies.on_the_way(&Uri::from_static(to))?;
    Some((proxy.address().unwrap().to_string(), proxy.tunnels))
}

#[test]
fn the_environment_names_proxies_and_exceptions_in_either_case() {
    let variables = [
        ("HTTPS_PROXY", "http://secure.corp:3128"),
        ("http_proxy", "plain.corp:8080"),
        ("no_proxy", "internal.corp, 10.0.0.0/8"),
    ];
    let http = of(&variables, Protocol::Http);
    let secure = Some(("http://secure.corp:3128/".to_owned(), true));
    assert_eq!(way(&http, "https://vendor.example"), secure);
    assert_eq!(
        way(&http, "http://vendor.example"),
        Some(("http://plain.corp:8080/".to_owned(), false))
    );
    for direct in [
        "https://a.internal.corp/",
        "https://10.1.2.3/",
        "https://localhost:4318/",
        "https://127.0.0.1/",
        "https://[::1]:1/",
    ] {
        assert_eq!(way(&http, direct), None, "{direct}");
    }
    let grpc = of(&variables, Protocol::Http2);
    assert_eq!(way(&grpc, "http://vendor.example:4317"), secure);
    assert_eq!(way(&of(&[], Protocol::Http), "https://vendor.example"), None);
}

#[test]
fn a_proxy_of_another_kind_is_an_error_only_where_it_is_needed() {
    let proxies = of(&[("ALL_PROXY", "socks5://socks.corp:1080")], Protocol::Http);
    assert!(way(&proxies, "https://localhost:1/").is_none());
    let proxy = proxies.on_the_way(&Uri::from_static("https://vendor.example")).unwrap();
    assert!(proxy.address().unwrap_err().to_string().contains("proxy_url"));
}

#[test]
fn the_configured_proxy_wins_and_takes_everything() {
    let url = Secret::new("http://me:planted-password@proxy.corp:3128");
    let environment = |_: &str| Some("http://other.corp:1".to_owned());
    let proxies = Proxies::new(Some(&url), Protocol::Http, environment).unwrap();
    let proxy = proxies.on_the_way(&Uri::from_static("https://localhost:1/")).unwrap();
    assert_eq!(proxy.address().unwrap(), "http://proxy.corp:3128/");
    assert_eq!(proxy.credentials().unwrap(), "Basic bWU6cGxhbnRlZC1wYXNzd29yZA==");
    assert!(!format!("{:?} {:?}", proxies.rules, proxy.at).contains("planted-password"));
    for wrong in [
        "socks5://planted-password:1",
        "proxy.corp:3128",
        "http://",
        "http://me:planted-password@",
    ] {
        let error = Proxies::new(Some(&Secret::new(wrong)), Protocol::Http, |_| None)
            .err()
            .unwrap();
        assert_eq!(error.path, "proxy_url", "{wrong}");
        assert!(!error.message.contains("planted-password"));
    }
}

/// A proxy that leads everything to `backend` and remembers the heads of what it was asked. It wants credentials.
async fn proxy(backend: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let memory = heads.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(lead(client, backend, memory.clone()));
        }
    });
    (address, heads)
}

async fn lead(mut client: TcpStream, backend: SocketAddr, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let text = String::from_utf8(head.clone()).unwrap().to_ascii_lowercase();
    heads.lock().unwrap().push(text.clone());
    let answer = match text.contains("proxy-authorization: basic bwu6cgxhbnrlzc1wyxnzd29yza==") {
        false => "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        true if text.contains("forbidden.example") => "HTTP/1.1 403 Forbidden\r\n\r\n",
        true => "HTTP/1.1 200 OK\r\n\r\n",
    };
    let is_tunnel = text.starts_with("connect ");
    if is_tunnel || !answer.contains("200") {
        client.write_all(answer.as_bytes()).await.unwrap();
    }
    if answer.contains("200") {
        let mut backend = TcpStream::connect(backend).await.unwrap();
        if !is_tunnel {
            backend.write_all(&head).await.unwrap();
        }
        let _ = copy_bidirectional(&mut client, &mut backend).await;
    }
}

async fn backend(tls: Option<ServerTlsConfig>) -> SocketAddr {
    let settings = ServerSettings {
        tls: tls.map(|tls| tls.check().unwrap()),
        ..ServerSettings::default()
    };
    let listener = Listener::bind("test", &"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.addresses()[0];
    let version = async |request: axum::extract::Request| format!("{:?}", request.version());
    tokio::spawn(serve(
        listener,
        Router::new().fallback(post(version)),
        Stop::new(),
        settings,
    ));
    address
}

async fn post_by(settings: &ClientSettings, protocol: Protocol, to: &str) -> Result<String, ClientError> {
    let client = Client::new(protocol, settings).unwrap();
    let uri = to.parse().unwrap();
    let answer = client.post(&uri, HeaderMap::new(), Bytes::from_static(b"body"));
    Ok(String::from_utf8(answer.await?.body.to_vec()).unwrap())
}

fn through(proxy: &str, tls: serde_json::Value) -> ClientSettings {
    ClientSettings {
        tls: serde_json::from_value(tls).unwrap(),
        proxy_url: Some(Secret::new(proxy)),
        ..ClientSettings::default()
    }
}

#[tokio::test]
async fn https_and_grpc_go_through_a_tunnel_and_plain_requests_are_asked_for() {
    let authority = Authority::new();
    let issued = authority.issue("backend.example");
    let tls = json!({ "cert_pem": issued.certificate, "key_pem": issued.key });
    let secure = backend(Some(serde_json::from_value(tls).unwrap())).await;
    let plain = backend(None).await;
    for (backend, protocol, to, asked, version) in [
        (
            secure,
            Protocol::Http,
            "https://backend.example/",
            "connect backend.example:443 ",
            "HTTP/2.0",
        ),
        (
            secure,
            Protocol::Http2,
            "https://backend.example:4317/",
            "connect backend.example:4317 ",
            "HTTP/2.0",
        ),
        (
            plain,
            Protocol::Http2,
            "http://backend.example:4317/",
            "connect backend.example:4317 ",
            "HTTP/2.0",
        ),
        (
            plain,
            Protocol::Http,
            "http://backend.example/path",
            "post http://backend.example/path ",
            "HTTP/1.1",
        ),
    ] {
        let (address, heads) = proxy(backend).await;
        let settings = through(
            &format!("http://me:planted-password@{address}"),
            json!({ "ca_pem": authority.pem() }),
        );
        assert_eq!(post_by(&settings, protocol, to).await.unwrap(), version, "{to}");
        let heads = heads.lock().unwrap();
        assert!(heads[0].starts_with(asked), "{heads:?}");
        assert!(!format!("{settings:?}").contains("planted-password"));
    }
}

#[tokio::test]
async fn a_proxy_may_speak_tls_itself() {
    let authority = Authority::new();
    let (outer, inner) = (authority.issue("localhost"), authority.issue("backend.example"));
    let tls = json!({ "cert_pem": inner.certificate, "key_pem": inner.key });
    let (plain_proxy, _) = proxy(backend(Some(serde_json::from_value(tls).unwrap())).await).await;
    // TLS ends before the proxy, and begins again behind it
    let tls = json!({ "cert_pem": outer.certificate, "key_pem": outer.key });
    let tls = serde_json::from_value::<ServerTlsConfig>(tls).unwrap().check().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut client = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut proxy = TcpStream::connect(plain_proxy).await.unwrap();
        copy_bidirectional(&mut client, &mut proxy).await
    });
    let url = format!("https://me:planted-password@localhost:{port}");
    let settings = through(&url, json!({ "ca_pem": authority.pem() }));
    let answer = post_by(&settings, Protocol::Http2, "https://backend.example:1/").await;
    assert_eq!(answer.unwrap(), "HTTP/2.0");
}

#[tokio::test]
async fn a_proxy_that_does_not_help_is_told_from_the_backend() {
    let (address, _) = proxy(backend(None).await).await;
    for (url, to, told) in [
        (
            format!("http://{address}"),
            "https://backend.example/",
            "asks for credentials",
        ),
        (
            format!("http://me:planted-password@{address}"),
            "https://forbidden.example/",
            "does it allow CONNECT",
        ),
        (
            "http://me:planted-password@127.0.0.1:1".to_owned(),
            "https://backend.example/",
            "the proxy: connection refused",
        ),
        (
            "http://me:planted-password@127.0.0.1:1".to_owned(),
            "http://backend.example/",
            "the proxy: connection refused",
        ),
    ] {
        let error = post_by(&through(&url, json!({})), Protocol::Http, to)
            .await
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains(told) && !error.contains("planted-password"), "{error}");
    }
}
