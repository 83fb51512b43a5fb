//! What a secret looks like: one regular expression for each family, reached only by a text that holds one of its keywords.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use regex::{Captures, Regex};

use schemars::JsonSchema;
use serde::Deserialize;

pub use exempt::{is_hex_id, is_identity};
pub use place::Place;

use super::masks::{self, MARKER};

mod exempt;
mod place;

/// A detector that comes with the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Keys, tokens and passwords, by shape or by the key in front of them.
    Secrets,
    /// E-mail addresses, IP addresses, numbers of cards, accounts and social security.
    Pii,
    /// E-mail addresses.
    Emails,
    /// IPv4 and IPv6 addresses.
    IpAddresses,
    /// Numbers of payment cards.
    Cards,
    /// Numbers of bank accounts.
    Ibans,
    /// Social security numbers of the United States.
    Ssns,
    /// Telephone numbers by their shape alone.
    Phones,
    /// UUIDs.
    Uuids,
    /// Names of hosts and services in a network.
    Hosts,
}

impl Detector {
    /// The default of the processor.
    pub const DEFAULT: &[Detector] = &[Detector::Secrets, Detector::Pii];
}

/// Where a rule may look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// In every string: its shape alone says enough.
    Everywhere,
    /// Only where people put keys and values: labels, comments, arguments, resource values.
    Context,
}

/// A family of secrets. What the group `s` (or `q`, for quoted text) catches is masked, else the whole match.
struct Family {
    name: &'static str,
    reach: Reach,
    keywords: &'static [&'static str],
    pattern: &'static str,
}

const fn everywhere(name: &'static str, keywords: &'static [&'static str], pattern: &'static str) -> Family {
    Family {
        name,
        reach: Reach::Everywhere,
        keywords,
        pattern,
    }
}

const WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
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
    "privatekey",
    "private_key",
    "private-key",
    "private.key",
    "authorization",
    "credential",
    "session",
    "cookie",
];

/// What a mask looks like.
const MASK: &str = r"\[REDACTED:[a-z_]+\]";

/// Rules whose masks stand for no family.
const OTHER_RULES: &[&str] = &["assignment", "argument", "sensitive_key"];

const WORD: &str = r"(?:password|passwd|passphrase|pwd|secret|token|(?:api|access|private)[_.\-]?key|authorization|credential|session|cookie)";

static SECRETS: &[Family] = &[
    everywhere(
        "private_key",
        &["-----begin"],
        r"-----BEGIN[ A-Z0-9]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END[ A-Z0-9]*-----|\z)",
    ),
    everywhere(
        "jwt",
        &["eyj"],
        r"eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]*",
    ),
    everywhere(
        "url_userinfo",
        &["://"],
        r#"[A-Za-z][A-Za-z0-9+.\-]*://(?P<s>[^\s/@:'"<>]*:[^\s/@'"<>]+)@"#,
    ),
    everywhere(
        "aws",
        &["akia", "asia", "abia", "acca"],
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    ),
    everywhere(
        "github",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,}",
    ),
    everywhere(
        "gitlab",
        &["gl"],
        r"\bgl(?:pat|dt|rt|ptt|ft|soat|cbt|imt|agent|oas)-[A-Za-z0-9_\-]{20,}",
    ),
    everywhere(
        "slack",
        &["xox", "xapp-", "hooks.slack.com"],
        r"xox[abeoprs]-[A-Za-z0-9\-]{10,}|xapp-\d-[A-Za-z0-9\-]{10,}|hooks\.slack\.com/(?P<s>(?:services|workflows|triggers)/[A-Za-z0-9+/]{20,})",
    ),
    everywhere(
        "stripe",
        &["sk_", "rk_", "whsec_"],
        r"(?:^|[^A-Za-z])(?P<s>[sr]k_(?:test|live|prod)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{24,})",
    ),
    everywhere("npm", &["npm_"], r"npm_[A-Za-z0-9]{36}"),
    everywhere("pypi", &["pypi-age"], r"pypi-AgE[A-Za-z0-9_\-]{40,}"),
    everywhere("openai", &["t3blbkfj"], r"sk-[A-Za-z0-9_\-]*T3BlbkFJ[A-Za-z0-9_\-]+"),
    everywhere("anthropic", &["sk-ant-"], r"sk-ant-[A-Za-z0-9_\-]{20,}"),
    everywhere("huggingface", &["hf_"], r"\bhf_[A-Za-z]{34,}"),
    everywhere(
        "sendgrid",
        &["sg."],
        r"\bSG\.[A-Za-z0-9_\-]{20,24}\.[A-Za-z0-9_\-]{39,50}",
    ),
    everywhere("digitalocean", &["_v1_"], r"do[opr]_v1_[a-f0-9]{64}"),
    everywhere("databricks", &["dapi"], r"\bdapi[a-f0-9]{32}(?:-\d)?"),
    everywhere("vault", &["hvs.", "hvb.", "hvr."], r"\bhv[sbr]\.[A-Za-z0-9_\-]{24,}"),
    everywhere("shopify", &["shp"], r"\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"),
    everywhere(
        "grafana",
        &["glsa_", "glc_"],
        r"\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|\bglc_[A-Za-z0-9+/]{32,}={0,2}",
    ),
    everywhere(
        "sentry",
        &["sntrys_", "sntryu_"],
        r"sntrys_[A-Za-z0-9+/=_]{40,}|sntryu_[a-f0-9]{64}",
    ),
    everywhere("new_relic", &["nrak-"], r"NRAK-[A-Za-z0-9]{27}"),
    everywhere(
        "google",
        &["aiza", "gocspx-", "ya29."],
        r"AIza[A-Za-z0-9_\-]{35}|GOCSPX-[A-Za-z0-9_\-]{28}|\bya29\.[A-Za-z0-9_\-]{20,}",
    ),
    everywhere("age", &["age-secret-key-1"], r"(?i)AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    everywhere(
        "bearer",
        &["bearer ", "basic "],
        r"\b(?i:bearer|basic) +(?P<s>(?:\[REDACTED:[a-z_]+\])*[A-Za-z0-9._~+/\-]{16,}(?:\[REDACTED:[a-z_]+\]|[A-Za-z0-9._~+/\-])*=*)",
    ),
    everywhere(
        "url_query",
        &["?", "&"],
        r"[?&](?i:[a-z0-9_.\-]*(?:password|passwd|pwd|secret|token|api[_.\-]?key|access[_.\-]?key|authorization|credential|session(?:[_.\-]?id)?|signature|sig))=(?P<s>[^&#\s]+)",
    ),
];

static EMAILS: &[Family] = &[everywhere(
    "email",
    &["@", "%40"],
    r"[A-Za-z0-9._+'\-\x{80}-\x{10FFFF}]+(?:@|%40)[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.(?P<tld>[A-Za-z]{2,24})",
)];

/// Endings that make `name@ending` a unit of systemd, a library, an archive or a script rather than an address.
const NOT_A_DOMAIN: &[&str] = &[
    "service", "socket", "slice", "scope", "mount", "timer", "target", "device", "so", "jar", "dll", "js", "mjs",
    "cjs", "ts", "go", "class", "node",
];

/// A family ready to look.
struct Rule {
    name: &'static str,
    reach: Reach,
    regex: Regex,
}

/// The detectors of one policy.
pub struct Detectors {
    keywords: AhoCorasick,
    /// The rule that each keyword belongs to.
    owner: Vec<usize>,
    rules: Vec<Rule>,
    sensitive_key: Option<Regex>,
}

impl Detectors {
    /// The detectors asked for.
    pub fn new(wanted: &[Detector]) -> Result<Self, String> {
        let secrets = wanted.contains(&Detector::Secrets);
        let emails = wanted.contains(&Detector::Emails) || wanted.contains(&Detector::Pii);
        // a mask inside of a value is part of it: what is glued to a mask may be the rest of the secret
        let value = format!(r#"(?:{MASK}|[^\s"'&,;:=)}}\]])(?:{MASK}|[^\s"'&,;)}}\]])*"#);
        let assignment = format!(
            r#"(?i){WORD}[0-9]*(?:[_.\-]?(?:id|value|key|header))?["']?\s*(?:=>|=|:)\s*(?:"(?P<q>[^"]+)"|'(?P<r>[^']+)'|(?P<s>(?:(?:bearer|basic|digest|token)\s+)?{value}))"#
        );
        let argument = format!(r#"(?i)(?:^|\s)--?[\w.\-]*{WORD}\s+["']?(?P<s>[^\s"'\-][^\s"']*)"#);
        let mut families: Vec<(&'static str, Reach, &[&str], &str)> = Vec::new();
        if secrets {
            families.extend(SECRETS.iter().map(|f| (f.name, f.reach, f.keywords, f.pattern)));
            families.push(("assignment", Reach::Context, WORDS, &assignment));
            families.push(("argument", Reach::Context, WORDS, &argument));
        }
        if emails {
            families.extend(EMAILS.iter().map(|f| (f.name, f.reach, f.keywords, f.pattern)));
        }
        let mut words = Vec::new();
        let mut owner = Vec::new();
        let mut rules = Vec::new();
        for (name, reach, keywords, pattern) in families {
            for keyword in keywords {
                words.push(*keyword);
                owner.push(rules.len());
            }
            let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
            rules.push(Rule { name, reach, regex });
        }
        let keywords = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(words)
            .map_err(|error| error.to_string())?;
        let key = format!(r"(?i){WORD}s?[0-9]*(?:[_.\-]?(?:id|value|key))?$");
        let sensitive_key = match secrets {
            true => Some(Regex::new(&key).map_err(|error| error.to_string())?),
            false => None,
        };
        Ok(Self {
            keywords,
            owner,
            rules,
            sensitive_key,
        })
    }

    /// Whether the key alone says that its value is a secret.
    pub fn is_sensitive_key(&self, key: &str) -> bool {
        self.sensitive_key.as_ref().is_some_and(|regex| regex.is_match(key))
    }

    /// Whether the value of this key is an identifier by key and shape: no detector and no pattern may tear it.
    pub fn is_exempt(&self, key: &str, value: &str) -> bool {
        is_identity(key) && is_hex_id(value)
    }

    /// The text with every hit masked, if there is one; `hit` hears the rule of each.
    pub fn mask(&self, text: &str, place: Place, mut hit: impl FnMut(&'static str)) -> Option<String> {
        let context = matches!(place, Place::Key | Place::Text);
        let mut wanted = 0u64;
        for found in self.keywords.find_overlapping_iter(text) {
            if let Some(rule) = self.owner.get(found.pattern().as_usize()) {
                wanted |= 1 << rule;
            }
        }
        if wanted == 0 || is_hex_id(text) {
            return None;
        }
        let mut masked: Option<String> = None;
        for (position, rule) in self.rules.iter().enumerate() {
            if wanted & (1 << position) == 0 || (rule.reach == Reach::Context && !context) {
                continue;
            }
            if let Some(text) = mask_one(rule, masked.as_deref().unwrap_or(text), &mut hit) {
                masked = Some(text);
            }
        }
        masked
    }
}

fn mask_one(rule: &Rule, text: &str, hit: &mut impl FnMut(&'static str)) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    for captures in rule.regex.captures_iter(text) {
        let group = ["s", "q", "r"].iter().find_map(|name| captures.name(name));
        let Some(secret) = group.or_else(|| captures.get(0)) else {
            continue;
        };
        // what is masked already stays as it is: redacting twice changes nothing
        if is_masked(secret.as_str()) || is_no_address(&captures) {
            continue;
        }
        out.push_str(text.get(copied..secret.start())?);
        out.push_str(MARKER);
        out.push_str(rule.name);
        out.push(']');
        copied = secret.end();
        hit(rule.name);
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

/// Whether the text is masks of ours and nothing else, perhaps behind the scheme of a credential: whatever stands beside a mask,
/// or inside of one that no rule of ours makes, may be a secret.
pub fn is_masked(text: &str) -> bool {
    let mut rest = match text.split_once(' ') {
        Some((scheme, rest))
            if ["bearer", "basic", "digest", "token"].contains(&scheme.to_ascii_lowercase().as_str()) =>
        {
            rest.trim_start()
        }
        _ => text,
    };
    if rest.is_empty() {
        return false;
    }
    while let Some((rule, after)) = rest.strip_prefix(MARKER).and_then(|rest| rest.split_once(']')) {
        let is_rule = masks::is_rule(rule)
            || OTHER_RULES.contains(&rule)
            || SECRETS.iter().chain(EMAILS).any(|family| family.name == rule);
        if !is_rule {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// `module@v1.2.3-rc.go` and `user@1000.service` have the shape of an address, and are none.
fn is_no_address(captures: &Captures<'_>) -> bool {
    let Some(tld) = captures.name("tld") else {
        return false;
    };
    let whole = captures.get(0).map_or("", |m| m.as_str());
    let domain = whole.rsplit_once('@').map_or("", |(_, domain)| domain);
    let mut start = domain.bytes();
    let versioned = start.next() == Some(b'v') && start.next().is_some_and(|b| b.is_ascii_digit());
    versioned || NOT_A_DOMAIN.contains(&tld.as_str().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(text: &str) -> Option<String> {
        Detectors::new(Detector::DEFAULT)
            .unwrap()
            .mask(text, Place::Text, |_| {})
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
            let masked = detectors.mask(text, Place::Name, |_| {}).unwrap();
            assert!(masked.contains(MARKER) && !masked.contains("EXAMPLE"), "{masked}");
            assert_eq!(
                detectors.mask(&masked, Place::Text, |_| {}),
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
    fn near_misses_stay() {
        for text in [
            "example.com/x@v1.2.3/file.go",
            "memcpy@GLIBC_2.14",
            "java.base@17.0.2",
            "user@1000.service",
            "read@libc.so",
            "6.0.0.0",
            "dead::beef",
            "go/token.Lookup",
            "crypto/sha256.Sum256",
            "parser::tokenize",
            "passwordHash(String)",
            "task_test_initialize",
            "token::Stream::next",
            "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        ] {
            assert_eq!(mask(text), None, "{text}");
        }
    }
}
