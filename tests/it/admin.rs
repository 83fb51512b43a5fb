//! The pages about the gate itself: who may look, and what they change.

use crate::support::{Gate, config, free_port, http, http_with, run, wait_for};

struct Ports {
    grpc: u16,
    metrics: u16,
    pages: u16,
}

fn text(ports: &Ports, zpages: &str) -> String {
    let Ports { grpc, metrics, .. } = ports;
    format!(
        "extensions:
  basicauth: {{htpasswd: {{inline: \"ann:plantedEXAMPLE\"}}}}
  zpages: {zpages}
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\", auth: {{authenticator: basicauth}}}}}}}}}}
exporters: {{debug: {{}}}}
service:
  extensions: [zpages]
  pipelines: {{profiles/one: {{receivers: [otlp], exporters: [debug]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    )
}

fn ports() -> Ports {
    Ports {
        grpc: free_port(),
        metrics: free_port(),
        pages: free_port(),
    }
}

#[test]
fn pages_on_loopback_answer_to_this_machine_alone_and_set_the_level_of_the_logs() {
    let ports = ports();
    let (folder, path) = config(&text(&ports, &format!("{{endpoint: \"localhost:{}\"}}", ports.pages)));
    let gate = Gate::start(folder.path(), &["run", "--config", &path]);
    let (status, pipelines) = http("GET", ports.pages, "/debug/pipelinez", b"");
    assert_eq!(status, 200);
    assert!(pipelines.contains("profiles/one\n  receivers   otlp\n"), "{pipelines}");
    assert!(pipelines.contains("debug: queue 0 of 1000 (0 bytes)"), "{pipelines}");
    assert!(
        http("GET", ports.pages, "/debug/servicez", b"")
            .1
            .contains("ready      yes")
    );
    assert_eq!(http("GET", ports.pages, "/debug/extensionz", b"").1, "zpages\n");
    // a web page that leads its own name here
    for headers in [[("Origin", "https://evil.example")], [("Origin", "null")]] {
        for (method, path, body) in [
            ("PUT", "/debug/loglevel", &b"trace"[..]),
            ("GET", "/debug/pipelinez", b""),
        ] {
            assert_eq!(
                http_with(method, ports.pages, path, &headers, body).0,
                403,
                "{method} {path}"
            );
        }
        assert_eq!(http_with("GET", ports.metrics, "/metrics", &headers, b"").0, 403);
    }
    assert_eq!(http("GET", ports.pages, "/debug/loglevel", b"").1, "info\n");
    assert_eq!(http("PUT", ports.pages, "/debug/loglevel", b"loud").0, 400);
    assert_eq!(http("PUT", ports.pages, "/debug/loglevel", b"error\n").1, "error\n");
    gate.signal("HUP");
    // said at info, so only once the reload has set the level that is configured
    wait_for("the level as configured", || {
        let level = http("GET", ports.pages, "/debug/loglevel", b"").1;
        (level == "info\n").then_some(())
    });
    for path in ["/ready", "/live", "/metrics"] {
        assert_eq!(http("GET", ports.metrics, path, b"").0, 200, "{path}");
    }
}

#[test]
fn pages_that_other_machines_reach_ask_who_is_there() {
    let ports = ports();
    let open = text(&ports, &format!("{{endpoint: \"0.0.0.0:{}\"}}", ports.pages));
    let (_folder, path) = config(&open);
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 1);
    assert!(
        checked
            .err()
            .contains("extensions.zpages.endpoint: other machines reach this address"),
        "{}",
        checked.err()
    );
    let asking = format!(
        "{{endpoint: \"0.0.0.0:{}\", auth: {{authenticator: basicauth}}}}",
        ports.pages
    );
    let (folder, path) = config(&text(&ports, &asking));
    let _gate = Gate::start(folder.path(), &["run", "--config", &path]);
    for (method, path) in [
        ("GET", "/debug/pipelinez"),
        ("PUT", "/debug/loglevel"),
        ("GET", "/debug/servicez"),
        ("GET", "/"),
    ] {
        assert_eq!(http(method, ports.pages, path, b"info").0, 401, "{method} {path}");
    }
    let ann = [
        ("Authorization", "Basic YW5uOnBsYW50ZWRFWEFNUExF"),
        ("Host", "gate.example"),
    ];
    assert_eq!(http_with("GET", ports.pages, "/debug/servicez", &ann, b"").0, 200);
}

#[tokio::test]
async fn the_health_protocol_of_grpc_is_answered_without_credentials() {
    let ports = ports();
    let (folder, path) = config(&text(&ports, &format!("{{endpoint: \"localhost:{}\"}}", ports.pages)));
    let _gate = Gate::start(folder.path(), &["run", "--config", &path]);
    let mut client = crate::grpc::Client::connect(ports.grpc).await;
    let profiles = "opentelemetry.proto.collector.profiles.v1development.ProfilesService";
    for (service, expected) in [
        ("", Ok(1)),
        (profiles, Ok(1)),
        ("no.such.Service", Err(tonic::Code::NotFound)),
    ] {
        let question = [&[0x0a, service.len() as u8], service.as_bytes()].concat();
        let answer = client.call("/grpc.health.v1.Health/Check", &question).await;
        // HealthCheckResponse{status (1)}
        let answer = answer.map(|answer| answer[1]).map_err(|status| status.code());
        assert_eq!(answer, expected, "{service}");
    }
    let refused = client.export(b"").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
}
