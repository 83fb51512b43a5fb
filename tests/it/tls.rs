//! Two gates, one before the other, with a private authority between them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{Gate, config, data, files, flamegate, free_port, http, run, wait_for};

/// Writes the authority `NAME-ca.pem`, and what it issued for localhost: `NAME.pem` and `NAME.key`.
pub fn issue(folder: &Path, name: &str) {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let own = CertificateParams::new(vec!["localhost".to_owned(), "server.test".to_owned()]).unwrap();
    let certificate = own.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
    for (file, text) in [
        (format!("{name}-ca.pem"), authority),
        (format!("{name}.pem"), certificate),
        (format!("{name}.key"), key.serialize_pem()),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

const STACKS: &[u8] = b"main;work 35\n";

struct Ports {
    grpc: u16,
    otlp: u16,
    pyroscope: u16,
    front: u16,
}

/// The gate in front, whose exporters trust the authority of `ca` alone.
fn front(ports: &Ports, folder: &Path, ca: &str) -> String {
    let at = folder.display();
    let tls = format!("tls: {{ca_file: {at}/{ca}-ca.pem, cert_file: {at}/client.pem, key_file: {at}/client.key}}");
    let Ports {
        grpc,
        otlp,
        pyroscope,
        front,
    } = ports;
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{front}\"}}}}
exporters:
  otlp_grpc: {{endpoint: \"localhost:{grpc}\", {tls}}}
  otlp_http: {{endpoint: \"https://localhost:{otlp}\", {tls}}}
  pyroscope: {{endpoint: \"https://localhost:{pyroscope}\", max_age: 0s, {tls}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp_grpc, otlp_http, pyroscope]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    )
}

/// The gate behind, which lets in whom the authority `client` knows.
fn behind(ports: &Ports, folder: &Path) -> String {
    let at = folder.display();
    let tls = format!(
        "tls: {{cert_file: {at}/server.pem, key_file: {at}/server.key, client_ca_file: {at}/client-ca.pem, min_version: \"1.2\"}}"
    );
    let Ports {
        grpc, otlp, pyroscope, ..
    } = ports;
    format!(
        "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\", {tls}}}, http: {{endpoint: \"localhost:{otlp}\", {tls}}}}}}}
  pyroscope: {{endpoint: \"localhost:{pyroscope}\", {tls}}}
exporters: {{file: {{directory: ./profiles, format: collapsed}}}}
service:
  pipelines: {{profiles: {{receivers: [otlp, pyroscope], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    )
}

#[test]
fn every_exporter_and_receiver_speaks_tls_with_certificates_on_both_sides() {
    let ports = Ports {
        grpc: free_port(),
        otlp: free_port(),
        pyroscope: free_port(),
        front: free_port(),
    };
    let certificates = tempfile::tempdir().unwrap();
    for name in ["server", "client"] {
        issue(certificates.path(), name);
    }
    let (folder, path) = config(&behind(&ports, certificates.path()));
    let _behind = Gate::start(folder.path(), &["run", "--config", &path]);
    let (near, path) = config(&front(&ports, certificates.path(), "server"));
    let ingest = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
    {
        let _front = Gate::start(near.path(), &["run", "--config", &path]);
        assert_eq!(http("POST", ports.front, ingest, STACKS).0, 200);
        let profiles = folder.path().join("profiles");
        let arrived = wait_for("three files", || {
            Some(files(&profiles)).filter(|files| files.len() == 3)
        });
        for file in arrived {
            assert!(std::fs::read_to_string(file).unwrap().contains("main;work 35"));
        }
    }
    // the authority of the clients is not that of the server
    let (near, path) = config(&front(&ports, certificates.path(), "client"));
    let front = Gate::start(near.path(), &["run", "--config", &path]);
    assert_eq!(http("POST", ports.front, ingest, STACKS).0, 200);
    wait_for("what to do", || {
        front.err().contains("name that in `tls.ca_file`").then_some(())
    });
}

/// Opens one tunnel to `port`, whatever is asked for; gives back the head of the request.
fn tunnel(proxy: TcpListener, port: u16) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut client, _) = proxy.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut backend = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), backend.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        std::thread::spawn(move || std::io::copy(&mut backend, &mut client));
        String::from_utf8(head).unwrap()
    })
}

#[test]
fn the_proxy_and_the_authorities_of_the_environment_count() {
    let port = free_port();
    let certificates = tempfile::tempdir().unwrap();
    issue(certificates.path(), "server");
    let at = certificates.path().display();
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{port}\", tls: {{cert_file: {at}/server.pem, key_file: {at}/server.key}}}}}}
exporters: {{file: {{directory: ./profiles, format: collapsed}}}}
service: {{pipelines: {{profiles: {{receivers: [pyroscope], exporters: [file]}}}}, telemetry: {{metrics: {{level: none}}}}}}
"
    ));
    let _gate = Gate::start(folder.path(), &["run", "--config", &path]);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:planted-password@{}", proxy.local_addr().unwrap());
    let asked = tunnel(proxy, port);
    // no such host exists: only the proxy can lead there
    let sent = flamegate()
        .args(["send", "--exporter", "otlp_http", "--to", "https://server.test:4040"])
        .arg(data("go123-heap.pb.gz"))
        .env("https_proxy", url)
        .env("SSL_CERT_FILE", certificates.path().join("server-ca.pem"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&sent.stderr);
    assert!(sent.status.success() && !told.contains("planted-password"), "{told}");
    assert!(asked.join().unwrap().starts_with("CONNECT server.test:4040 "));
}

#[test]
fn who_shows_no_certificate_is_told_so_and_the_server_says_who_it_was() {
    let (port, metrics, certificates) = (free_port(), free_port(), tempfile::tempdir().unwrap());
    let at = certificates.path();
    for name in ["server", "client"] {
        issue(at, name);
    }
    let (folder, path) = config(&format!(
        "receivers:
  pyroscope:
    endpoint: \"localhost:{port}\"
    tls: {{cert_file: {0}/server.pem, key_file: {0}/server.key, client_ca_file: {0}/client-ca.pem}}
exporters: {{debug: {{}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [debug]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
",
        at.display()
    ));
    let gate = Gate::start(folder.path(), &["run", "--config", &path]);
    let url = format!("https://localhost:{port}");
    let sent = flamegate()
        .args(["send", "--exporter", "otlp_http", "--to", &url])
        .arg(data("go123-heap.pb.gz"))
        .env("SSL_CERT_FILE", at.join("server-ca.pem"))
        .output()
        .unwrap();
    let told = String::from_utf8(sent.stderr).unwrap();
    assert!(
        told.contains("the server asks for a client certificate; set `tls.cert_file` and `tls.key_file`"),
        "{told}"
    );
    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for why in [
        "no handshake: the client shows no certificate, and `client_ca_file` asks for one",
        "no handshake: the client does not speak TLS",
    ] {
        let line = wait_for(why, || {
            gate.err().lines().find(|line| line.contains(why)).map(str::to_owned)
        });
        assert!(
            line.contains("WARN") && line.contains("server=\"pyroscope\" peer=127.0.0.1"),
            "{line}"
        );
        // it tried more than once, and one line a minute is enough
        assert_eq!(gate.err().matches(why).count(), 1);
    }
    let cut = http("GET", metrics, "/metrics", b"").1;
    let line = cut
        .lines()
        .find(|line| line.contains("flamegate_connections_cut_total") && line.contains("handshake"));
    assert!(line.is_some_and(|line| line.contains("server=\"pyroscope\"")), "{cut}");
}

#[test]
fn validate_reads_the_files_and_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    issue(folder.path(), "server");
    let at = folder.path().display();
    let (_kept, path) = config(&format!(
        "receivers:
  pyroscope:
    tls:
      cert_file: {at}/server.pem
      key_file: {at}/missing.key
exporters: {{debug: {{}}}}
service: {{pipelines: {{profiles: {{receivers: [pyroscope], exporters: [debug]}}}}}}
"
    ));
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 1);
    let told = checked.err();
    assert!(
        told.contains(":5:") && told.contains("missing.key cannot be read"),
        "{told}"
    );
}

#[test]
fn a_rotated_certificate_is_used_by_the_next_connection_and_a_broken_one_is_told() {
    let (port, certificates) = (free_port(), tempfile::tempdir().unwrap());
    let at = certificates.path();
    issue(at, "server");
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{port}\", tls: {{cert_file: {0}/server.pem, key_file: {0}/server.key}}}}}}
exporters: {{file: {{directory: ./profiles, format: collapsed}}}}
service: {{pipelines: {{profiles: {{receivers: [pyroscope], exporters: [file]}}}}, telemetry: {{metrics: {{level: none}}}}}}
",
        at.display()
    ));
    let gate = Gate::start(folder.path(), &["run", "--config", &path]);
    // what a client says that trusts this authority alone
    let send = |authority: &str| {
        let sent = flamegate()
            .args([
                "send",
                "--exporter",
                "otlp_http",
                "--to",
                &format!("https://localhost:{port}"),
            ])
            .arg(data("go123-heap.pb.gz"))
            .env("SSL_CERT_FILE", at.join(authority))
            .output()
            .unwrap();
        String::from_utf8(sent.stderr).unwrap()
    };
    let told = send("server-ca.pem");
    assert!(told.contains("1 profile sent, 0 rejected"), "{told}");
    std::fs::rename(at.join("server-ca.pem"), at.join("old-ca.pem")).unwrap();
    std::fs::write(at.join("server.key"), "no key").unwrap();
    let told = send("old-ca.pem");
    assert!(told.contains("1 profile sent"), "{told}");
    let log = gate.err();
    assert!(log.contains("server.key holds no private key"), "{log}");
    issue(at, "server");
    let told = send("server-ca.pem");
    assert!(told.contains("1 profile sent"), "{told}");
    let told = send("old-ca.pem");
    assert!(told.contains("an authority that is not trusted here"), "{told}");
}

/// The status of a GET by HTTPS, for a client that trusts this authority alone.
fn get_by_https(port: u16, path: &str, authority: &Path) -> std::io::Result<u16> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port))?);
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[9..]).parse().unwrap())
}

#[test]
fn health_and_pages_speak_tls_where_they_are_told_to() {
    let [ingest, health, pages] = [(); 3].map(|()| free_port());
    let certificates = tempfile::tempdir().unwrap();
    let at = certificates.path();
    issue(at, "server");
    issue(at, "other");
    let tls = format!(
        "tls: {{cert_file: {0}/server.pem, key_file: {0}/server.key}}",
        at.display()
    );
    let text = format!(
        "extensions:
  health_check: {{endpoint: \"localhost:{health}\", {tls}}}
  zpages: {{endpoint: \"localhost:{pages}\", {tls}}}
receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{debug: {{}}}}
service:
  extensions: [health_check, zpages]
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [debug]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    );
    let (folder, path) = config(&text);
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let authority = at.join("server-ca.pem");
    assert_eq!(get_by_https(health, "/", &authority).unwrap(), 200);
    assert_eq!(get_by_https(pages, "/debug/servicez", &authority).unwrap(), 200);
    assert!(get_by_https(health, "/", &at.join("other-ca.pem")).is_err());
    drop(gate);
    std::fs::write(at.join("server.key"), "no key").unwrap();
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 1);
    assert!(
        checked.err().contains("extensions.health_check.tls.key_file"),
        "{}",
        checked.err()
    );
}

#[test]
fn whoever_verifies_nothing_is_told_once_and_where() {
    let (_folder, path) = config(
        "receivers: {otlp: {protocols: {grpc: }}}
exporters: {otlp: {endpoint: \"localhost:1\", tls: {insecure_skip_verify: true}}}
service: {pipelines: {profiles: {receivers: [otlp], exporters: [otlp]}}}
",
    );
    let checked = run(&["validate", "--config", &path]);
    let told = checked.err().to_owned();
    let expected = "exporters.otlp.tls.insecure_skip_verify: any certificate is taken";
    assert_eq!(told.matches(expected).count(), 1, "{told}");
    assert_eq!((told.lines().count(), checked.code()), (1, 0), "{told}");
}
