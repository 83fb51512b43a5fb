//! The stretch of time that a client says a profile is of: `from` and `until` of `/ingest`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::profile::Profiles;

/// A profile dated before this was made by a clock that never was set.
pub(super) const YEAR_1971: u64 = 365 * 24 * 3_600 * 1_000_000_000;

/// From when to when, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    from: u64,
    until: Option<u64>,
}

impl Window {
    /// Reads both; what is missing or no time at all means now, as it does to Pyroscope.
    pub(super) fn parse(from: Option<&str>, until: Option<&str>, now: SystemTime) -> Self {
        let now = Self::between(now, None).from;
        Self {
            from: from.and_then(|text| instant(text, now)).unwrap_or(now),
            until: until.and_then(|text| instant(text, now)),
        }
    }

    /// What was measured between two moments, or at one.
    pub(super) fn between(from: SystemTime, until: Option<SystemTime>) -> Self {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        };
        Self {
            from: nanos(from),
            until: until.map(nanos),
        }
    }

    /// Dates the profiles that have no time, or one in 1970, and gives a length to those that have none.
    pub(super) fn fill(&self, profiles: &mut Profiles) {
        let (_, resources) = profiles.edit();
        let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
        for profile in scopes.flat_map(|scope| &mut scope.profiles) {
            if profile.time_unix_nano < YEAR_1971 {
                profile.time_unix_nano = self.from;
            }
            if profile.duration_nano == 0 {
                profile.duration_nano = self.until.map_or(0, |until| until.saturating_sub(self.from));
            }
        }
    }
}

/// Dates the profiles that have no time, or one in 1970, as if they ended when they came. Whether there were any.
pub(super) fn date(profiles: &mut Profiles, came: SystemTime) -> bool {
    if profiles.iter().all(|at| at.profile.time_unix_nano >= YEAR_1971) {
        return false;
    }
    let came = Window::between(came, None).from;
    let resources = profiles.edit_resources().iter_mut();
    let scopes = resources.flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        if profile.time_unix_nano < YEAR_1971 {
            profile.time_unix_nano = came.saturating_sub(profile.duration_nano);
        }
    }
    true
}

/// Digits are seconds, milliseconds, microseconds or nanoseconds by their number, eight of them a day (YYYYMMDD);
/// else `now` or `now-1h`.
fn instant(text: &str, now: u64) -> Option<u64> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("now") {
        return match rest.strip_prefix('-') {
            Some(span) => now.checked_sub(u64::try_from(span_of(span)?.as_nanos()).ok()?),
            None if rest.is_empty() => Some(now),
            None => None,
        };
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = text.parse().ok()?;
    let unit = match text.len() {
        8 => return day(number),
        ..=11 => 1_000_000_000,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    number.checked_mul(unit)
}

fn span_of(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)
        .map(Duration::from_secs)
}

/// The beginning of a day in UTC.
fn day(yyyymmdd: u64) -> Option<u64> {
    let (year, month, day) = (yyyymmdd / 10_000, yyyymmdd / 100 % 100, yyyymmdd % 100);
    let date = format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
    let since = humantime::parse_rfc3339(&date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, collapsed};

    const NOW: u64 = 1_700_000_000_000_000_000;

    #[test]
    fn times_come_in_every_unit() {
        for (text, nanos) in [
            ("1700000001", 1_700_000_001_000_000_000),
            ("1700000001234", 1_700_000_001_234_000_000),
            ("1700000001234567", 1_700_000_001_234_567_000),
            ("1700000001234567890", 1_700_000_001_234_567_890),
            ("20231114", 1_699_920_000_000_000_000),
            ("now", NOW),
            ("now-1h", NOW - 3_600_000_000_000),
            ("now-15s", NOW - 15_000_000_000),
        ] {
            assert_eq!(instant(text, NOW), Some(nanos), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "now+1h",
            "now-1",
            "20231399",
            "99999999999999999999",
            "-5",
            "now-99999999999d",
        ] {
            assert_eq!(instant(text, NOW), None, "{text}");
        }
    }

    #[test]
    fn only_what_is_missing_is_filled() {
        let mut profiles = collapsed::decode(b"main 1\n", &Limits::default()).unwrap().profiles;
        let now = UNIX_EPOCH + Duration::from_nanos(NOW);
        Window::parse(Some("1700000010"), Some("1700000025"), now).fill(&mut profiles);
        let told = |profiles: &Profiles| {
            let profile = profiles.iter().next().unwrap().profile;
            (profile.time_unix_nano, profile.duration_nano)
        };
        assert_eq!(told(&profiles), (1_700_000_010_000_000_000, 15_000_000_000));
        Window::parse(Some("1600000000"), Some("1600000001"), now).fill(&mut profiles);
        assert_eq!(told(&profiles), (1_700_000_010_000_000_000, 15_000_000_000));

        profiles.edit().1[0].scopes[0].profiles[0].time_unix_nano = 37_000_000_000;
        profiles.edit().1[0].scopes[0].profiles[0].duration_nano = 0;
        Window::parse(Some("garbage"), Some("1600000000"), now).fill(&mut profiles);
        assert_eq!(
            told(&profiles),
            (NOW, 0),
            "1970 is no time, and time does not run backwards"
        );
    }
}
