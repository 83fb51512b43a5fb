//! Days and months, in UTC. A month begins on a day that is chosen, so it may hold the end of one of the calendar and the beginning of
//! the next.

use std::fmt;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds of a day.
pub(super) const DAY: f64 = 86_400.0;

/// A day, counted from the first of January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub(super) i64);

impl Day {
    /// The day of a moment.
    pub(super) fn of(moment: SystemTime) -> Self {
        Self((seconds(moment) / DAY).floor() as i64)
    }

    /// Year, month and day.
    fn date(self) -> (i64, i64, i64) {
        // as in "chrono-Compatible Low-Level Date Algorithms": years begin in March, and 400 of them are always equally long
        let days = self.0 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (era * 400 + year + i64::from(month <= 2), month, day)
    }

    fn of_date(year: i64, month: i64, day: i64) -> Self {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let months = if month > 2 { month - 3 } else { month + 9 };
        let of_year = (153 * months + 2) / 5 + day - 1;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Self(era * 146_097 + days - 719_468)
    }

    /// A day written as `2026-11-21`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let parsed = Self::of_date(year, month, day);
        ((1..=12).contains(&month) && parsed.date() == (year, month, day)).then_some(parsed)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Seconds since 1970; before that, fewer than none.
pub(super) fn seconds(moment: SystemTime) -> f64 {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(error) => -error.duration().as_secs_f64(),
    }
}

/// The part of its day that has gone by.
pub(super) fn gone_by(moment: SystemTime) -> f64 {
    seconds(moment).rem_euclid(DAY) / DAY
}

/// The month that a day is in, if months begin on `start_day` (1 to 28): its first day, and that of the next.
pub(super) fn month(day: Day, start_day: u8) -> Range<Day> {
    let start = i64::from(start_day);
    let (mut year, mut month, of_month) = day.date();
    if of_month < start {
        (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
    }
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    Day::of_date(year, month, start)..Day::of_date(next_year, next, start)
}

#[cfg(test)]
impl Day {
    /// When it begins; not for days before 1970.
    pub(super) fn begins(self) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(self.0).unwrap() * 86_400)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (text, number) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2026-11-21", 20_778),
        ] {
            assert_eq!(day(text), Day(number));
            assert_eq!(Day(number).to_string(), text);
        }
        for none in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-11",
            "x",
            "2026-11-21-1",
            "",
        ] {
            assert_eq!(Day::parse(none), None, "{none}");
        }
        for number in -200_000..200_000 {
            let (year, month, of_month) = Day(number).date();
            assert_eq!(Day::of_date(year, month, of_month), Day(number));
        }
        assert_eq!(Day::of(UNIX_EPOCH - Duration::from_secs(1)), Day(-1));
        assert_eq!(
            Day::of(day("2026-11-21").begins() + Duration::from_secs(86_399)),
            day("2026-11-21")
        );
    }

    #[test]
    fn months_begin_on_their_day_and_leave_none_out() {
        for start_day in 1..=28 {
            let mut at = day("2023-12-15");
            let mut now = month(at, start_day);
            while at < day("2028-03-15") {
                assert!(now.contains(&at), "{at} with {start_day}");
                at = Day(at.0 + 1);
                let next = month(at, start_day);
                assert!(
                    next == now || next.start == now.end && next.start == at,
                    "{at} with {start_day}"
                );
                now = next;
            }
        }
        assert_eq!(month(day("2024-03-14"), 15), day("2024-02-15")..day("2024-03-15"));
        assert_eq!(month(day("2026-01-01"), 2), day("2025-12-02")..day("2026-01-02"));
        assert_eq!(month(day("2026-12-31"), 1), day("2026-12-01")..day("2027-01-01"));
    }
}
