//! Whose turn it is: every target once in an interval, and of the instances of one service never more than a share at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A target, by a number that is its own.
pub(super) type Id = u64;

/// When a target was to be visited.
type Turn = (Instant, Id);

/// How targets take turns.
#[derive(Clone, Copy, Debug)]
pub(in crate::receivers) struct Pace {
    /// From one visit to the next.
    pub interval: Duration,
    /// Which part of the instances of one service may be visited at once; one of them always may.
    pub share: f64,
    /// How many targets may be visited at once, whatever they are.
    pub most: usize,
}

/// The turns of all targets.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    places: HashMap<Id, Place>,
    /// When turns come.
    coming: BTreeSet<Turn>,
    /// Of each service that has room for one more visit the oldest turn that waits.
    ready: BTreeSet<Turn>,
    services: HashMap<Arc<str>, Service>,
    under_way: usize,
}

#[derive(Debug)]
struct Place {
    service: Arc<str>,
    next: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Waiting { since: Instant },
    UnderWay,
}

/// The instances of one service.
#[derive(Debug, Default)]
struct Service {
    instances: usize,
    under_way: usize,
    /// Turns that have come and wait for room, the oldest first.
    waiting: BTreeSet<Turn>,
    /// The one of them that is ready.
    ready: Option<Turn>,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// To be visited.
    pub start: Vec<Id>,
    /// Whose turn came again before the one before was over, or before there was room for it.
    pub missed: Vec<Id>,
}

impl Schedule {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            places: HashMap::new(),
            coming: BTreeSet::new(),
            ready: BTreeSet::new(),
            services: HashMap::new(),
            under_way: 0,
        }
    }

    /// Takes in a target, an instance of `service`, whose first turn comes at `first`.
    pub(super) fn add(&mut self, id: Id, service: Arc<str>, first: Instant) {
        self.remove(id);
        self.services.entry(service.clone()).or_default().instances += 1;
        self.offer(&service);
        self.coming.insert((first, id));
        let place = Place {
            service,
            next: first,
            state: State::Idle,
        };
        self.places.insert(id, place);
    }

    /// Leaves a target out from now on, also if it is being visited.
    pub(super) fn remove(&mut self, id: Id) {
        self.done(id);
        let Some(place) = self.places.remove(&id) else { return };
        self.coming.remove(&(place.next, id));
        let Some(service) = self.services.get_mut(&place.service) else {
            return;
        };
        if let State::Waiting { since } = place.state {
            service.waiting.remove(&(since, id));
        }
        service.instances -= 1;
        let is_last = service.instances == 0;
        self.offer(&place.service);
        if is_last {
            self.services.remove(&place.service);
        }
    }

    /// The visit to a target is over.
    pub(super) fn done(&mut self, id: Id) {
        let Some(place) = self.places.get_mut(&id) else { return };
        if place.state != State::UnderWay {
            return;
        }
        place.state = State::Idle;
        self.under_way -= 1;
        let service = place.service.clone();
        if let Some(service) = self.services.get_mut(&service) {
            service.under_way -= 1;
        }
        self.offer(&service);
    }

    /// When the next turn comes. Those that wait begin when a visit is over.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.coming.first().map(|(at, _)| *at)
    }

    /// What is to be done now.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        while let Some((at, id)) = self.coming.first().copied().filter(|(at, _)| *at <= now) {
            self.coming.remove(&(at, id));
            let Some(place) = self.places.get_mut(&id) else {
                continue;
            };
            place.next = next_turn(at, now, self.pace.interval);
            self.coming.insert((place.next, id));
            if place.state != State::Idle {
                due.missed.push(id);
                continue;
            }
            place.state = State::Waiting { since: at };
            let service = place.service.clone();
            if let Some(service) = self.services.get_mut(&service) {
                service.waiting.insert((at, id));
            }
            self.offer(&service);
        }
        while self.under_way < self.pace.most
            && let Some(turn) = self.ready.pop_first()
        {
            self.begin(turn);
            due.start.push(turn.1);
        }
        due
    }

    /// Begins a visit that was ready.
    fn begin(&mut self, turn: Turn) {
        let Some(place) = self.places.get_mut(&turn.1) else {
            return;
        };
        place.state = State::UnderWay;
        self.under_way += 1;
        let service = place.service.clone();
        if let Some(service) = self.services.get_mut(&service) {
            service.waiting.remove(&turn);
            service.under_way += 1;
        }
        self.offer(&service);
    }

    /// Keeps `ready` right after a change to a service.
    fn offer(&mut self, service: &str) {
        let Some(service) = self.services.get_mut(service) else {
            return;
        };
        let has_room = service.under_way < self.pace.at_once(service.instances);
        let ready = service.waiting.first().copied().filter(|_| has_room);
        if let Some(before) = std::mem::replace(&mut service.ready, ready) {
            self.ready.remove(&before);
        }
        self.ready.extend(ready);
    }

    /// Whether all instances of the largest service have their turn within the interval, if one visit takes so long.
    pub(super) fn fits(&self, visit: Duration) -> bool {
        let rounds = |instances: usize| instances.div_ceil(self.pace.at_once(instances).min(self.pace.most).max(1));
        let longest = self.services.values().map(|service| rounds(service.instances)).max();
        let rounds = longest
            .unwrap_or_default()
            .max(self.places.len().div_ceil(self.pace.most.max(1)));
        visit.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)) <= self.pace.interval
    }
}

impl Pace {
    /// How many of so many instances may be visited at once.
    pub(super) fn at_once(&self, instances: usize) -> usize {
        ((instances as f64 * self.share) as usize).max(1)
    }
}

/// The first turn after `now` of those that come every `interval`, `last` among them. A machine that slept makes up for nothing.
fn next_turn(last: Instant, now: Instant, interval: Duration) -> Instant {
    let interval = interval.max(Duration::from_millis(1));
    let passed = now.duration_since(last).as_nanos() / interval.as_nanos();
    let turns = u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1;
    last + interval.saturating_mul(turns)
}

/// A number for a text that is the same in every process: FNV-1a, with its bits mixed once more, since a remainder is taken.
pub(super) fn stable_hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// How long until the first turn of a target. Its place in the interval, which is counted from the Unix epoch, follows from the
/// hash: targets are spread evenly, and a restart moves nobody.
pub(super) fn first_wait(hash: u64, since_epoch: Duration, interval: Duration) -> Duration {
    let nanos = |duration: Duration| duration.as_nanos().max(1);
    let interval = nanos(interval);
    let (place, now) = (u128::from(hash) % interval, nanos(since_epoch) % interval);
    let wait = (place + interval - now) % interval;
    Duration::from_nanos(u64::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn pace(share: f64, most: usize) -> Pace {
        Pace {
            interval: MINUTE,
            share,
            most,
        }
    }

    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_share_is_rounded_down_but_one_goes_always() {
        for (share, instances, at_once) in [
            (0.34, 1, 1),
            (0.34, 2, 1),
            (0.34, 5, 1),
            (0.34, 6, 2),
            (0.34, 100, 34),
            (0.001, 7, 1),
            (1.0, 7, 7),
            (0.5, 0, 1),
        ] {
            assert_eq!(pace(share, 100).at_once(instances), at_once, "{share} of {instances}");
        }
    }

    #[test]
    fn who_waits_goes_when_there_is_room_and_who_waits_too_long_has_missed_a_turn() {
        let (mut schedule, now) = (Schedule::new(pace(0.5, 9)), start());
        for id in 1..=3 {
            schedule.add(id, "shop".into(), now);
        }
        schedule.add(7, "cart".into(), now);
        assert_eq!(
            schedule.due(now).start,
            [1, 7],
            "half of three is one; another service has its own share"
        );
        assert_eq!(schedule.due(now), Due::default());
        schedule.done(1);
        assert_eq!(schedule.due(now).start, [2]);
        let later = schedule.due(now + MINUTE);
        assert_eq!((later.start, later.missed), (vec![], vec![2, 3, 7]));
        schedule.done(2);
        assert_eq!(schedule.due(now + MINUTE).start, [3], "who waits longest is first");
        schedule.done(3);
        assert_eq!(schedule.due(now + MINUTE).start, [1]);
    }

    #[test]
    fn whose_turn_came_first_goes_first_whatever_the_service() {
        let (mut schedule, now) = (Schedule::new(pace(1.0, 1)), start());
        for (id, service) in [(9, "shop"), (3, "cart"), (8, "shop"), (1, "cart")] {
            schedule.add(id, service.into(), now + Duration::from_secs(10 - id));
        }
        let mut order = Vec::new();
        while let [id] = schedule.due(now + MINUTE / 2).start[..] {
            order.push(id);
            schedule.done(id);
        }
        assert_eq!(order, [9, 8, 3, 1]);
    }

    #[test]
    fn who_is_left_out_makes_room() {
        let (mut schedule, now) = (Schedule::new(pace(0.5, 9)), start());
        for id in 1..=4 {
            schedule.add(id, "shop".into(), now);
        }
        assert_eq!(schedule.due(now).start, [1, 2]);
        schedule.remove(1);
        schedule.remove(4);
        assert_eq!(schedule.due(now).start, [] as [Id; 0], "one of two is on its way");
        schedule.remove(2);
        schedule.done(2);
        assert_eq!(schedule.due(now).start, [3]);
        schedule.remove(3);
        assert_eq!(
            (schedule.wakes(), schedule.under_way, schedule.services.len()),
            (None, 0, 0)
        );
    }

    #[test]
    fn a_machine_that_slept_makes_up_for_nothing() {
        let (mut schedule, now) = (Schedule::new(pace(1.0, 9)), start());
        schedule.add(1, "shop".into(), now);
        assert_eq!(schedule.due(now + 10 * MINUTE + MINUTE / 2).start, [1]);
        assert_eq!(schedule.wakes(), Some(now + 11 * MINUTE));
    }

    #[test]
    fn what_cannot_be_done_in_an_interval_is_known_before() {
        let seconds = Duration::from_secs;
        for (instances, share, most, longest) in [(1, 0.34, 9, 60), (5, 0.34, 9, 12), (6, 0.34, 9, 20), (6, 1.0, 2, 20)]
        {
            let (mut schedule, now) = (Schedule::new(pace(share, most)), start());
            (0..instances).for_each(|id| schedule.add(id, "shop".into(), now));
            assert!(
                schedule.fits(seconds(longest)) && !schedule.fits(seconds(longest + 1)),
                "{instances}"
            );
        }
        let (mut many, now) = (Schedule::new(pace(0.34, 4)), start());
        (0..40).for_each(|id| many.add(id, id.to_string().into(), now));
        assert!(
            many.fits(seconds(6)) && !many.fits(seconds(7)),
            "forty services, four at once"
        );
    }

    #[test]
    fn targets_spread_over_the_interval_and_keep_their_places() {
        let mut tenths = [0; 10];
        for target in 0..1_000 {
            let hash = stable_hash(&["gate-1", &format!("http://10.0.0.{target}:6060")]);
            let wait = first_wait(hash, Duration::ZERO, MINUTE);
            tenths[(wait.as_secs() / 6) as usize] += 1;
            // 17 seconds later, after a restart, the same moment is meant
            let again = first_wait(hash, Duration::from_secs(17), MINUTE) + Duration::from_secs(17);
            let moved = (again.as_nanos() + MINUTE.as_nanos() - wait.as_nanos()) % MINUTE.as_nanos();
            assert!(moved <= 1 || moved >= MINUTE.as_nanos() - 1, "{moved}");
        }
        assert!(tenths.iter().all(|in_tenth| (60..140).contains(in_tenth)), "{tenths:?}");
        let other = |replica| first_wait(stable_hash(&[replica, "http://10.0.0.1:6060"]), Duration::ZERO, MINUTE);
        assert_ne!(other("gate-1"), other("gate-2"));
        assert_eq!(stable_hash(&["a"]), stable_hash(&["a"]));
        assert_ne!(stable_hash(&["ab", "c"]), stable_hash(&["a", "bc"]));
    }

    /// What happens to a schedule.
    #[derive(Clone, Debug)]
    enum Event {
        Add(Id, u8),
        Remove(Id),
        Done(Id),
        Pass(u64),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..30_u64, 0..4_u8).prop_map(|(id, service)| Event::Add(id, service)),
            (0..30_u64).prop_map(Event::Remove),
            (0..30_u64).prop_map(Event::Done),
            (1..90_u64).prop_map(Event::Pass),
        ]
    }

    proptest! {
        #[test]
        fn prop_never_more_than_a_share_of_a_service_begins(
            events in prop::collection::vec(any_event(), 0..200),
            share in 0.01..1.0_f64,
            most in 1..12_usize,
        ) {
            let (mut schedule, mut now) = (Schedule::new(pace(share, most)), start());
            let mut services: HashMap<Id, u8> = HashMap::new();
            let mut under_way: BTreeSet<Id> = BTreeSet::new();
            for event in events {
                match event {
                    Event::Add(id, service) => {
                        schedule.add(id, service.to_string().into(), now);
                        services.insert(id, service);
                        under_way.remove(&id);
                    }
                    Event::Remove(id) => {
                        schedule.remove(id);
                        services.remove(&id);
                        under_way.remove(&id);
                    }
                    Event::Done(id) => {
                        schedule.done(id);
                        under_way.remove(&id);
                    }
                    Event::Pass(seconds) => now += Duration::from_secs(seconds),
                }
                for id in schedule.due(now).start {
                    prop_assert!(under_way.insert(id), "begun twice");
                    let of = |other: &&Id| services[*other] == services[&id];
                    let at_once = under_way.iter().filter(of).count();
                    let instances = services.keys().filter(of).count();
                    prop_assert!(at_once <= ((instances as f64 * share) as usize).max(1), "{at_once} of {instances}");
                    prop_assert!(under_way.len() <= most);
                }
                prop_assert_eq!(schedule.under_way, under_way.len());
                // nobody who may go is left waiting
                let waits = |(id, place): (&Id, &Place)| matches!(place.state, State::Waiting { .. }).then_some(*id);
                for id in schedule.places.iter().filter_map(waits) {
                    let of = |other: &&Id| services[*other] == services[&id];
                    let at_once = under_way.iter().filter(of).count();
                    let instances = services.keys().filter(of).count();
                    prop_assert!(under_way.len() >= most || at_once >= ((instances as f64 * share) as usize).max(1));
                }
            }
        }
    }
}
