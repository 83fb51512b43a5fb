//! What was sent, by tenant, exporter and day. Days, and not months, because a month may begin on any day, because a clock may be set,
//! and because a forecast wants to know the weekdays. Everything else is worked out from this, and nothing here ever grows less.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calendar::Day;
use crate::pipeline::spending::OTHER_TENANTS;

/// Days of an account that are kept: two months. It is a number and no age: a clock that jumps ahead takes one place, and no history.
pub(super) const MOST_DAYS: usize = 64;
/// Accounts that are kept; what belongs to further ones is booked on those of other tenants.
pub(super) const MOST_ACCOUNTS: usize = 4_096;
/// Days without anything after which an account may give its place to another.
const QUIET_DAYS: i64 = 62;

/// Bytes by day.
pub(super) type Days = BTreeMap<Day, u64>;
/// Tenant and exporter.
pub(super) type Key = (Arc<str>, Arc<str>);

/// All accounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Book(BTreeMap<Key, Days>);

impl Book {
    /// Books bytes on a day, and says on which account that was, with what it has on that day now.
    pub(super) fn add(&mut self, (tenant, exporter): Key, day: Day, bytes: u64) -> (Key, u64) {
        let key = self.place((tenant, exporter), day);
        let days = self.0.entry(key.clone()).or_default();
        let sum = days.entry(day).or_default();
        *sum = sum.saturating_add(bytes);
        let sum = *sum;
        trim(days);
        (key, sum)
    }

    /// Learns what was written down: an account had at least so much on a day.
    pub(super) fn learn(&mut self, key: Key, day: Day, bytes: u64) {
        let key = self.place(key, day);
        let days = self.0.entry(key).or_default();
        let sum = days.entry(day).or_default();
        *sum = bytes.max(*sum);
        trim(days);
    }

    /// The account itself, or that of other tenants if there are too many.
    fn place(&mut self, key: Key, today: Day) -> Key {
        let is_of_others = &*key.0 == OTHER_TENANTS;
        if is_of_others || self.0.contains_key(&key) || self.0.len() - self.others() < MOST_ACCOUNTS {
            return key;
        }
        let last = |days: &Days| days.keys().next_back().copied().unwrap_or(today);
        let quiet = self.0.iter().find(|(_, days)| last(days).0 < today.0 - QUIET_DAYS);
        match quiet.map(|(key, _)| key.clone()) {
            Some(quiet) => {
                self.0.remove(&quiet);
                key
            }
            None => (OTHER_TENANTS.into(), key.1),
        }
    }

    /// Accounts of all further tenants, one for each exporter. They have places of their own: else what is written down would not
    /// find room for all that it says.
    fn others(&self) -> usize {
        let from: Key = (OTHER_TENANTS.into(), "".into());
        let theirs = self
            .0
            .range(from..)
            .take_while(|((tenant, _), _)| &**tenant == OTHER_TENANTS);
        theirs.count()
    }

    /// What an account had on a day.
    pub(super) fn on(&self, key: &Key, day: Day) -> u64 {
        self.0.get(key).and_then(|days| days.get(&day)).copied().unwrap_or(0)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (&Key, &Days)> {
        self.0.iter()
    }

    /// The first day of which anything is known.
    pub(super) fn since(&self) -> Option<Day> {
        self.0.values().filter_map(|days| days.keys().next().copied()).min()
    }
}

/// Forgets the earliest days of too many.
fn trim(days: &mut Days) {
    while days.len() > MOST_DAYS {
        days.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: usize) -> Key {
        (tenant.to_string().into(), "file".into())
    }

    #[test]
    fn a_full_book_is_learnt_as_it_was() {
        let mut book = Book::default();
        for tenant in 0..MOST_ACCOUNTS + 100 {
            // lower case comes behind the further tenants, and digits before them
            let tenant = format!("{}{tenant}", if tenant % 2 == 0 { "t" } else { "" });
            book.add((tenant.into(), "file".into()), Day(100), 1_000);
        }
        let mut learnt = Book::default();
        for (key, days) in book.accounts() {
            days.iter()
                .for_each(|(day, bytes)| learnt.learn(key.clone(), *day, *bytes));
        }
        assert_eq!(learnt, book);
    }

    #[test]
    fn accounts_and_their_days_are_only_so_many() {
        let mut book = Book::default();
        for tenant in 0..MOST_ACCOUNTS + 10 {
            book.add(key(tenant), Day(100), 1);
        }
        assert_eq!(book.accounts().count(), MOST_ACCOUNTS + 1);
        let other: Key = (OTHER_TENANTS.into(), "file".into());
        assert_eq!(book.on(&other, Day(100)), 10);
        for day in 101..101 + MOST_DAYS as i64 {
            book.add(key(7), Day(day), 1);
        }
        assert_eq!(book.on(&key(7), Day(100)), 0);
        assert_eq!(book.on(&key(7), Day(101)), 1);
        // who has been quiet for long makes room
        let (booked, _) = book.add(key(999_999), Day(163), 5);
        assert_eq!(booked, key(999_999));
    }

    #[test]
    fn a_clock_that_jumps_ahead_and_back_costs_no_history() {
        let mut book = Book::default();
        for day in 0..31 {
            book.add(key(1), Day(day), 10);
        }
        book.add(key(1), Day(40_000), 3);
        book.add(key(1), Day(31), 10);
        let sum: u64 = (0..32).map(|day| book.on(&key(1), Day(day))).sum();
        assert_eq!(sum, 320);
    }

    #[test]
    fn what_is_learned_twice_counts_once() {
        let mut book = Book::default();
        for bytes in [5, 9, 7] {
            book.learn(key(1), Day(1), bytes);
        }
        assert_eq!(book.add(key(1), Day(1), 1), (key(1), 10));
    }
}
