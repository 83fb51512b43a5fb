//! The line of a sample.

/// What the line of a sample says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sample<'a> {
    /// The name of the thread, which perf calls its command.
    pub thread: &'a str,
    pub thread_id: i64,
    /// Where both numbers are told.
    pub process_id: Option<i64>,
    /// Nanoseconds of a clock of the kernel's.
    pub time: Option<u64>,
    pub period: Option<i64>,
    /// With its modifiers, as in `cycles:u`; empty if it is not told.
    pub event: &'a str,
    /// What follows the event: what a tracepoint says, or the only frame.
    pub rest: &'a str,
}

impl<'a> Sample<'a> {
    /// None if the line is not of a sample. Names of threads hold blanks, digits and colons: the first number after which
    /// everything is as it should be is the thread's.
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim_end();
        let sample = numbers(line).find_map(|(at, end, (process_id, thread_id))| {
            Some(Self {
                thread: line.get(..at)?.trim(),
                thread_id,
                process_id,
                ..Self::told(line.get(end..)?)?
            })
        });
        sample.filter(|sample| !sample.is_record())
    }

    /// Whether it stands where a sample names its event, or before what would have been one, that it is about something else.
    fn is_record(&self) -> bool {
        self.event.starts_with(RECORD.trim_start()) || self.thread.contains(RECORD)
    }

    /// What follows the numbers, up to the end of the line.
    fn told(text: &'a str) -> Option<Self> {
        let mut told = Self::default();
        let mut rest = skip(text, is_cpu);
        rest = skip(rest, is_mode);
        if let (Some(time), after) = take(rest, time) {
            (told.time, rest) = (Some(time), after);
        }
        if let (Some(period), after) = take(rest, |word| word.parse().ok().filter(|period| *period >= 0)) {
            (told.period, rest) = (Some(period), after);
        }
        let (event, after) = take(rest, |word| word.strip_suffix(':').filter(|event| !event.is_empty()));
        match event {
            Some(event) => (told.event, told.rest) = (event, after.trim_start()),
            // without an event, nothing or a frame follows
            None if told.time.is_some() => told.rest = rest.trim_start(),
            None => return None,
        }
        (!told.event.is_empty() || told.rest.is_empty() || super::frame::Frame::with_address(told.rest).is_some())
            .then_some(told)
    }

    /// Whether it says when it was taken, or how much it counts.
    pub fn is_measured(&self) -> bool {
        self.time.is_some() || self.period.is_some()
    }
}

/// Before the kind of a line that is about something else than a sample.
pub(super) const RECORD: &str = " PERF_RECORD_";
/// More numbers than the name of a thread has: one of 15 bytes has 8, and those of the kernel's threads have no blanks.
const MOST_NUMBERS: usize = 32;

/// Where the numbers of the thread may stand, from and to, and what they are.
fn numbers(line: &str) -> impl Iterator<Item = (usize, usize, (Option<i64>, i64))> {
    let mut next = 0;
    let words = line.split(' ').map(move |word| {
        let at = next;
        next += word.len() + 1;
        (at, word)
    });
    let numbers = words.filter_map(|(at, word)| Some((at, at + word.len(), ids(word)?)));
    numbers.take(MOST_NUMBERS)
}

/// The first word read as something, and what follows it; the same text if it is something else.
fn take<'a, T>(text: &'a str, read: impl Fn(&'a str) -> Option<T>) -> (Option<T>, &'a str) {
    let text = text.trim_start();
    let (word, after) = text.split_once(' ').unwrap_or((text, ""));
    match read(word) {
        Some(value) => (Some(value), after),
        None => (None, text),
    }
}

/// What follows the first word, if it is one of those.
fn skip(text: &str, is_one: impl Fn(&str) -> bool) -> &str {
    take(text, |word| is_one(word).then_some(())).1
}

/// `tid` or `pid/tid`: the process, if it is told, and the thread.
fn ids(word: &str) -> Option<(Option<i64>, i64)> {
    let id = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok())?
    };
    match word.split_once('/') {
        Some((process, thread)) => Some((Some(id(process)?), id(thread)?)),
        None => Some((None, id(word)?)),
    }
}

/// `[002]`
fn is_cpu(word: &str) -> bool {
    let inside = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    inside.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `U` or `K` of `-F misc`.
fn is_mode(word: &str) -> bool {
    (1..=3).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// `1974.509532:` in nanoseconds.
fn time(word: &str) -> Option<u64> {
    let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_fraction {
        return None;
    }
    let scale = 10u64.pow(9 - fraction.len() as u32);
    let seconds: u64 = seconds.parse().ok()?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(fraction.parse::<u64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_whichever_are_there() {
        let full = Sample {
            thread: "worker 3: x [1]",
            thread_id: 18_540,
            process_id: Some(18_532),
            time: Some(1_974_509_532_000),
            period: Some(10_101_010),
            event: "cpu-clock",
            rest: "",
        };
        let line = "worker 3: x [1] 18532/18540 [002]  1974.509532:   10101010 cpu-clock: ";
        assert_eq!(Sample::parse(line), Some(full));
        let told = |line| {
            let sample = Sample::parse(line).unwrap_or_else(|| panic!("{line}"));
            (
                sample.thread,
                sample.thread_id,
                sample.time.is_some(),
                sample.period,
                sample.event,
            )
        };
        for (line, parts) in [
            ("shop 7   1.5:   3 cycles:u: ", ("shop", 7, true, Some(3), "cycles:u")),
            ("shop 7 [000]   3 cycles:", ("shop", 7, false, Some(3), "cycles")),
            ("shop 7 cycles:", ("shop", 7, false, None, "cycles")),
            ("   shop 2 7 3 cycles:", ("shop 2", 7, false, Some(3), "cycles")),
            (
                "7/8 [001] U 1.000000001: instructions:",
                ("", 8, true, None, "instructions"),
            ),
            ("swapper     0 1.5:", ("swapper", 0, true, None, "")),
            (":-1    -1 1.5: cs:", (":-1", -1, true, None, "cs")),
        ] {
            assert_eq!(told(line), parts, "{line}");
        }
        for line in [
            "main;work 12",
            "404 page not found",
            "shop 7 1.5: something else",
            "shop seven 1.5: cycles:",
            "x 1 2 3",
            "",
        ] {
            assert_eq!(Sample::parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_follows_the_event_is_kept_apart() {
        let told = |line| Sample::parse(line).map(|sample| (sample.event, sample.rest));
        assert_eq!(
            told("shop 7 [000] 1.5: sched:sched_switch: prev_comm=a prev_pid=1 ==> next_pid=2"),
            Some(("sched:sched_switch", "prev_comm=a prev_pid=1 ==> next_pid=2"))
        );
        assert_eq!(
            told("shop 7 1.5:  7f01 work+0x1 (/srv/shop)"),
            Some(("", "7f01 work+0x1 (/srv/shop)"))
        );
    }

    #[test]
    fn a_line_is_tried_so_many_times() {
        assert_eq!(numbers(&"1 ".repeat(100_000)).count(), MOST_NUMBERS);
        let sample = |name: &str| Sample::parse(&format!("{name} 17 1.5: cycles:")).map(|sample| sample.thread_id);
        assert_eq!(sample("1 2 3 4 5 6 7 x"), Some(17));
        assert_eq!(sample(&"1 ".repeat(100)), None);
    }

    #[test]
    fn lines_about_something_else_are_no_samples() {
        for line in [
            "shop 7 [000] 1.5: PERF_RECORD_COMM: shop:7/7",
            "shop 7 [000] 1.5: PERF_RECORD_MMAP2 7/7: [0x1(0x2) @ 0 fd:01 12 3]: r-xp /srv/shop",
        ] {
            assert_eq!(Sample::parse(line), None, "{line}");
        }
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(time("2411.770221:"), Some(2_411_770_221_000));
        assert_eq!(time("0.000000001:"), Some(1));
        for text in ["1.5", "15:", "1.:", "1.0123456789:", "x.5:", "99999999999999.0:"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
