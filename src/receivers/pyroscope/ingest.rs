//! `/ingest`: one profile in one request, with everything about it in the query.

use std::time::SystemTime;

use bytes::Bytes;

use super::parts::{self, Parts};
use super::text::{self, Counted, SAMPLE_RATE};
use crate::formats::any::decode_as_asked;
use crate::formats::compress::Inflation;
use crate::formats::{Decoded, Format, Limits, Room, collapsed, sniff};
use crate::pipeline::Refusal;
use crate::receivers::jfr::JfrConfig;
use crate::receivers::series::Series;
use crate::receivers::window::Window;

/// What the query of a request says.
#[derive(Debug)]
pub(super) struct Ingest {
    series: Series,
    window: Window,
    shape: Shape,
    sample_rate: u64,
    jfr: JfrConfig,
}

/// How much of a body is looked at to tell text from other bytes.
const TEXT_HEAD: usize = 512;

/// What the body is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing that decides: what it looks like.
    Unsaid,
    Pprof,
    /// `frame;frame count` lines.
    Groups,
    /// One stack a line.
    Lines,
    Speedscope,
    /// Packed stacks of agents of old.
    Trie,
    Tree,
}

impl Ingest {
    /// Reads the query. Parameters that mean nothing to a profile are left alone.
    pub(super) fn parse(query: &str, media_type: &str, now: SystemTime) -> Result<Self, Refusal> {
        let find = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let named = Series::parse(find("name").as_deref().unwrap_or_default());
        let mut series = named.map_err(|error| Refusal::Invalid(format!("name: {error}")))?;
        series.say("pyroscope.spy", find("spyName").as_deref().unwrap_or_default());
        let rate = find("sampleRate").and_then(|rate| rate.parse().ok());
        Ok(Self {
            series,
            window: Window::parse(find("from").as_deref(), find("until").as_deref(), now),
            shape: Shape::parse(find("format").as_deref().unwrap_or_default(), media_type),
            sample_rate: rate
                .filter(|rate| (1..=1_000_000_000).contains(rate))
                .unwrap_or(SAMPLE_RATE),
            jfr: JfrConfig::default(),
        })
    }

    /// The same with recordings of the JVM read in this way.
    pub(super) fn reading(self, jfr: JfrConfig) -> Self {
        Self { jfr, ..self }
    }

    /// Decodes a body without its `content-encoding`, and gives the bytes that were decoded with it.
    pub(super) fn decode(
        mut self,
        body: Bytes,
        boundary: Option<&str>,
        inflation: &mut Inflation<'_>,
        limits: &Limits,
        room: &dyn Room,
    ) -> Result<(Decoded, Format, Bytes), Refusal> {
        // some clients say `format=pprof` and send parts all the same; pprof cannot begin like a boundary
        let parts = match boundary {
            Some(boundary) if body.starts_with(b"--") => Some(parts::split(&body, boundary)?),
            _ => None,
        };
        let is_bare = parts.is_none();
        let Parts { profile, name, labels } = parts.unwrap_or_else(|| Parts::bare(body));
        if let Some(name) = name
            && !self.series.says("pyroscope.name")
        {
            self.series.say("pyroscope.name", name);
        }
        let plain = inflation.unwrap_sibling(profile)?;
        let format = match self.shape {
            // what Go answers to `debug=1` is sent as pprof too
            Shape::Pprof => match sniff(&plain) {
                Ok(Format::PprofLegacy) => Format::PprofLegacy,
                _ => Format::Pprof,
            },
            Shape::Lines => Format::Collapsed,
            Shape::Speedscope => Format::Speedscope,
            Shape::Trie => Format::Trie,
            Shape::Tree => Format::Tree,
            Shape::Groups => match looks_like(&plain, Format::Collapsed)? {
                Format::Collapsed => Format::Collapsed,
                other => {
                    let why = format!("format: text is announced, and this is {other}; announce that, or nothing");
                    return Err(Refusal::Invalid(why));
                }
            },
            // parts hold pprof unless they plainly hold something else
            Shape::Unsaid if !is_bare => looks_like(&plain, Format::Pprof)?,
            Shape::Unsaid => looks_like(&plain, Format::Collapsed)?,
        };
        let counted = self.counted(format)?;
        let mut decoded = match (self.shape, format) {
            (Shape::Lines, _) => collapsed::decode_lines(&plain, limits, room)?,
            _ => {
                let labels = match format {
                    Format::Jfr => inflation.unwrap_sibling(labels)?,
                    _ => Bytes::new(),
                };
                decode_as_asked(format, &plain, &self.jfr.options(&labels), limits, room)?
            }
        };
        if let Some(counted) = counted {
            counted.write_to(&mut decoded.profiles, self.sample_rate);
        }
        self.series.write_to(&mut decoded.profiles);
        self.window.fill(&mut decoded.profiles);
        decoded.exact = false; // the bytes do not hold what the query says
        Ok((decoded, format, plain))
    }

    /// What the lines of a text count; the name loses what says so.
    fn counted(&mut self, format: Format) -> Result<Option<Counted>, Refusal> {
        let formats = [Format::Collapsed, Format::Trie, Format::Tree, Format::Speedscope];
        if !formats.contains(&format) {
            return Ok(None);
        }
        let app = self.series.app().to_owned();
        let Some((service, counted)) = text::split_name(&app) else {
            if format == Format::Speedscope {
                return Ok(None);
            }
            let why = "name: its last part says what the lines count, and this one does not; \
                       append .cpu, .wall, .alloc_space, .inuse_space or the like";
            return Err(Refusal::Invalid(why.to_owned()));
        };
        self.series.rename(service);
        // speedscope files say themselves what they count
        if format == Format::Speedscope {
            return Ok(None);
        }
        if !self.series.says("pyroscope.name") {
            self.series.say("pyroscope.name", counted.name);
        }
        Ok(Some(counted))
    }
}

impl Shape {
    fn parse(format: &str, media_type: &str) -> Self {
        match format {
            "pprof" => Self::Pprof,
            "lines" => Self::Lines,
            "speedscope" => Self::Speedscope,
            "groups" | "folded" | "collapsed" => Self::Groups,
            "trie" => Self::Trie,
            "tree" => Self::Tree,
            "" if media_type.ends_with("+trie") => Self::Trie,
            "" if media_type.ends_with("+tree") => Self::Tree,
            // to Pyroscope any other word means text, and `jfr` is plain from the bytes
            _ => Self::Unsaid,
        }
    }
}

/// The format of bytes, or what they are that is not read here. Text that begins like nothing known, and anything like it, is
/// taken for `otherwise`, whose decoder says what is wrong with it.
fn looks_like(plain: &[u8], otherwise: Format) -> Result<Format, Refusal> {
    match sniff(plain) {
        Ok(Format::Otlp | Format::OtlpJson) => Err(Refusal::Invalid(
            "this is OTLP; POST it to /v1development/profiles".to_owned(),
        )),
        Ok(format) => Ok(format),
        Err(unknown) if unknown.is_named() => Err(unknown.into()),
        Err(_) if otherwise != Format::Collapsed || is_text(plain) => Ok(otherwise),
        Err(unknown) => Err(unknown.into()),
    }
}

/// Whether bytes begin as text does.
fn is_text(plain: &[u8]) -> bool {
    let head = plain.get(..TEXT_HEAD).unwrap_or(plain);
    let strange = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    !head.iter().any(strange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Permit;
    use crate::receivers::testing::{profile_attributes, resource};

    fn ingest(query: &str, body: &'static [u8]) -> Result<Decoded, Refusal> {
        let limits = Limits::default();
        let ingest = Ingest::parse(query, "", SystemTime::now())?;
        let room = Permit::unlimited();
        let body = Bytes::from_static(body);
        let (decoded, ..) = ingest.decode(body, None, &mut Inflation::new(&limits), &limits, &room)?;
        Ok(decoded)
    }

    #[test]
    fn every_text_format_counts() {
        let text = b"main;work 2\nmain 1\n";
        for (query, sum) in [
            ("name=my.app.cpu", 30_000_000),
            ("name=my.app.cpu&format=folded&sampleRate=1000", 3_000_000),
            ("name=my.app.cpu&format=groups&sampleRate=-3", 30_000_000),
            ("name=my.app.cpu&format=collapsed&sampleRate=nonsense", 30_000_000),
            ("name=my.app.inuse_objects&format=anything", 3),
            ("name=my.app.samples&format=lines", 2),
        ] {
            let decoded = ingest(query, text).unwrap();
            let profile = decoded.profiles.iter().next().unwrap().profile;
            assert_eq!(profile.samples.sum(0, 1), sum, "{query}");
            assert_eq!(resource(&decoded.profiles)["service.name"], "my.app", "{query}");
            assert!(profile.time_unix_nano > 1_700_000_000_000_000_000, "{query}");
        }
    }

    #[test]
    fn packed_stacks_count_as_text_does() {
        // a root, and below it `main;` with the two ends `a` and `b`
        let trie = b"\0\0\x01\x05main;\0\x02\x01a\x02\0\x01b\x03\0";
        let tree = b"\0\0\x01\x04main\0\x02\x01a\x02\0\x01b\x03\0";
        for (format, body) in [("trie", &trie[..]), ("tree", tree)] {
            let decoded = ingest(&format!("name=my.app.cpu&sampleRate=1000&format={format}"), body).unwrap();
            let profile = decoded.profiles.iter().next().unwrap().profile;
            assert_eq!(profile.samples.sum(0, 1), 5_000_000, "{format}");
            assert_eq!(resource(&decoded.profiles)["service.name"], "my.app", "{format}");
            let why = ingest(&format!("name=a.cpu&format={format}"), b"main 1\n").unwrap_err();
            assert!(
                matches!(&why, Refusal::Invalid(why) if why.starts_with(format)),
                "{why}"
            );
        }
        let by_type = Ingest::parse("name=a", "binary/octet-stream+trie", SystemTime::now()).unwrap();
        assert_eq!(by_type.shape, Shape::Trie);
    }

    #[test]
    fn old_forms_of_pprof_are_read_where_pprof_is_announced() {
        let text = b"goroutine profile: total 3\n3 @ 0x11 0x21\n";
        for query in ["name=a&format=pprof", "name=a"] {
            let decoded = ingest(query, text).unwrap();
            let profile = decoded.profiles.iter().next().unwrap().profile;
            assert_eq!(profile.samples.sum(0, 1), 3, "{query}");
            assert_eq!(resource(&decoded.profiles)["service.name"], "a", "{query}");
        }
    }

    #[test]
    fn the_query_becomes_labels_and_time() {
        let query =
            "name=a.b.cpu%7Bk8s.pod.name%3Dp-1%2C__session_id__%3D7%7D&spyName=rbspy&from=1700000000&until=1700000010";
        let decoded = ingest(query, b"main 1\n").unwrap();
        let labels = resource(&decoded.profiles);
        assert_eq!(
            (labels["service.name"].as_str(), labels["k8s.pod.name"].as_str()),
            ("a.b", "p-1")
        );
        let own = profile_attributes(&decoded.profiles);
        assert_eq!(own["pyroscope.spy"], "rbspy");
        assert_eq!(own["pyroscope.session_id"], "7");
        assert_eq!(own["pyroscope.name"], "process_cpu");
        let profile = decoded.profiles.iter().next().unwrap().profile;
        assert_eq!(profile.time_unix_nano, 1_700_000_000_000_000_000);
        assert_eq!(profile.duration_nano, 10_000_000_000);
    }

    #[test]
    fn what_is_not_read_is_said() {
        for (query, body) in [
            ("format=folded", &b"a 1\n"[..]),
            ("name=my.awesome.app", b"a 1\n"),
            ("name=a.cpu", b"no count here\n"),
            ("name=a.cpu", b""),
        ] {
            assert!(matches!(ingest(query, body), Err(Refusal::Invalid(_))), "{query}");
        }
    }

    #[test]
    fn the_bytes_say_what_they_are_where_the_query_does_not() {
        let told = |query: &str, body: &'static [u8]| ingest(query, body).unwrap_err().to_string();
        for query in ["name=a.cpu", "name=a.cpu&format=folded", "name=a.cpu&format=word"] {
            let why = told(query, b"");
            assert!(why.contains("no bytes at all"), "{query}: {why}");
            let why = told(query, b"\x93garbage\x00\x01\x02");
            assert!(why.contains("no format of profiles"), "{query}: {why}");
            let why = told(query, b"<!DOCTYPE html><html>");
            assert!(why.contains("HTML"), "{query}: {why}");
            for text in [&b"main;work\n"[..], b"xx"] {
                let why = told(query, text);
                assert!(why.starts_with("collapsed: line 1"), "{query}: {why}");
            }
        }
        let speedscope = br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[{"name":"main"}]},
            "profiles":[{"type":"sampled","name":"p","unit":"none","startValue":0,"endValue":1,"samples":[[0]],"weights":[1]}]}"#;
        for query in ["name=a.cpu", "name=a.cpu&format=word"] {
            assert_eq!(
                ingest(query, speedscope).unwrap().profiles.profile_count(),
                1,
                "{query}"
            );
        }
        let why = told("name=a.cpu&format=groups", speedscope);
        assert!(why.contains("text is announced, and this is speedscope"), "{why}");
    }

    #[test]
    fn recordings_come_in_parts_and_bare() {
        let recording = crate::testing::data("ap-wall.jfr.gz");
        let limits = Limits::default();
        let read = |query: &str, body: Vec<u8>, boundary| {
            let ingest = Ingest::parse(query, "", SystemTime::now())?;
            let room = Permit::unlimited();
            let decoded = ingest.decode(body.into(), boundary, &mut Inflation::new(&limits), &limits, &room)?;
            Ok::<_, Refusal>(decoded.0)
        };
        // the message says that text 1 is `k`
        let parts: [(&str, &[u8]); 2] = [("jfr", &recording), ("labels", b"\x12\x05\x08\x01\x12\x01k")];
        let in_parts = parts::tests::body(&parts);
        for (query, body, boundary) in [
            ("name=shop&format=jfr", in_parts.clone(), Some("BOUND")),
            ("name=shop", in_parts, Some("BOUND")),
            ("name=shop&format=jfr", recording.clone(), None),
        ] {
            let decoded = read(query, body, boundary).unwrap();
            assert_eq!(decoded.profiles.profile_count(), 2, "{query}");
            assert_eq!(resource(&decoded.profiles)["service.name"], "shop", "{query}");
        }
        let wrong = parts::tests::body(&[("jfr", &recording), ("labels", b"\xff\xff")]);
        assert!(matches!(
            read("name=shop", wrong, Some("BOUND")),
            Err(Refusal::Invalid(_))
        ));
    }
}
