//! When a recording of V8's was made. Its clock counts from the start of the machine, so only what comes with the bytes tells: the
//! name that Node.js gives a file, which says in local time when the recording began, and when the file was written, which is when it
//! ended.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::profile::Profiles;

const SECOND: i128 = 1_000_000_000;
/// Zones differ from UTC by a multiple of this, and by no more than that.
const QUARTER: i128 = 15 * 60 * SECOND;
const MOST_ZONE: i128 = 14 * 3_600 * SECOND;
/// So far apart may be what the name says and what the time of writing says: to write a long recording takes a while.
const TOLERANCE: i128 = 2 * 60 * SECOND;

/// Whether a file has the name that Node.js gives to recordings, as in `CPU.20261121.163000.4711.0.001.cpuprofile`.
pub fn is_dated(name: &str) -> bool {
    local_begin(name).is_some()
}

/// Dates the profiles that say no time themselves. `name` is that of the file, or empty if there is none; `written` is when it was, or
/// when its bytes came.
///
/// The name does not say its time zone. If there is one in which it agrees with when the recording was written, it is that; else the
/// file was touched since, and the name counts as UTC.
pub fn date(profiles: &mut Profiles, name: &str, written: SystemTime) {
    let written = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
    let local = local_begin(name);
    let (_, resources) = profiles.edit();
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        if profile.time_unix_nano == 0 {
            let begin = written - i128::from(profile.duration_nano);
            let begin = local.map_or(begin, |local| in_its_zone(local, begin));
            profile.time_unix_nano = u64::try_from(begin).unwrap_or_default();
        }
    }
}

/// A local time as it is in the zone in which it comes close to another one; in UTC if there is no such zone.
fn in_its_zone(local: i128, about: i128) -> i128 {
    let ahead = (local - about + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    let is_zone = ahead.abs() <= MOST_ZONE && (local - ahead - about).abs() <= TOLERANCE;
    if is_zone { local - ahead } else { local }
}

/// The time in a name, in nanoseconds since the Unix epoch as if it were UTC.
fn local_begin(name: &str) -> Option<i128> {
    let mut parts = name.strip_prefix("CPU.")?.split('.');
    let (date, time) = (parts.next()?, parts.next()?);
    let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(date, 8) || !is_number(time, 6) {
        return None;
    }
    let (year, date) = date.split_at_checked(4)?;
    let (month, day) = date.split_at_checked(2)?;
    let (hour, time) = time.split_at_checked(2)?;
    let (minute, second) = time.split_at_checked(2)?;
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    let since = humantime::parse_rfc3339(&text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos() as i128)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::formats::Limits;
    use crate::formats::any::decode_any;

    /// 2026-11-21T16:30:00Z.
    const BEGIN: u64 = 1_795_278_600;

    /// When the recording of 1.5 seconds begins if the file of that name was written so many seconds after `BEGIN`.
    fn dated(name: &str, written: u64) -> u64 {
        let text = br#"{"nodes":[{"id":1,"callFrame":{"functionName":"f","url":"a.js","lineNumber":1}}],
            "startTime":1000000,"endTime":2500000,"samples":[1],"timeDeltas":[0]}"#;
        let decoded = decode_any(text.as_slice().into(), &Limits::default())
            .expect("a recording")
            .decoded;
        let mut profiles = decoded.profiles;
        date(&mut profiles, name, UNIX_EPOCH + Duration::from_secs(BEGIN + written));
        let profile = profiles.iter().next().expect("a profile").profile;
        assert_eq!(profile.duration_nano, 1_500_000_000);
        profile.time_unix_nano
    }

    const HALF: u64 = 500_000_000;

    #[test]
    fn the_name_says_when_it_began_in_the_zone_in_which_that_fits() {
        let begin = BEGIN * 1_000_000_000;
        for name in [
            "CPU.20261121.163000.4711.0.001.cpuprofile",
            // Tokyo, Kathmandu, Los Angeles
            "CPU.20261122.013000.4711.0.001.cpuprofile",
            "CPU.20261121.221500.4711.3.012.cpuprofile.gz",
            "CPU.20261121.083000.4711.0.001.cpuprofile",
        ] {
            assert!(is_dated(name));
            assert_eq!(dated(name, 2), begin, "{name}");
            assert_eq!(dated(name, 60), begin, "{name} written late");
        }
        // of weeks ago
        assert_eq!(
            dated("CPU.20261001.000000.1.0.001.cpuprofile", 2),
            1_790_812_800_000_000_000
        );
    }

    #[test]
    fn other_files_end_when_they_are_written() {
        let begin = BEGIN * 1_000_000_000;
        for name in [
            "",
            "profile.cpuprofile",
            "CPU.cpuprofile",
            "CPU.20261121.cpuprofile",
            "CPU.20261121.1630.1.0.001.cpuprofile",
            "CPU.20261341.163000.1.0.001.cpuprofile",
            "CPU.2026\u{e9}12.163000.cpuprofile",
            // says when the process began, and not when its heap was looked at
            "Heap.20261121.163000.1.0.001.heapprofile",
        ] {
            assert!(!is_dated(name), "{name}");
            assert_eq!(dated(name, 2), begin + HALF, "{name}");
        }
    }
}
