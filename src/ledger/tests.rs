//! What must hold whatever the clock does, and wherever the process is killed.

mod crashes;
mod hooks;

use std::collections::BTreeMap;

use super::*;
use crate::pipeline::plan::{AtCeiling, Ceiling, Terms};

const MEGABYTE: u64 = 1_000_000;

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

/// So many hours after a day began. The steady clock goes with it, from some beginning.
fn at(text: &str, hours: f64) -> Now {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let wall = day(text).begins() + Duration::from_secs_f64(hours * 3_600.0);
    let since = wall.duration_since(day("2026-01-01").begins()).unwrap();
    Now {
        wall,
        steady: *BEGAN.get_or_init(Instant::now) + since,
    }
}

/// A thousand dollars a month, and a dollar for each gigabyte that `vendor` gets.
fn terms(at_ceiling: AtCeiling) -> Terms {
    Terms {
        ceiling: usd(1_000.0),
        tenants: BTreeMap::new(),
        prices: BTreeMap::from([("vendor".into(), 1_000.0)]),
        start_day: 1,
        alert_at: vec![0.8, 1.0],
        at_ceiling,
        webhook: None,
        storage: PathBuf::from("/nowhere"),
    }
}

fn usd(amount: f64) -> Ceiling {
    Ceiling {
        amount,
        currency: Some("USD".into()),
    }
}

/// A ledger with a plan, and what sinks tell it.
struct Bench {
    ledger: Ledger,
    metrics: Arc<Metrics>,
    plan: Arc<Plan>,
    spending: Spending,
}

impl Bench {
    fn of(terms: Terms) -> Self {
        let metrics: Arc<Metrics> = Arc::default();
        let ledger = Ledger::new(metrics.clone(), false);
        let plan = Arc::new(Plan::new("budget".into(), terms));
        ledger.follow(vec![plan.clone()], at("2026-01-01", 0.0));
        Self {
            ledger,
            metrics,
            plan,
            spending: Spending::default(),
        }
    }

    fn sent(&self, tenant: &str, megabytes: u64) {
        self.spending
            .account(&"vendor".into())
            .add(&tenant.into(), megabytes * MEGABYTE);
    }

    /// What is told after so many megabytes, which cost a dollar each.
    fn look(&self, megabytes: u64, now: Now) -> Vec<String> {
        self.sent("shop", megabytes);
        let telling = self.ledger.look(&self.spending, now);
        telling.iter().map(|one| one.alert.key.id()).collect()
    }

    fn spent(&self, now: Now) -> f64 {
        self.ledger.view(now.wall).months[0].ceilings[0].spent
    }

    fn allowance(&self) -> Allowance {
        self.plan.standing().all
    }
}

#[test]
fn alerts_come_once_in_a_month_for_what_is_spent_and_for_what_will_be() {
    let bench = Bench::of(terms(AtCeiling::AlertOnly));
    // 20 a day for a month of 30 days is within the ceiling, 45 are not
    for n in 1..=10 {
        assert_eq!(bench.look(20, at(&format!("2026-06-{n:02}"), 23.0)), [""; 0], "day {n}");
    }
    let mut told = Vec::new();
    for n in 11..=30 {
        told.extend(bench.look(45, at(&format!("2026-06-{n}"), 23.0)));
        told.extend(bench.look(0, at(&format!("2026-06-{n}"), 23.5)));
    }
    let expected = ["forecast/1", "actual/0.8", "actual/1"];
    assert_eq!(told, expected.map(|what| format!("budget/2026-06-01/1000 USD/{what}")));
    assert_eq!(bench.allowance(), Allowance::Free);
    let text = bench.metrics.text();
    for line in [
        "flamegate_ledger_spent{processor=\"budget\",unit=\"USD\"} 1100",
        "flamegate_ledger_bytes{processor=\"budget\",exporter=\"vendor\"} 1100000000",
        "flamegate_ledger_alerts{processor=\"budget\",kind=\"actual\",at=\"0.8\"} 1",
        "flamegate_ledger_alerts{processor=\"budget\",kind=\"forecast\",at=\"1\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_month_turns_and_the_next_one_has_its_own_alerts() {
    let mut terms = terms(AtCeiling::Stop);
    terms.start_day = 15;
    let bench = Bench::of(terms);
    let told = bench.look(1_000, at("2026-06-14", 23.9));
    assert!(
        told.contains(&"budget/2026-05-15/1000 USD/actual/1".to_owned()),
        "{told:?}"
    );
    assert_eq!(bench.allowance(), Allowance::Stop);
    // of the new month nothing is spent, but if it goes on so
    assert_eq!(
        bench.look(0, at("2026-06-15", 0.0)),
        ["budget/2026-06-15/1000 USD/forecast/1"]
    );
    assert_eq!(bench.allowance(), Allowance::Free);
    assert_eq!(bench.spent(at("2026-06-15", 0.0)).to_string(), "0", "and not -0");
    let told = bench.look(900, at("2026-06-15", 1.0));
    assert_eq!(told, ["budget/2026-06-15/1000 USD/actual/0.8"]);
    assert!(bench.metrics.text().contains("kind=\"actual\",at=\"1\"} 0"));
}

#[test]
fn a_clock_that_steps_back_and_forth_loses_nothing_and_tells_nothing_twice() {
    let bench = Bench::of(terms(AtCeiling::Stop));
    let mut told = bench.look(850, at("2026-06-30", 23.0));
    // into the next month, back, far ahead, back, before everything, back
    let steps = [
        ("2026-07-01", 0.1),
        ("2026-06-30", 23.1),
        ("2039-03-01", 5.0),
        ("2026-06-30", 23.2),
        ("2026-01-01", 0.0),
        ("2026-06-30", 23.3),
    ];
    let mut june = 850.0;
    for (date, hours) in steps {
        told.extend(bench.look(10, at(date, hours)));
        let now = bench.spent(at("2026-06-30", 23.5));
        assert!(now >= june, "{now} after {june}");
        june = now;
    }
    assert_eq!(june, 880.0);
    told.extend(bench.look(200, at("2026-06-30", 23.6)));
    let actual: Vec<&String> = told
        .iter()
        .filter(|id| id.contains("2026-06-01") && id.contains("actual"))
        .collect();
    assert_eq!(actual.len(), 2, "{told:?}");
    assert_eq!(bench.allowance(), Allowance::Stop);
}

#[test]
fn the_pace_is_what_is_left_over_the_time_that_is_left() {
    let bench = Bench::of(terms(AtCeiling::Thin));
    for n in 1..=15 {
        bench.look(40, at(&format!("2026-06-{n:02}"), 12.0));
    }
    bench.look(0, at("2026-06-16", 0.0));
    let Allowance::Pace { bytes_per_s } = bench.allowance() else {
        panic!("{:?}", bench.allowance())
    };
    let expected = 400.0 * MEGABYTE as f64 / (15.0 * 86_400.0);
    assert!(
        (bytes_per_s / expected - 1.0).abs() < 1e-6,
        "{bytes_per_s} for {expected}"
    );
    // what passes the processor is three times what is sent
    bench.plan.passed(30 * MEGABYTE);
    bench.look(10, at("2026-06-16", 0.1));
    let Allowance::Pace { bytes_per_s: passing } = bench.allowance() else {
        panic!("{:?}", bench.allowance())
    };
    assert!((2.8..3.0).contains(&(passing / expected)), "{passing} for {expected}");
    // who heeds the pace comes out at the ceiling, and hears no other word on the way
    for n in 16..=30 {
        for hour in [6.0, 12.0, 18.0, 23.9] {
            let Allowance::Pace { bytes_per_s } = bench.allowance() else {
                panic!("{:?} on day {n}", bench.allowance())
            };
            let hours = if hour > 23.0 { 5.9 } else { 6.0 };
            let passed = (bytes_per_s * hours * 3_600.0) as u64;
            bench.plan.passed(passed);
            bench.spending.account(&"vendor".into()).add(&"shop".into(), passed / 3);
            bench.look(0, at(&format!("2026-06-{n}"), hour));
        }
    }
    let spent = bench.spent(at("2026-06-30", 23.9));
    assert!((980.0..=1_000.0).contains(&spent), "{spent}");
    // and when it is spent all the same, the sums still pass
    bench.look(100, at("2026-06-30", 23.95));
    assert_eq!(bench.allowance(), Allowance::TotalsOnly);
}

#[test]
fn every_action_begins_where_it_says() {
    for (action, below, above) in [
        (AtCeiling::AlertOnly, Allowance::Free, Allowance::Free),
        (AtCeiling::TotalsOnly, Allowance::Free, Allowance::TotalsOnly),
        (AtCeiling::Stop, Allowance::Free, Allowance::Stop),
    ] {
        let bench = Bench::of(terms(action));
        bench.look(999, at("2026-06-10", 12.0));
        assert_eq!(bench.allowance(), below, "{action:?}");
        bench.look(1, at("2026-06-10", 12.1));
        assert_eq!(bench.allowance(), above, "{action:?}");
    }
}

#[test]
fn tenants_have_ceilings_of_their_own_beside_that_of_all() {
    let mut terms = terms(AtCeiling::Stop);
    terms.tenants = BTreeMap::from([("batch".into(), usd(10.0))]);
    let bench = Bench::of(terms);
    bench.sent("batch", 11);
    let told = bench.look(5, at("2026-06-10", 1.0));
    let expected = ["0.8", "1"].map(|part| format!("budget/batch/2026-06-01/10 USD/actual/{part}"));
    assert_eq!(told, expected);
    let standing = bench.plan.standing().clone();
    assert_eq!(
        (standing.all, standing.tenants["batch"]),
        (Allowance::Free, Allowance::Stop)
    );
    let view = bench.ledger.view(at("2026-06-10", 2.0).wall);
    let accounts: Vec<(&str, u64)> = view.months[0]
        .accounts
        .iter()
        .map(|one| (&*one.tenant, one.bytes))
        .collect();
    assert_eq!(accounts, [("batch", 11 * MEGABYTE), ("shop", 5 * MEGABYTE)]);
}

#[test]
fn what_exporters_without_a_price_send_is_not_counted_against_the_ceiling() {
    let bench = Bench::of(terms(AtCeiling::Stop));
    bench
        .spending
        .account(&"file".into())
        .add(&"shop".into(), 5_000 * MEGABYTE);
    bench.look(1, at("2026-06-10", 1.0));
    assert_eq!(bench.spent(at("2026-06-10", 1.0)), 1.0);
    assert_eq!(bench.allowance(), Allowance::Free);
}

#[test]
fn a_ceiling_in_bytes_needs_no_price() {
    let mut terms = terms(AtCeiling::TotalsOnly);
    terms.ceiling = Ceiling {
        amount: 50.0 * MEGABYTE as f64,
        currency: None,
    };
    let bench = Bench::of(terms);
    let told = bench.look(40, at("2026-06-30", 23.0));
    assert_eq!(told, ["budget/2026-06-01/50000000 bytes/actual/0.8"]);
    bench.look(10, at("2026-06-30", 23.1));
    assert_eq!(bench.allowance(), Allowance::TotalsOnly);
}

#[test]
fn a_restart_goes_on_where_it_was_and_tells_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().join("state");
    let open = || {
        let bench = Bench::of(Terms {
            storage: storage.clone(),
            ..terms(AtCeiling::Stop)
        });
        let prepared = bench
            .ledger
            .prepare(std::slice::from_ref(&bench.plan), at("2026-06-10", 2.0));
        prepared.map(|()| bench)
    };
    let first = open().unwrap();
    assert_eq!(first.look(1_000, at("2026-06-10", 1.0)).len(), 2);
    let refused = open().err().unwrap();
    assert_eq!(refused.path, "monthly.storage");
    assert!(
        refused.message.contains("another process keeps its ledger there"),
        "{refused}"
    );
    first.sent("shop", 7);
    first.ledger.finish(&first.spending, at("2026-06-10", 1.1));
    drop(first);
    let second = open().unwrap();
    assert_eq!(second.allowance(), Allowance::Stop, "before anything comes");
    assert_eq!(second.look(1, at("2026-06-10", 3.0)), [""; 0]);
    assert_eq!(second.spent(at("2026-06-10", 3.0)), 1_008.0);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&storage), mode(&storage.join(NAME))), (0o700, 0o600));
    drop(second);
    std::fs::write(storage.join(NAME), "something else\n").unwrap();
    let refused = open().err().unwrap();
    assert!(refused.message.contains("not a ledger of this version"), "{refused}");
}

#[test]
fn a_dry_run_knows_how_it_stands_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().to_owned();
    let terms = Terms {
        storage: storage.clone(),
        ..terms(AtCeiling::Stop)
    };
    let bench = Bench::of(terms.clone());
    bench
        .ledger
        .prepare(std::slice::from_ref(&bench.plan), at("2026-06-10", 1.0))
        .unwrap();
    bench.look(1_000, at("2026-06-10", 1.0));
    let before = std::fs::read(storage.join(NAME)).unwrap();
    let plan = Arc::new(Plan::new("budget".into(), terms));
    let dry = Ledger::new(Arc::default(), true);
    // beside the process that keeps it
    dry.prepare(std::slice::from_ref(&plan), at("2026-06-10", 2.0)).unwrap();
    dry.follow(vec![plan.clone()], at("2026-06-10", 2.0));
    assert_eq!(plan.standing().all, Allowance::Stop);
    bench.sent("shop", 500);
    assert_eq!(dry.look(&bench.spending, at("2026-06-10", 2.1)).len(), 0);
    dry.finish(&bench.spending, at("2026-06-10", 2.1));
    assert_eq!(std::fs::read(storage.join(NAME)).unwrap(), before);
}

#[test]
fn reloads_at_any_moment_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut terms = terms(AtCeiling::Thin);
    terms.storage = folder.path().to_owned();
    let bench = Bench::of(terms.clone());
    let now = at("2026-06-30", 23.0);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..3_000).for_each(|_| bench.sent("shop", 1)));
        scope.spawn(|| (0..300).for_each(|_| drop(bench.ledger.look(&bench.spending, now))));
        for n in 0..100 {
            let mut next = terms.clone();
            next.ceiling = usd(f64::from(n) * 100.0 + 1.0);
            let plan = Arc::new(Plan::new("budget".into(), next));
            bench.ledger.prepare(std::slice::from_ref(&plan), now).unwrap();
            bench.ledger.follow(vec![plan], now);
        }
    });
    bench.ledger.finish(&bench.spending, now);
    assert_eq!(bench.spent(now), 3_000.0);
    // and what is on the disk says the same
    let text = std::fs::read(folder.path().join(NAME)).unwrap();
    let mut known = State::default();
    known.learn(store::parse(&text).unwrap().facts);
    let account = ("shop".into(), "vendor".into());
    assert_eq!(known.book.on(&account, day("2026-06-30")), 3_000 * MEGABYTE);
}

#[test]
fn one_gate_keeps_one_ledger() {
    let plan = |id: &str, storage: &str| {
        let storage = PathBuf::from(storage);
        let terms = Terms {
            storage,
            ..terms(AtCeiling::Stop)
        };
        Arc::new(Plan::new(id.into(), terms))
    };
    assert_eq!(check(&[plan("budget/a", "/x"), plan("budget/b", "/x")]), Ok(()));
    let wrong = check(&[plan("budget/a", "/x"), plan("budget/b", "/y")]).unwrap_err();
    assert_eq!((&*wrong.processor, &*wrong.path), ("budget/a", "monthly.storage"));
}
