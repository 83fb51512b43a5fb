//! Memory, asked for before it is taken.
//!
//! A request says little about the memory that it comes to: decoders multiply its bytes by up to a few dozen. So they ask as they go, and
//! whoever counts the memory of all requests can say no in time.

use std::cell::Cell;

/// Where the memory of a request comes from.
pub trait Room: std::fmt::Debug {
    /// Asks for `bytes` more.
    fn take(&self, bytes: usize) -> Result<(), OutOfBudget>;

    /// Gives `bytes` of it back.
    fn give_back(&self, bytes: usize);
}

/// There is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OutOfBudget {
    /// Not now: others hold it.
    #[error("no room in the memory budget")]
    Full,
    /// Never: this one alone wants more than all of it.
    #[error("needs more memory than the {limit} bytes that this gate has for all requests; send less in one request")]
    TooLarge {
        /// Bytes of the whole budget.
        limit: usize,
    },
}

/// As much as the machine has: for files of one's own, and tests.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Room for Unlimited {
    fn take(&self, _: usize) -> Result<(), OutOfBudget> {
        Ok(())
    }

    fn give_back(&self, _: usize) {}
}

/// What a decoder holds in tables that grow: memory is asked for in steps as they do.
#[derive(Debug)]
pub(super) struct Tab<'a> {
    room: &'a dyn Room,
    asked: usize,
}

/// Memory of a tab is asked for in steps of so many bytes.
const TAB_STEP: usize = 64 << 10;

impl<'a> Tab<'a> {
    /// Nothing is held yet.
    pub fn new(room: &'a dyn Room) -> Self {
        Self { room, asked: 0 }
    }

    /// Says how much is held now, or about to be.
    pub fn hold(&mut self, bytes: usize) -> Result<(), OutOfBudget> {
        if bytes > self.asked {
            let more = (bytes - self.asked).next_multiple_of(TAB_STEP);
            self.room.take(more)?;
            self.asked += more;
        }
        Ok(())
    }
}

/// Memory that is taken for a while, and given back all at once.
#[derive(Debug)]
pub(super) struct Loan<'a> {
    room: &'a dyn Room,
    taken: Cell<usize>,
}

impl<'a> Loan<'a> {
    /// Nothing is taken yet.
    pub fn new(room: &'a dyn Room) -> Self {
        Self {
            room,
            taken: Cell::new(0),
        }
    }

    /// Gives all of it back.
    pub fn repay(&self) {
        self.room.give_back(self.taken.take());
    }
}

impl Room for Loan<'_> {
    fn take(&self, bytes: usize) -> Result<(), OutOfBudget> {
        self.room.take(bytes)?;
        self.taken.set(self.taken.get() + bytes);
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.room.give_back(bytes);
        self.taken.set(self.taken.get().saturating_sub(bytes));
    }
}

/// Rows of a kind that a request may still have. Their memory is asked for in steps.
#[derive(Debug)]
pub(super) struct Allowance<'a> {
    room: &'a dyn Room,
    bytes_each: usize,
    /// Rows that may come, the memory for which is there.
    paid: usize,
    /// Further rows that the limit allows.
    left: usize,
    /// Rows to pay for next time.
    step: usize,
}

/// Rows that an allowance does not cover.
pub(super) enum Excess {
    /// More than the limit allows.
    TooMany,
    /// No memory for them.
    NoRoom(OutOfBudget),
}

/// Rows are paid for in steps of so many bytes at first; small requests should not ask for more than they are.
const FIRST_STEP: usize = 4 << 10;
/// Steps double up to so many bytes.
const LAST_STEP: usize = 256 << 10;

impl<'a> Allowance<'a> {
    /// For `rows` rows of about so many bytes.
    pub fn new(rows: usize, bytes_each: usize, room: &'a dyn Room) -> Self {
        Self {
            room,
            bytes_each,
            paid: 0,
            left: rows,
            step: (FIRST_STEP / bytes_each.max(1)).max(1),
        }
    }

    /// Takes some.
    #[inline]
    pub fn spend(&mut self, rows: usize) -> Result<(), Excess> {
        match self.paid.checked_sub(rows) {
            Some(paid) => {
                self.paid = paid;
                Ok(())
            }
            None => self.pay(rows),
        }
    }

    /// Pays at once for rows that are foreseen. False if there are not so many to be had, which is no reason to refuse what comes.
    pub fn prepay(&mut self, rows: usize) -> bool {
        let short = rows.saturating_sub(self.paid);
        let is_paid = short <= self.left && self.room.take(short.saturating_mul(self.bytes_each)).is_ok();
        if is_paid {
            self.left -= short;
            self.paid += short;
        }
        is_paid
    }

    #[cold]
    fn pay(&mut self, rows: usize) -> Result<(), Excess> {
        let short = rows - self.paid;
        if short > self.left {
            return Err(Excess::TooMany);
        }
        let step = short.max(self.step).min(self.left);
        self.room
            .take(step.saturating_mul(self.bytes_each))
            .map_err(Excess::NoRoom)?;
        self.step = (self.step * 2).min(LAST_STEP / self.bytes_each.max(1)).max(1);
        self.left -= step;
        self.paid = self.paid + step - rows;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A room of so many bytes, which counts the most that were taken.
    #[derive(Debug)]
    pub(crate) struct Counted {
        pub limit: usize,
        pub used: Cell<usize>,
    }

    impl Counted {
        pub(crate) fn new(limit: usize) -> Self {
            Self {
                limit,
                used: Cell::new(0),
            }
        }
    }

    impl Room for Counted {
        fn take(&self, bytes: usize) -> Result<(), OutOfBudget> {
            let sum = self.used.get() + bytes;
            if sum > self.limit {
                return Err(OutOfBudget::TooLarge { limit: self.limit });
            }
            self.used.set(sum);
            Ok(())
        }

        fn give_back(&self, bytes: usize) {
            self.used.set(self.used.get() - bytes);
        }
    }

    #[test]
    fn rows_are_paid_for_before_they_come_and_end_at_the_limit() {
        let room = Counted::new(1 << 20);
        let mut allowance = Allowance::new(100_000, 8, &room);
        for _ in 0..100_000 {
            assert!(allowance.spend(1).is_ok());
        }
        assert!(matches!(allowance.spend(1), Err(Excess::TooMany)));
        assert_eq!(room.used.get(), 800_000);
        let mut other = Allowance::new(100_000, 8, &room);
        assert!(other.spend(10).is_ok());
        assert_eq!(room.used.get(), 804_096);
        assert!(matches!(other.spend(90_000), Err(Excess::NoRoom(_))));
    }

    #[test]
    fn what_was_paid_ahead_is_not_paid_again() {
        let room = Counted::new(10_000);
        let mut allowance = Allowance::new(1_000, 8, &room);
        assert!(!allowance.prepay(1_001));
        assert_eq!(room.used.get(), 0);
        assert!(allowance.prepay(1_000));
        assert!(allowance.prepay(900));
        assert!(allowance.spend(1_000).is_ok());
        assert_eq!(room.used.get(), 8_000);
        assert!(matches!(allowance.spend(1), Err(Excess::TooMany)));
        let mut other = Allowance::new(1_000, 8, &room);
        assert!(!other.prepay(1_000));
        assert!(other.spend(10).is_err());
    }

    #[test]
    fn many_rows_at_once_use_up_what_was_paid_before() {
        let room = Counted::new(1 << 20);
        let mut allowance = Allowance::new(2_000, 8, &room);
        assert!(allowance.spend(1).is_ok());
        assert!(allowance.spend(1_999).is_ok());
        assert!(matches!(allowance.spend(1), Err(Excess::TooMany)));
        assert_eq!(room.used.get(), 16_000);
    }
}
