//! Profiles as text for people, in the manner of the Collector's debug exporter.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use super::Verbosity;
use crate::formats::quantity::counted;
use crate::profile::{
    AttributeSetId, Dictionary, LocationId, Observations, Profile, Profiles, ResourceProfiles, ScopeProfiles, StringId,
    Value, ValueType,
};

/// Most text of one batch: whoever reads a log wants an example, and no log should take a whole heap.
const MOST_TEXT: usize = 1 << 20;
/// Most of one name or value.
const MOST_VALUE: usize = 1 << 10;

/// What there is to tell of a batch.
pub(super) fn tell(profiles: &Profiles, verbosity: Verbosity) -> String {
    let mut page = Page {
        d: profiles.dictionary(),
        text: format!(
            "profiles: {}, {}, {}",
            counted(profiles.resources().len(), "resource"),
            counted(profiles.profile_count(), "profile"),
            counted(profiles.sample_count(), "sample")
        ),
        left_out: 0,
    };
    match verbosity {
        Verbosity::Basic => {}
        Verbosity::Normal => page.totals(profiles),
        Verbosity::Detailed => page.everything(profiles),
    }
    page.text
}

struct Page<'a> {
    d: &'a Dictionary,
    text: String,
    /// Samples for which there was no room.
    left_out: usize,
}

impl<'a> Page<'a> {
    fn totals(&mut self, profiles: &Profiles) {
        for (number, at) in profiles.iter().enumerate() {
            let types = &at.profile.sample_types;
            for (column, of) in types.iter().enumerate() {
                let total = at.profile.samples.sum(column, types.len());
                let (kind, unit) = (self.str(of.kind), self.str(of.unit));
                self.text.push_str(&format!("; profile {number} {kind} {total} {unit}"));
            }
        }
    }

    fn everything(&mut self, profiles: &'a Profiles) {
        for (number, resource) in profiles.resources().iter().enumerate() {
            self.resource(number, resource);
        }
        if self.left_out > 0 {
            let left_out = self.left_out;
            self.text.push_str(&format!("\n... and {left_out} samples more"));
        }
        // the log puts its fields behind the message
        self.text.push('\n');
    }

    fn resource(&mut self, number: usize, resource: &'a ResourceProfiles) {
        self.line(0, format_args!("ResourceProfiles #{number}"));
        self.named(0, "Resource SchemaURL", resource.schema_url);
        self.attributes(
            0,
            "Resource attributes",
            resource.attributes.iter().map(|kv| (kv.key, &kv.value)),
        );
        for (number, scope) in resource.scopes.iter().enumerate() {
            self.scope(number, scope);
        }
    }

    fn scope(&mut self, number: usize, scope: &'a ScopeProfiles) {
        self.line(0, format_args!("ScopeProfiles #{number}"));
        self.named(0, "ScopeProfiles SchemaURL", scope.schema_url);
        let (name, version) = (self.str(scope.name), self.str(scope.version));
        self.line(0, format_args!("InstrumentationScope: {name} {version}"));
        self.attributes(
            0,
            "InstrumentationScope attributes",
            scope.attributes.iter().map(|kv| (kv.key, &kv.value)),
        );
        for (number, profile) in scope.profiles.iter().enumerate() {
            self.profile(number, profile);
        }
    }

    fn profile(&mut self, number: usize, profile: &'a Profile) {
        self.line(0, format_args!("Profile #{number}"));
        for id in profile.ids.iter().filter(|id| **id != [0; 16]) {
            self.line(4, format_args!("Profile ID: {}", hex(id)));
        }
        if profile.time_unix_nano > 0 {
            self.line(4, format_args!("Start time: {}", time(profile.time_unix_nano)));
        }
        let duration = humantime::format_duration(Duration::from_nanos(profile.duration_nano));
        self.line(4, format_args!("Duration: {duration}"));
        let types: Vec<String> = profile.sample_types.iter().map(|of| self.type_name(*of)).collect();
        self.line(4, format_args!("Sample types: {}", types.join(", ")));
        self.named(4, "Default sample type", profile.default_sample_type);
        if profile.period != 0 || profile.period_type != ValueType::default() {
            let of = self.type_name(profile.period_type);
            self.line(4, format_args!("Period: {} {of}", profile.period));
        }
        for comment in &profile.comments {
            self.named(4, "Comment", *comment);
        }
        self.named(4, "Drop frames", profile.drop_frames);
        self.named(4, "Keep frames", profile.keep_frames);
        self.named(4, "Documentation", profile.doc_url);
        if let Some(payload) = &profile.original_payload {
            let format = self.str(payload.format);
            self.line(
                4,
                format_args!("Original payload: {} bytes of {format}", payload.bytes.len()),
            );
        }
        self.set(4, profile.attributes);
        for row in 0..profile.samples.len() {
            if self.is_full() {
                self.left_out += profile.samples.len() - row;
                break;
            }
            self.sample(row, profile);
        }
    }

    fn sample(&mut self, row: usize, profile: &'a Profile) {
        let samples = &profile.samples;
        self.line(4, format_args!("Sample #{row}"));
        match &samples.observations {
            Observations::Totals(_) => {
                let types = profile.sample_types.len();
                let values: Vec<i64> = (0..types).map(|column| samples.total(row, column, types)).collect();
                self.line(8, format_args!("Values: {values:?}"));
            }
            Observations::Series(series) => {
                self.line(8, format_args!("Values: {:?}", series.values(row)));
                let times: Vec<String> = series.timestamps(row).iter().map(|nanos| time(*nanos)).collect();
                self.line(8, format_args!("Timestamps: [{}]", times.join(", ")));
            }
        }
        self.set(8, samples.attributes.get(row).copied().unwrap_or_default());
        if let Some(link) = samples.links.get(row).filter(|link| link.is_set()) {
            let link = &self.d.links[*link];
            let (trace, span) = (hex(&link.trace_id), hex(&link.span_id));
            self.line(8, format_args!("Link: trace {trace} span {span}"));
        }
        let Some(stack) = samples.stacks.get(row) else {
            return;
        };
        self.line(8, format_args!("Stack, leaf first:"));
        for location in &self.d.stacks[*stack] {
            if self.is_full() {
                return;
            }
            self.location(*location);
        }
    }

    fn location(&mut self, id: LocationId) {
        let d = self.d;
        let location = &d.locations[id];
        if d.lines[id].is_empty() {
            let binary = self.str(d.mappings[location.mapping].filename);
            self.line(12, format_args!("{:#x} {binary}", location.address));
        }
        for line in &d.lines[id] {
            if self.is_full() {
                return;
            }
            let function = &d.functions[line.function];
            let (name, file) = (self.str(function.name), self.str(function.filename));
            match function.filename.is_set() {
                true => self.line(12, format_args!("{name} {file}:{}", line.line)),
                false => self.line(12, format_args!("{name}")),
            }
        }
        self.set(12, location.attributes);
    }

    fn set(&mut self, indent: usize, set: AttributeSetId) {
        let d = self.d;
        self.attributes(indent, "Attributes", d.attributes_of(set).map(|a| (a.key, &a.value)));
    }

    fn attributes(&mut self, indent: usize, title: &str, all: impl Iterator<Item = (StringId, &'a Value)>) {
        let mut all = all.peekable();
        if all.peek().is_some() {
            self.line(indent, format_args!("{title}:"));
        }
        for (key, value) in all {
            let (key, value) = (self.str(key), self.value(value));
            self.line(indent + 5, format_args!("-> {key}: {}", clipped(&value)));
        }
    }

    /// A line, if there is something to say.
    fn named(&mut self, indent: usize, title: &str, text: StringId) {
        if text.is_set() {
            let text = self.str(text);
            self.line(indent, format_args!("{title}: {text}"));
        }
    }

    fn line(&mut self, indent: usize, line: std::fmt::Arguments<'_>) {
        if !self.is_full() {
            let line = format!("\n{:indent$}{line}", "");
            self.text.push_str(line.trim_end_matches(' '));
        }
    }

    fn is_full(&self) -> bool {
        self.text.len() >= MOST_TEXT
    }

    fn type_name(&self, of: ValueType) -> String {
        format!("{}/{}", self.str(of.kind), self.str(of.unit))
    }

    fn str(&self, id: StringId) -> Cow<'a, str> {
        plain(clipped(self.d.str(id)))
    }

    fn value(&self, value: &Value) -> String {
        match value {
            Value::Empty => "Empty()".to_owned(),
            Value::String(id) => format!("Str({})", self.str(*id)),
            Value::Bool(truth) => format!("Bool({truth})"),
            Value::Int(number) => format!("Int({number})"),
            Value::Double(number) => format!("Double({number})"),
            Value::Bytes(bytes) => format!("Bytes({})", hex(bytes.get(..MOST_VALUE).unwrap_or(bytes))),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().take(MOST_VALUE).map(|item| self.value(item)).collect();
                format!("Slice([{}])", items.join(", "))
            }
            Value::Map(entries) => {
                let entry = |(key, item): &(StringId, Value)| format!("{}: {}", self.str(*key), self.value(item));
                let entries: Vec<String> = entries.iter().take(MOST_VALUE).map(entry).collect();
                format!("Map({{{}}})", entries.join(", "))
            }
        }
    }
}

fn clipped(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MOST_VALUE)).unwrap_or(text)
}

/// Text that cannot pretend to be a line of the log or move the cursor.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

fn time(nanos: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(nanos)).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::testing::recording;
    use crate::formats::{Format, Limits, any};

    #[test]
    fn totals_are_told_and_names_are_not() {
        let profiles = recording("go123-heap.pb.gz");
        assert_eq!(
            tell(&profiles, Verbosity::Basic),
            "profiles: 1 resource, 1 profile, 142 samples"
        );
        let text = tell(&profiles, Verbosity::Normal);
        assert!(text.contains("; profile 0 inuse_space 3523748 bytes"), "{text}");
        assert!(!text.contains("main.") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn details_are_stacks_values_labels_and_links() {
        let text = tell(&recording("node20-wall-cpu-links.otlp"), Verbosity::Detailed);
        for expected in [
            "ResourceProfiles #0\n",
            "\nProfile #0\n",
            "\n    Sample types: sample/count, wall/nanoseconds, cpu/nanoseconds\n",
            "\n    Sample #0\n        Values: [1, ",
            "\n        Attributes:\n             -> endpoint: Str(",
            "\n        Link: trace ",
            "\n        Stack, leaf first:\n            ",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let timed = tell(&recording("ap-alloc-total.jfrconv.otlp"), Verbosity::Detailed);
        assert!(timed.contains("        Timestamps: [20"), "{timed}");
        let addresses = tell(&recording("rust-jemalloc-heap.pb.gz"), Verbosity::Detailed);
        assert!(addresses.contains("\n            0x"), "{addresses}");
    }

    #[test]
    fn no_text_of_a_payload_looks_like_a_line_or_fills_the_log() {
        let evil = format!("a\nSample #9 1\u{1b}[2J;{} 7\n", "x".repeat(5000));
        let read = any::decode_as(Format::Speedscope, &speedscope(&evil), &Limits::default()).unwrap();
        let text = tell(&read.profiles, Verbosity::Detailed);
        assert!(text.contains("a\\nSample #9 1\\u{1b}[2J"), "{text}");
        assert!(text.lines().all(|line| line.len() < MOST_VALUE + 100));
        let huge = recording("planted-go123-cpu.pb.gz");
        let many = Profiles::merge(&vec![huge.clone(); 10]);
        let text = tell(&many, Verbosity::Detailed);
        assert!(
            text.len() > MOST_TEXT && text.len() < MOST_TEXT + 10_000,
            "{}",
            text.len()
        );
        assert!(text.ends_with(" samples more\n"), "{}", &text[MOST_TEXT..]);
    }

    /// A profile of one frame of this name.
    fn speedscope(name: &str) -> Vec<u8> {
        serde_json::json!({
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "shared": { "frames": [{ "name": name }] },
            "profiles": [{ "type": "sampled", "name": "x", "unit": "none", "startValue": 0, "endValue": 1,
                "samples": [[0]], "weights": [1] }]
        })
        .to_string()
        .into_bytes()
    }
}
