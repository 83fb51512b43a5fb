//! Secrets that their shape alone gives away: each family has keywords and one regular expression, and may stand anywhere.

use super::place::Place;
use super::rule::{Family, Left, Reach};

const fn family(name: &'static str, left: Left, keywords: &'static [&'static str], pattern: &'static str) -> Family {
    Family {
        name,
        reach: Reach::Everywhere,
        left,
        keywords,
        pattern,
        check: None,
    }
}

/// A prefix that begins no word, so that what stands before it does not matter: a mangled name may glue anything there.
const fn free(name: &'static str, keywords: &'static [&'static str], pattern: &'static str) -> Family {
    family(name, Left::Anything, keywords, pattern)
}

/// A prefix that could end a word: no letter may stand before it.
const fn apart(name: &'static str, keywords: &'static [&'static str], pattern: &'static str) -> Family {
    family(name, Left::NoLetter, keywords, pattern)
}

/// The families, those that hold others first.
pub(super) static STRUCTURAL: &[Family] = &[
    free(
        "private_key",
        &["-----begin", "ls0tls1crudjti"],
        r"-----BEGIN[ A-Z0-9]*PRIVATE KEY(?: BLOCK)?-----(?s:.)*?(?:-----END[ A-Z0-9]*-----|\z)|LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,}={0,2}",
    ),
    free(
        "mapbox",
        &["pk.eyj", "sk.eyj", "tk.eyj"],
        r"(?-u)[pst]k\.eyJ[A-Za-z0-9_\-]{20,}\.[A-Za-z0-9_\-]{22}",
    ),
    free("onepassword", &["ops_eyj"], r"(?-u)ops_eyJ[A-Za-z0-9+/]{250,}={0,3}"),
    free(
        "jwt",
        &["eyj", "eya"],
        r"(?-u)ey[JA][A-Za-z0-9_\-]{8,}\.(?:ey[JA][A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]*|[A-Za-z0-9_\-]*\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,})",
    ),
    free(
        "url_userinfo",
        &["://", "%3a%2f%2f"],
        r#"(?i)[a-z][a-z0-9+.\-]*(?:://([^\s/?#@:'"<>]*:[^\s/?#'"<>]+)@|://([a-z0-9_\-~]{16,})@|%3A%2F%2F([^\s/?#@:'"<>&%]*(?:%3A|:)[^\s/?#'"<>&@]+?)(?:@|%40))"#,
    ),
    // a password as it is, with what a URL would have to escape
    Family {
        check: Some(is_raw_userinfo),
        ..free(
            "url_userinfo",
            &["://"],
            r#"(?i)[a-z][a-z0-9+.\-]*://([^\s/?#@:'"<>\[\]]*:[^\s/?#'"<>@\[]+[/?# ][^\s'"<>@]*)@[a-z0-9\[]"#,
        )
    },
    // what drivers take in place of a URL
    free(
        "url_userinfo",
        &["@tcp(", "@tcp6(", "@unix("],
        r#"(?i)((?:{MASK}|[\w.\-])+:[^\s"'<>]+|(?:{MASK})+)@(?:tcp6?|unix)\("#,
    ),
    free(
        "url_userinfo",
        &["jdbc:oracle:"],
        r#"(?i)jdbc:oracle:\w+:([^\s/@:"'<>]+/[^\s"'<>@]+)@"#,
    ),
    apart(
        "aws",
        &[
            "akia",
            "asia",
            "abia",
            "acca",
            "a3t",
            "absk",
            "bedrock-api-key-",
            "amzn.mws.",
            "iqojb3jpz2lu",
            "fwogzxivyxdz",
            "fqogzxivyxdz",
        ],
        r"(?-u)(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16,}|ABSK[A-Za-z0-9+/]{100,}={0,2}|bedrock-api-key-[A-Za-z0-9+/]{20,}={0,2}|amzn\.mws\.[0-9a-f\-]{36}|(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)[A-Za-z0-9+/%]{100,}={0,2}",
    ),
    free(
        "github",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"(?-u)gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,}",
    ),
    apart(
        "gitlab",
        &[
            "glpat-",
            "gldt-",
            "glrt-",
            "glptt-",
            "glft-",
            "glffct-",
            "glsoat-",
            "glcbt-",
            "glimt-",
            "glagent-",
            "gloas-",
            "gr1348941",
            "_gitlab_session=",
        ],
        r"(?-u)gl(?:pat|dt|rt|ptt|ft|ffct|soat|cbt|imt|agent|oas)-[A-Za-z0-9_\-.]{20,}|GR1348941[A-Za-z0-9_\-]{20,}|_gitlab_session=([0-9a-z]{32})",
    ),
    free(
        "slack",
        &[
            "xoxa-",
            "xoxb-",
            "xoxe-",
            "xoxe.",
            "xoxo-",
            "xoxp-",
            "xoxr-",
            "xoxs-",
            "xapp-",
            "hooks.slack.com",
        ],
        r"(?-u)(?:xoxe\.)?xox[abeoprs]-[A-Za-z0-9\-]{10,}|xapp-\d-[A-Za-z0-9\-]{10,}|hooks\.slack\.com/((?:services|workflows|triggers)/[A-Za-z0-9+/]{20,})",
    ),
    free(
        "webhook",
        &[".webhook.office.com", "/api/webhooks/"],
        r"(?-u)\.webhook\.office\.com/(webhookb2/[A-Za-z0-9@\-/]{40,})|discord(?:app)?\.com/(api/webhooks/\d{17,20}/[A-Za-z0-9_\-]{40,})",
    ),
    apart(
        "stripe",
        &[
            "sk_test_", "sk_live_", "sk_prod_", "rk_test_", "rk_live_", "rk_prod_", "whsec_",
        ],
        r"(?-u)[sr]k_(?:test|live|prod)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{24,}",
    ),
    free("npm", &["npm_"], r"(?-u)npm_[A-Za-z0-9]{36,}"),
    free("pypi", &["pypi-age"], r"(?-u)pypi-AgE[A-Za-z0-9_\-]{40,}"),
    free(
        "openai",
        &["t3blbkfj"],
        r"(?-u)sk-[A-Za-z0-9_\-]*T3BlbkFJ[A-Za-z0-9_\-]+",
    ),
    free("anthropic", &["sk-ant-"], r"(?-u)sk-ant-[A-Za-z0-9_\-]{20,}"),
    apart(
        "huggingface",
        &["hf_", "api_org_"],
        r"(?-u)hf_[A-Za-z0-9]{34,}|api_org_[A-Za-z0-9]{34,}",
    ),
    apart(
        "sendgrid",
        &["sg."],
        r"(?-u)SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{39,50}",
    ),
    free(
        "digitalocean",
        &["doo_v1_", "dop_v1_", "dor_v1_"],
        r"(?-u)do[opr]_v1_[a-f0-9]{64}",
    ),
    apart("databricks", &["dapi"], r"(?-u)dapi[a-f0-9]{32}(?:-\d)?"),
    apart("vault", &["hvs.", "hvb.", "hvr."], r"(?-u)hv[sbr]\.[A-Za-z0-9_\-]{24,}"),
    free(
        "shopify",
        &["shpat_", "shpca_", "shppa_", "shpss_"],
        r"(?-u)shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
    ),
    apart(
        "grafana",
        &["glsa_", "glc_", "eyjrijoi"],
        r"(?-u)glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,}={0,2}|eyJrIjoi[A-Za-z0-9]{70,}={0,3}",
    ),
    free(
        "sentry",
        &["sntrys_", "sntryu_"],
        r"(?-u)sntrys_[A-Za-z0-9+/=_]{40,}|sntryu_[a-f0-9]{64}",
    ),
    free(
        "new_relic",
        &["nrak-", "nrii-", "nrjs-"],
        r"(?-u)NRAK-[A-Za-z0-9]{27}|NRII-[A-Za-z0-9\-]{32}|NRJS-[a-f0-9]{19}",
    ),
    apart(
        "google",
        &["aiza", "gocspx-", "ya29.", "1//0"],
        r"(?-u)AIza[A-Za-z0-9_\-]{35}|GOCSPX-[A-Za-z0-9_\-]{28}|ya29\.[A-Za-z0-9_\-]{20,}|1//0[A-Za-z0-9_\-]{38,}",
    ),
    free("age", &["age-secret-key-1"], r"(?i-u)AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    family(
        "onepassword",
        Left::NoWord,
        &["a3-"],
        r"(?-u)A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
    ),
    family("adobe", Left::NoWord, &["p8e-"], r"(?-u)p8e-[A-Za-z0-9]{32}"),
    apart("alibaba", &["ltai"], r"(?-u)LTAI[A-Za-z0-9]{20,}"),
    apart(
        "jfrog",
        &["akcp", "cmvmd"],
        r"(?-u)AKCp[A-Za-z0-9]{69,}|cmVmd[A-Za-z0-9]{59,}",
    ),
    apart(
        "atlassian",
        &["atatt3", "atctt3", "atbb"],
        r"(?-u)AT[AC]TT3[A-Za-z0-9_\-=]{100,}|ATBB[A-Za-z0-9]{32,}",
    ),
    free(
        "authress",
        &[".acc_", ".acc-"],
        r"(?i-u)(?:sc|ext|scauth|authress)_[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_\-][a-z0-9\-]{10,32}\.[a-z0-9+/_=\-]{30,}",
    ),
    family(
        "azure",
        Left::NoWord,
        &["q~", "accountkey=", "sharedaccesskey="],
        r"(?-u)[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.\-]{31,34}|(?i:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,}={0,2})",
    ),
    free("clojars", &["clojars_"], r"(?i-u)CLOJARS_[a-z0-9]{60}"),
    free("cloudflare", &["v1.0-"], r"(?-u)v1\.0-[a-f0-9]{24}-[a-f0-9]{146}"),
    free(
        "circleci",
        &["ccipat_", "ccipri_"],
        r"(?-u)CCIP(?:AT|RI)_[A-Za-z0-9]{20,}_[a-f0-9]{40}",
    ),
    free(
        "braintree",
        &["access_token$"],
        r"(?-u)access_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[a-f0-9]{32}",
    ),
    free("buildkite", &["bkua_"], r"(?-u)bkua_[a-f0-9]{40}"),
    free(
        "defined_networking",
        &["dnkey-"],
        r"(?-u)dnkey-[A-Za-z0-9=_\-]{26}-[A-Za-z0-9=_\-]{52}",
    ),
    free(
        "docker",
        &["dckr_pat_", "dckr_oat_"],
        r"(?-u)dckr_[po]at_[A-Za-z0-9_\-]{27,}",
    ),
    apart(
        "doppler",
        &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."],
        r"(?-u)dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_\-]{2,35}\.)?[A-Za-z0-9]{40,44}",
    ),
    apart("dropbox", &["sl."], r"(?-u)sl\.[A-Za-z0-9\-=_.]{130,}"),
    free("duffel", &["duffel_"], r"(?-u)duffel_(?:test|live)_[A-Za-z0-9_\-=]{43}"),
    free(
        "dynatrace",
        &["dt0c01.", "dt0s16."],
        r"(?i-u)dt0[a-z]\d{2}\.[a-z0-9]{24}\.[a-z0-9]{64}",
    ),
    apart("easypost", &["ezak", "eztk"], r"(?-u)EZ[AT]K[A-Za-z0-9]{54}"),
    apart("elevenlabs", &["sk_"], r"(?-u)sk_[a-f0-9]{48}"),
    apart("facebook", &["eaam", "eaac"], r"(?-u)EAA[MC][A-Za-z0-9]{100,}"),
    free("figma", &["figd_"], r"(?-u)figd_[A-Za-z0-9_\-]{40,}"),
    free(
        "flutterwave",
        &["flwseck", "flwpubk"],
        r"(?-u)FLW(?:SECK|PUBK)(?:_TEST)?-[A-Za-z0-9]{12,}(?:-X)?",
    ),
    apart(
        "fly_io",
        &["fo1_", "fm1a_", "fm1r_", "fm2_"],
        r"(?-u)fo1_[A-Za-z0-9_\-]{43}|fm(?:1[ar]|2)_[A-Za-z0-9+/]{100,}={0,3}",
    ),
    free("frame_io", &["fio-u-"], r"(?-u)fio-u-[A-Za-z0-9\-_=]{64}"),
    apart("groq", &["gsk_"], r"(?-u)gsk_[A-Za-z0-9]{50,}"),
    apart(
        "harness",
        &["pat.", "sat."],
        r"(?-u)[ps]at\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
    ),
    free(
        "terraform",
        &[".atlasv1."],
        r"(?-u)[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9\-_=]{60,70}",
    ),
    free("heroku", &["hrku-aa"], r"(?-u)HRKU-AA[0-9A-Za-z_\-]{58}"),
    family("infracost", Left::NoWord, &["ico-"], r"(?-u)ico-[A-Za-z0-9]{32}"),
    free("intra42", &["s-s4t2"], r"(?-u)s-s4t2(?:ud|af)-[a-f0-9]{64}"),
    free(
        "langsmith",
        &["lsv2_"],
        r"(?-u)lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}",
    ),
    family(
        "launchdarkly",
        Left::NoWord,
        &["sdk-", "mob-"],
        r"(?-u)(?:sdk|mob)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ),
    free("linear", &["lin_api_"], r"(?-u)lin_api_[A-Za-z0-9]{40}"),
    apart("mailchimp", &["-us"], r"(?-u)[0-9a-f]{32}-us\d{1,2}"),
    family("mailgun", Left::NoWord, &["key-"], r"(?-u)key-[0-9a-f]{32}"),
    free("maxmind", &["_mmk"], r"(?-u)[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk"),
    apart("neon", &["napi_"], r"(?-u)napi_[a-z0-9]{60,}"),
    apart(
        "netlify",
        &["nfp_", "nfc_", "nfo_", "nfu_"],
        r"(?-u)nf[pcou]_[A-Za-z0-9]{36,}",
    ),
    apart(
        "notion",
        &["ntn_", "secret_"],
        r"(?-u)ntn_[0-9]{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43}",
    ),
    free("nvidia", &["nvapi-"], r"(?-u)nvapi-[A-Za-z0-9_\-]{60,}"),
    family("octopus", Left::NoWord, &["api-"], r"(?-u)API-[A-Z0-9]{26}"),
    free("openshift", &["sha256~"], r"(?-u)sha256~[A-Za-z0-9_\-]{43}"),
    free("openrouter", &["sk-or-v1-"], r"(?-u)sk-or-v1-[0-9a-f]{64}"),
    family(
        "paseto",
        Left::NoWord,
        &[".local.", ".public."],
        r"(?-u)v[1-4]\.(?:local|public)\.[A-Za-z0-9_\-]{40,}(?:\.[A-Za-z0-9_\-]+)?",
    ),
    // as bcrypt, crypt and argon2 write them: who has one can try passwords against it
    free(
        "password_hash",
        &["$2a$", "$2b$", "$2x$", "$2y$", "$6$", "$y$", "$argon2"],
        r"(?-u)\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}|\$6\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}|\$y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}|\$argon2(?:id|i|d)\$(?:v=\d+\$)?[a-z0-9=,]+\$[A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{16,}",
    ),
    free("perplexity", &["pplx-"], r"(?-u)pplx-[A-Za-z0-9]{48}"),
    apart("pinecone", &["pcsk_"], r"(?-u)pcsk_[A-Za-z0-9_]{40,}"),
    free(
        "planetscale",
        &["pscale_"],
        r"(?-u)pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_=.\-]{32,}",
    ),
    apart("posthog", &["phc_", "phx_"], r"(?-u)ph[cx]_[A-Za-z0-9]{40,}"),
    free("postman", &["pmak-"], r"(?-u)PMAK-[A-Fa-f0-9]{24}-[A-Fa-f0-9]{34}"),
    apart("prefect", &["pnu_", "pnb_"], r"(?-u)pn[ub]_[A-Za-z0-9]{36}"),
    family("pulumi", Left::NoWord, &["pul-"], r"(?-u)pul-[a-f0-9]{40}"),
    free("readme", &["rdme_"], r"(?-u)rdme_[a-z0-9]{70}"),
    apart("replicate", &["r8_"], r"(?-u)r8_[A-Za-z0-9]{37}"),
    free("rubygems", &["rubygems_"], r"(?-u)rubygems_[a-f0-9]{48}"),
    free("scalingo", &["tk-us-"], r"(?-u)tk-us-[A-Za-z0-9_\-]{48}"),
    free(
        "sendinblue",
        &["xkeysib-"],
        r"(?-u)xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
    ),
    apart(
        "settlemint",
        &["sm_aat_", "sm_pat_", "sm_sat_"],
        r"(?-u)sm_[aps]at_[A-Za-z0-9]{16}",
    ),
    free("shippo", &["shippo_"], r"(?-u)shippo_(?:live|test)_[a-fA-F0-9]{40}"),
    apart(
        "snyk",
        &["snyk_"],
        r"(?-u)snyk_[a-z]{3}\.[A-Za-z0-9_\-]{8}\.[A-Za-z0-9_\-.]{20,}",
    ),
    apart("sonarqube", &["sqp_", "squ_", "sqa_"], r"(?-u)sq[pua]_[a-f0-9]{40}"),
    free(
        "sourcegraph",
        &["sgp_"],
        r"(?-u)sgp_(?:(?:[a-fA-F0-9]{16}|local)_)?[a-fA-F0-9]{40}",
    ),
    apart(
        "square",
        &["sq0atp-", "sq0csp-", "eaaa"],
        r"(?-u)sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,}|EAAA[A-Za-z0-9_\-]{60}",
    ),
    free("supabase", &["sbp_"], r"(?-u)sbp_[a-f0-9]{40}"),
    free(
        "tailscale",
        &["tskey-"],
        r"(?-u)tskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9]{10,}-[A-Za-z0-9]{20,}",
    ),
    family(
        "telegram",
        Left::NoWord,
        &[":aa"],
        r"(?-u)\d{8,10}:AA[A-Za-z0-9_\-]{33}",
    ),
    apart("typeform", &["tfp_"], r"(?-u)tfp_[A-Za-z0-9\-_.=]{59}"),
    free(
        "wallet",
        &["xprv", "yprv", "zprv", "tprv"],
        r"(?-u)[xyzt]prv[1-9A-HJ-NP-Za-km-z]{107,108}",
    ),
    apart("xai", &["xai-"], r"(?-u)xai-[A-Za-z0-9]{70,}"),
    apart(
        "yandex",
        &["aqvn", "t1."],
        r"(?-u)AQVN[A-Za-z0-9_\-]{35,38}|t1\.[A-Za-z0-9_\-]+={0,2}\.[A-Za-z0-9_\-]{86}={0,2}",
    ),
];

/// What stands before the first character that ends the host of a URL is no port and no variable.
fn is_raw_userinfo(secret: &str, _: &str, _: Place) -> bool {
    let password = secret.split_once(':').map_or("", |(_, password)| password);
    let first = password.split(['/', '?', '#', ' ']).next().unwrap_or_default();
    !first.is_empty() && !first.bytes().all(|b| b.is_ascii_digit()) && !first.starts_with(['$', '{', '%', '*'])
}
