#!/bin/bash
# Gathers texts of the real programs of this machine, one a line, for the test `texts_of_real_programs_stay`:
#
#   tests/names/gather.sh target/names
#   FLAMEGATE_NAMES=$PWD/target/names cargo test --lib texts_of_real_programs_stay -- --nocapture
#
# names-*: functions of C, C++, Rust, Go, Java, Python and Node.js, mangled and not; files-*: paths; texts-*: values as labels
# have them. What is not installed is left out.
set -u
out=${1:?say where to write}
mkdir -p "$out"
here=$(dirname "$0")

symbols() { # $1: options of nm
    for file in /usr/lib/*-linux-gnu/*.so* /usr/lib/jvm/*/lib/*.so /usr/lib/jvm/*/lib/server/*.so \
        "$(command -v node)" "$here"/../../target/debug/flamegate; do
        [ -f "$file" ] && [ ! -L "$file" ] && timeout 60 nm $1 --defined-only "$file" 2>/dev/null | cut -d' ' -f3- | head -60000
    done
}
symbols -D | sort -u >"$out/names-native-mangled.txt"
symbols -DC | sort -u >"$out/names-native.txt"
symbols "" | sort -u >"$out/names-static-mangled.txt"
symbols -C | sort -u >"$out/names-static.txt"

if command -v go >/dev/null; then
    for file in "$(go env GOROOT)"/bin/* "$(go env GOTOOLDIR)"/*; do
        timeout 60 go tool nm "$file" 2>/dev/null | sed -E 's/^ *[0-9a-f]* +[A-Za-z] //'
    done | sort -u >"$out/names-go.txt"
fi

if command -v javap >/dev/null; then
    home=$(dirname "$(dirname "$(readlink -f "$(command -v javap)")")")
    for module in java.base java.desktop java.xml jdk.compiler; do
        classes=$(jmod list "$home/jmods/$module.jmod" | sed -n 's|^classes/\(.*\)\.class$|\1|p' | grep -v -e module-info -e package-info | tr / .)
        # `package.Class.method(types)` and, as JFR writes it, with a descriptor
        echo "$classes" | xargs -n 500 javap --module "$module" -p -s 2>/dev/null | awk '
            /^[a-z].*(class|interface|enum|record) / { for (i = 1; i < NF; i++) if ($i ~ /^(class|interface|enum|record|@interface)$/) class = $(i + 1) }
            /descriptor: \(/ { print call $2; next }
            /\(.*\).*;$/ { n = split(substr($0, 1, index($0, "(") - 1), words, " ");
                           call = words[n] == class ? class ".<init>" : class "." words[n];
                           name = $0; sub(/\).*/, ")", name); print call; print call substr(name, index(name, "(")) }'
    done | sort -u >"$out/names-java.txt"
fi

python=$(command -v python3) && "$python" - <<'PYTHON' | sort -u >"$out/names-python.txt"
import ast, pathlib, sysconfig
# as py-spy and others write it: with file and line, or with the path
for file in pathlib.Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"):
    try: tree = ast.parse(file.read_text(errors="ignore"))
    except (SyntaxError, ValueError, RecursionError): continue
    def walk(node, prefix):
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = f"{prefix}.{child.name}" if prefix else child.name
                print(inner); print(f"{inner} ({file.name}:{child.lineno})"); print(f"{inner} ({file}:{child.lineno})")
            walk(child, inner)
    walk(tree, "")
PYTHON

command -v node >/dev/null && node -e '
const seen = new Set();
function walk(value, path, depth) {
    if (depth > 5 || value === null || !/object|function/.test(typeof value) || seen.has(value)) return;
    seen.add(value);
    for (const key of Object.getOwnPropertyNames(value)) {
        let inner; try { inner = value[key]; } catch { continue; }
        if (typeof inner === "function") { console.log(path + "." + key); console.log("Object." + key + " (node:" + path + ":10:5)"); }
        walk(inner, path + "." + key, depth + 1);
    }
}
for (const name of require("module").builtinModules) { try { walk(require(name), name, 0); } catch {} }
walk(globalThis, "globalThis", 0);' 2>/dev/null | sort -u >"$out/names-node.txt"

find / -xdev \( -path /proc -o -path /sys -o -path "$(realpath "$out")" \) -prune -o -type f -print 2>/dev/null |
    head -600000 | sort -u >"$out/files-paths.txt"
for archive in $(find / -xdev -name '*.jar' 2>/dev/null | head -300); do unzip -Z1 "$archive" 2>/dev/null; done | sort -u >"$out/files-jars.txt"

{
    dpkg-query -W -f '${Package}\n${Version}\n${Package}@${Version}\n${Package}-${Version}\n' 2>/dev/null
    find /usr/lib/systemd /etc/systemd -name '*.*' -printf '%f\n' 2>/dev/null
    find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -mindepth 2 -maxdepth 2 -printf '%f\n' 2>/dev/null
    git -C "$here" log --format='%H%n%h%n%aI' 2>/dev/null
} | sort -u >"$out/texts-machine.txt"
awk -v seed=7 '
    function of(alphabet, count,   text, i) { for (i = 0; i < count; i++) text = text substr(alphabet, 1 + int(rand() * length(alphabet)), 1); return text }
    function one(list,   n, items) { n = split(list, items, " "); return items[1 + int(rand() * n)] }
    function word() { return one("checkout cart billing search auth gateway worker ingest api web redis kafka postgres token-service session-store secret-manager key-rotator user-profile mail") }
    function hash(count) { return of("bcdfghjklmnpqrstvwxz2456789", count) }
    function hex(count) { return of("0123456789abcdef", count) }
    function n(most) { return int(rand() * most) }
    BEGIN {
        srand(seed)
        for (i = 0; i < 40000; i++) {
            print word() "-" hash(10) "-" hash(5)                                    # pods
            print word() "-" n(30) "." word() "-headless"
            print one("prod staging dev") "-" one("eu-west-1 us-east-2 ap-south-1") one("a b c")
            print "registry.k8s.io/" word() ":v" n(9) "." n(40) "." n(99) "@sha256:" hex(64)
            print hex(8) "-" hex(4) "-4" hex(3) "-a" hex(3) "-" hex(12)
            print "pool-" n(99) "-thread-" n(999); print "ForkJoinPool.commonPool-worker-" n(9999); print "grpc-default-executor-" n(9999)
            print one("GET POST PUT DELETE") " /v" n(3) "/" word() "/:id/" word()
            print "/" word() "/" word() "?page=" n(999) "&sort=" one("asc desc")
            print hex(32); print hex(16); print "0x" hex(12); print of("0123456789", 19); print 1700000000 + n(99999999)
            print 1700000000000 + n(99999999999); print n(9999) "." n(9999); print n(100) "ms"; print n(9999) "KiB"
            print "kubepods-burstable-pod" hex(8) "_" hex(4) "_" hex(4) ".slice"; print "/docker/" hex(64)
            print "github.com/acme/" word() "@v0.0.0-" 2018 + n(8) 10 + n(3) 10 + n(18) 100000 + n(135959) "-" hex(12)
            print word() "." word() ".svc"; print "user@" 1000 + n(999) ".service"; print n(20) "." n(20) "." n(9999) ".0"
            print "SELECT * FROM " word() " WHERE id = ?"; print "temurin-" n(25) ".0." n(20) "+" n(9)
            print one("cpu wall alloc_space mutex") "/" one("nanoseconds bytes count"); print word() "_" one("total seconds bytes") "_" n(999)
        }
    }' | sort -u >"$out/texts-labels.txt"
wc -l "$out"/*.txt
