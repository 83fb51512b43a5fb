//! Word of what became of a request, for receivers that keep what it was made of until it has arrived.
//!
//! Every batch made of the request carries the [`Followers`] on, however it is split and merged. When the last of them is gone,
//! every exporter is through with it, and the receiver hears the [`Fate`].

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::component::Reason;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every exporter has it, but for those that are not `required`: as long as one of them has it, the others may do without. What
    /// the configuration does not let pass counts as delivered.
    Delivered,
    /// A `required` exporter, or every one, gave up on some of it, or a processor could not work on it.
    Lost,
    /// Some of it is killed: once it is not any more, it may be brought again.
    Killed,
    /// The process ended first: nobody knows how much of it arrived.
    Interrupted,
}

/// The receiver's end: hears the fate.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Fate>);

impl Delivery {
    /// Waits until every exporter is through with the request.
    pub async fn fate(self) -> Fate {
        // nothing but the end of the process drops the other end without a word
        self.0.await.unwrap_or(Fate::Interrupted)
    }
}

/// The engine's end: tells the fate when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Followed(Arc<Request>);

#[derive(Debug)]
struct Request {
    mark: u64,
    tell: Option<oneshot::Sender<Fate>>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    sinks: Vec<Taker>,
    /// Some of it stayed on the way to the sinks, and nobody wanted that.
    stayed: bool,
    /// Some of it was killed before it came to any sink.
    killed: bool,
    interrupted: bool,
}

/// A sink that took some of it.
#[derive(Debug)]
struct Taker {
    sink: Arc<str>,
    required: bool,
    lost: bool,
    /// What was lost, or some of it, was killed.
    killed: bool,
}

impl Followed {
    /// Both ends for one request. Its `mark` is the same when it is sent again, and no other's.
    pub fn new(mark: u64) -> (Self, Delivery) {
        let (tell, hear) = oneshot::channel();
        let request = Request {
            mark,
            tell: Some(tell),
            book: Mutex::default(),
        };
        (Self(Arc::new(request)), Delivery(hear))
    }

    /// Some of it did not reach a sink although the configuration would let it pass.
    pub fn stayed(&self) {
        self.change(|book| book.stayed = true);
    }

    /// Some of it was killed, and nothing of it goes to any sink.
    pub fn killed(&self) {
        self.change(|book| book.killed = true);
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.0.book.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Book {
    fn taker(&mut self, sink: &Arc<str>, required: bool) -> Option<&mut Taker> {
        if !self.sinks.iter().any(|taker| taker.sink == *sink) {
            self.sinks.push(Taker {
                sink: sink.clone(),
                required,
                lost: false,
                killed: false,
            });
        }
        self.sinks.iter_mut().find(|taker| taker.sink == *sink)
    }

    fn fate(&self) -> Fate {
        let all_lost = !self.sinks.is_empty() && self.sinks.iter().all(|taker| taker.lost);
        let required_lost = self.sinks.iter().any(|taker| taker.lost && taker.required);
        let is_lost = all_lost || required_lost;
        let is_killed = self.killed || is_lost && self.sinks.iter().any(|taker| taker.killed);
        match self.interrupted {
            true => Fate::Interrupted,
            false if is_killed => Fate::Killed,
            false if self.stayed || is_lost => Fate::Lost,
            false => Fate::Delivered,
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let fate = self.book.get_mut().unwrap_or_else(PoisonError::into_inner).fate();
        if let Some(tell) = self.tell.take() {
            // a receiver that does not wait any more need not know
            let _ = tell.send(fate);
        }
    }
}

/// The requests that a batch is made of and somebody follows: none for what came over the network.
#[derive(Clone, Debug, Default)]
pub struct Followers(Option<Arc<Group>>);

#[derive(Debug)]
struct Group {
    requests: Vec<Followed>,
    /// Some of the batch is of a request that nobody follows.
    has_others: bool,
}

impl Followers {
    /// Those of one request.
    pub fn of(followed: Option<&Followed>) -> Self {
        Self::new(followed.cloned().into_iter().collect(), false)
    }

    fn new(requests: Vec<Followed>, has_others: bool) -> Self {
        let group = Group { requests, has_others };
        Self((!group.requests.is_empty()).then(|| Arc::new(group)))
    }

    /// Those of all of them.
    pub fn union<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let (mut union, mut has_others): (Vec<Followed>, bool) = (Vec::new(), false);
        for followers in all {
            has_others |= followers.has_others();
            for followed in followers.all() {
                if !union.iter().any(|known| Arc::ptr_eq(&known.0, &followed.0)) {
                    union.push(followed.clone());
                }
            }
        }
        Self::new(union, has_others)
    }

    fn all(&self) -> &[Followed] {
        self.0.as_deref().map_or(&[], |group| &group.requests)
    }

    /// Whether some of it is of a request that nobody follows.
    fn has_others(&self) -> bool {
        self.0.as_deref().is_none_or(|group| group.has_others)
    }

    /// Whether somebody waits to hear of it, and sends it again if the process ends before.
    pub fn is_any(&self) -> bool {
        self.0.is_some()
    }

    /// The mark of the one request that all of it is of; none if it is of several.
    pub fn mark(&self) -> Option<u64> {
        match self.all() {
            [followed] if !self.has_others() => Some(followed.0.mark),
            _ => None,
        }
    }

    /// What a loss counts as: what the end of the process keeps back is not lost where all of it is sent again.
    pub(super) fn counted_as(&self, reason: Reason) -> Reason {
        match reason {
            Reason::Shutdown if !self.has_others() => Reason::ReadAgain,
            reason => reason,
        }
    }

    /// Some of it did not reach a sink although the configuration would let it pass.
    pub(super) fn stayed(&self) {
        self.all().iter().for_each(Followed::stayed);
    }

    /// A sink has taken it on.
    pub(super) fn taken(&self, sink: &Arc<str>, required: bool) {
        for followed in self.all() {
            followed.change(|book| {
                book.taker(sink, required);
            });
        }
    }

    /// A sink does not deliver some of it.
    pub(super) fn lost(&self, sink: &Arc<str>, required: bool, reason: Reason) {
        for followed in self.all() {
            followed.change(|book| match reason {
                Reason::Shutdown => book.interrupted = true,
                _ => {
                    if let Some(taker) = book.taker(sink, required) {
                        taker.lost = true;
                        taker.killed |= reason == Reason::Killed;
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a request with these sinks: `required`, and why some of it was lost.
    async fn fate(sinks: &[(bool, Option<Reason>)]) -> Fate {
        let (followed, delivery) = Followed::new(7);
        let followers = Followers::of(Some(&followed));
        drop(followed);
        for (at, (required, lost)) in sinks.iter().enumerate() {
            let sink: Arc<str> = at.to_string().into();
            followers.taken(&sink, *required);
            if let Some(reason) = lost {
                followers.lost(&sink, *required, *reason);
            }
        }
        drop(followers);
        delivery.fate().await
    }

    #[tokio::test]
    async fn an_exporter_that_is_not_required_may_do_without() {
        let lost = Some(Reason::RetriesExhausted);
        assert_eq!(fate(&[]).await, Fate::Delivered, "the configuration let nothing pass");
        assert_eq!(fate(&[(false, None), (false, lost)]).await, Fate::Delivered);
        assert_eq!(fate(&[(false, None), (true, lost)]).await, Fate::Lost);
        assert_eq!(fate(&[(false, lost)]).await, Fate::Lost);
        assert_eq!(
            fate(&[(true, None), (false, Some(Reason::Shutdown))]).await,
            Fate::Interrupted
        );
    }

    #[test]
    fn only_what_is_sent_again_as_a_whole_is_not_lost_at_the_end() {
        let followed = |count| -> Vec<Followers> {
            let one = |_| Followers::of(Some(&Followed::new(7).0));
            (0..count).map(one).collect()
        };
        let (none, some) = (Followers::default(), followed(2));
        let at_end = |all: &[&Followers]| Followers::union(all.iter().copied()).counted_as(Reason::Shutdown);
        assert_eq!(at_end(&[&some[0], &some[1]]), Reason::ReadAgain);
        assert_eq!(at_end(&[&some[0], &none]), Reason::Shutdown);
        assert_eq!(at_end(&[&Followers::of(None), &some[0]]), Reason::Shutdown);
        assert_eq!(at_end(&[&none]), Reason::Shutdown);
        assert_eq!(some[0].mark(), Some(7));
        assert_eq!(Followers::union(some.iter()).mark(), None);
        assert_eq!(some[0].counted_as(Reason::Shutdown), Reason::ReadAgain);
        assert_eq!(some[0].counted_as(Reason::Permanent), Reason::Permanent);
    }

    #[tokio::test]
    async fn what_is_killed_may_be_brought_again_where_it_would_be_missing() {
        let killed = Some(Reason::Killed);
        assert_eq!(fate(&[(false, killed)]).await, Fate::Killed);
        assert_eq!(fate(&[(false, None), (true, killed)]).await, Fate::Killed);
        assert_eq!(fate(&[(false, None), (false, killed)]).await, Fate::Delivered);
        assert_eq!(
            fate(&[(false, killed), (true, Some(Reason::Permanent))]).await,
            Fate::Killed
        );
    }

    #[tokio::test]
    async fn the_fate_is_told_when_the_last_batch_is_gone() {
        let (one, delivery) = Followed::new(7);
        let (other, _) = Followed::new(7);
        let first = Followers::of(Some(&one));
        let merged = Followers::union([&first, &Followers::of(Some(&other)), &first.clone()].into_iter());
        assert_eq!(merged.all().len(), 2);
        one.stayed();
        drop((one, first));
        let mut fate = Box::pin(delivery.fate());
        tokio::select! {
            biased;
            early = &mut fate => panic!("{early:?} although a batch is left"),
            () = tokio::task::yield_now() => {}
        }
        drop(merged);
        assert_eq!(fate.await, Fate::Lost);
    }
}
