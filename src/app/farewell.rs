//! The last words of the process: what became of everything that was accepted.

use std::sync::Arc;

use crate::pipeline::Reason;
use crate::telemetry::{Component, ExporterMetrics, Kind, Metrics, Signal};

/// What became of the profiles, or spans, that one exporter was offered; accepted = sent + dropped + in flight.
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
    let (books, losses) = (books(metrics, Signal::Profiles), losses(metrics, Signal::Profiles));
    let read_again = read_again(metrics);
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
    for (component, reason, profiles) in kept_out(metrics, Signal::Profiles) {
        tracing::info!(component = %component.id, reason, profiles, "not let through since the start");
    }
    let lost = lost(&books, &losses);
    let lost_spans = tell_of_spans(metrics);
    let how = if drained { "drained" } else { "not drained" };
    match (lost, lost_spans) {
        (0, 0) if !read_again.is_empty() => {
            tracing::info!("{how}; nothing was lost, and not everything was delivered yet");
        }
        (0, 0) => tracing::info!("{how}; nothing was lost"),
        (_, 0) => tracing::warn!(profiles = lost, "{how}; not everything was delivered"),
        _ => tracing::warn!(
            profiles = lost,
            spans = lost_spans,
            "{how}; not everything was delivered"
        ),
    }
}

/// The same of spans; how many were lost.
fn tell_of_spans(metrics: &Metrics) -> u64 {
    let (books, losses) = (books(metrics, Signal::Traces), losses(metrics, Signal::Traces));
    for book in &books {
        let Book {
            exporter,
            accepted,
            sent,
            dropped,
            in_flight,
        } = book;
        tracing::info!(%exporter, accepted, sent, dropped, in_flight, "spans since the start");
    }
    for (component, reason, spans) in &losses {
        tracing::warn!(component = %component.id, kind = component.kind.label(), reason, spans, "dropped since the start");
    }
    for (component, reason, spans) in kept_out(metrics, Signal::Traces) {
        tracing::info!(component = %component.id, reason, spans, "not let through since the start");
    }
    lost(&books, &losses)
}

fn lost(books: &[Book], losses: &[(Component, &'static str, u64)]) -> u64 {
    let dropped: u64 = losses.iter().map(|(_, _, number)| number).sum();
    dropped + books.iter().map(|book| book.in_flight).sum::<u64>()
}

fn books(metrics: &Metrics, signal: Signal) -> Vec<Book> {
    let drops = metrics.drops(signal);
    let book = |(exporter, numbers): (Arc<str>, ExporterMetrics)| {
        let own = drops
            .iter()
            .filter(|(component, _, _)| component.kind == Kind::Exporter && component.id == exporter);
        Book {
            accepted: numbers.accepted.get(),
            sent: numbers.sent.get(),
            dropped: own.map(|(_, _, profiles)| profiles).sum(),
            in_flight: numbers.in_flight.get(),
            exporter,
        }
    };
    let books = metrics.exporters(signal).into_iter().map(book);
    books.filter(|book| book.accepted > 0).collect()
}

/// What was dropped although nobody asked for it.
fn losses(metrics: &Metrics, signal: Signal) -> Vec<(Component, &'static str, u64)> {
    let mut drops = metrics.drops(signal);
    drops.retain(|(_, reason, _)| !is_kept_out(reason) && *reason != Reason::ReadAgain.label());
    drops
}

/// What its receiver still has and takes again.
fn read_again(metrics: &Metrics) -> Vec<(Component, u64)> {
    let drops = metrics.drops(Signal::Profiles).into_iter();
    let kept = drops.filter(|(_, reason, _)| *reason == Reason::ReadAgain.label());
    kept.map(|(component, _, profiles)| (component, profiles)).collect()
}

/// What a rule keeps back, what no pipeline takes, and what is defective.
fn kept_out(metrics: &Metrics, signal: Signal) -> Vec<(Component, &'static str, u64)> {
    let mut drops = metrics.drops(signal);
    drops.retain(|(_, reason, _)| is_kept_out(reason));
    drops
}

fn is_kept_out(reason: &str) -> bool {
    [
        Reason::Filtered,
        Reason::Killed,
        Reason::RateLimited,
        Reason::OverBudget,
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
        let numbers = metrics.exporter(&exporter, Signal::Profiles);
        metrics.exporter(&idle, Signal::Profiles);
        numbers.accepted.add(10);
        numbers.sent.add(5);
        numbers.in_flight.add(1);
        for (component, reason, profiles) in [
            (Kind::Exporter.named("otlp"), Reason::Permanent, 2),
            (Kind::Exporter.named("otlp"), Reason::Shutdown, 1),
            (Kind::Exporter.named("otlp"), Reason::ReadAgain, 1),
            (Kind::Receiver.named("otlp"), Reason::Defective, 7),
            (Kind::Processor.named("filter"), Reason::Filtered, 7),
            (Kind::Processor.named("redaction"), Reason::FailedClosed, 4),
        ] {
            metrics.dropped(&component, Signal::Profiles, reason.label(), profiles);
        }
        let told: Vec<String> = losses(&metrics, Signal::Profiles)
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
        assert_eq!(books(&metrics, Signal::Profiles), [book]);
        assert_eq!(read_again(&metrics), [(Kind::Exporter.named("otlp"), 1)]);
    }
}
