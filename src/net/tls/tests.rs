//! Real handshakes between our client and our server.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::testing::{Authority, Folder};
use super::*;
use crate::net::client::{Client, ClientError, ClientSettings, Protocol};
use crate::net::server::{Listener, ServerLimits, ServerSettings, serve};
use crate::pipeline::Stop;

fn server_config(config: Value) -> ServerTlsConfig {
    serde_json::from_value(config).unwrap()
}

fn client_config(config: Value) -> ClientTlsConfig {
    serde_json::from_value(config).unwrap()
}

/// A server that answers with the version of HTTP that it was asked in.
async fn serve_with(config: Value) -> SocketAddr {
    let limits = ServerLimits {
        read_header_timeout: Duration::from_millis(500),
        ..ServerLimits::default()
    };
    let settings = ServerSettings {
        limits,
        tls: Some(server_config(config).check().unwrap()),
        ..ServerSettings::default()
    };
    let listener = Listener::bind("test", &"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.addresses()[0];
    let version = async |request: axum::extract::Request| format!("{:?}", request.version());
    let router = Router::new().route("/", post(version));
    tokio::spawn(serve(listener, router, Stop::new(), settings));
    address
}

async fn ask_by(protocol: Protocol, address: SocketAddr, config: Value) -> Result<String, ClientError> {
    let settings = ClientSettings {
        tls: client_config(config),
        ..ClientSettings::default()
    };
    let client = Client::new(protocol, &settings).unwrap();
    let uri = format!("https://localhost:{}/", address.port()).parse().unwrap();
    let answer = client.post(&uri, HeaderMap::new(), Bytes::new()).await?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

async fn ask(address: SocketAddr, config: Value) -> Result<String, ClientError> {
    ask_by(Protocol::Http, address, config).await
}

fn said(answer: Result<String, ClientError>) -> String {
    answer.unwrap_err().to_string()
}

#[tokio::test]
async fn both_versions_of_http_are_agreed_on_by_alpn() {
    let authority = Authority::new();
    let issued = authority.issue("localhost");
    let config = json!({ "cert_pem": issued.certificate, "key_pem": issued.key });
    let address = serve_with(config).await;
    let trust = json!({ "ca_pem": authority.pem() });
    for protocol in [Protocol::Http, Protocol::Http2] {
        let answer = ask_by(protocol, address, trust.clone()).await;
        assert_eq!(answer.unwrap(), "HTTP/2.0", "{protocol:?}");
    }
    let one = tokio::net::TcpStream::connect(address).await.unwrap();
    let old = client_config(trust).check(&[b"http/1.1"]).unwrap();
    let connector = tokio_rustls::TlsConnector::from(old.current().await.unwrap());
    let stream = connector.connect("localhost".try_into().unwrap(), one).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn whom_not_to_trust_is_told_with_what_to_do() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let issued = authority.issue("localhost");
    let config = json!({ "cert_pem": issued.certificate, "key_pem": issued.key });
    let address = serve_with(config).await;
    for trust in [json!({}), json!({ "ca_pem": stranger.pem() })] {
        let error = said(ask(address, trust).await);
        assert!(error.contains("name that in `tls.ca_file`"), "{error}");
    }
    let other_name = json!({ "ca_pem": authority.pem(), "server_name_override": "other.example" });
    let error = said(ask(address, other_name).await);
    assert!(error.contains("tls.server_name_override"), "{error}");
    let beside_the_system = json!({ "ca_pem": authority.pem(), "include_system_ca_certs_pool": true });
    assert!(ask(address, beside_the_system).await.is_ok());
    assert!(ask(address, json!({ "insecure_skip_verify": true })).await.is_ok());
    let overridden = json!({ "ca_pem": authority.pem(), "server_name_override": "localhost" });
    assert!(ask(address, overridden).await.is_ok());
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_right_one_or_refuses() {
    let (servers, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let (issued, folder) = (servers.issue("localhost"), Folder::new());
    let config = json!({
        "cert_pem": issued.certificate, "key_pem": issued.key,
        "client_ca_file": folder.write("clients.pem", clients.pem()),
    });
    let address = serve_with(config).await;
    let with =
        |own: &testing::Issued| json!({ "ca_pem": servers.pem(), "cert_pem": own.certificate, "key_pem": own.key });
    for protocol in [Protocol::Http, Protocol::Http2] {
        let known = ask_by(protocol, address, with(&clients.issue("gate"))).await;
        assert_eq!(known.unwrap(), "HTTP/2.0");
        let none = said(ask_by(protocol, address, json!({ "ca_pem": servers.pem() })).await);
        assert!(none.contains("set `tls.cert_file`"), "{none}");
        let unknown = said(ask_by(protocol, address, with(&stranger.issue("gate"))).await);
        assert!(unknown.contains("does not accept the client certificate"), "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_has_no_certificate_or_a_wrong_one_is_told_so_every_time() {
    let (servers, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let (issued, folder) = (servers.issue("localhost"), Folder::new());
    let config = json!({
        "cert_pem": issued.certificate, "key_pem": issued.key,
        "client_ca_file": folder.write("clients.pem", clients.pem()),
    });
    let address = serve_with(config).await;
    let unknown = stranger.issue("gate");
    let without = json!({ "ca_pem": servers.pem() });
    let wrong = json!({ "ca_pem": servers.pem(), "cert_pem": unknown.certificate, "key_pem": unknown.key });
    let mut others = std::collections::BTreeMap::<String, usize>::new();
    for (config, told) in [
        (without, "set `tls.cert_file`"),
        (wrong, "does not accept the client certificate"),
    ] {
        for protocol in [Protocol::Http, Protocol::Http2] {
            for _ in 0..50 {
                let error = said(ask_by(protocol, address, config.clone()).await);
                if !error.contains(told) {
                    *others.entry(format!("{protocol:?}: {error}")).or_default() += 1;
                }
            }
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

/// Passes on to a server, and breaks off when the client has said who it is.
async fn before(server: SocketAddr) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(server).await.unwrap();
            let mut bytes = [0; 4096];
            let hello = client.read(&mut bytes).await.unwrap();
            server.write_all(&bytes[..hello]).await.unwrap();
            loop {
                tokio::select! {
                    read = server.read(&mut bytes) => client.write_all(&bytes[..read.unwrap()]).await.unwrap(),
                    _ = client.readable() => break,
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_and_breaks_off_is_suspected() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (issued, folder) = (servers.issue("localhost"), Folder::new());
    let mut config = json!({ "cert_pem": issued.certificate, "key_pem": issued.key });
    let without = json!({ "ca_pem": servers.pem() });
    for asks in [false, true] {
        if asks {
            config["client_ca_file"] = json!(folder.write("clients.pem", clients.pem()));
        }
        let address = before(serve_with(config.clone()).await).await;
        for protocol in [Protocol::Http, Protocol::Http2] {
            let error = said(ask_by(protocol, address, without.clone()).await);
            assert_eq!(error.contains("set `tls.cert_file`"), asks, "{protocol:?}: {error}");
        }
    }
}

#[tokio::test]
async fn versions_are_agreed_on_or_refused() {
    let authority = Authority::new();
    let issued = authority.issue("localhost");
    let config = json!({ "cert_pem": issued.certificate, "key_pem": issued.key, "min_version": "1.3" });
    let address = serve_with(config).await;
    let old = json!({ "ca_pem": authority.pem(), "max_version": 1.2 });
    let error = said(ask(address, old).await);
    assert!(error.contains("other versions of TLS"), "{error}");
    assert!(ask(address, json!({ "ca_pem": authority.pem() })).await.is_ok());
}

#[tokio::test]
async fn rotated_certificates_are_used_by_the_next_connection_and_broken_ones_are_not() {
    let (before, after) = (Authority::new(), Authority::new());
    let folder = Folder::new();
    let (certificate, key) = folder.put("server", &before.issue("localhost"));
    let config = json!({ "cert_file": certificate, "key_file": key });
    let address = serve_with(config).await;
    let trusts = async |authority: &Authority| ask(address, json!({ "ca_pem": authority.pem() })).await.is_ok();
    assert!(trusts(&before).await);
    let next = after.issue("localhost");
    for broken in ["", "no certificate", &next.certificate] {
        // the last one is a good certificate, but the key beside it is still the old one
        folder.write("server.pem", broken);
        assert!(trusts(&before).await, "the old one stays");
    }
    std::fs::remove_file(&certificate).unwrap();
    assert!(trusts(&before).await, "the old one stays");
    folder.put("server", &next);
    assert!(trusts(&after).await && !trusts(&before).await);
}

#[tokio::test]
async fn rotated_client_certificates_are_shown_by_the_next_connection() {
    let (servers, before, after) = (Authority::new(), Authority::new(), Authority::new());
    let (issued, folder) = (servers.issue("localhost"), Folder::new());
    let clients = folder.write("clients.pem", before.pem());
    let config = json!({
        "cert_pem": issued.certificate, "key_pem": issued.key,
        "client_ca_file": clients, "client_ca_file_reload": true,
    });
    let address = serve_with(config).await;
    let (certificate, key) = folder.put("client", &before.issue("gate"));
    let config = json!({ "ca_pem": servers.pem(), "cert_file": certificate, "key_file": key });
    let tls = client_config(config);
    let tls = tls.check(&[b"h2"]).unwrap();
    let accepted = async || {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(tls.current().await.unwrap());
        let mut stream = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        // a server that takes the certificate answers the beginning of HTTP/2 with its own
        let beginning = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let written = tokio::io::AsyncWriteExt::write_all(&mut stream, beginning).await;
        written.is_ok() && tokio::io::AsyncReadExt::read_u8(&mut stream).await.is_ok()
    };
    assert!(accepted().await);
    folder.write("clients.pem", after.pem());
    assert!(
        !accepted().await,
        "the old certificate comes from whom the server no longer knows"
    );
    folder.put("client", &after.issue("gate"));
    assert!(accepted().await);
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_left_and_holds_up_nobody() {
    let authority = Authority::new();
    let issued = authority.issue("localhost");
    let config = json!({ "cert_pem": issued.certificate, "key_pem": issued.key });
    let address = serve_with(config).await;
    let mut silent = Vec::new();
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, beginning)
            .await
            .unwrap();
        silent.push(stream);
    }
    assert!(ask(address, json!({ "ca_pem": authority.pem() })).await.is_ok());
    for mut stream in silent {
        let mut said = Vec::new();
        let left = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said);
        assert!(tokio::time::timeout(Duration::from_secs(60), left).await.is_ok());
    }
}

#[test]
fn what_cannot_be_used_is_named_with_its_key_and_never_shown() {
    let authority = Authority::new();
    let (own, other) = (authority.issue("localhost"), authority.issue("localhost"));
    let folder = Folder::new();
    let empty = folder.write("empty.pem", "planted-text");
    let missing = folder.path("missing.pem");
    for (config, key) in [
        (json!({}), "cert_file"),
        (json!({ "cert_pem": own.certificate }), "key_file"),
        (json!({ "key_pem": own.key }), "cert_file"),
        (json!({ "cert_file": missing, "key_pem": own.key }), "cert_file"),
        (json!({ "cert_file": empty, "key_pem": own.key }), "cert_file"),
        (json!({ "cert_pem": own.certificate, "key_file": empty }), "key_file"),
        (json!({ "cert_pem": own.certificate, "key_pem": other.key }), "key_pem"),
        (
            json!({ "cert_pem": own.certificate, "cert_file": empty, "key_pem": own.key }),
            "cert_pem",
        ),
        (
            json!({ "cert_pem": own.certificate, "key_pem": own.key, "client_ca_file": empty }),
            "client_ca_file",
        ),
        (
            json!({ "cert_pem": own.certificate, "key_pem": own.key, "cipher_suites": ["TLS_RSA_WITH_RC4_128_SHA"] }),
            "cipher_suites",
        ),
        (
            json!({ "cert_pem": own.certificate, "key_pem": own.key, "ca_file": "x" }),
            "ca_file",
        ),
        (
            json!({ "cert_pem": own.certificate, "key_pem": own.key, "min_version": "1.3", "max_version": "1.2" }),
            "max_version",
        ),
    ] {
        let config = server_config(config);
        let error = config.check().err().unwrap();
        assert_eq!(error.key, key, "{error}");
        let told = format!("{error:?} {config:?}");
        assert!(
            !told.contains("planted-text") && !told.contains("PRIVATE KEY"),
            "{told}"
        );
        assert!(!serde_json::to_string(&config).unwrap().contains("PRIVATE KEY"));
    }
    for (config, key) in [
        (json!({ "ca_file": missing }), "ca_file"),
        (json!({ "ca_file": empty }), "ca_file"),
        (json!({ "server_name_override": "not a name" }), "server_name_override"),
        (json!({ "cert_pem": own.certificate }), "key_file"),
        (
            json!({ "cipher_suites": ["TLS_RSA_WITH_RC4_128_SHA"] }),
            "cipher_suites",
        ),
    ] {
        let error = client_config(config).check(&[]).err().unwrap();
        assert_eq!(error.key, key, "{error}");
    }
}

#[test]
fn old_versions_are_refused_in_words() {
    for old in ["1.0", "1.1", "2"] {
        let error = serde_json::from_value::<ClientTlsConfig>(json!({ "min_version": old })).unwrap_err();
        assert!(error.to_string().contains("older ones are not spoken"), "{error}");
    }
    let bare = client_config(json!({ "min_version": 1.2, "max_version": "" }));
    assert_eq!((bare.min_version, bare.max_version), (Some(Version::V1_2), None));
}

#[test]
fn suites_of_tls_1_2_can_be_chosen_and_those_of_1_3_stay() {
    let one = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned();
    let chosen = provider(&[one]).unwrap().cipher_suites.len();
    let all = provider(&[]).unwrap().cipher_suites.len();
    assert_eq!((chosen, all), (4, 9));
}

#[tokio::test]
async fn files_are_looked_at_as_seldom_as_told() {
    let (before, after) = (Authority::new(), Authority::new());
    for (interval, is_reloaded) in [("0s", false), ("1h", false), ("1ms", true)] {
        let folder = Folder::new();
        let (certificate, key) = folder.put("server", &before.issue("localhost"));
        let config = json!({ "cert_file": certificate, "key_file": key, "reload_interval": interval });
        let address = serve_with(config).await;
        folder.put("server", &after.issue("localhost"));
        tokio::time::sleep(Duration::from_millis(3)).await;
        let trusted = ask(address, json!({ "ca_pem": after.pem() })).await.is_ok();
        assert_eq!(trusted, is_reloaded, "{interval}");
    }
}
