//! A summary as a person reads it.

use std::fmt::Write;

use super::forecast::Foretold;
use super::found::Report;
use super::summary::{ProfileSummary, Row, Summary};
use crate::cli::plain;
use crate::formats::quantity::{counted, grouped, quantity};

/// So many files are named; the others are counted.
const SHOWN_FILES: usize = 20;

/// The whole page.
pub fn text(summary: &Summary) -> String {
    let mut page = String::new();
    let count = summary.profiles.len();
    let _ = writeln!(
        page,
        "{} · {} · {} without compression",
        summary.format,
        counted(count, "profile"),
        quantity(summary.bytes as i128, "bytes")
    );
    if let Some(first) = &summary.first_rejected {
        let left_out = counted(summary.rejected_profiles as usize, "defective profile");
        let _ = writeln!(page, "left out: {left_out}; the first: {first}");
    }
    if summary.repairs > 0 {
        let _ = writeln!(
            page,
            "mended while reading: {}",
            counted(summary.repairs as usize, "thing")
        );
    }
    for profile in &summary.profiles {
        page.push('\n');
        one(&mut page, profile);
    }
    page
}

/// What was found, and where.
pub fn found(report: &Report) -> String {
    let mut page = String::new();
    let (profiles, files) = (
        counted(report.profiles.len(), "profile"),
        counted(report.files.len(), "file"),
    );
    let _ = writeln!(page, "{} · {profiles} of {files}", plain(&report.wanted));
    for file in report.files.iter().take(SHOWN_FILES) {
        line(&mut page, "found in", &plain(file));
    }
    if report.files.len() > SHOWN_FILES {
        line(&mut page, "", &format!("and {} more", report.files.len() - SHOWN_FILES));
    }
    for profile in &report.profiles {
        page.push('\n');
        one(&mut page, profile);
    }
    page
}

fn one(page: &mut String, profile: &ProfileSummary) {
    let service = profile
        .resource
        .get("service.name")
        .map(|name| format!(" of {}", plain(name)))
        .unwrap_or_default();
    let what = match (profile.kind, profile.shown_type.as_str()) {
        ("other", shown) if !shown.is_empty() => plain(shown),
        (kind, _) => kind.into(),
    };
    let _ = writeln!(page, "{what}{service}");
    for of in &profile.types {
        let total = plain(&quantity(of.total, &of.unit));
        line(page, &format!("total {}", plain(&of.name)), &total);
    }
    line(
        page,
        "samples",
        &format!(
            "{} in {}",
            grouped(profile.samples as i128),
            counted(profile.stacks, "stack")
        ),
    );
    for note in profile.evidence.iter().flat_map(|told| &told.notes) {
        line(page, "evidence", note);
    }
    if let Some(time) = &profile.time {
        line(page, "time", time);
    }
    if profile.duration_nano > 0 {
        line(
            page,
            "duration",
            &quantity(i128::from(profile.duration_nano), "nanoseconds"),
        );
    }
    if profile.period != 0 {
        let unit = profile
            .period_type
            .split_once('/')
            .map(|(_, unit)| unit)
            .unwrap_or_default();
        let kind = profile.period_type.split('/').next().unwrap_or_default();
        line(
            page,
            "period",
            plain(&format!("{} {kind}", quantity(i128::from(profile.period), unit))).trim(),
        );
    }
    line(
        page,
        "functions",
        &format!(
            "{} in {}",
            grouped(profile.functions as i128),
            counted(profile.mappings, "mapping")
        ),
    );
    if profile.trace_links > 0 {
        let links = format!(
            "{}, {}",
            counted(profile.trace_links, "span"),
            counted(profile.linked_samples, "sample")
        );
        line(page, "trace links", &links);
    }
    if !profile.labels.is_empty() {
        let labels: Vec<String> = profile
            .labels
            .iter()
            .map(|(key, values)| format!("{} ({})", plain(key), counted(*values, "value")))
            .collect();
        line(page, "labels", &labels.join(", "));
    }
    for (key, value) in &profile.resource {
        line(page, "resource", &format!("{} = {}", plain(key), plain(value)));
    }
    if !profile.scope.is_empty() {
        line(page, "scope", &plain(&profile.scope));
    }
    for comment in &profile.comments {
        line(page, "comment", &plain(comment));
    }
    let unit = profile
        .types
        .iter()
        .find(|of| of.name == profile.shown_type)
        .map(|of| of.unit.as_str())
        .unwrap_or_default();
    table(
        page,
        &format!("top by {} in itself", plain(&profile.shown_type)),
        &profile.top_flat,
        unit,
    );
    table(
        page,
        &format!("top by {} with what it calls", plain(&profile.shown_type)),
        &profile.top_cumulative,
        unit,
    );
    if let Some(forecast) = &profile.forecast {
        foretold(page, forecast);
    }
}

fn foretold(page: &mut String, forecast: &Foretold) {
    let _ = writeln!(page, "\n  would leave {}", plain(&forecast.what));
    if forecast.kept_percent < 100.0 {
        let total = format!("within {} %", forecast.total_percent);
        line(page, "kept", &format!("{} %", forecast.kept_percent));
        line(
            page,
            "total",
            if forecast.total_percent > 0.0 { &total } else { "exact" },
        );
    }
    if !forecast.functions.is_empty() {
        let _ = writeln!(
            page,
            "\n  in itself   with what it calls: standard deviation, of what is told"
        );
    }
    for of in &forecast.functions {
        let _ = writeln!(
            page,
            "  {:>8.2}%   {:>8.2}%  {}",
            of.own_percent,
            of.whole_percent,
            plain(&of.function)
        );
    }
}

fn line(page: &mut String, name: &str, value: &str) {
    let _ = writeln!(page, "  {name:<20} {value}");
}

fn table(page: &mut String, title: &str, rows: &[Row], unit: &str) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n  {title}");
    for row in rows {
        let value = plain(&quantity(row.value, unit));
        let _ = writeln!(page, "  {value:>12} {:>6.2}%  {}", row.percent, plain(&row.function));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
    }
}
