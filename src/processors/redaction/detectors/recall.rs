//! How much is found: secrets are drawn at random in the shape of their family, put where secrets stand, and looked for again. The
//! generator knows shapes and no words, and its figures are the table in `docs/redaction.md`.
//!
//! `FLAMEGATE_RECALL=10000 cargo test --release recall` draws so many of each family; with `FLAMEGATE_WRITE=1` it writes the table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::validators::{has_issuer, iban_length, is_iban, luhn};
use super::*;

/// xorshift: the same secrets in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn of(&mut self, alphabet: &str, count: usize) -> String {
        (0..count)
            .map(|_| alphabet.as_bytes()[self.below(alphabet.len())] as char)
            .collect()
    }

    /// `{A36}` becomes 36 characters of the alphabet A, `{A8-20}` between 8 and 20.
    fn fill(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (spec, after) = after.split_once('}').unwrap();
            let (low, high) = spec[1..].split_once('-').unwrap_or((&spec[1..], &spec[1..]));
            let (low, high): (usize, usize) = (low.parse().unwrap(), high.parse().unwrap());
            let count = low + self.below(high - low + 1);
            out.push_str(&self.of(alphabet(&spec[..1]), count));
            rest = after;
        }
        out + rest
    }
}

fn alphabet(name: &str) -> &'static str {
    match name {
        "A" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        "U" => "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        "l" => "abcdefghijklmnopqrstuvwxyz0123456789",
        "a" => "abcdefghijklmnopqrstuvwxyz",
        "h" => "0123456789abcdef",
        "d" => "0123456789",
        "b" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
        "B" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "p" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!@#$%^*_+.~-",
        other => panic!("no alphabet {other}"),
    }
}

/// Shapes of structural families; the first word is the rule. Where bars stand, only what is between them is the secret.
const STRUCTURAL: &[&str] = &[
    "aws AKIA{U16}",
    "aws ASIA{U16}",
    "aws A3TX{U16}",
    "aws ABSK{B120}",
    "github ghp_{A36}",
    "github gho_{A36}",
    "github ghu_{A36}",
    "github ghs_{A36}",
    "github ghr_{A36}",
    "github github_pat_{A22}_{A59}",
    "gitlab glpat-{b20}",
    "gitlab gldt-{b20}",
    "gitlab glrt-{b20}",
    "gitlab glptt-{h40}",
    "gitlab glcbt-{A5}_{b20}",
    "gitlab glagent-{b50}",
    "gitlab gloas-{b64}",
    "gitlab GR1348941{b20}",
    "slack xoxb-{d12}-{d12}-{A24}",
    "slack xoxp-{d12}-{d12}-{d12}-{A32}",
    "slack xapp-1-{U11}-{d13}-{l64}",
    "slack hooks.slack.com/|services/{B44}",
    "stripe sk_live_{A24}",
    "stripe sk_test_{A99}",
    "stripe rk_live_{A24}",
    "stripe whsec_{A32}",
    "npm npm_{A36}",
    "pypi pypi-AgEIcHlwaS5vcmc{b150}",
    "openai sk-proj-{b74}T3BlbkFJ{b74}",
    "openai sk-{A20}T3BlbkFJ{A20}",
    "anthropic sk-ant-api03-{b93}AA",
    "huggingface hf_{A34}",
    "sendgrid SG.{b22}.{b43}",
    "digitalocean dop_v1_{h64}",
    "digitalocean doo_v1_{h64}",
    "databricks dapi{h32}",
    "vault hvs.{b90}",
    "vault hvb.{b140}",
    "shopify shpat_{h32}",
    "shopify shpss_{h32}",
    "grafana glsa_{A32}_{h8}",
    "grafana glc_{B60}",
    "sentry sntryu_{h64}",
    "sentry sntrys_{B120}_{B43}",
    "new_relic NRAK-{U27}",
    "new_relic NRII-{A32}",
    "google AIza{b35}",
    "google GOCSPX-{b28}",
    "google ya29.{b100}",
    "age AGE-SECRET-KEY-1{U58}",
    "onepassword A3-{U6}-{U6}-{U5}-{U5}-{U5}-{U5}",
    "onepassword ops_eyJ{B300}",
    "adobe p8e-{l32}",
    "alibaba LTAI{A20}",
    "jfrog AKCp{A69}",
    "jfrog cmVmd{A59}",
    "atlassian ATATT3{b180}",
    "authress sc_{l20}.{l5}.acc_{l20}.{A60}",
    "azure {A3}8Q~{b34}",
    "clojars CLOJARS_{l60}",
    "cloudflare v1.0-{h24}-{h146}",
    "circleci CCIPAT_{A22}_{h40}",
    "buildkite bkua_{h40}",
    "defined_networking dnkey-{b26}-{b52}",
    "docker dckr_pat_{b27}",
    "doppler dp.pt.{A43}",
    "dropbox sl.{b135}",
    "duffel duffel_live_{b43}",
    "dynatrace dt0c01.{U24}.{U64}",
    "easypost EZAK{A54}",
    "facebook EAAM{A120}",
    "figma figd_{b40}",
    "flutterwave FLWSECK_TEST-{h32}-X",
    "fly_io fo1_{b43}",
    "fly_io fm2_{B120}",
    "frame_io fio-u-{b64}",
    "groq gsk_{A52}",
    "harness pat.{b22}.{A24}.{A20}",
    "terraform {A14}.atlasv1.{b67}",
    "heroku HRKU-AA{b58}",
    "infracost ico-{A32}",
    "intra42 s-s4t2ud-{h64}",
    "langsmith lsv2_pt_{h32}_{h10}",
    "linear lin_api_{A40}",
    "mailchimp {h32}-us12",
    "mapbox pk.eyJ{A60}.{A22}",
    "maxmind {A6}_{A29}_mmk",
    "notion ntn_{d11}{A35}",
    "nvidia nvapi-{b64}",
    "octopus API-{U26}",
    "openshift sha256~{b43}",
    "perplexity pplx-{A48}",
    "planetscale pscale_tkn_{b43}",
    "postman PMAK-{h24}-{h34}",
    "prefect pnu_{A36}",
    "pulumi pul-{h40}",
    "readme rdme_{l70}",
    "rubygems rubygems_{h48}",
    "scalingo tk-us-{b48}",
    "sendinblue xkeysib-{h64}-{A16}",
    "settlemint sm_aat_{A16}",
    "shippo shippo_live_{h40}",
    "sourcegraph sgp_{h16}_{h40}",
    "square sq0atp-{b22}",
    "supabase sbp_{h40}",
    "tailscale tskey-auth-{A12}-{A32}",
    "telegram {d9}:AA{b33}",
    "typeform tfp_{b59}",
    "yandex AQVN{b35}",
    "webhook discord.com/|api/webhooks/{d18}/{b68}",
    "url_userinfo postgres://|{a6}:{A16}|@db",
    "url_userinfo redis://|:{A24}|@cache:6379",
    "url_userinfo https://|{A40}|@git",
];

/// Where structural secrets are put: `#` is the secret.
const CARRIERS: &[(&str, Place)] = &[
    ("#", Place::Text),
    ("#", Place::Name),
    ("#", Place::File),
    ("#", Place::Key),
    ("retry with # now", Place::Text),
    ("https://api.acme.io/v1/x?ref=#&n=2", Place::Text),
    ("note=#;x=1", Place::Text),
    (r##"{"note":"#","n":1}"##, Place::Text),
    (r##"connect("#", 3)"##, Place::Name),
    ("connect(#)", Place::Name),
    ("/srv/app/#/main.go", Place::File),
    ("main.(*#[go.shape.int]).Burn", Place::Name),
];

/// Where those are put that are words: a mangled name may stand around them.
const MANGLED: &[&str] = &[
    "_ZN7Handler$#3runEv",
    "_RNvCs1_4main$#",
    "com.acme.Planted$#.run",
    "com/acme/#::run",
];

/// Contextual families: the rule, the secret and what stands around it.
const CONTEXT: &[(&str, &str, &str, Place)] = &[
    ("assignment", "{A1}{p7-23}", "password=#", Place::Text),
    ("assignment", "{A1}{p7-23}", "db.password = \"#\"", Place::Text),
    (
        "assignment",
        "{A1}{p7-23}",
        "{\"client_secret\":\"#\",\"n\":1}",
        Place::Text,
    ),
    ("assignment", "{A1}{p7-23}", r##"{\"api_key\":\"#\"}"##, Place::Text),
    ("assignment", "{A1}{p7-23}", "{'passwd': '#'}", Place::Text),
    ("assignment", "{A1}{p7-23}", "api_key: #", Place::Text),
    (
        "assignment",
        "{A1}{p7-23}",
        "java -Dspring.datasource.password=# -jar x.jar",
        Place::Text,
    ),
    ("assignment", "{A1}{p7-23}", "run --password=# --fast", Place::Text),
    (
        "assignment",
        "{A1}{p7-23}",
        "Server=db;User Id=sa;Password=#;Encrypt=true",
        Place::Text,
    ),
    ("assignment", "{A1}{p7-23}", "X-Api-Key: #", Place::Text),
    ("assignment", "{B40}", "AWS_SECRET_ACCESS_KEY=#", Place::Text),
    ("assignment", "{A8-24}", "password%3D#", Place::Text),
    ("assignment", "{A1}{p7-23}", "api_key=#", Place::Key),
    (
        "assignment",
        "{A1}{p7-23}",
        "login(user=\"x\", password=\"#\")",
        Place::Name,
    ),
    ("assignment", "{A8-24}", "login(password=#, retries=3)", Place::Name),
    (
        "assignment",
        "{A1}{p7-23}",
        "process 7:\"app.py --db-password=# x\"",
        Place::Name,
    ),
    ("assignment", "{A32-64}", "key=#", Place::Text),
    ("argument", "{A1}{p7-23}", "run --password # --fast", Place::Text),
    ("argument", "{A1}{p7-23}", "run --token \"#\"", Place::Text),
    ("argument", "{A1}{p7-23}", "['run', '--secret', '#']", Place::Text),
    ("argument", "{A8-24}", "curl -u bob:# https://x", Place::Text),
    ("header", "{b32-80}", "authorization: Token #", Place::Text),
    ("header", "{b32-80}", "Cookie: sid=#; theme=dark", Place::Text),
    ("bearer", "{b32-80}", "Bearer #", Place::Text),
    ("bearer", "{b32-80}", "fetch with bearer # now", Place::Text),
    (
        "url_query",
        "{b12-40}",
        "https://x.io/a?access_token=#&n=1",
        Place::Text,
    ),
    ("url_query", "{b12-40}", "GET /reset?token=#", Place::Name),
    ("url_query", "{b12-40}", "https://x.io/app.js?sig=#", Place::File),
    ("vendor_key", "{h40}", "DATADOG_APP=#", Place::Text),
    ("vendor_key", "{l32}", "mailgun.default = '#'", Place::Text),
    ("twilio", "SK{h32}", "sid #", Place::Text),
    ("aws_secret", "{B40}", "#", Place::Text),
];

/// One secret in its carrier, with the part that must be gone.
struct Drawn {
    family: String,
    text: String,
    secret: String,
    place: Place,
}

fn structural(dice: &mut Dice, row: &str, turn: usize) -> Drawn {
    let (family, template) = row.split_once(' ').unwrap();
    let filled = dice.fill(template);
    let part = filled.split('|').nth(1).unwrap_or(&filled).to_owned();
    let secret = filled.replace('|', "");
    let is_word = secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let carriers = CARRIERS.len() + if is_word { MANGLED.len() } else { 0 };
    let (carrier, place) = match turn % carriers {
        plain if plain < CARRIERS.len() => CARRIERS[plain],
        mangled => (MANGLED[mangled - CARRIERS.len()], Place::Name),
    };
    let carrier = carrier.replacen('$', &secret.len().to_string(), usize::from(carrier.starts_with('_')));
    Drawn {
        family: family.to_owned(),
        text: carrier.replace('#', &secret),
        secret: part,
        place,
    }
}

fn special(dice: &mut Dice, family: &str, turn: usize) -> Drawn {
    let secret = match family {
        "private_key" => format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
            dice.fill("{B64}\n{B64}\n{B40}==")
        ),
        "jwt" => {
            let part = |text: String| URL_SAFE_NO_PAD.encode(text);
            let head = ["HS256", "RS256", "ES384", "none"][dice.below(4)];
            let claims = format!("{{\"sub\":\"{}\",\"iat\":1}}", dice.fill("{l8-40}"));
            format!(
                "{}.{}.{}",
                part(format!("{{\"alg\":\"{head}\"}}")),
                part(claims),
                dice.fill("{b43}")
            )
        }
        _ => format!("Basic {}", STANDARD.encode(dice.fill("{a5}:{p8-24}"))),
    };
    let carriers = [
        ("#", Place::Text),
        ("#", Place::Name),
        ("x=#;", Place::Text),
        ("[pool-# tid=7]", Place::Name),
        ("f(\"#\")", Place::Name),
    ];
    let (carrier, place) = carriers[turn % carriers.len()];
    Drawn {
        family: family.to_owned(),
        text: carrier.replace('#', &secret),
        secret: secret.trim_start_matches("Basic ").to_owned(),
        place,
    }
}

fn contextual(dice: &mut Dice, row: &(&str, &str, &str, Place)) -> Drawn {
    let secret = dice.fill(row.1);
    Drawn {
        family: row.0.to_owned(),
        text: row.2.replace('#', &secret),
        secret,
        place: row.3,
    }
}

const PEOPLE: &[&str] = &["card", "iban", "ssn", "ipv4", "ipv6", "email", "phone", "uuid"];

fn person(dice: &mut Dice, family: &str, turn: usize) -> Drawn {
    let secret = match family {
        "card" => card(dice),
        "iban" => iban(dice),
        "ssn" => format!(
            "{}-{:02}-{:04}",
            100 + dice.below(560),
            1 + dice.below(99),
            1 + dice.below(9999)
        ),
        "ipv4" => format!(
            "{}.{}.{}.{}",
            11 + dice.below(110),
            dice.below(256),
            dice.below(256),
            1 + dice.below(255)
        ),
        "ipv6" if turn.is_multiple_of(2) => dice.fill("2001:db8:{h4}:{h4}:{h4}:{h4}:{h4}:{h4}"),
        "ipv6" => dice.fill("fe80::{h4}:{h4}:{h4}:{h4}"),
        "email" => {
            let ending = ["com", "org", "de", "io", "co.uk"][dice.below(5)];
            dice.fill("{a3-10}.{a3-10}@{a4-12}.").to_owned() + ending
        }
        "phone" => dice.fill("+4{d1}-{d3}-{d7}"),
        _ => dice.fill("{h8}-{h4}-4{h3}-a{h3}-{h12}"),
    };
    let carriers = [
        ("#", Place::Text),
        ("seen # twice", Place::Text),
        ("who=#,n=1", Place::Text),
        (r##"{"who":"#"}"##, Place::Text),
        ("https://x.io/a?who=#&n=1", Place::Text),
        ("[worker-# tid=7]", Place::Name),
        ("pay_#", Place::Name),
    ];
    let everywhere = matches!(family, "card") as usize;
    let (carrier, place) = carriers[turn % (carriers.len() - 1 + everywhere)];
    Drawn {
        family: family.to_owned(),
        text: carrier.replace('#', &secret),
        secret,
        place,
    }
}

fn card(dice: &mut Dice) -> String {
    loop {
        let length = [16, 16, 16, 15, 14, 13][dice.below(6)];
        let digits: Vec<u8> = (0..length).map(|_| dice.below(10) as u8).collect();
        if has_issuer(&digits) && luhn(&digits) {
            let plain: String = digits.iter().map(|d| (b'0' + d) as char).collect();
            let groups = |sep: &str| [&plain[..4], &plain[4..8], &plain[8..12], &plain[12..]].join(sep);
            return match dice.below(3) {
                0 if length == 16 => groups(" "),
                1 if length == 16 => groups("-"),
                _ => plain,
            };
        }
    }
}

fn iban(dice: &mut Dice) -> String {
    let country = ["GB", "DE", "FR", "NL", "ES", "IT", "CH", "SE", "PL", "NO"][dice.below(10)];
    let tail = dice.of(alphabet("d"), iban_length(country.as_bytes()).unwrap() - 4);
    let checked = (2..99)
        .map(|check| format!("{country}{check:02}{tail}"))
        .find(|account| is_iban(account.as_bytes()))
        .unwrap();
    match dice.below(2) {
        0 => checked,
        _ => checked
            .as_bytes()
            .chunks(4)
            .map(|chunk| std::str::from_utf8(chunk).unwrap())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// Whether the secret is gone: not even a part of it stays that is worth having.
fn is_gone(drawn: &Drawn, masked: &str) -> bool {
    let secret = drawn.secret.as_bytes();
    let part = secret.len().min(12);
    // what names the family may stay
    !secret
        .windows(part)
        .any(|window| memchr::memmem::find(masked.as_bytes(), window).is_some())
}

/// Of each family, how many were drawn and how many found; by tier.
fn figures(count: usize) -> BTreeMap<(char, String), (usize, usize)> {
    let detectors = Detectors::new(&[Detector::Secrets, Detector::Pii, Detector::Phones, Detector::Uuids]).unwrap();
    let mut figures = BTreeMap::new();
    let mut seen = |tier: char, drawn: Drawn| {
        let masked = detectors.mask(&drawn.text, drawn.place, |_| {});
        let found = masked.is_some_and(|masked| is_gone(&drawn, &masked));
        if !found && std::env::var_os("FLAMEGATE_SHOW").is_some() {
            eprintln!("missed {}: {:?} {}", drawn.family, drawn.place, drawn.text);
        }
        let row: &mut (usize, usize) = figures.entry((tier, drawn.family)).or_default();
        row.0 += 1;
        row.1 += usize::from(found);
    };
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let rows = |all: &[&str], family: &str| all.iter().filter(|row| row.starts_with(&format!("{family} "))).count();
    for row in STRUCTURAL {
        let shapes = rows(STRUCTURAL, row.split_once(' ').unwrap().0);
        for turn in 0..count.div_ceil(shapes) {
            seen('A', structural(&mut dice, row, turn));
        }
    }
    for family in ["private_key", "jwt", "basic"] {
        for turn in 0..count {
            seen('A', special(&mut dice, family, turn));
        }
    }
    for row in CONTEXT {
        let shapes = CONTEXT.iter().filter(|other| other.0 == row.0).count();
        for _ in 0..count.div_ceil(shapes) {
            seen('B', contextual(&mut dice, row));
        }
    }
    for family in PEOPLE {
        for turn in 0..count {
            seen('D', person(&mut dice, family, turn));
        }
    }
    figures
}

fn least(tier: char) -> f64 {
    if tier == 'A' { 99.9 } else { 99.0 }
}

fn percent((drawn, found): (usize, usize)) -> f64 {
    found as f64 * 100.0 / drawn as f64
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/redaction.md")
}

const BEGIN: &str = "<!-- recall -->\n";
const END: &str = "<!-- /recall -->";

#[test]
fn what_is_drawn_is_found() {
    let count = std::env::var("FLAMEGATE_RECALL").map_or(300, |count| count.parse().unwrap());
    let figures = figures(count);
    let mut table = String::from("| tier | family | drawn | found |\n|---|---|---|---|\n");
    for ((tier, family), row) in &figures {
        table.push_str(&format!("| {tier} | {family} | {} | {:.2} % |\n", row.0, percent(*row)));
    }
    if std::env::var_os("FLAMEGATE_WRITE").is_some() {
        let page_text = std::fs::read_to_string(page()).unwrap();
        let (before, rest) = page_text.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        std::fs::write(page(), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    }
    for ((tier, family), row) in &figures {
        assert!(percent(*row) >= least(*tier), "{family}: {:.2} %", percent(*row));
    }
    for rule in &Detectors::new(Detector::DEFAULT).unwrap().rules {
        let drawn = figures.keys().any(|(_, family)| family == rule.name);
        assert!(drawn || rule.name == "declared", "nothing is drawn for {}", rule.name);
    }
}

#[test]
fn the_page_has_the_figures_of_every_family() {
    let text = std::fs::read_to_string(page()).unwrap();
    let (_, rest) = text.split_once(BEGIN).unwrap();
    let (table, _) = rest.split_once(END).unwrap();
    let mut told = Vec::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let found: f64 = cells[4].trim_end_matches(" %").parse().unwrap();
        let tier = cells[1].chars().next().unwrap();
        assert!(
            cells[3].parse::<usize>().unwrap() >= 10_000 && found >= least(tier),
            "{row}"
        );
        told.push((tier, cells[2].to_owned()));
    }
    let known: Vec<(char, String)> = figures(1).into_keys().collect();
    assert_eq!(told, known);
}
