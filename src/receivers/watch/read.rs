//! One file to profiles: opened with care, read, dated, and named by its path.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use regex::Regex;
use rustix::io::Errno;

use super::config::Taking;
use super::identity::{Found, Identity};
use crate::formats::any::AnyError;
use crate::formats::{Decoded, Fault, Format, jfr, v8};
use crate::pipeline::compute::{Panicked, guard};
use crate::pipeline::outlet::{self, Arrival};
use crate::pipeline::{Origin, Permit, Received, Refusal};
use crate::profile::{ProfileId, Profiles};
use crate::receivers::regular;
use crate::receivers::series::Series;
use crate::receivers::unnamed::{self, Reading, Source};
use crate::receivers::window::YEAR_1971;

/// Differences of local time to UTC are smaller, in nanoseconds.
const ZONES: u64 = 15 * 3_600 * 1_000_000_000;

/// What stands where a profile has no id.
const UNSET_ID: ProfileId = [0; 16];

/// Why there is nothing of a file, or not yet.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is being written, or has become another one: look again.
    Changed,
    /// It may be half of a recording.
    Unfinished(Refusal),
    /// It is refused, or nothing is let in now.
    Refused(Refusal),
    /// There is no memory for as much as it needs, now.
    NoMemory,
    /// It cannot be opened or read.
    Unreadable(io::ErrorKind),
}

impl Unread {
    /// The same, from where a file is read and decoded: what there is no room for is the file.
    pub(super) fn of_file(self) -> Self {
        match self {
            Self::Refused(Refusal::Unavailable { .. }) => Self::NoMemory,
            other => other,
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        match error.kind() {
            io::ErrorKind::NotFound => Self::Changed,
            _ if is_link => Self::Changed,
            kind => Self::Unreadable(kind),
        }
    }
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Open {
    found: Found,
    file: File,
    content: Content,
    permit: Permit,
}

/// What is in a file.
#[derive(Debug)]
enum Content {
    /// All of it, to be decoded.
    Whole(Bytes),
    /// A recording of the JVM, decoded chunk by chunk as it was read, or the panic that this ended in.
    Decoded(Result<Result<(Decoded, Received), Unread>, Panicked>),
}

impl Open {
    /// Opens a file as it was found, and reads it. Waits on the disk: a recording of the JVM is decoded here too, for its chunks
    /// are read in between, and a disk that stalls must not keep work of others waiting.
    pub(super) fn new(found: Found, taking: &Taking, permit: Permit) -> Result<Self, Unread> {
        let size = found.identity.size;
        if size > taking.max_file_size {
            let why = format!("larger than the {} bytes of `max_file_size`", taking.max_file_size);
            return Err(Refusal::too_large(crate::pipeline::Limit::Body, why).into());
        }
        let Some(mut file) = regular::open(&found.path, taking.follow_symlinks)? else {
            return Err(Unread::Changed);
        };
        is_same(&file, &found)?;
        let mut head = Vec::new();
        file.by_ref().take(4).read_to_end(&mut head)?;
        file.rewind()?;
        let content = match jfr::is_recording(&head) {
            true => Content::Decoded(guard(|| of_recording(&file, &taking.reading, &permit))),
            false => Content::Whole(whole(&mut file, &found, &permit)?),
        };
        Ok(Self {
            found,
            file,
            content,
            permit,
        })
    }

    /// What it holds: CPU work. What may be half of a recording is `Unfinished`, unless this is its last chance.
    pub(super) fn decode(self, taking: &Taking, origin: &Arc<Origin>, is_last: bool) -> Result<Arrival, Unread> {
        let read = match self.content {
            Content::Whole(content) => {
                unnamed::decode(Source::File, content, &[], &taking.reading, &self.permit).map_err(undecoded)
            }
            Content::Decoded(Ok(read)) => read,
            // it is the engine that counts panics
            Content::Decoded(Err(panicked)) => std::panic::resume_unwind(Box::new(panicked)),
        };
        is_same(&self.file, &self.found)?;
        let (mut decoded, received) = read.map_err(|why| match why {
            Unread::Unfinished(refusal) if is_last => Unread::Refused(refusal),
            why => why,
        })?;
        if let Some(first) = decoded.rejected.first.as_ref().filter(|_| !is_last) {
            return Err(Unread::Unfinished(Refusal::Invalid(first.to_string())));
        }
        taking.complete(&mut decoded, received.format, &self.found);
        Ok(Arrival {
            content: outlet::Content::Profiles(decoded),
            received,
            origin: origin.clone(),
            permit: self.permit,
        })
    }
}

/// Whether an open file is the one that was found, as it was found.
fn is_same(file: &File, found: &Found) -> Result<(), Unread> {
    match Identity::of(&file.metadata()?) == found.identity {
        true => Ok(()),
        false => Err(Unread::Changed),
    }
}

fn whole(file: &mut File, found: &Found, permit: &Permit) -> Result<Bytes, Unread> {
    let size = usize::try_from(found.identity.size).unwrap_or(usize::MAX);
    permit.grow(size).map_err(Refusal::from)?;
    let mut content = Vec::with_capacity(size);
    file.by_ref().take(found.identity.size).read_to_end(&mut content)?;
    match content.len() == size {
        true => Ok(content.into()),
        false => Err(Unread::Changed),
    }
}

fn of_recording(file: &File, reading: &Reading, permit: &Permit) -> Result<(Decoded, Received), Unread> {
    let options = reading.jfr.options(&[]);
    let source = io::BufReader::with_capacity(64 << 10, file);
    let read = jfr::decode_stream_within(source, &options, &reading.limits, permit);
    let read = read.map_err(|error| match error {
        jfr::StreamError::Io(error) => error.into(),
        jfr::StreamError::Decode(error) => undecoded(error.into()),
    })?;
    let received = Received {
        format: Format::Jfr,
        bytes: Bytes::new(),
    };
    Ok((read.decoded, received))
}

/// Wrong bytes may be half of the right ones; what is too large, or of another format that is known, is not.
fn undecoded(error: AnyError) -> Unread {
    let may_grow = match (&error, error.fault()) {
        (AnyError::Unknown(unknown), Fault::Unsupported) => !unknown.is_named(),
        (_, fault) => fault == Fault::Malformed,
    };
    match may_grow {
        true => Unread::Unfinished(error.into()),
        false => Unread::Refused(error.into()),
    }
}

impl Taking {
    /// Adds to profiles what their file tells and its content does not: whose they are, when they were made, and ids by which a
    /// backend knows those again that it has got.
    fn complete(&self, decoded: &mut Decoded, format: Format, found: &Found) {
        decoded.exact = false;
        date(&mut decoded.profiles, format, found);
        name(&mut decoded.profiles, &found.identity);
        self.series(found).write_to(&mut decoded.profiles);
    }

    /// What the configuration and the path say of it.
    fn series(&self, found: &Found) -> Series {
        let mut series = Series::default();
        let path = found.path.to_string_lossy();
        let captures = self.path_pattern.as_ref().and_then(|pattern| pattern.captures(&path));
        let groups = self.path_pattern.iter().flat_map(Regex::capture_names).flatten();
        let captured = groups.filter_map(|group| Some((group, captures.as_ref()?.name(group)?.as_str())));
        let configured = self.resource.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in configured.chain(captured) {
            // `resource` names the service with a dot, a group cannot do otherwise than win
            let key = if key == "service.name" { "service_name" } else { key };
            // keys are not empty, and fewer than a series may have
            let _ = series.label(key, value);
        }
        series
    }
}

/// Dates profiles whose format tells no time, or time since the machine was started: V8's, stacks as text. A file is written when
/// its recording ends. If it was copied since, its name may say when that began.
fn date(profiles: &mut Profiles, format: Format, found: &Found) {
    let ended = u64::try_from(found.identity.modified).unwrap_or_default();
    let file_name = found.path.file_name().unwrap_or_default().to_string_lossy();
    if format == Format::CpuProfile && v8::is_dated(&file_name) {
        v8::date(profiles, &file_name, found.identity.modified_at());
    }
    let named = named_date(&file_name);
    let scopes = profiles
        .edit_resources()
        .iter_mut()
        .flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        if profile.time_unix_nano >= YEAR_1971 {
            continue;
        }
        let began = ended.saturating_sub(profile.duration_nano);
        profile.time_unix_nano = match named {
            // names tell local time of a zone that they do not tell, so that it counts only where it must
            Some(named) if named.abs_diff(began) > ZONES => named,
            _ => began,
        };
    }
}

/// The date in a name such as `CPU.20261121.160501.7.0.001.cpuprofile` or `app-20261121-160501.jfr`, in nanoseconds, read as UTC.
fn named_date(name: &str) -> Option<u64> {
    let digits: Vec<&str> = name.split(|letter: char| !letter.is_ascii_digit()).collect();
    let pairs = digits.windows(2).filter_map(|pair| match pair {
        [day, time] if day.len() == 8 && time.len() == 6 => Some((*day, *time)),
        _ => None,
    });
    pairs.into_iter().find_map(|(day, time)| {
        let (year, rest) = day.split_at_checked(4)?;
        let (month, day) = rest.split_at_checked(2)?;
        let (hour, rest) = time.split_at_checked(2)?;
        let (minute, second) = rest.split_at_checked(2)?;
        let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
        let time = humantime::parse_rfc3339(&text).ok()?;
        let nanos = u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
        Some(nanos).filter(|nanos| *nanos >= YEAR_1971)
    })
}

/// Gives ids to profiles that have none, or that of another one in the file: no two of them may go by the same. Each sample type has
/// its own, for some formats write it as a profile of its own.
fn name(profiles: &mut Profiles, identity: &Identity) {
    let mut known = HashSet::new();
    let scopes = profiles
        .edit_resources()
        .iter_mut()
        .flat_map(|resource| &mut resource.scopes);
    for (at, profile) in scopes.flat_map(|scope| &mut scope.profiles).enumerate() {
        profile.ids.resize(profile.sample_types.len(), UNSET_ID);
        for (sample_type, id) in profile.ids.iter_mut().enumerate() {
            if *id == UNSET_ID || !known.insert(*id) {
                *id = identity.profile_id(at, sample_type);
            }
        }
    }
}

/// Where the profiles of a file come from.
pub(super) fn origin(receiver: &Arc<str>, taking: &Taking) -> Arc<Origin> {
    Arc::new(Origin {
        receiver: receiver.clone(),
        peer: None,
        tenant: taking.tenant.clone(),
        arrived: SystemTime::now(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::formats::compress::Inflation;
    use crate::pipeline::Budget;
    use crate::receivers::testing::{context, resource};
    use crate::receivers::watch::config::WatchConfig;
    use crate::receivers::watch::scan::regular;

    fn taking(yaml: &str) -> Taking {
        let config: WatchConfig = serde_saphyr::from_str(&format!("include: /p/*\n{yaml}")).unwrap();
        config.check("", &context()).unwrap().taking
    }

    fn find(path: &Path) -> Found {
        Found {
            path: path.to_owned(),
            identity: Identity::of(&regular(path, true).unwrap()),
        }
    }

    fn decode(path: &Path, taking: &Taking, is_last: bool) -> Result<Profiles, Unread> {
        let open = Open::new(find(path), taking, Budget::new(256 << 20).permit())?;
        let arrival = open.decode(taking, &origin(&"file".into(), taking), is_last)?;
        match arrival.content {
            outlet::Content::Profiles(decoded) => Ok(decoded.profiles),
            outlet::Content::Traces(_) => panic!("files hold profiles"),
        }
    }

    /// A recording of our own, or a piece of one, in a file.
    fn file(folder: &Path, name: &str, data: &[u8]) -> std::path::PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, data).unwrap();
        path
    }

    #[test]
    fn half_a_recording_is_unfinished_until_its_last_chance() {
        let folder = tempfile::tempdir().unwrap();
        let plain = |name| {
            let inflated =
                Inflation::new(&crate::formats::Limits::USUAL).unwrap_layers(crate::testing::data(name).into());
            inflated.unwrap().to_vec()
        };
        for (name, data) in [
            ("heap.pb.gz", crate::testing::data("go123-heap.pb.gz")),
            ("cpu.cpuprofile", plain("node20-cpu.cpuprofile")),
            ("wall.jfr", plain("ap-wall.jfr.gz")),
            ("native.json", plain("py-spy-native.speedscope.json")),
        ] {
            let taking = taking("");
            let whole = decode(&file(folder.path(), name, &data), &taking, false).unwrap();
            assert!(whole.sample_count() > 0, "{name}");
            let half = file(folder.path(), name, &data[..data.len() / 2]);
            let early = decode(&half, &taking, false).unwrap_err();
            assert!(matches!(early, Unread::Unfinished(_)), "{name}: {early:?}");
            let late = decode(&half, &taking, true).unwrap_err();
            assert!(matches!(late, Unread::Refused(Refusal::Invalid(_))), "{name}: {late:?}");
        }
        let line = crate::testing::data("node20-wall-cpu-links.otlp.json.gz");
        let line = Inflation::new(&crate::formats::Limits::USUAL)
            .unwrap_layers(line.into())
            .unwrap();
        let lines = file(folder.path(), "log", &[&line[..], b"\n", &line[..], b"\n"].concat());
        assert!(
            decode(&lines, &taking(""), false).unwrap().profile_count() > 1,
            "as the exporter `file` appends them"
        );
        let empty = file(folder.path(), "empty", b"");
        assert!(matches!(decode(&empty, &taking(""), false), Err(Unread::Unfinished(_))));
        let dump = file(folder.path(), "heap.hprof", b"JAVA PROFILE 1.0.2\0........");
        assert!(matches!(decode(&dump, &taking(""), false), Err(Unread::Refused(_))));
    }

    #[test]
    fn a_recording_is_decoded_where_it_is_read_and_a_panic_of_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let recording = Inflation::new(&crate::formats::Limits::USUAL)
            .unwrap_layers(crate::testing::data("ap-wall.jfr.gz").into())
            .unwrap();
        let (taking, permit) = (taking(""), Budget::new(256 << 20).permit());
        let open = |name, data: &[u8]| Open::new(find(&file(folder.path(), name, data)), &taking, permit.clone());
        let text = open("a.collapsed", b"main 3\n").unwrap();
        assert!(matches!(text.content, Content::Whole(_)));
        let mut read = open("a.jfr", &recording).unwrap();
        assert!(matches!(read.content, Content::Decoded(Ok(Ok(_)))));
        let panicked = guard(|| panic!("planted")).unwrap_err();
        read.content = Content::Decoded(Err(panicked.clone()));
        let told = guard(|| read.decode(&taking, &origin(&"file".into(), &taking), true).is_ok());
        assert_eq!(told.unwrap_err(), panicked);
    }

    #[test]
    fn whole_chunks_of_a_killed_process_count_at_last() {
        let folder = tempfile::tempdir().unwrap();
        let one = crate::testing::data("ap-wall.jfr.gz");
        let one = Inflation::new(&crate::formats::Limits::USUAL)
            .unwrap_layers(one.into())
            .unwrap();
        let cut = [&one[..], &one[..one.len() / 3]].concat();
        let path = file(folder.path(), "killed.jfr", &cut);
        assert!(matches!(decode(&path, &taking(""), false), Err(Unread::Unfinished(_))));
        assert!(decode(&path, &taking(""), true).unwrap().sample_count() > 0);
    }

    #[test]
    fn the_path_says_whose_it_is_and_wins() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("shop")).unwrap();
        let path = file(folder.path(), "shop/a.collapsed", b"main;work 3\n");
        let taking = taking(
            "resource: {service.name: default, env: prod}\npath_pattern: '/(?<service_name>[^/]+)/(?<k8s.pod.name>[^/.]+)\\.'",
        );
        let profiles = decode(&path, &taking, false).unwrap();
        let said: Vec<_> = resource(&profiles).into_iter().collect();
        let expected = [("env", "prod"), ("k8s.pod.name", "a"), ("service.name", "shop")];
        assert_eq!(said, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_tells_no_time_ends_when_its_file_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let data = crate::testing::data("node20-cpu.cpuprofile");
        let path = file(folder.path(), "CPU.20240229.235959.7.0.001.cpuprofile", &data);
        let times = |path: &Path| {
            let profiles = decode(path, &taking(""), false).unwrap();
            let profile = profiles.iter().next().unwrap().profile;
            (profile.time_unix_nano, profile.duration_nano)
        };
        let file = File::options().write(true).open(&path).unwrap();
        let named = 1_709_251_199_000_000_000;
        assert_eq!(times(&path).0, named, "it was copied since, long after its name says");
        let written = UNIX_EPOCH + std::time::Duration::from_nanos(named + 3_600_000_000_000);
        file.set_modified(written).unwrap();
        let (began, lasted) = times(&path);
        assert!(lasted > 0);
        assert_eq!(began, named + 3_600_000_000_000, "an hour is a zone");
        let copied = folder.path().join("mine.cpuprofile");
        std::fs::rename(&path, &copied).unwrap();
        let (began, lasted) = times(&copied);
        assert_eq!(began + lasted, named + 3_600_000_000_000);
    }

    #[test]
    fn no_two_profiles_of_a_file_go_by_one_id() {
        let folder = tempfile::tempdir().unwrap();
        let line = crate::testing::data("node20-wall-cpu-links.otlp.json.gz");
        let line = Inflation::new(&crate::formats::Limits::USUAL)
            .unwrap_layers(line.into())
            .unwrap();
        // a message of three profiles with these ids, which the reader may make one of
        let message = |ids: [&str; 3]| {
            let mut message: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let profiles = &mut message["resourceProfiles"][0]["scopeProfiles"][0]["profiles"];
            for (profile, id) in profiles.as_array_mut().unwrap().iter_mut().zip(ids) {
                profile["profileId"] = id.into();
            }
            message.to_string()
        };
        let (a, b, zero) = ("aa".repeat(16), "bb".repeat(16), "00".repeat(16));
        let lines = [
            message([&a, &a, &zero]),
            message([&b, &a, ""]),
            message([&zero, "", &b]),
        ];
        let path = file(folder.path(), "log", lines.join("\n").as_bytes());
        let ids = |path: &Path| {
            let profiles = decode(path, &taking(""), false).unwrap();
            let ids = profiles.iter().flat_map(|place| place.profile.ids.clone());
            ids.collect::<Vec<_>>()
        };
        let all = ids(&path);
        let different: HashSet<_> = all.iter().filter(|id| **id != UNSET_ID).collect();
        assert!(all.len() == 9 && different.len() == all.len(), "{all:?}");
        assert!(
            all.contains(&[0xaa; 16]) && all.contains(&[0xbb; 16]),
            "what is no other's stays"
        );
        assert_eq!(ids(&path), all, "the same when it is read again");
    }

    #[test]
    fn names_tell_dates() {
        let second = 1_000_000_000;
        assert_eq!(
            named_date("CPU.20231114.221320.7.0.001.cpuprofile"),
            Some(1_700_000_000 * second)
        );
        assert_eq!(named_date("app-20231114-221320.jfr"), Some(1_700_000_000 * second));
        for none in ["app.jfr", "20231114.jfr", "20231399-221320", "00000000-000000", "1-2"] {
            assert_eq!(named_date(none), None, "{none}");
        }
    }

    #[test]
    fn a_file_that_has_become_another_one_is_left_for_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a.collapsed", b"main;work 3\n");
        let found = find(&path);
        std::fs::write(&path, "main;work 35\n").unwrap();
        let permit = Budget::new(1 << 20).permit();
        let changed = Open::new(found.clone(), &taking(""), permit.clone());
        assert!(matches!(changed, Err(Unread::Changed)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Open::new(found, &taking(""), permit), Err(Unread::Changed)));
    }

    #[test]
    fn links_and_pipes_that_took_the_place_of_a_file_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a.collapsed", b"main;work 3\n");
        let found = find(&path);
        let moved = folder.path().join("moved");
        std::fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        let permit = Budget::new(1 << 20).permit();
        assert!(matches!(
            Open::new(found.clone(), &taking(""), permit.clone()),
            Err(Unread::Changed)
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        assert!(matches!(Open::new(found, &taking(""), permit), Err(Unread::Changed)));
    }
}
