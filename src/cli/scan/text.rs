//! The answer of `scan` for a terminal.

use super::{Class, Scan};
use crate::cli::plain;
use crate::formats::quantity::counted;

/// Files that could not be read and are named; the others are counted.
const NAMED: usize = 20;

pub(super) fn text(scan: &Scan) -> String {
    let profiles: usize = scan.read.iter().map(|source| source.profiles).sum();
    let (profiles, sources) = (counted(profiles, "profile"), counted(scan.read.len(), "source"));
    let mut text = format!("looked at {profiles} in {sources}\n\n");
    if scan.findings.is_empty() && !scan.read.is_empty() {
        text.push_str("the default rules find nothing to remove\n\n");
    }
    if !scan.findings.is_empty() {
        text.push_str(&format!("texts that give something away: {}\n", scan.total()));
        for (class, count) in scan.sums(|finding| finding.class) {
            text.push_str(&format!("{count:>9}  {}\n", class.name()));
        }
        text.push('\n');
        text.push_str(&findings(scan));
        text.push('\n');
    }
    if !scan.carriers.is_empty() {
        text.push_str("what travels\n");
        for carrier in &scan.carriers {
            let found = match carrier.found {
                0 => String::new(),
                found => format!("  {found} to remove"),
            };
            text.push_str(&format!("{:>9}  {:<16}{found}\n", carrier.texts, carrier.carrier));
        }
        text.push('\n');
    }
    if !scan.unreadable.is_empty() {
        text.push_str(&format!("not read: {}\n", scan.unreadable.len()));
        for unreadable in scan.unreadable.iter().take(NAMED) {
            text.push_str(&format!("  {}: {}\n", plain(&unreadable.source), unreadable.reason));
        }
        let more = scan.unreadable.len().saturating_sub(NAMED);
        if more > 0 {
            text.push_str(&format!("  and {more} more\n"));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn findings(scan: &Scan) -> String {
    let width =
        |of: fn(&super::Finding) -> usize, head: &str| scan.findings.iter().map(of).max().unwrap_or(0).max(head.len());
    let service = width(|finding| finding.service.chars().count(), "service").min(40);
    let rule = width(|finding| finding.rule.len(), "rule");
    let carrier = width(|finding| finding.carrier.len(), "carrier");
    let class = [
        Class::Credential,
        Class::PersonalData,
        Class::Argument,
        Class::Infrastructure,
        Class::Attachment,
    ];
    let class = class.iter().map(|class| class.name().len()).max().unwrap_or(0);
    let mut text = format!(
        "{:>9}  {:<class$}  {:<rule$}  {:<carrier$}  {:<service$}\n",
        "count", "class", "rule", "carrier", "service"
    );
    for finding in &scan.findings {
        let line = format!(
            "{:>9}  {:<class$}  {:<rule$}  {:<carrier$}  {:<service$}",
            finding.count,
            finding.class.name(),
            finding.rule,
            finding.carrier,
            plain(&finding.service),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
