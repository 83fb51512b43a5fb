//! Who may send, whose data it is, and what exporters say of themselves.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flamegate::app::CATALOG;
use flamegate::config::Kind;

use crate::schema::{Step, places};
use crate::support::{Gate, config, data, files, free_port, http_with, run, wait_for};

/// What every planted secret holds.
const PLANTED: &str = "plantedEXAMPLE";

struct Ports {
    grpc: u16,
    otlp: u16,
    pyroscope: u16,
    pprof: u16,
}

impl Ports {
    fn new() -> Self {
        Self {
            grpc: free_port(),
            otlp: free_port(),
            pyroscope: free_port(),
            pprof: free_port(),
        }
    }
}

/// A gate with an authenticator at every server, and a folder for the profiles of each tenant.
fn guarded(ports: &Ports) -> String {
    let Ports {
        grpc,
        otlp,
        pyroscope,
        pprof,
    } = ports;
    let hash = bcrypt::hash(format!("{PLANTED}-bob"), 4).unwrap();
    let users = "auth: {authenticator: basicauth/users}";
    let tokens = "auth: {authenticator: bearertokenauth/tokens}";
    let tenants = ["ann", "team-b", "carl", "dora", "default"];
    let folders: String = tenants
        .iter()
        .map(|name| format!("  file/{name}: {{directory: ./{name}, format: collapsed}}\n"))
        .collect();
    let pipelines: String = tenants
        .iter()
        .map(|name| {
            format!("    profiles/{name}: {{receivers: [otlp, pyroscope, pprof], exporters: [file/{name}], when: [{{tenant: {name}}}]}}\n")
        })
        .collect();
    format!(
        "extensions:
  basicauth/users:
    htpasswd:
      inline: |
        ann:{PLANTED}-ann
        bob:{hash}
    tenants: {{bob: team-b}}
  bearertokenauth/tokens:
    tokens: [{{token: {PLANTED}-carl, tenant: carl}}, {PLANTED}-nobody]
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: \"localhost:{grpc}\", {users}}}
      http: {{endpoint: \"localhost:{otlp}\", {tokens}}}
  pyroscope: {{endpoint: \"localhost:{pyroscope}\", {users}}}
  pprof: {{server: {{endpoint: \"localhost:{pprof}\", trusted_peers: [\"10.0.0.0/8\"], {tokens}}}}}
exporters:
{folders}service:
  extensions: [basicauth/users, bearertokenauth/tokens]
  pipelines:
{pipelines}  telemetry: {{metrics: {{level: none}}}}
"
    )
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

const INGEST: &str = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
const STACKS: &[u8] = b"main;work 35\n";

#[test]
fn nobody_gets_in_at_any_route_without_the_right_credentials() {
    let ports = Ports::new();
    let (folder, path) = config(&guarded(&ports));
    let gate = Gate::start(folder.path(), &["run", "--config", &path]);
    let routes = [
        (ports.otlp, "/v1development/profiles", "application/x-protobuf"),
        (ports.otlp, "/v1development/profiles", "application/json"),
        (ports.otlp, "/elsewhere", "application/json"),
        (ports.grpc, "/v1development/profiles", "application/json"),
        (ports.pyroscope, INGEST, "text/plain"),
        (
            ports.pyroscope,
            "/pyroscope/ingest?name=app&format=folded",
            "text/plain",
        ),
        (ports.pyroscope, "/push.v1.PusherService/Push", "application/proto"),
        (ports.pyroscope, "/push.v1.PusherService/Push", "application/json"),
        (ports.pyroscope, "/v1development/profiles", "application/x-protobuf"),
        (ports.pprof, "/v1/pprof", "application/octet-stream"),
        (ports.pprof, "/v1/pprof?name=app", ""),
    ];
    let wrong = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer wrong".to_owned(),
        format!("Bearer {PLANTED}"),
        format!("Token {PLANTED}-carl"),
        basic("ann", "wrong"),
        basic("ann", &format!("{PLANTED}-bob")),
        basic("eve", &format!("{PLANTED}-ann")),
        basic("", ""),
    ];
    for (port, path, media_type) in routes {
        for credential in &wrong {
            let headers = [
                ("Content-Type", media_type),
                ("Authorization", credential),
                ("X-Scope-OrgID", "ann"),
            ];
            let (status, body) = http_with("POST", port, path, &headers, STACKS);
            assert_eq!(status, 401, "{port} {path} {media_type} {credential}: {body}");
        }
    }
    // the credential of one server is none of another's
    let carl = format!("Bearer {PLANTED}-carl");
    assert_eq!(
        http_with("POST", ports.pyroscope, INGEST, &[("Authorization", &carl)], STACKS).0,
        401
    );
    let profile = data("go123-heap.pb.gz");
    for port in [ports.grpc, ports.pyroscope] {
        let sent = run(&[
            "send",
            profile.to_str().unwrap(),
            "--to",
            &format!("grpc://localhost:{port}"),
        ]);
        assert_eq!(sent.code(), 1, "{}", sent.err());
        assert!(sent.err().contains("UNAUTHENTICATED"), "{}", sent.err());
    }
    for name in ["ann", "team-b", "carl", "dora", "default"] {
        assert_eq!(
            files(&folder.path().join(name)),
            Vec::<std::path::PathBuf>::new(),
            "{name}"
        );
    }
    assert!(!gate.err().contains(PLANTED), "{}", gate.err());
}

fn arrives(folder: &Path, tenant: &str) {
    wait_for(&format!("a file of {tenant}"), || files(&folder.join(tenant)).pop());
}

#[test]
fn profiles_belong_to_the_tenant_of_the_credential() {
    let ports = Ports::new();
    let (folder, path) = config(&guarded(&ports));
    let _gate = Gate::start(folder.path(), &["run", "--config", &path]);
    let post = |port, path: &str, credential: &str, tenant: &str| {
        let headers = [("Authorization", credential), ("X-Scope-OrgID", tenant)];
        let pprof = std::fs::read(data("go123-heap.pb.gz")).unwrap();
        let body = if path == INGEST { STACKS } else { &pprof };
        assert_eq!(http_with("POST", port, path, &headers, body).0, 200, "{path} {tenant}");
    };
    // what the header says is nothing against the credential
    post(
        ports.pyroscope,
        INGEST,
        &basic("ann", &format!("{PLANTED}-ann")),
        "dora",
    );
    arrives(folder.path(), "ann");
    post(
        ports.pyroscope,
        INGEST,
        &basic("bob", &format!("{PLANTED}-bob")),
        "dora",
    );
    arrives(folder.path(), "team-b");
    post(ports.pprof, "/v1/pprof", &format!("Bearer {PLANTED}-carl"), "dora");
    arrives(folder.path(), "carl");
    // this token names no tenant, and this machine is not among the trusted peers of that server
    post(ports.pprof, "/v1/pprof", &format!("Bearer {PLANTED}-nobody"), "dora");
    arrives(folder.path(), "default");
    assert_eq!(files(&folder.path().join("dora")).len(), 0);
}

#[test]
fn exporters_send_what_their_authenticator_keeps() {
    let ports = Ports::new();
    let (folder, path) = config(&guarded(&ports));
    let _behind = Gate::start(folder.path(), &["run", "--config", &path]);
    let front = free_port();
    let Ports {
        grpc, otlp, pyroscope, ..
    } = &ports;
    let (near, path) = config("");
    std::fs::write(near.path().join("token"), format!("{PLANTED}-carl\n")).unwrap();
    let token = near.path().join("token").display().to_string();
    std::fs::write(
        near.path().join("gate.yaml"),
        format!(
            "extensions:
  basicauth/ann: {{client_auth: {{username: ann, password: {PLANTED}-ann}}}}
  basicauth/bob: {{client_auth: {{username: bob, password: \"${{env:BOB}}\"}}}}
  bearertokenauth: {{filename: {token}}}
receivers: {{pyroscope: {{endpoint: \"localhost:{front}\"}}}}
exporters:
  otlp: {{endpoint: \"localhost:{grpc}\", tls: {{insecure: true}}, auth: {{authenticator: basicauth/ann}}}}
  otlphttp: {{endpoint: \"http://localhost:{otlp}\", auth: {{authenticator: bearertokenauth}}}}
  pyroscope: {{endpoint: \"http://localhost:{pyroscope}\", max_age: 0s, auth: {{authenticator: basicauth/bob}}}}
service:
  extensions: [basicauth/ann, basicauth/bob, bearertokenauth]
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp, otlphttp, pyroscope]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
        ),
    )
    .unwrap();
    let bob = format!("{PLANTED}-bob");
    let gate = Gate::start_with(near.path(), &["run", "--config", &path], &[("BOB", &bob)]);
    assert_eq!(http_with("POST", front, INGEST, &[], STACKS).0, 200);
    for tenant in ["ann", "carl", "team-b"] {
        arrives(folder.path(), tenant);
    }
    assert!(!gate.err().contains(PLANTED), "{}", gate.err());
}

#[test]
fn a_changed_credential_counts_after_a_reload() {
    let ports = Ports::new();
    let text = guarded(&ports);
    let (folder, path) = config(&text);
    let gate = Gate::start(folder.path(), &["run", "--config", &path]);
    let old = basic("ann", &format!("{PLANTED}-ann"));
    let new = basic("ann", &format!("{PLANTED}-new"));
    let status = |credential: &str| {
        http_with(
            "POST",
            ports.pyroscope,
            INGEST,
            &[("Authorization", credential)],
            STACKS,
        )
        .0
    };
    assert_eq!((status(&old), status(&new)), (200, 401));
    std::fs::write(
        &path,
        text.replace(&format!("{PLANTED}-ann"), &format!("{PLANTED}-new")),
    )
    .unwrap();
    gate.signal("HUP");
    wait_for("the reload", || gate.err().contains(" reloaded").then_some(()));
    assert_eq!((status(&old), status(&new)), (401, 200));
}

#[test]
fn an_authenticator_that_is_not_there_is_an_error_at_its_place() {
    let ports = Ports::new();
    let text = guarded(&ports).replace("authenticator: basicauth/users", "authenticator: basicauth/missing");
    let (_folder, path) = config(&text);
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 1);
    let told = checked.err();
    assert!(
        told.contains("receivers.pyroscope.auth.authenticator: no such extension is configured"),
        "{told}"
    );
    assert!(
        told.contains("receivers.otlp.protocols.grpc.auth.authenticator") && !told.contains(PLANTED),
        "{told}"
    );
    let shown = run(&["print-config", "--validate", "false", "--config", &path]).out();
    assert!(
        shown.contains("authenticator: basicauth/missing") && !shown.contains(PLANTED),
        "{shown}"
    );
}

#[test]
fn every_server_of_every_receiver_can_ask_who_is_there() {
    let mut servers = 0;
    for about in CATALOG.rows(Kind::Receiver) {
        let places = places(&(about.schema)().to_value());
        for place in &places {
            let Some((Step::Key(last), above)) = place.path.split_last() else {
                continue;
            };
            if last != "endpoint" {
                continue;
            }
            let auth = [
                above,
                &[Step::Key("auth".to_owned()), Step::Key("authenticator".to_owned())],
            ]
            .concat();
            assert!(
                places.iter().any(|place| place.path == auth),
                "{} {above:?}",
                about.name
            );
            servers += 1;
        }
    }
    assert!(servers >= 4);
}

#[test]
fn an_authenticator_that_nobody_asks_is_told() {
    let ports = Ports::new();
    let text = guarded(&ports).replace("auth: {authenticator: bearertokenauth/tokens}", "max_headers: 99");
    let (_folder, path) = config(&text);
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 0, "{}", checked.err());
    let told = checked.err();
    assert!(
        told.contains("extensions.bearertokenauth/tokens: guards nothing"),
        "{told}"
    );
    assert!(!told.contains("basicauth/users: guards nothing"), "{told}");
}
