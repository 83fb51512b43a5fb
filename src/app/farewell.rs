//! The last words of the process: what became of everything that was accepted.

use std::sync::Arc;

use crate::pipeline::Reason;
use crate::telemetry::{Component, ExporterMetrics, Kind, Metrics};

/// What became of the profiles that one exporter was offered; accepted = sent + dropped + in flight.
#[derive(Debug, PartialEq, Eq)]
struct Book {
    exporter: Arc<str>,
    accepted: u64,
    sent: u64,
    dropped: u64,
    in_flight: u64,
}

/// Says what was delivered, and what was lost, where and why, from the start of the process to its end.
pub(super) fn tell(metrics: &Metrics, drained: bool) {
    let (books, losses, read_again) = (books(metrics), losses(metrics), read_again(metrics));
    for Book {
        exporter,
        accepted,
        sent,
        dropped,
        in_flight,
    } in &books
    {
        tracing::info!(%exporter, accepted, sent, dropped, in_flight, "profiles since the start");
        if *in_flight > 0 {
            tracing::warn!(%exporter, profiles = in_flight, "lost: still in flight");
        }
    }
    for (component, reason, profiles) in &losses {
        match *reason == Reason::Shutdown.label() {
            true => tracing::warn!(exporter = %component.id, profiles, "lost: not delivered before the drain deadline"),
            false => {
                let kind = component.kind.label();
                tracing::warn!(component = %component.id, kind, reason, profiles, "dropped since the start");
            }
        }
    }
    for (component, profiles) in &read_again {
        tracing::info!(exporter = %component.id, profiles, "not delivered before the drain deadline; their files stay, and are read again");
    }
    for (component, reason, profiles) in kept_out(metrics) {
        tracing::info!(component = %component.id, reason, profiles, "not let through since the start");
    }
    let dropped: u64 = losses.iter().map(|(_, _, profiles)| profiles).sum();
    let lost = dropped + books.iter().map(|book| book.in_flight).sum::<u64>();
    let how = if drained { "drained" } else { "not drained" };
    match lost {
        0 if !read_again.is_empty() => tracing::info!("{how}; nothing was lost, and not everything was delivered yet"),
        0 => tracing::info!("{how}; nothing was lost"),
        _ => tracing::warn!(profiles = lost, "{how}; not everything was delivered"),
    }
}

fn books(metrics: &Metrics) -> Vec<Book> {
    let drops = metrics.drops();
    let book = |(exporter, numbers): (Arc<str>, ExporterMetrics)| {
        let own = drops
            .iter()
            .filter(|(component, _, _)| component.kind == Kind::Exporter && component.id == exporter);
        Book {
            accepted: numbers.accepted.get(),
            sent: numbers.sent_profiles.get(),
            dropped: own.map(|(_, _, profiles)| profiles).sum(),
            in_flight: numbers.in_flight_profiles.get(),
            exporter,
        }
    };
    let books = metrics.exporters().into_iter().map(book);
    books.filter(|book| book.accepted > 0).collect()
}

/// What was dropped although nobody asked for it.
fn losses(metrics: &Metrics) -> Vec<(Component, &'static str, u64)> {
    let mut drops = metrics.drops();
    drops.retain(|(_, reason, _)| !is_kept_out(reason) && *reason != Reason::ReadAgain.label());
    drops
}

/// What its receiver still has and takes again.
fn read_again(metrics: &Metrics) -> Vec<(Component, u64)> {
    let drops = metrics.drops().into_iter();
    let kept = drops.filter(|(_, reason, _)| *reason == Reason::ReadAgain.label());
    kept.map(|(component, _, profiles)| (component, profiles)).collect()
}

/// What a rule keeps back, what no pipeline takes, and what is defective.
fn kept_out(metrics: &Metrics) -> Vec<(Component, &'static str, u64)> {
    let mut drops = metrics.drops();
    drops.retain(|(_, reason, _)| is_kept_out(reason));
    drops
}

fn is_kept_out(reason: &str) -> bool {
    [
        Reason::Filtered,
        Reason::Killed,
        Reason::RateLimited,
        Reason::Unrouted,
        Reason::Defective,
    ]
    .map(Reason::label)
    .contains(&reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_what_nobody_asked_for_and_the_books_hold_them() {
        let metrics = Metrics::default();
        let (exporter, idle) = (Arc::from("otlp"), Arc::from("idle"));
        let numbers = metrics.exporter(&exporter);
        metrics.exporter(&idle);
        numbers.accepted.add(10);
        numbers.sent_profiles.add(5);
        numbers.in_flight_profiles.add(1);
        for (component, reason, profiles) in [
            (Kind::Exporter.named("otlp"), Reason::Permanent, 2),
            (Kind::Exporter.named("otlp"), Reason::Shutdown, 1),
            (Kind::Exporter.named("otlp"), Reason::ReadAgain, 1),
            (Kind::Receiver.named("otlp"), Reason::Defective, 7),
            (Kind::Processor.named("filter"), Reason::Filtered, 7),
            (Kind::Processor.named("redaction"), Reason::FailedClosed, 4),
        ] {
            metrics.dropped(&component, reason.label(), profiles);
        }
        let told: Vec<String> = losses(&metrics)
            .iter()
            .map(|(component, reason, profiles)| format!("{component} {reason} {profiles}"))
            .collect();
        assert_eq!(
            told,
            [
                "processor redaction failed_closed 4",
                "exporter otlp permanent 2",
                "exporter otlp shutdown 1"
            ]
        );
        let book = Book {
            exporter,
            accepted: 10,
            sent: 5,
            dropped: 4,
            in_flight: 1,
        };
        assert_eq!(books(&metrics), [book]);
        assert_eq!(read_again(&metrics), [(Kind::Exporter.named("otlp"), 1)]);
    }
}
