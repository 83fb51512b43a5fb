//! What a connection is doing: answering requests, reading the head of one, or nothing, and since when.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// What HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The activity of one connection.
pub(super) struct Activity(watch::Sender<State>);

#[derive(Clone, Copy)]
struct State {
    /// Requests being answered.
    under_way: usize,
    /// Since when there are so many.
    since: Instant,
    /// Requests ever.
    served: bool,
    /// When the head began that is being read. Only on HTTP/1: on HTTP/2 frames come for many reasons.
    head: Option<Instant>,
    /// How much of HTTP/2's preface has come; none once it cannot be that, or was.
    preface: Option<usize>,
    is_http2: bool,
}

/// A request being answered; it ends when this is dropped, also by a client that goes away.
pub(super) struct Busy(Arc<Activity>);

/// How much a connection is worth keeping: those that never asked for anything go first, then those idle for longest.
pub(super) type Worth = (bool, Instant);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            under_way: 0,
            since: Instant::now(),
            served: false,
            head: None,
            preface: Some(0),
            is_http2: false,
        };
        Arc::new(Self(watch::Sender::new(state)))
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.0.send_modify(|state| {
            state.under_way += 1;
            state.since = Instant::now();
            state.served = true;
            state.head = None;
        });
        Busy(self.clone())
    }

    /// Bytes have come.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.0.send_if_modified(|state| {
            if let Some(matched) = state.preface {
                state.preface = match PREFACE.get(matched..) {
                    Some(rest) if bytes.starts_with(rest) => {
                        state.is_http2 = true;
                        None
                    }
                    Some(rest) if rest.starts_with(bytes) => Some(matched + bytes.len()),
                    _ => None,
                };
            }
            let before = state.head;
            if state.is_http2 {
                state.head = None;
            } else if state.under_way == 0 && state.head.is_none() {
                state.head = Some(Instant::now());
            }
            state.head != before
        });
    }

    /// What it is worth if it is idle.
    pub(super) fn idle(&self) -> Option<Worth> {
        let state = self.0.borrow();
        (state.under_way == 0).then_some((state.served, state.since))
    }

    /// Whether nothing has been asked for as long as `pause`.
    pub(super) fn has_been_idle_for(&self, pause: Duration) -> bool {
        self.idle().is_some_and(|(_, since)| since.elapsed() >= pause)
    }

    /// Returns once a request is under way, or after `pause` without one.
    pub(super) async fn begun_within(&self, pause: Duration) {
        let mut changes = self.0.subscribe();
        let _ = timeout(pause, changes.wait_for(|state| state.under_way > 0)).await;
    }

    /// Returns once no request was under way for as long as `pause`.
    pub(super) async fn idle_for(&self, pause: Duration) {
        self.over(pause, |state| (state.under_way == 0).then_some(state.since))
            .await;
    }

    /// The same, whatever was before.
    pub(super) async fn idle_from_now_for(&self, pause: Duration) {
        let now = Instant::now();
        self.over(pause, |state| (state.under_way == 0).then_some(state.since.max(now)))
            .await;
    }

    /// Returns once the head of a request was being read for as long as `limit`.
    pub(super) async fn head_later_than(&self, limit: Duration) {
        self.over(limit, |state| state.head).await;
    }

    /// Returns once what began at `begun` goes on for as long as `limit`.
    async fn over(&self, limit: Duration, begun: impl Fn(&State) -> Option<Instant>) {
        let mut changes = self.0.subscribe();
        loop {
            let beginning = begun(&changes.borrow_and_update());
            let late = async {
                // a limit beyond all time is none
                match beginning.and_then(|beginning| beginning.checked_add(limit)) {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = late => return,
                // the sender lives as long as this
                _ = changes.changed() => {}
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| {
            state.under_way = state.under_way.saturating_sub(1);
            state.since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_was_idle_for_long_has_time_all_the_same() {
        let (activity, pause) = (Activity::new(), Duration::from_secs(5));
        tokio::time::sleep(10 * pause).await;
        let start = Instant::now();
        activity.idle_for(pause).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        activity.idle_from_now_for(pause).await;
        assert_eq!(start.elapsed(), pause);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_begins_when_the_last_request_ends() {
        let activity = Activity::new();
        let start = Instant::now();
        let (first, second) = (activity.begin(), activity.begin());
        assert_eq!(activity.idle(), None);
        let ends = async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            drop(first);
            tokio::time::sleep(Duration::from_secs(50)).await;
            drop(second);
        };
        tokio::join!(activity.idle_for(Duration::from_secs(10)), ends);
        assert_eq!(start.elapsed(), Duration::from_secs(110));
        assert!(activity.idle().is_some_and(|(served, _)| served));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_begins_with_its_first_byte_and_ends_with_the_request() {
        let activity = Activity::new();
        let start = Instant::now();
        let limit = Duration::from_secs(10);
        let trickle = async {
            for second in 0..3 {
                // a whole head in nine seconds, then a pause
                activity.read(b"G");
                tokio::time::sleep(Duration::from_secs(9)).await;
                activity.read(b"\n");
                drop(activity.begin());
                tokio::time::sleep(Duration::from_secs(60 + second)).await;
            }
            for _ in 0..100 {
                activity.read(b"x");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = activity.head_later_than(limit) => {}
            () = trickle => panic!("the head never ends"),
        }
        assert_eq!(start.elapsed(), Duration::from_secs(3 * 69 + 3 + 10));
    }

    #[tokio::test(start_paused = true)]
    async fn http2_is_told_by_its_preface_whole_or_in_pieces() {
        for (pieces, is_http2) in [
            (vec![PREFACE], true),
            (vec![&PREFACE[..3], &PREFACE[3..], b"\0"], true),
            (vec![&PREFACE[..10]], false),
            (vec![b"PRI", b"X"], false),
            (vec![b"POST / HTTP/1.1"], false),
        ] {
            let activity = Activity::new();
            for piece in &pieces {
                activity.read(piece);
            }
            let late = timeout(Duration::from_secs(2), activity.head_later_than(Duration::from_secs(1)));
            assert_eq!(late.await.is_err(), is_http2, "{pieces:?}");
        }
    }
}
