//! Who is connected, and who must go for another: there is room for so many in all, and for so many of one peer.
//!
//! Where there is none, the connection goes that is worth least: one that never asked for anything, else the one idle for
//! longest. Idle connections in any number thus keep nobody out. Only where every connection is busy a further one is
//! refused (its peer has too many) or waits (all together are too many).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::activity::{Activity, Worth};

/// How often to look for a connection that has become idle, where all were busy.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Connections that go at once where files run out: the rest of the process needs some too.
const SHRINK_BY: usize = 16;

/// How long a connection has done nothing before it may go because files run out. Files run out also for an accept that
/// nobody waits for, and the request of whoever was accepted last may be here and not yet read.
const UNHEARD: Duration = Duration::from_millis(250);

/// The connections of one server.
pub(super) struct Crowd {
    most: usize,
    most_of_peer: usize,
    members: Mutex<Members>,
    left: Notify,
}

#[derive(Default)]
struct Members {
    by_number: HashMap<u64, Arc<Member>>,
    of_peer: HashMap<IpAddr, usize>,
    next: u64,
}

struct Member {
    peer: IpAddr,
    activity: Arc<Activity>,
    asked_to_leave: Notify,
}

/// A place among the connections, given back when dropped.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    member: Arc<Member>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// This peer has as many as it may have, all of them busy.
    OfPeer,
    /// All together are as many as they may be, all of them busy.
    OfAll,
}

impl Crowd {
    pub(super) fn new(most: usize, most_of_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            most_of_peer: most_of_peer.max(1),
            members: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// A place for a connection of `peer`, if need be that of another.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Full> {
        let peer = party(peer.ip());
        let mut members = self.members();
        if members
            .of_peer
            .get(&peer)
            .is_some_and(|so_many| *so_many >= self.most_of_peer)
            && !members.make_room(|member| member.peer == peer)
        {
            return Err(Full::OfPeer);
        }
        if members.by_number.len() >= self.most && !members.make_room(|_| true) {
            return Err(Full::OfAll);
        }
        let member = Arc::new(Member {
            peer,
            activity: Activity::new(),
            asked_to_leave: Notify::new(),
        });
        let number = members.next;
        members.next += 1;
        members.by_number.insert(number, member.clone());
        *members.of_peer.entry(peer).or_default() += 1;
        Ok(Place {
            crowd: self.clone(),
            number,
            member,
        })
    }

    /// Lets some connections go, those that are worth least, as the process has no more files.
    pub(super) fn shrink(&self) {
        let mut members = self.members();
        for _ in 0..SHRINK_BY {
            if !members.make_room(|member| member.activity.has_been_idle_for(UNHEARD)) {
                return;
            }
        }
    }

    /// Returns when somebody has left, or it is time to look again.
    pub(super) async fn changed(&self) {
        let _ = timeout(LOOK_AGAIN, self.left.notified()).await;
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Asks one of those idle to leave. It counts no more from now on, although it says goodbye first.
    fn make_room(&mut self, candidate: impl Fn(&Member) -> bool) -> bool {
        let idle = self.by_number.iter().filter(|(_, member)| candidate(member));
        let worths = idle.filter_map(|(number, member)| Some((member.activity.idle()?, *number)));
        let Some((_, number)) = worths.min_by_key(|(worth, number): &(Worth, u64)| (*worth, *number)) else {
            return false;
        };
        if let Some(member) = self.remove(number) {
            member.asked_to_leave.notify_one();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Member>> {
        let member = self.by_number.remove(&number)?;
        if let Some(so_many) = self.of_peer.get_mut(&member.peer) {
            *so_many -= 1;
            if *so_many == 0 {
                self.of_peer.remove(&member.peer);
            }
        }
        Some(member)
    }
}

impl Place {
    /// What the connection is doing.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.member.activity
    }

    /// Returns when another one needs the place.
    pub(super) async fn asked_to_leave(&self) {
        self.member.asked_to_leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members().remove(self.number);
        self.crowd.left.notify_one();
    }
}

/// Who counts as one peer: an address, of IPv6 the network that one customer gets.
fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 1).into()
    }

    async fn leaves(place: &Place) -> bool {
        timeout(Duration::from_millis(1), place.asked_to_leave()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_worth_least_makes_room() {
        let crowd = Crowd::new(3, 3);
        let places: Vec<Place> = (0..3).map(|host| crowd.admit(peer(host)).unwrap()).collect();
        let busy = places[0].activity().begin();
        drop(places[1].activity().begin());
        tokio::time::advance(Duration::from_secs(1)).await;
        let fourth = crowd.admit(peer(3)).unwrap();
        assert!(
            leaves(&places[2]).await,
            "never asked for anything, and came before the fourth"
        );
        let _fifth = crowd.admit(peer(4)).unwrap();
        assert!(leaves(&fourth).await, "never asked for anything");
        drop(fourth.activity().begin());
        assert!(!leaves(&places[1]).await && !leaves(&places[0]).await);
        drop((busy, places));
        assert_eq!(crowd.members().by_number.len(), 1);
    }

    #[test]
    fn a_peer_makes_room_for_itself_alone() {
        let crowd = Crowd::new(10, 2);
        let others = crowd.admit(peer(9)).unwrap();
        let (first, second) = (crowd.admit(peer(1)).unwrap(), crowd.admit(peer(1)).unwrap());
        let busy = (first.activity().begin(), second.activity().begin());
        assert_eq!(crowd.admit(peer(1)).err(), Some(Full::OfPeer));
        assert!(crowd.admit(peer(2)).is_ok());
        drop(busy);
        let third = crowd.admit(peer(1)).unwrap();
        drop((first, second, third, others));
        assert!(
            crowd.members().of_peer.is_empty(),
            "nothing is left of peers that have gone"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_makes_room_who_is_busy() {
        let crowd = Crowd::new(1, 1);
        let first = crowd.admit(peer(1)).unwrap();
        let busy = first.activity().begin();
        assert_eq!(crowd.admit(peer(2)).err(), Some(Full::OfAll));
        crowd.shrink();
        assert!(!leaves(&first).await);
        let waiting = async {
            crowd.changed().await;
            crowd.admit(peer(2)).is_ok()
        };
        let leaving = async {
            drop((busy, first));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            admitted = waiting => assert!(admitted),
            () = leaving => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_may_not_have_been_heard_yet_stays_when_files_run_out() {
        let crowd = Crowd::new(9, 9);
        let first = crowd.admit(peer(1)).unwrap();
        tokio::time::advance(UNHEARD).await;
        let second = crowd.admit(peer(1)).unwrap();
        crowd.shrink();
        assert!(leaves(&first).await);
        assert!(!leaves(&second).await);
        tokio::time::advance(UNHEARD).await;
        crowd.shrink();
        assert!(leaves(&second).await);
    }

    #[test]
    fn one_customer_of_ipv6_is_one_peer() {
        let of = |text: &str| party(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
