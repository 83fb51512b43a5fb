//! What is found, what stays, and that both are so twice.

use super::*;

fn mask(text: &str) -> Option<String> {
    Detectors::new(Detector::DEFAULT)
        .unwrap()
        .mask(text, Place::Text, |_, _| {})
}

#[test]
fn structural_secrets_are_found_in_mangled_names() {
    let detectors = Detectors::new(Detector::DEFAULT).unwrap();
    for text in [
        "_ZN7HandlerI39ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0E3runEv",
        "main.AKIAEXAMPLE0EXAMPLE0",
        "connect(postgres://svc_user:EXAMPLE-PASSWORD@db:5432/orders)",
        "run_sk_test_EXAMPLEEXAMPLEEXAMPLE000",
    ] {
        let masked = detectors.mask(text, Place::Name, |_, _| {}).unwrap();
        assert!(masked.contains(MARKER) && !masked.contains("EXAMPLE"), "{masked}");
        assert_eq!(
            detectors.mask(&masked, Place::Text, |_, _| {}),
            None,
            "not idempotent: {masked}"
        );
    }
}

#[test]
fn context_names_a_secret() {
    for text in [
        "java -Ddb.password=EXAMPLE-DB-PASSWORD-42 -jar x.jar",
        "run --password EXAMPLE",
        r#"{"api_key": "EXAMPLE of several words"}"#,
        "Authorization: Bearer EXAMPLE-BEARER",
        "GET /reset?token=EXAMPLE-1&x=1",
    ] {
        let masked = mask(text).unwrap();
        assert!(!masked.contains("EXAMPLE"), "{masked}");
        assert_eq!(mask(&masked), None, "not idempotent: {masked}");
    }
}

#[test]
fn a_telling_word_tells_in_every_form() {
    for text in [
        "pass=EXAMPLE",
        r#"{"pass":"EXAMPLE"}"#,
        "GET /x?user=bob&pass=EXAMPLE",
        "SECRET_KEY_BASE=EXAMPLE",
        "password_old=EXAMPLE",
        "token_v2: EXAMPLE",
        "keytool -storepass EXAMPLE",
        "-Djavax.net.ssl.keyPass=EXAMPLE",
        "SSHPASS=EXAMPLE",
        "sshpass -p EXAMPLE ssh h",
        "mysql -uroot -pEXAMPLE shop",
        "ADMIN_PW=EXAMPLE",
        "psk=EXAMPLE",
        "GH_PAT=EXAMPLE",
        "JWT_KEY=EXAMPLE",
        "RAILS_MASTER_KEY=EXAMPLE",
        "DD_APP_KEY=EXAMPLE",
        "APP_KEY=base64:EXAMPLE",
        "PHPSESSID=EXAMPLE",
        "connect.sid=EXAMPLE",
        "<db:password>EXAMPLE</db:password>",
        r#"<input name="password" value="EXAMPLE">"#,
        r#"{"name": "DB_PASSWORD", "value": "EXAMPLE"}"#,
        "('password', 'EXAMPLE')",
        "password==EXAMPLE",
        "password[0]=EXAMPLE",
        "machine h login b password EXAMPLE",
        "login b password EXAMPLE",
        "GRANT ALL ON *.* TO x IDENTIFIED BY 'EXAMPLE'",
        "CREATE ROLE x WITH PASSWORD 'EXAMPLE'",
    ] {
        let masked = mask(text).unwrap_or_else(|| panic!("passes: {text}"));
        assert!(!masked.contains("EXAMPLE"), "{text}: {masked}");
        assert_eq!(mask(&masked), None, "not idempotent: {masked}");
    }
}

#[test]
fn registries_of_docker_lose_their_credentials() {
    let pair = "Ym9iOmh1bnRlcjI="; // bob:hunter2
    for text in [
        format!(r#"DOCKER_AUTH_CONFIG={{"auths":{{"r.io":{{"auth":"{pair}"}}}}}}"#),
        format!(r#"{{\"auths\":{{\"r.io\":{{\"auth\": \"{pair}\"}}}}}}"#),
    ] {
        let masked = mask(&text).unwrap_or_default();
        assert!(masked.contains("r.io") && !masked.contains("Ym9i"), "{masked}");
    }
    assert_eq!(mask(r#"{"auth":"required"}"#), None);
}

#[test]
fn credentials_go_from_addresses_that_nobody_escaped() {
    let detectors = Detectors::new(Detector::DEFAULT).unwrap();
    for text in [
        "postgres://bob:EXAMPLE#EXAMPLE@h/x",
        "postgres://bob:EXAMPLE?EXAMPLE@h/x",
        "postgres://bob:EXAMPLE EXAMPLE@h/x",
        "redis://:EXAMPLE/EXAMPLE@h",
        "dial root:EXAMPLE@tcp(db:3306)/shop",
        "jdbc:oracle:thin:EXAMPLE/EXAMPLE@//db:1521/X",
    ] {
        for place in [Place::Name, Place::File, Place::Text] {
            let masked = detectors
                .mask(text, place, |_, _| {})
                .unwrap_or_else(|| panic!("passes: {text}"));
            assert!(
                !masked.contains("EXAMPLE") && !masked.contains("overlong"),
                "{text}: {masked}"
            );
            assert_eq!(
                detectors.mask(&masked, place, |_, _| {}),
                None,
                "not idempotent: {masked}"
            );
        }
    }
}

#[test]
fn keys_tell_of_secrets_whatever_number_and_age_they_have() {
    let detectors = Detectors::new(Detector::DEFAULT).unwrap();
    for key in [
        "SECRET_KEY_BASE",
        "secret_1",
        "secretv2",
        "token_old",
        "old_password_2",
        "aws_secret_key_2",
        "x-auth-token-v2",
        "storepass",
        "SSHPASS",
        "ADMIN_PW",
        "pw",
        "psk",
        "jwt",
        "bearer",
        "cred",
        "master_key",
        "JWT_KEY",
        "DD_APP_KEY",
        "DOCKER_AUTH_CONFIG",
        "GH_PAT",
        "PHPSESSID",
        "connect.sid",
    ] {
        assert!(detectors.is_sensitive_key(key), "{key}");
    }
    for key in [
        "prompt_tokens",
        "author",
        "compass",
        "bypass",
        "pattern",
        "path",
        "spin",
        "key",
        "hotkey",
        "power",
    ] {
        assert!(!detectors.is_sensitive_key(key), "{key}");
    }
    for (key, value, is_so) in [
        ("pass", "3", true),
        ("optimizer.pass", "gvn", true),
        ("process.environment_variable.PWD", "/srv/app", true),
        ("has_password", "true", true),
        ("bucket_token", "7", true),
        ("pass", "1234", false),
        ("db.pass", "gvn", false),
        ("db_pwd", "/srv/app", false),
        ("token", "123456", false),
    ] {
        assert_eq!(Detectors::opens_nothing(key, value), is_so, "{key} {value}");
    }
}

#[test]
fn what_is_glued_to_a_mask_does_not_pass() {
    for text in [
        "password=[REDACTED:assignment]EXAMPLE",
        "password=EXAMPLE[REDACTED:github]EXAMPLE",
        "password=[REDACTED:github][REDACTED:jwt]EXAMPLE",
        "password=[REDACTED:EXAMPLE]",
        "password=[REDACTED:example_of_no_rule]",
        "password=\"[REDACTED:assignment] EXAMPLE\"",
        "secret: '[REDACTED:assignment]EXAMPLE'",
        "token=Bearer [REDACTED:bearer]EXAMPLE",
        "run --password [REDACTED:argument]EXAMPLE",
        "Bearer [REDACTED:bearer]EXAMPLEEXAMPLEEXAMPLE",
        "Bearer EXAMPLEEXAMPLEEXAMPLE[REDACTED:jwt]EXAMPLE",
        "GET /x?token=[REDACTED:url_query]EXAMPLE&y=1",
        "http://[REDACTED:url_userinfo]EXAMPLE@host/",
        "http://user:[REDACTED:github]EXAMPLE@host/",
        "-----BEGIN PRIVATE KEY-----[REDACTED:jwt]EXAMPLE-----END PRIVATE KEY-----",
    ] {
        let masked = mask(text).unwrap_or_else(|| panic!("passes: {text}"));
        assert!(!masked.to_ascii_uppercase().contains("EXAMPLE"), "{text}: {masked}");
        assert_eq!(mask(&masked), None, "not idempotent: {masked}");
    }
    for text in [
        "password=[REDACTED:assignment]",
        "password=[REDACTED:github][REDACTED:jwt], x",
        "authorization: Bearer [REDACTED:bearer]",
        "run --password [REDACTED:argument] --fast",
        "http://[REDACTED:url_userinfo]@host/?token=[REDACTED:url_query]",
    ] {
        assert_eq!(mask(text), None, "{text}");
    }
}

#[test]
fn every_expression_compiles_and_no_name_has_two_shapes_of_mask() {
    for rule in &Detectors::new(&[Detector::Secrets, Detector::Pii]).unwrap().rules {
        assert!(rule.compiles(), "{}", rule.name);
        assert!(is_masked(&format!("{MARKER}{}]", rule.name)), "{}", rule.name);
    }
    assert!(numbers::RULES.iter().all(|rule| is_masked(&format!("{MARKER}{rule}]"))));
}

/// Names, files and values that look like something private and are none.
const NEAR_MISSES: &[&str] = &[
    "example.com/x@v1.2.3/file.go",
    "github.com/acme/pkg@v0.0.0-20210101000000-411111111111.go",
    "golang.org/x/net@v0.0.0-20170915032832-14c0d48ead0c/html/parse.go",
    "memcpy@GLIBC_2.14",
    "memcpy@@GLIBC_2.14",
    "printf@plt",
    "java.base@17.0.2",
    "java.base@17.0.2/java.lang.Thread.run",
    "app//com.acme.Main.run",
    "user@1000.service",
    "getty@tty1.service",
    "read@libc.so",
    "read@libc.so.6",
    "node_modules/.pnpm/react@18.2.0_abc/node_modules/react/index.js",
    "https://unpkg.com/lodash@4.17.21/lodash.min.js",
    "aes128-gcm@openssh.com",
    "6.0.0.0",
    "System.Private.CoreLib, Version=6.0.0.0, Culture=neutral",
    "Version=4.2.1.3",
    "lib-1.2.3.4.jar",
    "marshalCertificate.1.2.1.1",
    "1.2.3.4-SNAPSHOT",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "10.0.0.0/8",
    "::1",
    "dead::beef",
    "f64::add",
    "std::add",
    "12:34:56",
    "00:1a:2b:3c:4d:5e",
    "go/token.Lookup",
    "crypto/sha256.Sum256",
    "parser::tokenize",
    "passwordHash(String)",
    "com.acme.TokenService.refreshToken",
    "task_test_initialize",
    "disk_test_benchmarkingscenario",
    "token::Stream::next",
    "Session::new",
    "fn login(password: &str)",
    "password=null",
    "prompt_tokens=1234",
    "session: 12",
    "pass=3",
    "second pass: mark",
    "http://localhost:5173/@vite/client",
    "http://localhost:$PORT/@vite/client",
    "http://[2001::]/@vite/client",
    "https://unpkg.com:443/@types/node?x#y@1",
    "http://{host}:{port}/a?b@c",
    "jdbc:oracle:thin:@//db:1521/X",
    "Mozilla/5.0 Chrome/12.0.0.1 Safari/537.36",
    "compass=north",
    "bypass=on",
    "login failed",
    "Option<Token>",
    "libsecret-1-0:amd64.list",
    "passwd-1:4.13+dfsg1",
    "mysql -h db shop",
    "http.request.header.x-csrf-token",
    "X-CSRF-TOKEN",
    "basic authentication filter",
    "BasicAuthenticationManager",
    "bearer of the configuration",
    "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
    "_ZN4core3fmt9Formatter3pad17h4111111111111111E",
    "core::fmt::pad::h4111111111111111",
    "9223372036854775807",
    "4611686018427387904",
    "1763719839000000000",
    "1763719839000",
    "0.4111111111111111",
    "123e4567-e89b-12d3-a456-426614174000",
    "4111-1111-1111-111111111111",
    "2021-05-06",
    "AbstractSingletonProxyFactoryBeanProvide",
    "xmlSecOpenSSLTransformHmacSha256GetKlass",
    "SG.Foo.Bar",
    "operator\"\" _s(char const*)",
];

#[test]
fn near_misses_stay() {
    for text in NEAR_MISSES {
        for place in [Place::Name, Place::File, Place::Key, Place::Thread, Place::Text] {
            let masked = Detectors::new(Detector::DEFAULT).unwrap().mask(text, place, |_, _| {});
            assert_eq!(masked, None, "{place:?} {text}");
        }
    }
}

#[test]
fn numbers_of_versions_in_paths_stay() {
    let detectors = Detectors::new(Detector::DEFAULT).unwrap();
    for path in [
        "/root/.nuget/packages/foo/4.3.0.1/lib/foo.dll",
        "/gems/rails-12.1.2.3/lib/rails.rb",
        "/usr/lib/libfoo.so.1.2.3.4",
        r"C:\Program Files\Tool\9.1.2.3\tool.exe",
        "/srv/x/lib.12.1.2.3.jar",
        "/src/std/net/dead::beef.rs",
        "/root/.config/go/telemetry/local/go@go1.26.8-go1.26.8-linux-amd64-2026-11-21.v1.count",
        "/usr/share/gettext/po/en@quot.header",
    ] {
        assert_eq!(detectors.mask(path, Place::File, |_, _| {}), None, "{path}");
    }
}

#[test]
fn people_are_found_in_paths() {
    let detectors = Detectors::new(Detector::DEFAULT).unwrap();
    for (path, kept) in [
        ("/var/log/10.1.2.3.log", "/var/log/[REDACTED:ip_address].log"),
        ("/srv/10.1.2.3/x.go", "/srv/[REDACTED:ip_address]/x.go"),
        ("/srv/fe80::1ff:fe23:4567:890a.log", "/srv/[REDACTED:ip_address].log"),
        ("/srv/219-09-9999.pdf", "/srv/[REDACTED:ssn].pdf"),
        ("/srv/DE89370400440532013000/x.csv", "/srv/[REDACTED:iban]/x.csv"),
        ("/srv/a.b@example.org.log", "/srv/[REDACTED:email]"),
        ("/srv/4111111111111111.csv", "/srv/[REDACTED:card].csv"),
    ] {
        assert_eq!(
            detectors.mask(path, Place::File, |_, _| {}).as_deref(),
            Some(kept),
            "{path}"
        );
        assert_eq!(
            detectors.mask(kept, Place::File, |_, _| {}),
            None,
            "not idempotent: {kept}"
        );
    }
}

#[test]
fn people_are_found_where_people_are_written() {
    for (text, kept) in [
        ("pay 4111 1111 1111 1111 now", "pay [REDACTED:card] now"),
        ("pay?card=4111111111111111&x=1", "pay?card=[REDACTED:card]&x=1"),
        ("card%3D%204111111111111111", "card%3D%20[REDACTED:card]"),
        ("[pool-4111111111111111 tid=21]", "[pool-[REDACTED:card] tid=21]"),
        ("amex 3782-822463-10005.", "amex [REDACTED:card]."),
        ("from GB82 WEST 1234 5698 7654 32 to", "from [REDACTED:iban] to"),
        ("DE89370400440532013000", "[REDACTED:iban]"),
        // the groups in the middle are those of a card
        ("PL33 5790 8309 5465 6577 7442 7532", "[REDACTED:iban]"),
        ("who%3D2001:db8::1", "who%3D[REDACTED:ip_address]"),
        ("ssn 219-09-9999", "ssn [REDACTED:ssn]"),
        ("client 203.0.113.77:443", "client [REDACTED:ip_address]:443"),
        ("/10.1.2.3:80", "/[REDACTED:ip_address]:80"),
        ("http://[2001:db8::1]:80/", "http://[[REDACTED:ip_address]]:80/"),
        ("fe80::1ff:fe23:4567:890a%eth0", "[REDACTED:ip_address]%eth0"),
        ("::ffff:192.0.2.128", "[REDACTED:ip_address]"),
        ("2001:db8:0:0:0:0:2:1,", "[REDACTED:ip_address],"),
        ("phone-+1-202-555-0143", "phone-[REDACTED:phone]"),
        ("[customer-080-0000-0000 tid=7]", "[customer-[REDACTED:phone] tid=7]"),
        ("mail%3Derin%40example.com", "mail%[REDACTED:email]"),
        ("Lock_alice_at_example_com", "[REDACTED:email]"),
    ] {
        assert_eq!(mask(text).as_deref(), Some(kept), "{text}");
        assert_eq!(mask(kept), None, "not idempotent: {kept}");
    }
    assert_eq!(mask("x 202-555-0143"), None, "no word says that it is one");
}

#[test]
fn runs_of_groups_are_no_telephone_numbers_and_cost_little() {
    assert_eq!(mask("[+1234567890123456 tid=7]"), None, "one digit too many");
    // of each run there may be a number at its end
    for group in ["(41)", "1-1 ", "(", "(((12345678", "+1 "] {
        let text = format!("[{} tid=7]", group.repeat((60 << 10) / group.len()));
        let masked = mask(&text).unwrap_or_default();
        assert!(masked.len() <= text.len(), "{group}");
    }
}

#[test]
fn what_is_asked_for_is_found() {
    let only = |detector: Detector, text: &str| Detectors::new(&[detector]).unwrap().mask(text, Place::Text, |_, _| {});
    for (detector, text, kept) in [
        (Detector::Phones, "x 202-555-0143", "x [REDACTED:phone]"),
        (Detector::Phones, "+81 80-0000-0000", "[REDACTED:phone]"),
        (
            Detector::Uuids,
            "id 123e4567-e89b-12d3-a456-426614174000",
            "id [REDACTED:uuid]",
        ),
        (
            Detector::Hosts,
            "db-7.corp.example.internal:5432",
            "[REDACTED:host]:5432",
        ),
        (Detector::Hosts, "billing.prod.svc.cluster.local", "[REDACTED:host]"),
        (
            Detector::Cards,
            "4111111111111111 a@example.com",
            "[REDACTED:card] a@example.com",
        ),
    ] {
        assert_eq!(only(detector, text).as_deref(), Some(kept));
    }
    let hosts = Detectors::new(&[Detector::Hosts]).unwrap();
    assert_eq!(hosts.mask("thread.id", Place::Key, |_, _| {}), None);
    assert!(hosts.mask("db-7.example.internal", Place::Key, |_, _| {}).is_some());
    for text in ["com.acme.Foo", "org.apache.commons.io", "main.go", "java.net"] {
        assert_eq!(only(Detector::Hosts, text), None, "{text}");
    }
}

#[test]
fn identifiers_are_exempt_by_key_and_shape() {
    let detectors = Detectors::new(Detector::DEFAULT).unwrap();
    for (key, value, exempt) in [
        ("span id", "4111111111111111", true),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c", true),
        ("thread.id", "4111111111111111", true),
        ("process.executable.build_id.gnu", "deadbeefdeadbeef", true),
        ("end_timestamp_ns", "4111111111111111", true),
        ("address", "0x4111111111111111", true),
        ("card", "4111111111111111", false),
        ("unpaid", "4111111111111111", false),
        ("trace_id", "alice@example.com", false),
        ("client.address", "203.0.113.77", false),
    ] {
        assert_eq!(detectors.is_exempt(key, value), exempt, "{key} {value}");
    }
}

#[test]
fn overlong_texts_are_masked_whole() {
    let long = "x".repeat(LONGEST + 1);
    assert_eq!(mask(&long).as_deref(), Some("[REDACTED:overlong]"));
    assert_eq!(mask(&long[1..]), None);
}
