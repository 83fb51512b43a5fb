//! Secrets drawn at random in the shape of their family, and the texts that they are put into. The generator knows shapes and no
//! words, and nothing of the detectors: check digits are its own.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::carriers::Kind;

/// xorshift: the same secrets in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
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
    pub fn fill(&mut self, template: &str) -> String {
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
        "k" => "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
        "b" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
        "B" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "p" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!@#$%^*_+.~-",
        other => panic!("no alphabet {other}"),
    }
}

/// Shapes of structural families; the first word is the rule. Where bars stand, only what is between them is the secret.
pub const STRUCTURAL: &[&str] = &[
    "aws AKIA{U16}",
    "aws ASIA{U16}",
    "aws A3TX{U16}",
    "aws ABSK{B120}",
    "aws IQoJb3JpZ2lu{B400}",
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
    "braintree access_token$production${l16}${h32}",
    "elevenlabs sk_{h48}",
    "launchdarkly sdk-{h8}-{h4}-4{h3}-a{h3}-{h12}",
    "launchdarkly mob-{h8}-{h4}-4{h3}-9{h3}-{h12}",
    "mailgun key-{h32}",
    "neon napi_{l64}",
    "netlify nfp_{A40}",
    "openrouter sk-or-v1-{h64}",
    "paseto v4.local.{b120}",
    "paseto v2.public.{b160}.{b20}",
    "password_hash $2b$12${A53}",
    "password_hash $6${A16}${A86}",
    "password_hash $y$j9T${A22}${A43}",
    "password_hash $argon2id$v=19$m=65536,t=3,p=4$|{B22}${B43}|",
    "pinecone pcsk_{A6}_{A63}",
    "posthog phc_{A43}",
    "replicate r8_{A37}",
    "snyk snyk_uat.{h8}.{b60}",
    "sonarqube squ_{h40}",
    "wallet xprv9{k106}",
    "xai xai-{A80}",
    "url_userinfo postgres://|{a6}:{A16}|@db",
    "url_userinfo redis://|:{A24}|@cache:6379",
    "url_userinfo https://|{A40}|@git",
];

/// Texts around a secret that its shape alone gives away: `#` is the secret.
const AROUND_NAME: &[&str] = &[
    "#",
    "connect(\"#\", 3)",
    "connect(#)",
    "main.(*#[go.shape.int]).Burn",
    "[pool-# tid=7]",
];
const AROUND_FILE: &[&str] = &["#", "/srv/app/#/main.go", "https://cdn.acme.io/#/app.js"];
const AROUND_KEY: &[&str] = &["#", "job #", "x.[#]"];
const AROUND_TYPE: &[&str] = &["#", "bytes of #"];
const AROUND_TEXT: &[&str] = &[
    "#",
    "retry with # now",
    "https://api.acme.io/v1/x?ref=#&n=2",
    "note=#;x=1",
    r##"{"note":"#","n":1}"##,
    r##"{\"note\":\"#\"}"##,
];

/// Around secrets that are words: a mangled name may be glued to them.
const MANGLED: &[&str] = &[
    "_ZN7Handler$#3runEv",
    "_RNvCs1_4main$#",
    "com.acme.Planted$#.run",
    "com/acme/#::run",
];

fn around(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Name => AROUND_NAME,
        Kind::File => AROUND_FILE,
        Kind::Key => AROUND_KEY,
        Kind::Type => AROUND_TYPE,
        Kind::Text => AROUND_TEXT,
        Kind::Number => &["#"],
    }
}

/// Contextual families: the rule, the secret, what stands around it, and the kinds of texts where that is looked for.
pub struct Context {
    pub family: &'static str,
    pub secret: &'static str,
    pub around: &'static str,
    pub kinds: &'static [Kind],
}

const FREE: &[Kind] = &[Kind::Text, Kind::Key];
const NAMES: &[Kind] = &[Kind::Name];
const FILES: &[Kind] = &[Kind::File];
/// A value as people choose them, one that was generated, one in base64, one in hexadecimal.
const CHOSEN: &str = "{A1}{p7-23}";
const DRAWN: &str = "{b32-80}";

const fn context(family: &'static str, secret: &'static str, around: &'static str, kinds: &'static [Kind]) -> Context {
    Context {
        family,
        secret,
        around,
        kinds,
    }
}

pub const CONTEXT: &[Context] = &[
    context("assignment", CHOSEN, "password=#", FREE),
    context("assignment", CHOSEN, "db.password = \"#\"", FREE),
    context("assignment", CHOSEN, "{\"client_secret\":\"#\",\"n\":1}", FREE),
    context("assignment", CHOSEN, r##"{\"api_key\":\"#\"}"##, FREE),
    context("assignment", CHOSEN, "{'passwd': '#'}", FREE),
    context("assignment", CHOSEN, "api_key: #", FREE),
    context(
        "assignment",
        CHOSEN,
        "java -Dspring.datasource.password=# -jar x.jar",
        FREE,
    ),
    context("assignment", CHOSEN, "run --password=# --fast", FREE),
    context(
        "assignment",
        CHOSEN,
        "Server=db;User Id=sa;Password=#;Encrypt=true",
        FREE,
    ),
    context("assignment", CHOSEN, "X-Api-Key: #", FREE),
    context("assignment", "{B40}", "AWS_SECRET_ACCESS_KEY=#", FREE),
    context("assignment", "{A8-24}", "password%3D#", FREE),
    context("assignment", "{A32-64}", "key=#", FREE),
    context("assignment", CHOSEN, "login(user=\"x\", password=\"#\")", NAMES),
    context("assignment", "{A8-24}", "login(password=#, retries=3)", NAMES),
    context("assignment", CHOSEN, "process 7:\"app.py --db-password=# x\"", NAMES),
    context("argument", CHOSEN, "run --password # --fast", FREE),
    context("argument", CHOSEN, "run --token \"#\"", FREE),
    context("argument", CHOSEN, "['run', '--secret', '#']", FREE),
    context("argument", "{A8-24}", "curl -u bob:# https://x", FREE),
    context("argument", CHOSEN, "run --password # --fast", NAMES),
    context("header", DRAWN, "authorization: Token #", FREE),
    context("header", DRAWN, "Cookie: sid=#; theme=dark", FREE),
    context("bearer", DRAWN, "Bearer #", FREE),
    context("bearer", DRAWN, "fetch with bearer # now", FREE),
    context("bearer", DRAWN, "Bearer #", NAMES),
    context("url_query", "{b12-40}", "https://x.io/a?access_token=#&n=1", FREE),
    context("url_query", "{b12-40}", "GET /reset?token=#", NAMES),
    context("url_query", "{b12-40}", "https://x.io/app.js?sig=#", FILES),
    context("vendor_key", "{h40}", "DATADOG_APP=#", FREE),
    context("vendor_key", "{l32}", "mailgun.default = '#'", FREE),
    context("twilio", "SK{h32}", "sid #", FREE),
    context("aws_secret", "{B40}", "#", FREE),
];

/// Keys whose values are secrets, whatever they are.
pub const TELLING_KEYS: &[&str] = &[
    "password",
    "db.password",
    "DB_PASSWORD",
    "api_key",
    "x-auth-token",
    "http.request.header.cookie",
    "process.environment_variable.GITHUB_TOKEN",
    "session_id",
    "clientSecret",
    "pin",
];

/// Numbers and addresses of people, and where each is looked for.
pub const PEOPLE: &[(&str, &[Kind])] = &[
    ("card", &[Kind::Text, Kind::Key, Kind::File, Kind::Name, Kind::Number]),
    ("email", &[Kind::Text, Kind::Key, Kind::File, Kind::Name]),
    ("iban", &[Kind::Text, Kind::Key, Kind::File]),
    ("ipv4", &[Kind::Text, Kind::Key, Kind::File]),
    ("ipv6", &[Kind::Text, Kind::Key, Kind::File]),
    ("ssn", &[Kind::Text, Kind::Key, Kind::File]),
    ("phone", &[Kind::Text, Kind::Key]),
    ("phone_in_thread", &[Kind::Text]),
    ("phone_by_shape", &[Kind::Text, Kind::Key, Kind::File]),
    ("uuid_by_shape", &[Kind::Text, Kind::Key, Kind::File]),
];

/// A text with a secret in it.
pub struct Drawn {
    pub text: String,
    /// The part that must be gone.
    pub secret: String,
}

impl Drawn {
    fn new(around: &str, secret: String) -> Self {
        Self {
            text: around.replace('#', &secret),
            secret,
        }
    }
}

/// A secret by shape: `row` is of [`STRUCTURAL`].
pub fn structural(dice: &mut Dice, row: &str, kind: Kind, turn: usize) -> Drawn {
    let filled = dice.fill(row.split_once(' ').unwrap().1);
    let part = filled.split('|').nth(1).unwrap_or(&filled).to_owned();
    let whole = filled.replace('|', "");
    let is_word = whole.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let mangled = if kind == Kind::Name && is_word { MANGLED } else { &[] };
    let all = [around(kind), mangled].concat();
    let around = all[turn % all.len()];
    let around = around.replacen('$', &whole.len().to_string(), usize::from(around.starts_with('_')));
    Drawn {
        text: around.replace('#', &whole),
        secret: part,
    }
}

/// Families whose shape takes more than a template.
pub const COMPOSED: &[&str] = &["private_key", "jwt", "basic"];

pub fn composed(dice: &mut Dice, family: &str, kind: Kind, turn: usize) -> Drawn {
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
    let all = around(kind);
    let mut drawn = Drawn::new(all[turn % all.len()], secret);
    drawn.secret = drawn.secret.trim_start_matches("Basic ").to_owned();
    drawn
}

pub fn contextual(dice: &mut Dice, row: &Context) -> Drawn {
    Drawn::new(row.around, dice.fill(row.secret))
}

/// A value that only its key gives away: a word, or a few digits where numbers are.
pub fn told_by_key(dice: &mut Dice, kind: Kind) -> Drawn {
    Drawn::new("#", dice.fill(if kind == Kind::Number { "{d6-15}" } else { "{a6-16}" }))
}

pub fn person(dice: &mut Dice, family: &str, kind: Kind, turn: usize) -> Drawn {
    let secret = match family {
        "card" => card(dice, kind == Kind::Number),
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
            1 + dice.below(254)
        ),
        "ipv6" if dice.below(2) == 0 => dice.fill("2001:db8:{h4}:{h4}:{h4}:{h4}:{h4}:{h4}"),
        "ipv6" => dice.fill("fe80::{h4}:{h4}:{h4}:{h4}"),
        "email" => {
            let ending = ["com", "org", "de", "io", "co.uk"][dice.below(5)];
            dice.fill("{a3-10}.{a3-10}@{a4-12}.") + ending
        }
        "phone" | "phone_in_thread" | "phone_by_shape" => dice.fill("+4{d1}-{d3}-{d7}"),
        _ => dice.fill("{h8}-{h4}-4{h3}-a{h3}-{h12}"),
    };
    let all: &[&str] = match (family, kind) {
        ("phone", _) => &["phone: #", "tel=#&n=1", "{\"mobile\":\"#\"}", "[worker-# tid=7]"],
        ("phone_in_thread", _) => &["#", "customer-#", "call of # now"],
        (_, Kind::Name) => &["pay_#", "[worker-# tid=7]", "send(\"#\")"],
        (_, Kind::File) => &["/var/data/#/x.csv", "/srv/#.log", "https://x.io/#/app.js"],
        (_, Kind::Key | Kind::Type) => &["#", "from #"],
        (_, Kind::Number) => &["#"],
        (_, Kind::Text) => &[
            "#",
            "seen # twice",
            "who=#,n=1",
            r##"{"who":"#"}"##,
            "https://x.io/a?who=#&n=1",
            "who%3D#",
        ],
    };
    Drawn::new(all[turn % all.len()], secret)
}

/// First digits of issuers, and how many digits there are.
const ISSUERS: &[(&str, usize)] = &[
    ("4", 16),
    ("4", 13),
    ("51", 16),
    ("55", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("36", 14),
    ("301", 14),
    ("6011", 16),
    ("62", 16),
    ("3530", 16),
];

fn card(dice: &mut Dice, plain: bool) -> String {
    let (prefix, length) = ISSUERS[dice.below(ISSUERS.len())];
    let body = prefix.to_owned() + &dice.of(alphabet("d"), length - 1 - prefix.len());
    // from the right, every other digit counts twice, the last of the body first
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (u32::from(digit - b'0'), place % 2) {
            (digit, 0) if digit > 4 => digit * 2 - 9,
            (digit, 0) => digit * 2,
            (digit, _) => digit,
        })
        .sum();
    let number = format!("{body}{}", (10 - sum % 10) % 10);
    let groups = |sep: &str| [&number[..4], &number[4..8], &number[8..12], &number[12..]].join(sep);
    match dice.below(3) {
        0 if length == 16 && !plain => groups(" "),
        1 if length == 16 && !plain => groups("-"),
        _ => number,
    }
}

fn iban(dice: &mut Dice) -> String {
    const LENGTHS: &[(&str, usize)] = &[
        ("GB", 22),
        ("DE", 22),
        ("FR", 27),
        ("NL", 18),
        ("ES", 24),
        ("IT", 27),
        ("CH", 21),
        ("SE", 24),
        ("PL", 28),
        ("NO", 15),
    ];
    let (country, length) = LENGTHS[dice.below(LENGTHS.len())];
    let body = dice.of(alphabet("d"), length - 4);
    // the remainder of body, country as numbers and 00 tells the check digits
    let numbers: String = country.bytes().map(|letter| (letter - b'A' + 10).to_string()).collect();
    let rest = format!("{body}{numbers}00")
        .bytes()
        .fold(0u32, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    let account = format!("{country}{:02}{body}", 98 - rest);
    if dice.below(2) == 0 {
        return account;
    }
    let groups: Vec<&str> = (0..account.len())
        .step_by(4)
        .map(|at| &account[at..account.len().min(at + 4)])
        .collect();
    groups.join(" ")
}
