//! The binaries that were mapped into the process: lines of `/proc/self/maps`, or shorter ones.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::formats::building::Building;
use crate::formats::lines::Lines;
use crate::formats::{DecodeError, Limit};
use crate::profile::{Id, Mapping, MappingId};

/// What begins the part of a text that lists them.
const HEADINGS: [&str; 2] = ["--- Memory map: ---", "MAPPED_LIBRARIES:"];

/// Whether a line begins that part.
pub(super) fn is_heading(line: &str) -> bool {
    HEADINGS.iter().any(|heading| line.contains(heading))
}

/// A range of addresses and the file that is mapped there.
#[derive(Clone, Debug, Default, PartialEq)]
struct Range {
    start: u64,
    limit: u64,
    offset: u64,
    file: String,
    build_id: String,
}

/// All of them, the main binary first once they are settled.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    list: Vec<Range>,
    /// Names, each with what stands for `$name`.
    variables: Vec<(String, String)>,
    /// Bytes of all lines with values in the place of variables.
    filled_in: usize,
}

/// The same as rows, found by address.
pub(super) struct Known {
    /// Start, limit and row of each.
    by_start: BTreeMap<u64, (u64, MappingId)>,
}

/// What a range takes as it is read and as it is kept.
const RANGE_BYTES: usize = 3 * size_of::<Range>() + size_of::<Mapping>() + size_of::<MappingId>();
/// More variables than a text has.
const MOST_VARIABLES: usize = 64;
/// No variable has a longer name.
const LONGEST_VARIABLE: usize = 64;

impl Mappings {
    /// Reads what follows the heading. What is no range and no `name=value` is left alone.
    pub fn read(&mut self, lines: Lines<'_>, building: &mut Building<'_>) -> Result<(), DecodeError> {
        for line in lines {
            let text = line.text();
            let text = self.filled_in(without_log_prefix(building.text(&text)?), building)?;
            building.element(0)?;
            match Entry::parse(&text) {
                Some(Entry::Code(range)) => {
                    building.element(RANGE_BYTES + range.file.len() + range.build_id.len())?;
                    self.list.push(range);
                }
                Some(Entry::Data) => {}
                None => self.variable(&text, building)?,
            }
        }
        Ok(())
    }

    fn variable(&mut self, text: &str, building: &mut Building<'_>) -> Result<(), DecodeError> {
        let Some((name, value)) = text.split_once('=') else {
            return Ok(());
        };
        let (name, value) = (name.trim(), value.trim());
        if (1..=LONGEST_VARIABLE).contains(&name.len()) && self.variables.len() < MOST_VARIABLES {
            building.element(name.len() + value.len())?;
            self.variables.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// The line with values in the place of variables. A few bytes may stand for many, so all of them together are bounded as
    /// what comes out of compression is.
    fn filled_in<'t>(&mut self, text: &'t str, building: &mut Building<'_>) -> Result<Cow<'t, str>, DecodeError> {
        let mut parts = text.split('$');
        let mut filled = Cow::Borrowed(parts.next().unwrap_or_default());
        for part in parts {
            let value = self
                .variables
                .iter()
                .find_map(|(name, value)| Some((value, part.strip_prefix(name)?)));
            let filled = filled.to_mut();
            match value {
                Some((value, behind)) => filled.extend([value, behind]),
                None => filled.extend(["$", part]),
            }
            building.text(filled)?;
            building.element(0)?;
        }
        if let Cow::Owned(filled) = &filled {
            self.filled_in = self.filled_in.saturating_add(filled.len());
        }
        match self.filled_in > building.limits.decompressed_bytes {
            true => Err(building.too_large(Limit::Decompressed, "paths of too many bytes")),
            false => Ok(filled),
        }
    }

    /// Mends what profilers of old got wrong. `addresses` are those that are looked for.
    pub fn settle(mut self, addresses: &[u64]) -> Self {
        self.join_neighbours();
        self.main_binary_first();
        if let [first, second, ..] = &self.list[..]
            && first.file.starts_with("/anon_hugepage")
            && first.limit == second.start
        {
            self.list.remove(0);
        }
        if let Some(first) = self.list.first_mut()
            && first.start.checked_sub(first.offset) == Some(USUAL_START)
        {
            (first.start, first.offset) = (USUAL_START, 0);
        }
        self.reach_back(addresses);
        self
    }

    /// Makes one of those that are of one file and follow upon each other.
    fn join_neighbours(&mut self) {
        self.list.dedup_by(|range, before| {
            let joins = before.is_followed_by(range);
            if joins {
                before.limit = range.limit;
                if !range.file.is_empty() {
                    before.file = std::mem::take(&mut range.file);
                }
                if !range.build_id.is_empty() {
                    before.build_id = std::mem::take(&mut range.build_id);
                }
            }
            joins
        });
    }

    fn main_binary_first(&mut self) {
        let main = self.list.iter().position(|range| range.is_main());
        if let Some(main) = main {
            self.list.swap(0, main);
        }
    }

    /// Lets a range begin where its file does, if an address is in between that lies in no other.
    fn reach_back(&mut self, addresses: &[u64]) {
        let by_start: BTreeMap<u64, usize> = self
            .list
            .iter()
            .enumerate()
            .map(|(at, range)| (range.start, at))
            .collect();
        for address in addresses {
            let below = by_start.range(..=*address).next_back();
            let holds = below.and_then(|(_, at)| self.list.get(*at));
            if holds.is_some_and(|range| *address < range.limit) {
                continue;
            }
            let above = by_start.range(address.saturating_add(1)..).next();
            if let Some(range) = above.and_then(|(_, at)| self.list.get_mut(*at))
                && range.offset != 0
                && range
                    .start
                    .checked_sub(range.offset)
                    .is_some_and(|start| start <= *address)
            {
                (range.start, range.offset) = (range.start - range.offset, 0);
            }
        }
    }

    /// As rows.
    pub fn intern(self, building: &mut Building<'_>) -> Result<Known, DecodeError> {
        let mut by_start = BTreeMap::new();
        for range in self.list {
            let interner = &mut building.interner;
            let attributes = match range.build_id.as_str() {
                "" => Id::UNSET,
                build_id => {
                    let build_id = interner.text_attribute(BUILD_ID, build_id);
                    interner.attribute_set(&[build_id])
                }
            };
            let mapping = Mapping {
                memory_start: range.start,
                memory_limit: range.limit,
                file_offset: range.offset,
                filename: interner.string(&range.file),
                attributes,
            };
            let row = interner.mapping(mapping);
            by_start.entry(range.start).or_insert((range.limit, row));
            building.element(0)?;
        }
        Ok(Known { by_start })
    }
}

/// Where programs of old began.
const USUAL_START: u64 = 0x40_0000;
const BUILD_ID: &str = "process.executable.build_id.gnu";

impl Known {
    /// The mapping that an address lies in; none is unset.
    pub fn of(&self, address: u64) -> MappingId {
        let below = self.by_start.range(..=address).next_back();
        let holds = below.filter(|(_, (limit, _))| address < *limit);
        holds.map_or(Id::UNSET, |(_, (_, row))| *row)
    }
}

impl Range {
    fn is_followed_by(&self, next: &Self) -> bool {
        let agree = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
        let goes_on = self.offset == 0
            || next.offset == 0
            || self.limit.wrapping_sub(self.start).wrapping_add(self.offset) == next.offset;
        self.limit == next.start && agree(&self.file, &next.file) && agree(&self.build_id, &next.build_id) && goes_on
    }

    /// Whether it is of a file that is no library.
    fn is_main(&self) -> bool {
        let file = self.file.trim();
        let is_library = file.ends_with(".so")
            || [".so.", ".so_"].iter().any(|infix| {
                let versions = file
                    .match_indices(infix)
                    .filter_map(|(at, _)| file.get(at + infix.len()..));
                versions
                    .into_iter()
                    .any(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            });
        !file.is_empty() && !file.starts_with('[') && !is_library
    }
}

/// A line about a mapping.
#[derive(Debug, PartialEq)]
enum Entry {
    Code(Range),
    /// Nothing in it is run.
    Data,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut words = Words(line);
        let first = words.next()?;
        let (start, limit) = match first.split_once('-') {
            Some((start, limit)) => (start, limit),
            None => (first, words.next()?),
        };
        let mut range = Range {
            start: hex(start)?,
            limit: hex(limit.strip_suffix(':').unwrap_or(limit))?,
            ..Range::default()
        };
        if words.peek().is_some_and(is_permissions) && !words.next()?.contains('x') {
            return Some(Self::Data);
        }
        let mut fields = words;
        let (offset, device, inode) = (fields.next(), fields.next(), fields.next());
        match (offset.and_then(hex), device, inode) {
            (Some(offset), Some(device), Some(inode)) if is_device(device) && is_number(inode) => {
                range.offset = offset;
                range.file = without_deleted(fields.0).to_owned();
            }
            _ => range.brief(words),
        }
        Some(Self::Code(range))
    }
}

impl Range {
    /// `/path/to/binary (@ff00) abc123`, each of which may be missing.
    fn brief(&mut self, mut words: Words<'_>) {
        self.file = words.next().unwrap_or_default().to_owned();
        let offset = words
            .peek()
            .and_then(|word| hex(word.strip_prefix("(@")?.strip_suffix(')')?));
        if let Some(offset) = offset {
            self.offset = offset;
            words.next();
        }
        let build_id = words
            .peek()
            .filter(|word| word.bytes().all(|byte| byte.is_ascii_hexdigit()));
        self.build_id = build_id.unwrap_or_default().to_owned();
    }
}

/// Words between blanks.
#[derive(Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.0 = self.0.trim_start().get(word.len()..)?;
        Some(word)
    }

    fn peek(&self) -> Option<&'a str> {
        self.0.split_whitespace().next()
    }
}

fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(digits, 16).ok())?
}

fn is_permissions(word: &str) -> bool {
    word.bytes().all(|byte| b"-rwxps".contains(&byte))
}

/// `08:01`
fn is_device(word: &str) -> bool {
    word.split_once(':')
        .is_some_and(|(major, minor)| hex(major).is_some() && hex(minor).is_some())
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_deleted(file: &str) -> &str {
    let file = file.trim();
    file.strip_suffix("(deleted)").unwrap_or(file).trim_end()
}

/// Without the `file.cc:12] ` that a logging library put before it.
fn without_log_prefix(line: &str) -> &str {
    let after = || {
        let (before, after) = line.split_once("] ")?;
        let (file, number) = before.rsplit_once(':')?;
        let is_prefix = is_number(number) && !number.is_empty() && !file.contains(['[', ']']);
        is_prefix.then_some(after)
    };
    after().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::room::Unlimited;
    use crate::formats::{Fault, Format, Limits};

    fn read(text: &str) -> Result<Mappings, DecodeError> {
        let limits = Limits::default();
        let mut building = Building::new(Format::PprofLegacy, &limits, &Unlimited);
        let mut mappings = Mappings::default();
        mappings.read(Lines::new(text.as_bytes()), &mut building)?;
        Ok(mappings)
    }

    fn list(text: &str) -> Vec<(u64, u64, u64, String, String)> {
        let mappings = read(text).unwrap();
        let told = |range: Range| (range.start, range.limit, range.offset, range.file, range.build_id);
        mappings.list.into_iter().map(told).collect()
    }

    fn one(start: u64, limit: u64, offset: u64, file: &str, build_id: &str) -> (u64, u64, u64, String, String) {
        (start, limit, offset, file.into(), build_id.into())
    }

    #[test]
    fn lines_of_every_kind_are_read() {
        let text = "\
            00400000-00fcb000: shop\n\
            7f5e549bc000-7f5e549bd000 r-xp 00023000 08:01 7482   /lib/ld 2.15.so (deleted)\n\
            7f5e549bd000-7f5e549bf000 rw-p 00024000 08:01 7482   /lib/ld.so\n\
            0x40000-0x80000 /srv/shop (@FF00) abc123\n\
            1000 2000 r-xp\n\
            log.cc:12] 3000-4000 /srv/other\n\
            build=/srv/build\n\
            5000-6000 r-xp 0 00:00 0 $build/shop\n\
            nothing of all that\n";
        let expected = [
            one(0x400000, 0xfcb000, 0, "shop", ""),
            one(0x7f5e549bc000, 0x7f5e549bd000, 0x23000, "/lib/ld 2.15.so", ""),
            one(0x40000, 0x80000, 0xff00, "/srv/shop", "abc123"),
            one(0x1000, 0x2000, 0, "", ""),
            one(0x3000, 0x4000, 0, "/srv/other", ""),
            one(0x5000, 0x6000, 0, "/srv/build/shop", ""),
        ];
        assert_eq!(list(text), expected);
    }

    #[test]
    fn variables_do_not_multiply_without_end() {
        let text = format!("a={}\n1000-2000 {}\n", "x".repeat(60_000), "$a".repeat(60_000));
        let error = read(&text).map(|_| ()).unwrap_err();
        assert_eq!(error.fault, Fault::TooLarge(Limit::String));
        let lines = format!("a={}\n{}", "x".repeat(1 << 19), "$a\n".repeat(200));
        let error = read(&lines).map(|_| ()).unwrap_err();
        assert_eq!(error.fault, Fault::TooLarge(Limit::Decompressed));
    }

    #[test]
    fn a_sign_that_no_variable_is_behind_stays() {
        let text = "a=/x\nb=$a/$\n1000-2000 $b$$c$ab\n";
        assert_eq!(list(text), [one(0x1000, 0x2000, 0, "/x/$$$c/xb", "")]);
    }

    #[test]
    fn lines_that_are_no_mapping_count() {
        let limits = Limits {
            elements: 9,
            ..Limits::default()
        };
        let fault = |lines: usize| {
            let mut building = Building::new(Format::PprofLegacy, &limits, &Unlimited);
            let text = "nothing\n".repeat(lines);
            let read = Mappings::default().read(Lines::new(text.as_bytes()), &mut building);
            read.map_err(|error| error.fault)
        };
        assert_eq!(fault(9), Ok(()));
        assert_eq!(fault(10), Err(Fault::TooLarge(Limit::Elements)));
    }

    #[test]
    fn parts_of_one_file_are_joined_and_the_main_binary_comes_first() {
        let text = "\
            7f00-7f80 r-xp 0 00:00 1 /lib/libc.so.6\n\
            400000-401000 r-xp 1000 00:00 1 /srv/shop\n\
            401000-402000 r-xp 2000 00:00 1 /srv/shop\n\
            9000-a000 r-xp 100 00:00 1 /lib/late.so\n";
        let settled = read(text).unwrap().settle(&[0x8f80, 0x7f10]);
        let told: Vec<_> = settled
            .list
            .iter()
            .map(|range| (range.start, range.limit, range.offset))
            .collect();
        assert_eq!(
            told,
            [(0x400000, 0x402000, 0x1000), (0x7f00, 0x7f80, 0), (0x8f00, 0xa000, 0)]
        );
    }

    #[test]
    fn a_main_binary_that_was_moved_begins_where_all_do() {
        let settled = read("600000-700000 r-xp 200000 00:00 1 /srv/shop\n")
            .unwrap()
            .settle(&[]);
        assert_eq!((settled.list[0].start, settled.list[0].offset), (USUAL_START, 0));
    }
}
