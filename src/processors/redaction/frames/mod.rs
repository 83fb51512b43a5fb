//! Frames that are hidden: which, by rules and lists; and how they leave the tables of a batch.

mod hide;
mod lists;
mod package;
mod public;
#[cfg(test)]
mod scenarios;

use regex::Regex;

pub use hide::{Names, Plan};
use package::PackagePattern;
pub use public::{is_public_binary, is_public_name, is_standard_type, public_file};

use super::config::{FrameAction, FrameRule, Frames as Config, NameAction};
use super::patterns::compile_pattern;
use super::pseudonym::Pseudonyms;
use crate::pipeline::matcher::Pattern;
use crate::pipeline::spec::BuildError;

/// A frame as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Name of its function, and as the linker knows it.
    pub name: &'a str,
    /// The same as the linker knows it.
    pub system_name: &'a str,
    /// Its source file.
    pub file: &'a str,
    /// The binary it lies in.
    pub mapping: &'a str,
    /// Whether the profiler says that it is the kernel's.
    pub kernel: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It stays for its public name; another name that is not public goes.
    KeepPublic,
    /// It is the name of a thread or a process, which text formats write as a frame.
    Thread,
    /// A mask stands for it.
    Mask,
    /// A pseudonym stands for it.
    Hash,
    /// Its name hides already; whatever else it says goes.
    Bare,
    /// It goes.
    Drop,
    /// It becomes part of a run with the name of the rule of this number.
    Collapse(usize),
}

impl Fate {
    /// Whether the frame's name is not to be found again.
    pub fn hides(self) -> bool {
        !matches!(self, Self::Keep | Self::KeepPublic | Self::Thread)
    }
}

#[derive(Debug)]
struct Rule {
    function: Option<Regex>,
    file: Option<Regex>,
    mapping: Option<Regex>,
    package: Option<PackagePattern>,
    fate: Fate,
}

impl Rule {
    fn matches(&self, frame: Frame<'_>) -> bool {
        let holds = |regex: &Option<Regex>, texts: [&str; 2]| {
            let any = |regex: &Regex| texts.iter().any(|text| !text.is_empty() && regex.is_match(text));
            regex.as_ref().is_none_or(any)
        };
        let binary = frame.mapping.rsplit(['/', '\\']).next().unwrap_or_default();
        holds(&self.function, [frame.name, frame.system_name])
            && holds(&self.file, [frame.file, ""])
            && holds(&self.mapping, [frame.mapping, binary])
            && self
                .package
                .as_ref()
                .is_none_or(|package| package.is_match(frame.name, frame.file))
    }
}

/// The rules on frames of a policy.
#[derive(Debug)]
pub struct Frames {
    rules: Vec<Rule>,
    /// Names of runs, by number of the rule.
    names: Vec<String>,
    public: bool,
    allow: Vec<PackagePattern>,
    default: Fate,
    threads: NameAction,
}

/// More would take seconds for a large profile.
const MOST_RULES: usize = 1000;

impl Frames {
    /// Checks and compiles.
    pub fn new(config: &Config, threads: NameAction, pseudonyms: &Pseudonyms) -> Result<Self, BuildError> {
        let no_key = |path: &str| {
            BuildError::at(
                path,
                "to hash names takes a key: set pseudonyms.keys; `flamegate keygen` makes one",
            )
        };
        let default = match config.default {
            NameAction::Keep => Fate::Keep,
            NameAction::Mask => Fate::Mask,
            NameAction::Hash if pseudonyms.is_empty() => return Err(no_key("frames.default")),
            NameAction::Hash => Fate::Hash,
        };
        if config.rules.len() > MOST_RULES {
            return Err(BuildError::at("frames.rules", format!("at most {MOST_RULES} rules")));
        }
        if config.default == NameAction::Keep && !config.allow.is_empty() {
            let message =
                "a list of what stays needs something that becomes of the rest: set frames.default to hash or mask";
            return Err(BuildError::at("frames.allow", message));
        }
        let mut rules = Vec::with_capacity(config.rules.len());
        let mut names = Vec::with_capacity(config.rules.len());
        for (i, rule) in config.rules.iter().enumerate() {
            let at = |key: &str| format!("frames.rules[{i}]{key}");
            // runs of one name are one run, whichever rule finds them
            let same = config.rules.iter().position(|other| other.name == rule.name);
            let fate = fate(rule, same.unwrap_or(i)).map_err(|message| BuildError::at(at(""), message))?;
            if fate == Fate::Hash && pseudonyms.is_empty() {
                return Err(no_key(&at(".action")));
            }
            let pattern = |key: &str, pattern: &Option<Pattern>| {
                let compiled = pattern.as_ref().map(compile_pattern).transpose();
                compiled.map_err(|message| BuildError::at(at(key), message))
            };
            let package = rule.package.as_ref().map(PackagePattern::new).transpose();
            rules.push(Rule {
                function: pattern(".function", &rule.function)?,
                file: pattern(".file", &rule.file)?,
                mapping: pattern(".mapping", &rule.mapping)?,
                package: package.map_err(|message| BuildError::at(at(".package"), message))?,
                fate,
            });
            names.push(rule.name.clone().unwrap_or_default());
        }
        let mut allow = Vec::new();
        for (i, package) in config
            .allow
            .iter()
            .enumerate()
            .filter(|(_, package)| *package != "public")
        {
            let pattern = PackagePattern::new(&Pattern::Glob(package.clone()));
            allow.push(pattern.map_err(|message| BuildError::at(format!("frames.allow[{i}]"), message))?);
        }
        Ok(Self {
            rules,
            names,
            public: config.allow.iter().any(|package| package == "public"),
            allow,
            default,
            threads,
        })
    }

    /// Whether every frame stays whatever it is.
    pub fn keeps_all(&self) -> bool {
        self.rules.is_empty() && self.default == Fate::Keep && self.threads == NameAction::Keep
    }

    /// Whether some frame may be hidden.
    pub fn may_hide(&self) -> bool {
        self.default.hides() || self.rules.iter().any(|rule| rule.fate.hides())
    }

    /// What becomes of the frame: the first rule that matches, then what is allowed, then the default.
    pub fn fate(&self, frame: Frame<'_>) -> Fate {
        if let Some(rule) = self.rules.iter().find(|rule| rule.matches(frame)) {
            return rule.fate;
        }
        if self.threads != NameAction::Keep && thread_name(frame.name).is_some() {
            return Fate::Thread;
        }
        if self.default == Fate::Keep {
            return Fate::Keep;
        }
        if self
            .allow
            .iter()
            .any(|package| package.is_match(frame.name, frame.file))
        {
            return Fate::Keep;
        }
        if self.public && (frame.kernel || public::is_public(frame.name, frame.file, frame.mapping)) {
            return Fate::KeepPublic;
        }
        self.default
    }

    /// Whether the file is the public part of a path, which the list needs to know it again.
    pub fn keeps_file(&self, file: &str) -> bool {
        self.public && public_file(file) == Some(file)
    }

    /// Whether the binary is one whose frames are public.
    pub fn keeps_binary(&self, mapping: &str) -> bool {
        self.public && public::is_public_binary(mapping)
    }

    /// The name of the frame that a run becomes.
    pub fn run(&self, rule: usize) -> &str {
        self.names.get(rule).map_or("", String::as_str)
    }

    /// Whether the name is one that a rule gives to runs: it comes from the configuration.
    pub fn is_run(&self, name: &str) -> bool {
        !name.is_empty() && self.names.iter().any(|known| known == name)
    }
}

fn fate(rule: &FrameRule, number: usize) -> Result<Fate, &'static str> {
    if rule.function.is_none() && rule.file.is_none() && rule.mapping.is_none() && rule.package.is_none() {
        return Err("a rule needs a pattern: function, file, mapping or package");
    }
    let has_name = rule.name.as_ref().is_some_and(|name| !name.is_empty());
    match rule.action {
        FrameAction::Collapse if has_name => Ok(Fate::Collapse(number)),
        FrameAction::Collapse => Err("collapse needs a name for the frame that a run becomes"),
        _ if rule.name.is_some() => Err("a name is for the action collapse"),
        FrameAction::Keep => Ok(Fate::Keep),
        FrameAction::Mask => Ok(Fate::Mask),
        FrameAction::Hash => Ok(Fate::Hash),
        FrameAction::Drop => Ok(Fate::Drop),
    }
}

/// The parts of a frame that is no code but the name of a thread or process: what stands before the name, the name, the rest.
/// `[worker-1 tid=17]` of async-profiler; `thread (17): worker-1` and `process 17:"python job.py"` of py-spy.
pub fn thread_name(frame: &str) -> Option<(&str, &str, &str)> {
    if let Some(inner) = frame.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let (name, id) = inner.rsplit_once(" tid=")?;
        let rest = frame.get(1 + name.len()..)?;
        return id.bytes().all(|b| b.is_ascii_digit()).then_some(("[", name, rest));
    }
    let is_id = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let (_id, name) = match frame.strip_prefix("thread (") {
        Some(rest) => rest.split_once("): ").filter(|(id, _)| is_id(id))?,
        None => frame
            .strip_prefix("process ")?
            .split_once(':')
            .filter(|(id, _)| is_id(id))?,
    };
    let start = frame.len().checked_sub(name.len())?;
    Some((frame.get(..start)?, name, ""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::spec::parse;

    fn frames(config: serde_json::Value) -> Result<Frames, BuildError> {
        let config: Config = parse(config).unwrap();
        Frames::new(
            &config,
            NameAction::Keep,
            &Pseudonyms::new(&Default::default()).unwrap(),
        )
    }

    fn frame(name: &str) -> Frame<'_> {
        Frame {
            name,
            system_name: "",
            file: "/src/acme/price.go",
            mapping: "/opt/acme/bin/shop",
            kernel: false,
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides_then_the_list_then_the_default() {
        let frames = frames(
            json!({"default": "mask", "allow": ["public", "github.com/acme/open"], "rules": [
                {"function": "*.Keep", "action": "keep"},
                {"package": "github.com/acme/shop", "action": "collapse", "name": "shop"},
                {"function": {"regex": "^drop"}, "mapping": "shop", "action": "drop"},
                {"function": "drop*", "file": "*.py", "action": "keep"},
            ]}),
        )
        .unwrap();
        for (name, fate) in [
            ("github.com/acme/shop.Keep", Fate::Keep),
            ("github.com/acme/shop.Price", Fate::Collapse(1)),
            ("drop_this", Fate::Drop),
            ("github.com/acme/open.Read", Fate::Keep),
            ("runtime.mallocgc", Fate::KeepPublic),
            ("github.com/acme/other.Read", Fate::Mask),
        ] {
            assert_eq!(frames.fate(frame(name)), fate, "{name}");
        }
        assert!(frames.is_run("shop") && !frames.is_run(""));
    }

    #[test]
    fn rules_that_cannot_be_meant_are_errors() {
        for (config, path) in [
            (json!({"default": "hash"}), "frames.default"),
            (
                json!({"rules": [{"function": "a", "action": "hash"}]}),
                "frames.rules[0].action",
            ),
            (json!({"rules": [{"action": "mask"}]}), "frames.rules[0]"),
            (
                json!({"rules": [{"function": "a", "action": "collapse"}]}),
                "frames.rules[0]",
            ),
            (
                json!({"rules": [{"function": "a", "action": "mask", "name": "x"}]}),
                "frames.rules[0]",
            ),
            (
                json!({"rules": [{"function": {"regex": "("}, "action": "mask"}]}),
                "frames.rules[0].function",
            ),
            (json!({"allow": ["public"]}), "frames.allow"),
        ] {
            assert_eq!(frames(config.clone()).err().unwrap().path, path, "{config}");
        }
    }

    #[test]
    fn names_of_threads_are_found_in_frames() {
        for (text, parts) in [
            ("[worker-1 tid=17]", Some(("[", "worker-1", " tid=17]"))),
            ("thread (17): worker", Some(("thread (17): ", "worker", ""))),
            ("thread (0x7F): \"a: b\"", Some(("thread (0x7F): ", "\"a: b\"", ""))),
            (
                "process 12:\"python job.py\"",
                Some(("process 12:", "\"python job.py\"", "")),
            ),
            ("thread_start", None),
            ("process x:y", None),
            ("[vdso]", None),
        ] {
            assert_eq!(thread_name(text), parts, "{text}");
        }
    }
}
