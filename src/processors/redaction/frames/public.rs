//! Which frames and words are public: the built-in list behind `allow: [public]`.
//!
//! A name is public only if every part of it is: `sort.Slice` with somebody's type in its brackets is not. What cannot be
//! read is not public either.

use super::lists::{
    BINARIES, GO_ALONE, GO_PACKAGES, GO_TREES, INSTALLED, KERNEL, NATIVE, NATIVE_PREFIXES, NOT_PUBLIC, PYTHON_FILES,
    TREES, TYPES, WORDS,
};

/// Whether the frame is code of a runtime, of a standard library or of a widespread package.
pub fn is_public(name: &str, file: &str, mapping: &str) -> bool {
    if name.is_empty() {
        return is_public_binary(mapping);
    }
    // text formats have the file within the name: `run (threading.py:1002)`
    if let Some((name, place)) = name.strip_suffix(')').and_then(|name| name.rsplit_once(" (")) {
        let place = place.rsplit_once(':').map_or(place, |(file, _line)| file);
        if is_simple(name) && (is_public_file(place) || is_public_binary(place)) {
            return true;
        }
    }
    if is_public_file(file) || is_public_binary(mapping) {
        return name.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
            && !name.contains(['"', '\'', '`', '@', '=', '%']);
    }
    is_public_name(name, file)
}

/// Whether a name alone says that it is public.
pub fn is_public_name(name: &str, file: &str) -> bool {
    if NATIVE.contains(&name) {
        return true;
    }
    // async-profiler marks kernel frames
    if let Some(kernel) = name.strip_suffix("_[k]") {
        return is_simple(kernel);
    }
    let name = ["_[j]", "_[i]", "_[0]", "_[1]"]
        .iter()
        .find_map(|kind| name.strip_suffix(kind))
        .unwrap_or(name);
    if NATIVE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return is_simple(name);
    }
    is_go(name, file) || is_qualified(name)
}

/// Whether the word is one that profilers agree on for what is measured, or its unit.
pub fn is_standard_type(text: &str) -> bool {
    TYPES.contains(&text.to_ascii_lowercase().as_str())
}

/// Whether the path is that of a library which the system or a runtime brings.
pub fn is_public_binary(path: &str) -> bool {
    let name = last_segment(path);
    if KERNEL.contains(&name) {
        return true;
    }
    let known = |library: &str| {
        let rest = name.strip_prefix(library);
        rest.is_some_and(|rest| rest.starts_with(['.', '-']) && rest.contains(".so") && is_version(rest))
    };
    BINARIES.iter().any(|library| known(library))
}

/// `.so.6`, `-2.31.so`, `-x86-64.so.2`: nothing but letters of architectures, digits and `.so`.
fn is_version(rest: &str) -> bool {
    const PARTS: &[&str] = &["so", "x86", "64", "aarch64", "armhf", "riscv64", "musl", "gnu", ""];
    rest.split(['.', '-', '_'])
        .all(|part| PARTS.contains(&part) || part.bytes().all(|b| b.is_ascii_digit()))
}

fn is_public_file(path: &str) -> bool {
    public_file(path).is_some()
}

/// The part of a path that is public, if it leads into a runtime, a standard library or a widespread package: what stands
/// before it is somebody's folder. The part is public itself.
pub fn public_file(path: &str) -> Option<&str> {
    let path = path.strip_prefix("file://").unwrap_or(path);
    if path.starts_with("node:") || path.starts_with("<frozen ") || PYTHON_FILES.contains(&path) {
        return Some(path);
    }
    for folder in ["site-packages/", "dist-packages/", "node_modules/"] {
        // the innermost: packages bring packages
        if let Some(at) = folder_at(path, folder) {
            let rest = path.get(at + folder.len()..)?;
            let below = |package: &str| rest.strip_prefix(package).is_some_and(|rest| rest.starts_with('/'));
            return path
                .get(at..)
                .filter(|_| INSTALLED.iter().any(|package| below(package)));
        }
    }
    // `/usr/lib/python3.11/json/decoder.py`
    let at = ["python3.", "ruby/3."]
        .iter()
        .find_map(|folder| folder_at(path, folder))?;
    let tail = path.get(at..)?;
    let version = tail
        .trim_start_matches("ruby/")
        .split('/')
        .next()?
        .trim_start_matches("python");
    let is_version = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let in_lib = at == 0 || path.get(..at).is_some_and(|before| before.ends_with("/lib/"));
    (is_version && in_lib && tail.contains('/')).then_some(tail)
}

/// Where the last folder of that name begins.
fn folder_at(path: &str, folder: &str) -> Option<usize> {
    let at = path.rfind(folder)?;
    (at == 0 || path.get(..at)?.ends_with('/')).then_some(at)
}

fn last_segment(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A name without arguments, types or anything that could hold text of a user.
fn is_simple(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'<' | b'>' | b'@' | b'$');
    !name.is_empty() && name.len() <= 80 && name.bytes().all(plain)
}

/// `net/http.(*conn).serve`, `slices.SortFunc[...]`.
fn is_go(name: &str, file: &str) -> bool {
    let is_go_file = file.is_empty() || file.ends_with(".go") || file.ends_with(".s") || file.starts_with('<');
    let plain = name.find(['(', '[']).map_or(name, |at| name.get(..at).unwrap_or(name));
    let slash = plain.rfind('/').map_or(0, |at| at + 1);
    let Some(dot) = plain.get(slash..).and_then(|last| last.find('.')) else {
        return false;
    };
    let (package, rest) = name.split_at(slash + dot);
    let known = GO_PACKAGES.contains(&package) || GO_TREES.iter().any(|tree| under(package, tree));
    if !is_go_file || !known {
        return false;
    }
    // `(*Server).Serve.func1`, `Copy`, `init.0`: a receiver and a method at most, then what the compiler appends
    let (rest, types) = match rest.split_once('[') {
        Some((head, tail)) => match tail.rsplit_once(']') {
            Some((types, tail)) => (format!("{head}{tail}"), types),
            None => return false,
        },
        None => (rest.to_owned(), "..."),
    };
    let rest = rest.strip_prefix('.').unwrap_or(&rest);
    // without a file `log.price` may be any language's; Go's own are then told by their capital letter
    let is_exported = rest.starts_with(|c: char| c == '(' || c.is_ascii_uppercase());
    if file.is_empty() && !package.contains('/') && !GO_ALONE.contains(&package) && !is_exported {
        return false;
    }
    let appended = |part: &&str| {
        let letters = part.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        [
            "",
            "func",
            "gowrap",
            "deferwrap",
            "fm",
            "init",
            "map.init.",
            "abi",
            "stk",
            "0-range",
            "range",
        ]
        .contains(&letters)
    };
    let parts: Vec<&str> = rest.split(['.', '·']).filter(|part| !appended(part)).collect();
    let ident = |part: &&str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'(' | b')' | b'*' | b'-'))
    };
    parts.len() <= 2 && parts.iter().all(ident) && (types == "..." || words_are_public(&format!("[{types}"), false))
}

/// `time.Duration` within brackets.
fn is_go_type(path: &str) -> bool {
    let slash = path.rfind('/').map_or(0, |at| at + 1);
    let dot = path.get(slash..).and_then(|last| last.find('.'));
    let package = dot.and_then(|dot| path.get(..slash + dot));
    package.is_some_and(|package| GO_PACKAGES.contains(&package) && path.matches('.').count() == 1)
}

fn under(package: &str, tree: &str) -> bool {
    match package.strip_prefix(tree) {
        Some(rest) => tree.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// `java.util.HashMap.put`, `void std::vector<int>::push_back(int&&)`, `<&T as core::fmt::Debug>::fmt`.
fn is_qualified(name: &str) -> bool {
    words_are_public(name, true)
}

/// Whether every word is public. With `named`, one of them must be a name and not a mere `int`.
fn words_are_public(text: &str, named: bool) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | ':' | '/' | '~');
    let is_around = |c: char| {
        matches!(
            c,
            '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' | '&' | '*' | '#' | '+' | '-' | '!' | '|' | ' '
        )
    };
    let mut found = false;
    let mut before = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
        if end == 0 {
            if !is_around(first) {
                return false;
            }
            before = Some(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let (word, after) = rest.split_at(end);
        rest = after;
        let is_member = matches!(before, Some('>' | ')' | ']' | '}')) && word.starts_with(['.', ':']) && found;
        let bare = word.trim_matches(['.', ':', '/']);
        let of_go = bare.strip_prefix("go.shape.").unwrap_or(bare);
        if is_member || bare.is_empty() || is_word(of_go) {
            continue;
        }
        // a descriptor of the JVM: `(Ljava/lang/Object;I)V`
        let of_jvm = bare.trim_start_matches(['V', 'Z', 'B', 'C', 'S', 'I', 'J', 'F', 'D']);
        let in_descriptor = before.is_some_and(|c| matches!(c, '(' | ')' | ';' | '['));
        if in_descriptor && (of_jvm.is_empty() && bare.len() <= 4) {
            continue;
        }
        let in_brackets = before.is_some() && is_go_type(bare);
        let of_jvm = of_jvm.strip_prefix('L').filter(|_| in_descriptor);
        if !(is_tree(bare) || in_brackets || of_jvm.is_some_and(is_tree)) {
            return false;
        }
        found = true;
    }
    found || !named
}

fn is_word(word: &str) -> bool {
    let number = word.len() <= 4 && word.bytes().all(|b| b.is_ascii_digit());
    // what rustc appends
    let hash = word.len() == 17 && word.starts_with('h') && word.bytes().skip(1).all(|b| b.is_ascii_hexdigit());
    number || hash || WORDS.contains(&word)
}

fn is_tree(path: &str) -> bool {
    let below = |tree: &str| {
        let mut rest = path.bytes();
        for wanted in tree.bytes() {
            match rest.next() {
                Some(byte) if byte == wanted || (wanted == b'.' && byte == b'/') => {}
                _ => return false,
            }
        }
        matches!(rest.next(), Some(b'.' | b'/' | b':' | b'$'))
    };
    let hides = |tree: &str| path.replace('/', ".").starts_with(tree);
    TREES.iter().any(|tree| below(tree)) && !NOT_PUBLIC.iter().any(|tree| hides(tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_and_standard_libraries_are_public() {
        for name in [
            "runtime.mallocgc",
            "crypto/sha256.block",
            "net/http.(*conn).serve",
            "net/http.(*Server).Serve.gowrap3",
            "sync.(*Once).doSlow",
            "slices.pdqsortCmpFunc[...]",
            "slices.SortFunc[go.shape.int]",
            "slices.SortFunc[time.Duration]",
            "runtime/pprof.Do",
            "io.Copy",
            "golang.org/x/net/http2.(*Framer).ReadFrame",
            "internal/runtime/maps.newarray",
            "java.util.HashMap.put",
            "java/lang/Thread.run",
            "java.util.HashMap.put(Ljava/lang/Object;I)V",
            "java.util.concurrent.ThreadPoolExecutor$Worker.run",
            "org.apache.kafka.clients.consumer.KafkaConsumer.poll",
            "java.lang.Thread.run_[j]",
            "std::rt::lang_start::{{closure}}",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "<&T as core::fmt::Debug>::fmt::h0123456789abcdef",
            "std::vector<int, std::allocator<int> >::push_back(int&&)",
            "void std::sort<int*>(int*, int*)",
            "System.Threading.Thread.StartCallback()",
            "do_syscall_64_[k]",
            "pthread_cond_wait",
            "_bootstrap (threading.py:1002)",
            "clone3 (libc.so.6)",
        ] {
            assert!(is_public(name, "", ""), "{name}");
        }
        for (name, file, mapping) in [
            ("run", "/usr/lib/python3.11/threading.py", ""),
            ("get", "/app/venv/lib/python3.11/site-packages/requests/api.py", ""),
            ("processTimers", "node:internal/timers", ""),
            ("handle", "/app/node_modules/express/lib/router/layer.js", ""),
            ("G1ParTask::work(unsigned int)", "", "/opt/jdk/lib/server/libjvm.so"),
            ("", "", "/lib/x86_64-linux-gnu/libc.so.6"),
            ("", "", "/lib/x86_64-linux-gnu/libc-2.31.so"),
            ("", "", "/lib64/ld-linux-x86-64.so.2"),
            ("anything", "", "[kernel.kallsyms]"),
        ] {
            assert!(is_public(name, file, mapping), "{name} {file} {mapping}");
        }
    }

    #[test]
    fn what_speaks_of_somebodys_code_is_not() {
        for name in [
            "main.main",
            "acme/shop.Price",
            "github.com/acme/shop.Price",
            "io.acme.pricing.Engine.run",
            "log.priceOfAcme",
            "net.acme.Foo.bar.baz",
            "io/acme/pricing/Engine.run",
            "slices.SortFunc[go.shape.struct { github.com/acme/shop.Price int }]",
            "slices.SortFunc[github.com/acme/shop.Price]",
            "std::vector<acme::Price>::push_back(acme::Price&&)",
            "std::sort<Price*>(Price*, Price*)",
            "core::ptr::drop_in_place<acme::Price>",
            "<acme::Price as core::fmt::Debug>::fmt",
            "<std::string::String as acme::Secret>::reveal",
            "java.util.HashMap.put(Lcom/acme/Secret;)V",
            "java.util.List.add(com.acme.Secret)",
            "java.lang.String.concat(\"hunter2\")",
            "jdk.proxy2.$Proxy33.revealSecret",
            "com.sun.proxy.$Proxy33.revealSecret",
            "javascript.run",
            "standard::Price",
            "runtimeacme.Price",
            "runtime.(*Price).Of.Acme.Customer",
            "price (pricing.py:10)",
            "price",
            "山田",
            "java.util.山田",
            "acme secret_[k]",
            "thread (17): alice",
        ] {
            assert!(!is_public(name, "", ""), "{name}");
        }
        for (name, file, mapping) in [
            ("price", "/app/pricing.py", ""),
            ("price", "/usr/lib/python3.11/site-packages/acme/price.py", ""),
            ("price", "/app/node_modules/acme/lib.js", ""),
            ("price", "/app/node_modules/express/node_modules/acme/lib.js", ""),
            ("io.Engine", "Engine.java", ""),
            ("price", "", "/opt/acme/libprice.so"),
            ("", "", "/opt/acme/libc-acme.so"),
            ("", "", "/opt/acme/libcprice.so"),
            ("", "", ""),
        ] {
            assert!(!is_public(name, file, mapping), "{name} {file} {mapping}");
        }
    }

    #[test]
    fn standard_types_are_known_whatever_their_case() {
        assert!(is_standard_type("nanoseconds") && is_standard_type("CPU"));
        assert!(!is_standard_type("secret-metric"));
    }
}
