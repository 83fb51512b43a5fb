//! Secrets that what stands around them gives away: `key=value`, options, headers, queries. And e-mail addresses.

use super::hosts::is_ending;
use super::place::Place;
use super::rule::{Family, Left, Reach};
use super::validators::{decodes_to_pair, entropy, is_hex_id};

/// The words that name a secret, for the prefilter.
const WORDS: &[&str] = &[
    "passw",
    "passphrase",
    "passcode",
    "pwd",
    "_pass",
    "-pass",
    ".pass",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "api.key",
    "accesskey",
    "access_key",
    "access-key",
    "access.key",
    "accountkey",
    "account_key",
    "privatekey",
    "private_key",
    "private-key",
    "private.key",
    "encryptionkey",
    "encryption_key",
    "signingkey",
    "signing_key",
    "clientkey",
    "client_key",
    "authkey",
    "auth_key",
    "auth-key",
    "authorization",
    "_auth",
    "-auth",
    ".auth",
    "masterkey",
    "master_key",
    "master-key",
    "master.key",
    "appkey",
    "app_key",
    "app-key",
    "app.key",
    "jwtkey",
    "jwt_key",
    "jwt-key",
    "jwt.key",
    "keypass",
    "storepass",
    "sshpass",
    "userpass",
    "dbpass",
    "credential",
    "session",
    "sessid",
    "connect.sid",
    "cookie",
];

/// The same words as an expression.
pub(super) const WORD: &str = r"(?:passw(?:or)?d|passphrase|passcode|[_.\-]pass|(?:key|store|ssh|user|db)pass|pwd|secret|token|(?:api|access|account|private|encryption|signing|client|auth|master|app|jwt)[_.\-]?key|authorization|[_.\-]auth|credential|session|sessid|connect\.sid|cookie)";

/// What may stand behind such a word without changing what it says: which one it is, and of what kind.
pub(super) const TAIL: &str = r"(?:[_.]?[0-9]+|[_.\-]?v[0-9]+|[_.\- ]?(?:id|value|key|text|base|old|new|prev(?:ious)?|current|backup|primary|secondary))*";

/// A value without quotes. A mask inside of it is part of it: what is glued to a mask may be the rest of the secret.
pub(super) const VALUE: &str = r#"(?:{MASK}|[^\s"'&,;:=)}\]])(?:{MASK}|[^\s"'&,;)}\]])*"#;

/// A value as it is given, with quotes or without.
pub(super) const GIVEN: &str = r#"(?:\\"((?:[^"\\]|\\[^"])+)(?:\\"|\z)|"((?:[^"\\]|\\.)+)(?:"|\z)|'((?:[^'\\]|\\.)+)(?:'|\z)|((?:(?:bearer|basic|digest|token)\s+)?{VALUE}))"#;

/// Services whose keys have no prefix: their name in front of `=` gives the key away.
pub(super) const VENDORS: &[&str] = &[
    "adafruit",
    "adobe",
    "airtable",
    "algolia",
    "alibaba",
    "asana",
    "atlassian",
    "beamer",
    "bitbucket",
    "bittrex",
    "cloudflare",
    "codecov",
    "cohere",
    "coinbase",
    "confluent",
    "contentful",
    "datadog",
    "discord",
    "droneci",
    "dropbox",
    "etsy",
    "facebook",
    "fastly",
    "finicity",
    "finnhub",
    "flickr",
    "freshbooks",
    "gitter",
    "gocardless",
    "heroku",
    "hubspot",
    "intercom",
    "jfrog",
    "kraken",
    "kucoin",
    "launchdarkly",
    "linkedin",
    "looker",
    "mailgun",
    "mattermost",
    "meraki",
    "messagebird",
    "netlify",
    "newrelic",
    "new_relic",
    "nytimes",
    "okta",
    "plaid",
    "privateai",
    "rapidapi",
    "sendbird",
    "snyk",
    "sonar",
    "squarespace",
    "sumologic",
    "travis",
    "twilio",
    "twitch",
    "twitter",
    "zendesk",
];

const fn family(name: &'static str, reach: Reach, keywords: &'static [&'static str], pattern: &'static str) -> Family {
    Family {
        name,
        reach,
        left: Left::Anything,
        keywords,
        pattern,
        check: None,
    }
}

/// Shorter words, which say so only right before a sign.
const SHORT_WORDS: &[&str] = &["pass", "pw", "psk", "jwt", "cred", "_pat"];

/// What stands around a secret.
pub(super) static CONTEXT: &[Family] = &[
    Family {
        check: Some(is_bearer),
        ..family(
            "bearer",
            Reach::Everywhere,
            &["bearer"],
            r"(?i)\bbearer(?:\s+|%20|\+|:\s*)((?:{MASK})*[a-z0-9._~+/\-]{16,}(?:{MASK}|[a-z0-9._~+/\-])*=*)",
        )
    },
    Family {
        check: Some(is_basic),
        ..family(
            "basic",
            Reach::Everywhere,
            &["basic"],
            r"(?i)\bbasic(?:\s+|%20|:\s*)((?:{MASK})*[a-z0-9+/_\-]{6,}(?:{MASK}|[a-z0-9+/_\-])*={0,2})",
        )
    },
    // what docker keeps for a registry
    Family {
        check: Some(is_basic),
        ..family(
            "basic",
            Reach::Context,
            &["auth\"", "auth\\\"", "auth'"],
            r#"(?i)\bauth\\?["']\s*:\s*\\?["']((?:{MASK})*[a-z0-9+/_\-]{6,}(?:{MASK}|[a-z0-9+/_\-])*={0,2})"#,
        )
    },
    Family {
        check: Some(is_value),
        ..family(
            "url_query",
            Reach::Everywhere,
            &[
                "token=",
                "key=",
                "secret=",
                "passwd=",
                "password=",
                "pwd=",
                "session=",
                "sessionid=",
                "session_id=",
                "session-id=",
                "sessid=",
                "sig=",
                "signature=",
                "credential=",
                "credentials=",
                "authorization=",
                "auth=",
                "jwt=",
                "otp=",
                "security-token=",
            ],
            r#"(?i)[?&;#][a-z0-9_.\-\[\]%]*(?:passw(?:or)?d|pwd|secret|token|(?:api|access|private|auth|subscription)[_.\-]?key|authorization|credentials?|sess(?:ion)?(?:[_.\-]?id)?|signature|sig|auth|jwt|otp)=((?:{MASK}|[^&#\s"'<>])+)"#,
        )
    },
    family(
        "header",
        Reach::Context,
        &["authorization", "cookie"],
        r#"(?i)authorization\\?["']?\s*[:=]\s*\\?["']?((?:bearer|basic|digest|token|negotiate|ntlm|apikey|hmac|aws4-hmac-sha256)\s+[^\r\n"'\\]+)|cookie\\?["']?\s*[:=]\s*\\?["']?([^\s=;"'\\]+=[^\s;"'\\]*(?:;\s*[^\s=;"'\\]+(?:=[^\s;"'\\]*)?)*)"#,
    ),
    Family {
        check: Some(is_value),
        ..family(
            "assignment",
            Reach::Context,
            WORDS,
            r#"(?i){WORD}s?{TAIL}(?:[_.\- ]?(?:header|hash))?(?:\[\w*\])?\\?["']?\s*(?:=>|:=|={1,3}|:|%3D|%3A)\s*{GIVEN}"#,
        )
    },
    Family {
        check: Some(is_value),
        ..family(
            "assignment",
            Reach::Context,
            SHORT_WORDS,
            r#"(?i)(?:(?:\b|_)(?:pass|pw|psk|jwt|creds?)|_pat){TAIL}(?:\\?["']\s*:|\\?["']?\s*(?:=>|:=|={1,3}))\s*{GIVEN}"#,
        )
    },
    // <password>x</password>
    Family {
        check: Some(is_value),
        ..family(
            "assignment",
            Reach::Context,
            WORDS,
            r"(?i)<[\w.:\-]*{WORD}s?{TAIL}>([^<>]+)</",
        )
    },
    // name="password" value="x", and ("password", "x")
    Family {
        check: Some(is_value),
        ..family(
            "assignment",
            Reach::Context,
            WORDS,
            r#"(?i)(?:(?:name|key|id)\\?["']?\s*[=:]\s*\\?["'][\w.\- ]*{WORD}s?{TAIL}\\?["']\s*[,;]?\s*\\?["']?(?:value|content)\\?["']?\s*[=:]\s*|\(\s*["'][\w.\- ]*{WORD}s?{TAIL}["']\s*,\s*)(?:\\"((?:[^"\\]|\\[^"])+)|"((?:[^"\\]|\\.)+)|'((?:[^'\\]|\\.)+))"#,
        )
    },
    // statements of SQL
    Family {
        check: Some(is_value),
        ..family(
            "assignment",
            Reach::Context,
            &["identified", "password"],
            r#"(?i)\b(?:identified\s+(?:with\s+\S+\s+)?(?:by|as)(?:\s+password)?|password)\s+(?:'([^']+)|"([^"]+))"#,
        )
    },
    // what netrc holds
    Family {
        check: Some(is_value),
        ..family(
            "assignment",
            Reach::Context,
            &["login"],
            r"(?i)(?:^|\bmachine\s+\S+\s+|\bdefault\s+)login\s+\S+\s+password\s+(\S+)",
        )
    },
    family(
        "argument",
        Reach::Context,
        WORDS,
        r#"(?i)(?:^|[\s"'])--?[\w.\-]*{WORD}s?{TAIL}(?:\s+|["'],\s*["'])(?:"([^"]+)"|'([^']+)'|((?:{MASK}|[^\s"'\-])(?:{MASK}|[^\s"'])*))"#,
    ),
    family(
        "argument",
        Reach::Context,
        &["curl"],
        r#"(?i)\bcurl\b.*?\s(?:-u|--user)(?:\s+|=)["']?([^\s"':]*:[^\s"']+)"#,
    ),
    Family {
        check: Some(is_value),
        ..family(
            "argument",
            Reach::Context,
            &["sshpass", "mysql", "mariadb"],
            r#"(?i)\b(?:sshpass\s+-p\s*|(?:mysql|mariadb)[\w\-]*\s(?:[^|;]*?\s)?-p)["']?([^\s"'][^\s"']*)"#,
        )
    },
    Family {
        check: Some(is_value),
        ..family(
            "assignment",
            Reach::Names,
            WORDS,
            r#"(?i)[(,{\[]\s*["']?[\w.]*{WORD}s?{TAIL}["']?\s*(?:(?:=>|=|:)\s*(?:"([^"]+)"|'([^']+)')|=\s*((?:{MASK}|[^\s"'&,;:=<>(){}\[\]*])(?:{MASK}|[^\s"'&,;=<>(){}\[\]*])*))"#,
        )
    },
    Family {
        check: Some(is_key_of_vendor),
        ..family(
            "vendor_key",
            Reach::Context,
            VENDORS,
            r#"(?i)(?:{VENDOR})[a-z0-9_.\- ]{0,20}["']?\s*(?:=>|:=|=|:)\s*["']?([a-z0-9_\-]{15,})"#,
        )
    },
    Family {
        check: Some(is_random),
        ..family(
            "assignment",
            Reach::Context,
            &["key", "auth", "creds", "access"],
            r#"(?i)(?:key|auth|creds?|access)["']?\s*(?:=>|:=|=|:)\s*["']?([a-z0-9_\-+/=.]{20,})"#,
        )
    },
    Family {
        check: Some(is_declared),
        ..family(
            "declared",
            Reach::Everywhere,
            &[
                "-secret",
                "-token",
                "-passw",
                "-credential",
                "secret-",
                "token-",
                "passwd-",
                "password-",
                "credential-",
                "credentials-",
            ],
            r"(?-u)\b(?:[A-Z0-9]+-)*(?:SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?)(?:-[A-Z0-9]+)*\b",
        )
    },
    Family {
        left: Left::NoWord,
        ..family("twilio", Reach::Context, &["sk"], r"(?-u)SK[0-9a-fA-F]{32}\b")
    },
];

/// Addresses of people.
pub(super) static EMAIL: &[Family] = &[
    Family {
        check: Some(is_address),
        ..family(
            "email",
            Reach::Everywhere,
            &["@", "%40"],
            r"[A-Za-z0-9._+'\-\x{80}-\x{10FFFF}]+(?:@|%40)[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,24}",
        )
    },
    family(
        "email",
        Reach::Everywhere,
        &["_at_"],
        r"(?i-u)[a-z0-9]+(?:[._][a-z0-9]+)*_at_[a-z0-9]+(?:_[a-z0-9]+)*_(?:com|org|edu|gov)\b",
    ),
];

/// What stands after `password:` and is none: a type, a constant, a small count, stars.
fn is_value(secret: &str, whole: &str, _: Place) -> bool {
    const NO_VALUES: &[&str] = &[
        "null",
        "none",
        "nil",
        "undefined",
        "true",
        "false",
        "string",
        "str",
        "&str",
        "bool",
        "int",
        "number",
        "void",
    ];
    let lower = secret.to_ascii_lowercase();
    let is_constant = NO_VALUES.contains(&lower.as_str()) || secret.bytes().all(|b| b == b'*' || b == b'?');
    !is_constant && !is_count(secret, whole)
}

/// A number too small to open anything: `session: 12`, `pass=3`. Four digits are a choice of some people for a password.
fn is_count(value: &str, named: &str) -> bool {
    const CHOSEN: &[&str] = &["pass", "pwd", "pw", "psk", "pin", "otp", "cvv", "cvc"];
    let named = named.to_ascii_lowercase();
    let longest = if CHOSEN.iter().any(|word| named.contains(word)) {
        2
    } else {
        4
    };
    value.len() <= longest && value.bytes().all(|b| b.is_ascii_digit())
}

fn is_bearer(secret: &str, _: &str, place: Place) -> bool {
    secret.contains('[') || secret.bytes().any(|b| b.is_ascii_digit()) || (place != Place::Name && secret.len() >= 20)
}

fn is_basic(secret: &str, _: &str, _: Place) -> bool {
    // in a path the next folder looks like more of it
    let first = secret.split('/').next().unwrap_or_default();
    secret.contains('[') || decodes_to_pair(secret) || (first.len() >= 6 && decodes_to_pair(first))
}

fn is_key_of_vendor(secret: &str, _: &str, _: Place) -> bool {
    secret.bytes().filter(u8::is_ascii_digit).count() >= 2 && entropy(secret) >= 3.0
}

/// A key without a word that says what it opens is told from other identifiers by how it was drawn.
fn is_random(secret: &str, _: &str, _: Place) -> bool {
    let has = |wanted: fn(&u8) -> bool| secret.bytes().any(|b| wanted(&b));
    has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && !is_hex_id(secret)
        && entropy(secret) >= 3.5
}

/// Capitals joined by hyphens that call themselves a secret, as placeholders and secrets made by hand do; names of headers do not.
fn is_declared(secret: &str, _: &str, _: Place) -> bool {
    secret.split('-').count() >= 3 && !secret.starts_with("X-")
}

/// Endings that make `name@ending` a unit of systemd, a library, an archive or a script rather than an address.
const NOT_A_DOMAIN: &[&str] = &[
    "service", "socket", "slice", "scope", "mount", "timer", "target", "device", "path", "swap", "so", "jar", "dll",
    "exe", "js", "mjs", "cjs", "ts", "tsx", "jsx", "go", "class", "node", "tgz", "tar", "gz", "zip", "whl", "lock",
    "json", "yaml", "toml",
];

/// Who signs the names of ciphers: `aes128-gcm@openssh.com`.
const CIPHERS: &[&str] = &["openssh.com", "libssh.org", "ssh.com", "lysator.liu.se"];

/// `module@v1.2.3-rc.go` and `user@1000.service` have the shape of an address, and are none.
fn is_address(whole: &str, _: &str, place: Place) -> bool {
    let Some((local, domain)) = whole.rsplit_once('@').or_else(|| whole.rsplit_once("%40")) else {
        return false;
    };
    let mut start = domain.bytes();
    let first = start.next();
    let versioned = first == Some(b'v') && start.next().is_some_and(|b| b.is_ascii_digit());
    let tld = domain.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let strict = matches!(place, Place::Name | Place::File);
    let versioned = versioned || (strict && is_version(domain));
    // `a@b.org.log` is a file
    let has_ending = domain.to_ascii_lowercase().split('.').skip(1).any(is_ending);
    let is_code = strict && (!has_ending || ["this", "super", "return", "break", "continue", "git"].contains(&local));
    let is_named = versioned || CIPHERS.contains(&domain) || NOT_A_DOMAIN.contains(&tld.as_str());
    !is_code && !is_named
}

/// `17.0.2-beta.rc`: digits, then a dot, then digits.
fn is_version(domain: &str) -> bool {
    let mut parts = domain.split('.');
    let digits = |part: Option<&str>| part.is_some_and(|part| part.bytes().next().is_some_and(|b| b.is_ascii_digit()));
    digits(parts.next()) && digits(parts.next())
}

/// A key whose value is a secret, whatever it is.
pub(super) const SENSITIVE_KEY: &str = r"(?i)(?:{WORD}|(?:^|[_.\- ])(?:pass|pw|psk|auth|otp|cvv|cvc|pin|jwt|bearer|creds?|passwords|secrets|credentials|cookies)|_pat|auth[_.\-]?config){TAIL}(?:-[0-9]+)?$";

/// What stands below such a key and opens nothing: whether there is a secret, how many, the folder that a shell is in, the pass of
/// a compiler.
pub(super) fn opens_nothing(key: &str, value: &str) -> bool {
    const ANSWERS: &[&str] = &["true", "false", "yes", "no", "none", "null"];
    const WORKERS: &[&str] = &["compiler", "optimizer", "llvm", "render", "shader", "gc"];
    let lower = key.to_ascii_lowercase();
    let is_folder = key.ends_with("PWD") && value.starts_with('/');
    let is_phase = lower.strip_suffix("pass").is_some_and(|before| {
        let worker = before.trim_end_matches(['.', '_', '-']);
        WORKERS.iter().any(|name| worker.ends_with(name))
    });
    ANSWERS.contains(&value.to_ascii_lowercase().as_str()) || is_folder || is_phase || is_count(value, key)
}
