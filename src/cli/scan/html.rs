//! The answer of `scan` as one page that needs nothing else: for a privacy officer.

use std::time::SystemTime;

use super::{Class, Scan};
use crate::formats::markup::escape;
use crate::formats::quantity::counted;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;color:#1b1f24;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p{margin:.4rem 0}.note{color:#57606a}
.sums{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0}
.sum{border:1px solid #d0d7de;border-radius:.5rem;padding:.6rem 1rem;min-width:8rem}
.sum b{display:block;font-size:1.6rem}
.credential b{color:#b42318}.personal b{color:#b54708}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #eaeef2;vertical-align:top;overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:0.9em ui-monospace,monospace}
@media print{body{margin:0;max-width:none}}";

pub(super) fn page(scan: &Scan) -> String {
    let profiles: usize = scan.read.iter().map(|source| source.profiles).sum();
    let made = humantime::format_rfc3339_seconds(SystemTime::now());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>What these profiles give away</title>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>What these profiles give away</h1>\n\
         <p class=\"note\">{} in {}, looked at on {made} by Flamegate {}. This page holds counts and names \
         of services, rules and files; no text of a profile.</p>\n",
        counted(profiles, "profile"),
        counted(scan.read.len(), "source"),
        env!("CARGO_PKG_VERSION"),
    );
    page.push_str(&sums(scan));
    page.push_str(&services(scan));
    page.push_str(&table(
        "Findings",
        "A count is how many texts of one file a rule would change, summed over files.",
        &["count", "class", "rule", "carrier", "service"],
        scan.findings.iter().map(|finding| {
            let (count, class) = (finding.count.to_string(), finding.class.name().to_owned());
            vec![
                count,
                class,
                finding.rule.to_owned(),
                finding.carrier.to_owned(),
                finding.service.clone(),
            ]
        }),
    ));
    page.push_str(&table(
        "What travels",
        "Every text that a profile carries, by the part it plays. Names of functions, files and services are readable for whoever receives them, whether a rule finds something in them or not.",
        &["texts", "to remove", "carrier"],
        scan.carriers.iter().map(|carrier| vec![carrier.texts.to_string(), carrier.found.to_string(), carrier.carrier.to_owned()]),
    ));
    page.push_str(&table(
        "Sources",
        "",
        &["to remove", "profiles", "format", "source"],
        scan.read.iter().map(|source| {
            vec![
                source.found.to_string(),
                source.profiles.to_string(),
                source.format.clone(),
                source.source.clone(),
            ]
        }),
    ));
    page.push_str(&table(
        "Not read",
        "Nothing is known of these.",
        &["source", "reason"],
        scan.unreadable
            .iter()
            .map(|unreadable| vec![unreadable.source.clone(), unreadable.reason.clone()]),
    ));
    page.push_str("</body></html>\n");
    page
}

fn sums(scan: &Scan) -> String {
    if scan.findings.is_empty() {
        return "<p>The default rules find nothing to remove.</p>\n".to_owned();
    }
    let mut text = String::from("<div class=\"sums\">\n");
    for (class, count) in scan.sums(|finding| finding.class) {
        let kind = match class {
            Class::Credential => "credential",
            Class::PersonalData => "personal",
            _ => "other",
        };
        text.push_str(&format!(
            "<div class=\"sum {kind}\"><b>{count}</b>{}</div>\n",
            class.name()
        ));
    }
    text.push_str("</div>\n");
    text
}

fn services(scan: &Scan) -> String {
    let rows = scan.sums(|finding| (finding.service.as_str(), finding.class));
    let rows = rows
        .into_iter()
        .map(|((service, class), count)| vec![count.to_string(), class.name().to_owned(), service.to_owned()]);
    table("By service", "", &["count", "class", "service"], rows)
}

/// A table; none if it has no rows. Columns of numbers are those whose first row is one.
fn table(title: &str, note: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let Some(first) = rows.first() else {
        return String::new();
    };
    let numbers: Vec<bool> = first.iter().map(|cell| cell.parse::<u64>().is_ok()).collect();
    let class = |column: usize| {
        if numbers.get(column) == Some(&true) {
            " class=\"n\""
        } else {
            ""
        }
    };
    let mut text = format!("<h2>{}</h2>\n", escape(title));
    if !note.is_empty() {
        text.push_str(&format!("<p class=\"note\">{}</p>\n", escape(note)));
    }
    text.push_str("<table><tr>");
    for (column, head) in heads.iter().enumerate() {
        text.push_str(&format!("<th{}>{}</th>", class(column), escape(head)));
    }
    text.push_str("</tr>\n");
    for row in &rows {
        text.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            text.push_str(&format!("<td{}>{}</td>", class(column), escape(cell)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table>\n");
    text
}
