//! What a month will come to: what was spent, and for every day that is left the mean of the same weekdays before it. Where no such
//! day is known yet, the mean of all days; before a whole day is known, today's pace.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;

use super::calendar::{Day, gone_by};

/// Days back that tell what a day is like.
const LOOK_BACK: i64 = 28;
/// Days that must have gone by before anything is said.
const LEAST: f64 = 0.25;

/// What a month comes to, if days go on as they did. `spent` has what each day cost, and something is known `since` a day; none as
/// long as too little is.
pub(super) fn forecast(spent: &BTreeMap<Day, f64>, since: Day, month: &Range<Day>, now: SystemTime) -> Option<f64> {
    let (today, gone) = (Day::of(now), gone_by(now));
    let on = |day: i64| spent.get(&Day(day)).copied().unwrap_or(0.0);
    // on the first day the gate began at some hour of it
    let known = (since.0 + 1).max(today.0 - LOOK_BACK)..today.0;
    let mean = |days: &mut dyn Iterator<Item = i64>| {
        let (sum, count) = days.fold((0.0, 0u32), |(sum, count), day| (sum + on(day), count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let overall = mean(&mut known.clone());
    let day_by_day = |day: i64| {
        let weekday = mean(&mut known.clone().filter(|before| (day - before) % 7 == 0));
        weekday.or(overall)
    };
    let pace = pace(&on, since, today, gone);
    let expected = |day: i64| day_by_day(day).or(pace);
    let usual = expected(today.0)?;
    // a day that is already worse than usual goes on so
    let so_far = if gone >= LEAST { on(today.0) / gone } else { 0.0 };
    let rest = usual.max(so_far) * (1.0 - gone);
    let ahead: Option<f64> = (today.0 + 1..month.end.0).map(expected).sum();
    let so_much: f64 = spent.range(month.clone()).map(|(_, cost)| cost).sum();
    Some(so_much + rest + ahead?)
}

/// What a day costs at the pace so far, before a whole one is known.
fn pace(on: &impl Fn(i64) -> f64, since: Day, today: Day, gone: f64) -> Option<f64> {
    let days = (today.0 - since.0) as f64 + gone;
    let sum: f64 = (since.0.max(today.0 - 1)..=today.0).map(on).sum();
    (days >= LEAST).then(|| sum / days)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::calendar::month;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    fn at(text: &str, hours: u64) -> SystemTime {
        day(text).begins() + Duration::from_secs(hours * 3_600)
    }

    /// Days that cost what their weekday costs; 2026-06-01 is a Monday.
    fn weeks(costs: [f64; 7], days: Range<Day>) -> BTreeMap<Day, f64> {
        let monday = day("2026-06-01").0;
        let cost = |at: i64| costs[usize::try_from((at - monday).rem_euclid(7)).unwrap()];
        (days.start.0..days.end.0).map(|at| (Day(at), cost(at))).collect()
    }

    #[test]
    fn weekends_are_not_taken_for_working_days() {
        let costs = [10.0, 11.0, 12.0, 13.0, 14.0, 1.0, 2.0];
        let june = month(day("2026-06-01"), 1);
        let truth: f64 = weeks(costs, june.clone()).values().sum();
        // through May everything was seen; on Friday evening the month is a working week old
        let mut spent = weeks(costs, day("2026-05-01")..day("2026-06-06"));
        let forecasted = forecast(&spent, day("2026-05-01"), &june, at("2026-06-06", 0)).unwrap();
        assert!((forecasted - truth).abs() < 1e-9, "{forecasted} {truth}");
        // half through a Tuesday too
        spent = weeks(costs, day("2026-05-01")..day("2026-06-16"));
        spent.insert(day("2026-06-16"), 5.5);
        let forecasted = forecast(&spent, day("2026-05-01"), &june, at("2026-06-16", 12)).unwrap();
        assert!((forecasted - truth).abs() < 1e-9, "{forecasted} {truth}");
        // who knows these five days alone takes weekends for days like all others
        let spent = weeks(costs, day("2026-06-01")..day("2026-06-06"));
        let linear = forecast(&spent, day("2026-05-31"), &june, at("2026-06-06", 0)).unwrap();
        assert_eq!(linear, 357.0);
    }

    #[test]
    fn nothing_is_said_before_anything_is_known_and_the_pace_counts_before_a_day_is() {
        let june = month(day("2026-06-10"), 1);
        let first = day("2026-06-10");
        let spent = BTreeMap::from([(first, 6.0)]);
        assert_eq!(forecast(&spent, first, &june, at("2026-06-10", 5)), None);
        // six in half a day is twelve in one
        assert_eq!(forecast(&spent, first, &june, at("2026-06-10", 12)), Some(21.0 * 12.0));
        // and on the next morning too, of which the first day counts in part
        let next = forecast(&spent, first, &june, at("2026-06-11", 0)).unwrap();
        assert_eq!(next, 6.0 + 20.0 * 6.0);
    }

    #[test]
    fn a_day_that_is_worse_than_usual_goes_on_so() {
        let june = month(day("2026-06-30"), 1);
        let mut spent = weeks([10.0; 7], day("2026-06-01")..day("2026-06-30"));
        spent.insert(day("2026-06-30"), 50.0);
        assert_eq!(
            forecast(&spent, day("2026-05-01"), &june, at("2026-06-30", 12)),
            Some(290.0 + 100.0)
        );
    }
}
