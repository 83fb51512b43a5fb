//! The result of `policy test` as CI systems read it.

use super::Outcome;
use crate::formats::markup;

pub(super) fn report(suite: &str, outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    let counts = format!("tests=\"{}\" failures=\"{failed}\" errors=\"0\"", outcomes.len());
    let mut xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n");
    xml.push_str(&format!("  <testsuite name=\"{}\" {counts}>\n", escape(suite)));
    for outcome in outcomes {
        let name = escape(&outcome.name);
        if outcome.failures.is_empty() {
            xml.push_str(&format!("    <testcase classname=\"policy\" name=\"{name}\"/>\n"));
            continue;
        }
        let why = escape(&outcome.failures.join("\n"));
        let first = escape(outcome.failures.first().map_or("", String::as_str));
        xml.push_str(&format!(
            "    <testcase classname=\"policy\" name=\"{name}\">\n      <failure message=\"{first}\">{why}</failure>\n    </testcase>\n"
        ));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Markup as text; what XML cannot hold goes.
fn escape(text: &str) -> String {
    markup::escape(&text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', ""))
}
