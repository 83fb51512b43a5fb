//! The plug is pulled at every byte of every write, and at every other thing that is asked of the disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::*;
use crate::ledger::store::{Fact, Store};
use crate::ledger::volume::{Sheet, Volume};

/// A disk without current from some moment on.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    /// By name: what has been brought to the disk, and what only the system has.
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// Bytes and other steps until the plug is pulled; none for never.
    left: Option<usize>,
    steps: usize,
    is_full: bool,
}

#[derive(Clone, Default)]
struct Content {
    synced: Vec<u8>,
    written: Vec<u8>,
}

/// What becomes of what was written and not brought to the disk: after a kill the system still has it, after a loss of current not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Killed,
    Dark,
}

fn pulled() -> io::Error {
    io::Error::other("the plug is pulled")
}

impl Disk {
    /// So many of the steps asked for may still be done.
    fn step(&self, asked: usize) -> usize {
        let mut state = self.0.lock().unwrap();
        let may = state.left.map_or(asked, |left| left.min(asked));
        state.left = state.left.map(|left| left - may);
        state.steps += may;
        may
    }

    fn one(&self) -> io::Result<()> {
        if self.step(1) == 1 { Ok(()) } else { Err(pulled()) }
    }

    /// The disk as the next process finds it.
    fn after(&self, end: End) -> Self {
        let state = self.0.lock().unwrap();
        let left = |content: &Arc<Mutex<Content>>| {
            let content = content.lock().unwrap();
            let kept = match end {
                End::Killed => content.written.clone(),
                End::Dark => content.synced.clone(),
            };
            Arc::new(Mutex::new(Content {
                synced: kept.clone(),
                written: kept,
            }))
        };
        let files = state.files.iter().map(|(name, content)| (name.clone(), left(content)));
        Self(Arc::new(Mutex::new(State {
            files: files.collect(),
            ..State::default()
        })))
    }
}

impl Volume for Disk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let state = self.0.lock().unwrap();
        Ok(state
            .files
            .get(name)
            .map(|content| content.lock().unwrap().written.clone()))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Sheet>> {
        self.one()?;
        let content: Arc<Mutex<Content>> = Arc::default();
        self.0.lock().unwrap().files.insert(name.to_owned(), content.clone());
        let disk = self.clone();
        Ok(Box::new(Page { disk, content }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.one()?;
        let mut state = self.0.lock().unwrap();
        let content = state.files.remove(from).unwrap();
        state.files.insert(to.to_owned(), content);
        drop(state);
        // renamed, and not certain of it
        self.one()
    }
}

struct Page {
    disk: Disk,
    content: Arc<Mutex<Content>>,
}

impl Sheet for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.disk.0.lock().unwrap().is_full {
            // half of it still finds room
            self.content.lock().unwrap().written.extend(&bytes[..bytes.len() / 2]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let may = self.disk.step(bytes.len());
        self.content.lock().unwrap().written.extend(&bytes[..may]);
        if may == bytes.len() { Ok(()) } else { Err(pulled()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.one()?;
        let mut content = self.content.lock().unwrap();
        content.synced = content.written.clone();
        Ok(())
    }
}

/// Seconds between two looks, and looks of one life.
const PAUSE: u64 = 5;
const LOOKS: u64 = 30;
/// Megabytes, and dollars, sent before each look.
const EACH: u64 = 32;

fn moment(look: u64) -> Now {
    at("2026-06-20", (look * PAUSE) as f64 / 3_600.0)
}

/// What came of one life.
struct Life {
    /// The sum at each look.
    sums: Vec<f64>,
    /// Alerts that were told, and those of them that were told for the first time.
    told: usize,
    new: usize,
    disk: Disk,
}

fn hooked(is_hooked: bool) -> Terms {
    let hook = crate::pipeline::plan::Webhook {
        url: crate::pipeline::units::Secret::new("https://alerts.example.com"),
        headers: BTreeMap::new(),
        ca_file: None,
        proxy_url: None,
        timeout: Duration::from_secs(1),
    };
    Terms {
        webhook: is_hooked.then_some(hook),
        ..terms(AtCeiling::Stop)
    }
}

/// A gate that begins with a disk, at the look of that number, and lives until all looks are done or the plug is pulled.
fn live(disk: Disk, first: u64, is_hooked: bool) -> Life {
    let bench = Bench::of(hooked(is_hooked));
    bench.ledger.open_in(Box::new(disk.clone()));
    let mut life = Life {
        sums: Vec::new(),
        told: 0,
        new: 0,
        disk,
    };
    for look in first..LOOKS {
        let now = moment(look);
        bench.sent("shop", EACH);
        let telling = bench.ledger.look(&bench.spending, now);
        let view = bench.ledger.view(now.wall);
        life.sums.push(view.months[0].ceilings[0].spent);
        if view.trouble.is_some() {
            // it was in the middle of writing, and nobody has heard anything since
            break;
        }
        life.told += telling.len();
        life.new += telling.iter().filter(|one| one.is_new).count();
        telling.iter().for_each(|one| bench.ledger.told(&one.alert.key));
    }
    life
}

#[test]
fn a_kill_at_any_write_loses_less_than_a_minute_and_gives_nothing_back() {
    for is_hooked in [false, true] {
        let whole = live(Disk::default(), 0, is_hooked);
        let truth = (LOOKS * EACH) as f64;
        assert_eq!(whole.sums.last(), Some(&truth));
        assert_eq!((whole.told, whole.new), (1, 1));
        let steps = whole.disk.0.lock().unwrap().steps;
        assert!(steps > 1_000, "{steps}");
        for at in 0..=steps {
            let disk = Disk::default();
            disk.0.lock().unwrap().left = Some(at);
            let life = live(disk, 0, is_hooked);
            for end in [End::Killed, End::Dark] {
                after_a_crash(
                    &life,
                    end,
                    is_hooked,
                    &format!("at {at} of {steps}, {end:?}, {is_hooked}"),
                );
            }
        }
    }
}

fn after_a_crash(life: &Life, end: End, is_hooked: bool, place: &str) {
    let left = life.disk.after(end);
    let bench = Bench::of(hooked(is_hooked));
    bench.ledger.open_in(Box::new(left.clone()));
    let looks = life.sums.len() as u64;
    let now = bench.spent(moment(looks));
    let before = life.sums.last().copied().unwrap_or(0.0);
    assert!(now <= before, "{now} of {before} {place}");
    let minute_ago = looks.saturating_sub(60 / PAUSE);
    let sure = minute_ago.checked_sub(1).map_or(0.0, |look| life.sums[look as usize]);
    assert!(now >= sure, "{now} after {sure} a minute before, {place}");
    // the next life goes on from there, and no sum it tells is less
    let next = live(left, looks, is_hooked);
    let mut last = now;
    for sum in &next.sums {
        assert!(*sum >= last, "{sum} after {last}, {place}");
        last = *sum;
    }
    let is_reached = last >= 800.0;
    assert!(life.new + next.new <= 1, "the log says it twice, {place}");
    let told = life.told + next.told;
    match is_hooked {
        // a crash between the server's word and ours tells the same alert again, under the same id
        true => assert!((usize::from(is_reached)..=2).contains(&told), "{told} {place}"),
        false => assert!(told <= 1, "{told} {place}"),
    }
    let bench = Bench::of(hooked(is_hooked));
    bench.ledger.open_in(Box::new(next.disk.after(End::Dark)));
    let alerts = bench.ledger.view(moment(LOOKS).wall).months[0].ceilings[0].alerts.len();
    assert_eq!(alerts, usize::from(is_reached), "{place}");
}

#[test]
fn on_a_full_disk_it_counts_on_says_so_and_writes_when_it_can() {
    let disk = Disk::default();
    let bench = Bench::of(terms(AtCeiling::Stop));
    bench.ledger.open_in(Box::new(disk.clone()));
    bench.look(10, moment(0));
    disk.0.lock().unwrap().is_full = true;
    for look in 1..20 {
        bench.look(10, moment(look));
    }
    assert_eq!(bench.spent(moment(20)), 200.0);
    assert!(bench.metrics.text().contains("flamegate_ledger_broken 1"));
    let view = bench.ledger.view(moment(20).wall);
    assert!(view.trouble.is_some_and(|why| why.contains("no storage space")));
    // a crash now finds what was written before, whole
    let reopened = |disk: Disk| {
        let bench = Bench::of(terms(AtCeiling::Stop));
        bench.ledger.open_in(Box::new(disk));
        bench.spent(moment(20))
    };
    assert_eq!(reopened(disk.after(End::Killed)), 10.0);
    disk.0.lock().unwrap().is_full = false;
    bench.look(10, moment(40));
    assert!(bench.metrics.text().contains("flamegate_ledger_broken 0"));
    assert_eq!(reopened(disk.after(End::Dark)), 210.0);
}

#[test]
fn damaged_lines_do_not_count_and_the_others_do() {
    let disk = Disk::default();
    let (mut store, _) = Store::open(Box::new(disk.clone())).unwrap();
    let fact = |n: u64| Fact::sent(&("shop".into(), "vendor".into()), Day(20_000 + n as i64), n);
    let facts: Vec<Fact> = (1..6).map(fact).collect();
    store.save(&facts, || facts.clone()).unwrap();
    let text = disk.read(NAME).unwrap().unwrap();
    let head = b"flamegate ledger 1\n".len();
    for place in head..text.len() {
        let mut damaged = text.clone();
        damaged[place] ^= 1;
        let read = crate::ledger::store::parse(&damaged).unwrap();
        assert!(read.spoilt >= 1 && read.facts.len() >= 3, "{place}");
        assert!(read.facts.iter().all(|fact| facts.contains(fact)), "{place}");
    }
}
