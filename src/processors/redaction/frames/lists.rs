//! What is public: standard libraries, runtimes, and open-source packages that half the world runs. Sorted by language.

/// Packages of Go's standard library, whole: a Java package may well begin with `io` or `net`.
#[rustfmt::skip]
pub(super) const GO_PACKAGES: &[&str] = &[
    "archive/tar", "archive/zip", "bufio", "bytes", "cmp", "compress/bzip2", "compress/flate", "compress/gzip",
    "compress/lzw", "compress/zlib", "container/heap", "container/list", "container/ring", "context", "crypto",
    "crypto/aes", "crypto/cipher", "crypto/des", "crypto/dsa", "crypto/ecdh", "crypto/ecdsa", "crypto/ed25519",
    "crypto/elliptic", "crypto/hkdf", "crypto/hmac", "crypto/md5", "crypto/mlkem", "crypto/pbkdf2", "crypto/rand",
    "crypto/rc4", "crypto/rsa", "crypto/sha1", "crypto/sha256", "crypto/sha3", "crypto/sha512", "crypto/subtle",
    "crypto/tls", "crypto/x509", "crypto/x509/pkix", "database/sql", "database/sql/driver", "debug/buildinfo",
    "debug/dwarf", "debug/elf", "debug/gosym", "debug/macho", "debug/pe", "debug/plan9obj", "embed", "encoding",
    "encoding/ascii85", "encoding/asn1", "encoding/base32", "encoding/base64", "encoding/binary", "encoding/csv",
    "encoding/gob", "encoding/hex", "encoding/json", "encoding/json/v2", "encoding/json/jsontext", "encoding/pem",
    "encoding/xml", "errors", "expvar", "flag", "fmt", "go/ast", "go/build", "go/constant", "go/doc", "go/format",
    "go/importer", "go/parser", "go/printer", "go/scanner", "go/token", "go/types", "hash", "hash/adler32", "hash/crc32",
    "hash/crc64", "hash/fnv", "hash/maphash", "html", "html/template", "image", "image/color", "image/draw", "image/gif",
    "image/jpeg", "image/png", "index/suffixarray", "io", "io/fs", "io/ioutil", "iter", "log", "log/slog", "log/syslog",
    "maps", "math", "math/big", "math/bits", "math/cmplx", "math/rand", "math/rand/v2", "mime", "mime/multipart",
    "mime/quotedprintable", "net", "net/http", "net/http/cgi", "net/http/cookiejar", "net/http/fcgi",
    "net/http/httptest", "net/http/httptrace", "net/http/httputil", "net/http/internal", "net/http/pprof", "net/mail",
    "net/netip", "net/rpc", "net/rpc/jsonrpc", "net/smtp", "net/textproto", "net/url", "os", "os/exec", "os/signal",
    "os/user", "path", "path/filepath", "plugin", "reflect", "regexp", "regexp/syntax", "runtime", "runtime/cgo",
    "runtime/coverage", "runtime/debug", "runtime/metrics", "runtime/pprof", "runtime/trace", "slices", "sort", "strconv",
    "strings", "structs", "sync", "sync/atomic", "sync/errgroup", "syscall", "testing", "testing/fstest",
    "testing/iotest", "testing/quick", "testing/slogtest", "testing/synctest", "text/scanner", "text/tabwriter",
    "text/template", "text/template/parse", "time", "time/tzdata", "unicode", "unicode/utf16", "unicode/utf8", "unique",
    "unsafe", "weak",
];

/// Those whose names nobody gives to a variable.
#[rustfmt::skip]
pub(super) const GO_ALONE: &[&str] = &[
    "runtime", "syscall", "reflect", "strconv", "strings", "bytes", "bufio", "sync", "unicode", "regexp", "unsafe",
    "fmt", "slices",
];

/// Trees of Go packages, each with everything below it.
#[rustfmt::skip]
pub(super) const GO_TREES: &[&str] = &[
    "internal/", "runtime/internal/", "crypto/internal/", "net/http/internal/", "vendor/golang.org/", "golang.org/x/",
    "google.golang.org/", "go.opentelemetry.io/", "go.uber.org/", "go.etcd.io/", "k8s.io/", "sigs.k8s.io/", "gopkg.in/",
    "github.com/prometheus/", "github.com/golang/", "github.com/google/uuid", "github.com/google/go-cmp",
    "github.com/google/pprof", "github.com/gogo/protobuf", "github.com/gorilla/", "github.com/gin-gonic/",
    "github.com/labstack/echo", "github.com/go-chi/chi", "github.com/valyala/", "github.com/klauspost/",
    "github.com/spf13/", "github.com/sirupsen/logrus", "github.com/rs/zerolog", "github.com/grpc-ecosystem/",
    "github.com/jackc/", "github.com/lib/pq", "github.com/go-sql-driver/mysql", "github.com/redis/go-redis",
    "github.com/go-redis/redis", "github.com/hashicorp/", "github.com/cespare/xxhash", "github.com/json-iterator/go",
    "github.com/mailru/easyjson", "github.com/bytedance/sonic", "github.com/aws/aws-sdk-go", "github.com/grafana/pyroscope-go",
    "github.com/DataDog/dd-trace-go", "gopkg.in/DataDog/dd-trace-go",
];

/// Packages of the JVM's languages, of .NET, and namespaces of C++ and Rust, with everything below them.
#[rustfmt::skip]
pub(super) const TREES: &[&str] = &[
    // the JDK and the languages above it
    "java", "javax", "jdk", "sun", "com.sun", "kotlin", "kotlinx.coroutines", "scala", "groovy.lang", "clojure.core",
    "clojure.lang",
    // what most services on the JVM are made of
    "org.apache", "org.springframework", "org.hibernate", "org.eclipse.jetty", "org.jboss", "org.slf4j", "org.postgresql",
    "org.h2", "org.junit", "org.openjdk", "org.elasticsearch", "org.mongodb", "io.netty", "io.grpc", "io.undertow",
    "io.vertx", "io.micrometer", "io.opentelemetry", "io.lettuce", "io.pyroscope", "reactor.core", "reactor.netty",
    "com.fasterxml.jackson", "com.google.common", "com.google.protobuf", "com.google.gson", "com.zaxxer.hikari",
    "com.mysql", "com.mongodb", "com.github.benmanes.caffeine", "ch.qos.logback", "okhttp3", "okio", "retrofit2", "akka",
    "redis.clients.jedis", "one.profiler", "datadog.trace",
    // .NET
    "System", "Microsoft.AspNetCore", "Microsoft.Extensions", "Microsoft.EntityFrameworkCore", "Microsoft.Win32",
    "Newtonsoft.Json", "Npgsql",
    // C++ and Rust
    "std", "core", "alloc", "__gnu_cxx", "__cxxabiv1", "absl", "boost", "google::protobuf", "grpc_core", "tokio",
    "tokio_util", "mio", "hyper", "hyper_util", "h2", "http", "tower", "tower_http", "axum", "tonic", "prost", "serde",
    "serde_json", "rayon", "rayon_core", "crossbeam_channel", "crossbeam_deque", "crossbeam_epoch", "crossbeam_utils",
    "parking_lot", "parking_lot_core", "hashbrown", "regex", "regex_automata", "aho_corasick", "memchr", "bytes",
    "futures_util", "futures_core", "futures_channel", "rustls", "reqwest", "tracing", "tracing_core", "flate2", "zstd",
    "addr2line", "gimli", "miniz_oxide", "backtrace",
];

/// Trees within those whose names speak of somebody's own code: a proxy has the methods of what it stands for.
#[rustfmt::skip]
pub(super) const NOT_PUBLIC: &[&str] = &["jdk.proxy", "com.sun.proxy", "sun.proxy", "java.lang.reflect.Proxy$"];

/// Words that may stand between public names: types that every language has, and what compilers write around names.
#[rustfmt::skip]
pub(super) const WORDS: &[&str] = &[
    "void", "bool", "char", "short", "int", "long", "unsigned", "signed", "float", "double", "byte", "const", "volatile",
    "auto", "size_t", "wchar_t", "char8_t", "char16_t", "char32_t", "operator", "new", "delete", "virtual", "thunk",
    "non", "to", "for", "vtable", "typeinfo", "guard", "variable", "enum", "struct", "class", "u8", "u16", "u32", "u64",
    "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64", "str", "dyn", "as", "impl", "mut", "fn",
    "T", "U", "K", "V", "F", "R", "E", "A", "S", "Self", "closure", "closure_env", "closure_env_0", "shim", "vtable.shim",
    "lambda", "clone", "cold", "isra", "part", "constprop", "Object", "String", "Class", "Thread", "Runnable", "Throwable",
    "boolean", "ABI", "cxx11", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "uint", "uintptr",
    "float32", "float64", "string", "error", "any", "interface", "func", "map", "chan", "rune",
];

/// Functions of libc, the dynamic linker and language runtimes, for profiles that do not say where a function comes from.
#[rustfmt::skip]
pub(super) const NATIVE: &[&str] = &[
    "_start", "__libc_start_main", "__libc_start_call_main", "start_thread", "clone", "clone3", "__clone", "__clone3",
    "fork", "vfork", "execve", "_exit", "exit", "abort", "raise", "main", "malloc", "calloc", "realloc", "free",
    "_int_malloc", "_int_free", "_int_realloc", "malloc_consolidate", "unlink_chunk", "sysmalloc", "mmap", "mmap64",
    "munmap", "mprotect", "madvise", "brk", "sbrk", "memcpy", "memmove", "memset", "memcmp", "memchr", "strlen", "strcmp",
    "strncmp", "strcpy", "strchr", "read", "write", "pread", "pwrite", "pread64", "pwrite64", "readv", "writev", "open",
    "open64", "openat", "close", "lseek", "fstat", "stat", "poll", "ppoll", "select", "pselect", "epoll_wait",
    "epoll_pwait", "epoll_ctl", "accept", "accept4", "connect", "bind", "listen", "socket", "send", "sendto", "sendmsg",
    "recv", "recvfrom", "recvmsg", "futex", "syscall", "nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday",
    "time", "sched_yield", "usleep", "sleep", "getpid", "gettid", "ioctl", "fcntl", "dlopen", "dlsym", "qsort", "printf",
    "snprintf", "vsnprintf", "vfprintf", "fwrite", "fread", "fflush", "rust_begin_unwind", "__rust_alloc",
    "__rust_dealloc", "__rust_realloc", "__rdl_alloc", "__rdl_dealloc", "rust_eh_personality", "_Unwind_RaiseException",
    "_Unwind_Resume", "_Unwind_Backtrace", "__cxa_throw", "__cxa_finalize", "__cxa_atexit", "_dl_start", "_dl_sysdep_start",
    "_dl_relocate_object", "_dl_lookup_symbol_x", "_dl_map_object", "_dl_runtime_resolve_xsave", "do_lookup_x", "dl_main",
    "entry_SYSCALL_64_after_hwframe", "entry_SYSCALL_64", "do_syscall_64", "asm_exc_page_fault", "exc_page_fault",
    "ret_from_fork", "ret_from_fork_asm", "kthread", "schedule", "__schedule", "finish_task_switch", "do_futex",
    "(garbage collector)", "(program)", "(idle)", "(root)", "(native)", "[unknown]", "unknown", "[deleted]", "root", "all",
    "call_stub", "Interpreter", "I2C/C2I adapters", "flush_icache_stub", "no_Java_frame", "unknown_Java",
    "not_walkable_Java", "unknown_not_Java", "thread_native_entry", "thread_start", "JavaMain", "ThreadJavaMain",
    "_PyEval_EvalFrameDefault", "_PyEval_Vector", "Py_RunMain", "Py_BytesMain", "PyEval_EvalCode", "pymain_run_python",
    "run_mod", "runpy.run_path", "_PyObject_Call", "_PyFunction_Vectorcall", "PyObject_Call", "PyObject_Vectorcall",
];

/// Beginnings of such functions.
#[rustfmt::skip]
pub(super) const NATIVE_PREFIXES: &[&str] = &[
    "__GI_", "__libc_", "pthread_", "__pthread_", "__memcpy_", "__memmove_", "__memset_", "__memcmp_", "__strlen_",
    "__x64_sys_", "__do_sys_", "__se_sys_", "__arm64_sys_", "ksys_", "vfs_", "_PyEval_",
];

/// Files that the system or a runtime brings, by their last segment: the shared object, whatever its version.
#[rustfmt::skip]
pub(super) const BINARIES: &[&str] = &[
    "libc", "libpthread", "libm", "libdl", "librt", "libresolv", "ld-linux", "ld-musl", "libstdc++", "libgcc_s", "libgomp",
    "libssl", "libcrypto", "libz", "libzstd", "liblz4", "libsnappy", "libuv", "libjemalloc", "libtcmalloc", "libjvm",
    "libjava", "libnio", "libnet", "libzip", "libjimage", "libjli", "libverify", "libasyncProfiler", "libcoreclr",
    "libclrjit", "libSystem.Native", "linux-vdso",
];

/// Mappings that are no files.
#[rustfmt::skip]
pub(super) const KERNEL: &[&str] = &[
    "[kernel.kallsyms]", "[kernel]", "[kernel.vmlinux]", "vmlinux", "[vdso]", "[vsyscall]", "[guest.kernel.kallsyms]",
];

/// Modules of Python's standard library as profilers shorten them, where nobody names a file of their own so.
#[rustfmt::skip]
pub(super) const PYTHON_FILES: &[&str] = &[
    "threading.py", "socketserver.py", "selectors.py", "runpy.py", "subprocess.py", "concurrent/futures/thread.py",
    "concurrent/futures/process.py", "concurrent/futures/_base.py", "multiprocessing/process.py",
    "multiprocessing/popen_fork.py", "multiprocessing/pool.py", "multiprocessing/connection.py", "asyncio/base_events.py",
    "asyncio/events.py", "asyncio/runners.py", "asyncio/selector_events.py", "asyncio/tasks.py", "json/decoder.py",
    "json/encoder.py", "json/scanner.py", "http/server.py", "http/client.py", "importlib/_bootstrap.py",
    "importlib/_bootstrap_external.py", "re/_compiler.py", "re/_parser.py", "sre_compile.py", "sre_parse.py",
    "email/message.py", "email/feedparser.py", "logging/__init__.py", "logging/handlers.py", "urllib/request.py",
    "urllib/parse.py", "_bootlocale.py", "_weakrefset.py", "contextlib.py", "functools.py", "posixpath.py", "genericpath.py",
];

/// Packages of Python and Node that a path may lead into, below `site-packages` or `node_modules`.
#[rustfmt::skip]
pub(super) const INSTALLED: &[&str] = &[
    "requests", "urllib3", "certifi", "aiohttp", "httpx", "httpcore", "flask", "werkzeug", "jinja2", "click", "django",
    "rest_framework", "fastapi", "starlette", "pydantic", "uvicorn", "gunicorn", "celery", "kombu", "sqlalchemy", "psycopg2",
    "psycopg", "asyncpg", "pymysql", "redis", "numpy", "pandas", "scipy", "sklearn", "torch", "tensorflow", "boto3",
    "botocore", "s3transfer", "google/protobuf", "grpc", "opentelemetry", "ddtrace", "pyroscope", "sentry_sdk", "express",
    "koa", "fastify", "body-parser", "router", "lodash", "axios", "undici", "pg", "pg-pool", "mysql2", "ioredis", "mongodb",
    "mongoose", "kafkajs", "@grpc/grpc-js", "protobufjs", "@opentelemetry", "@datadog/pprof", "@pyroscope/nodejs", "dd-trace",
    "react", "react-dom", "next", "vue", "webpack", "typescript", "pino", "winston", "ws", "socket.io",
];

/// Names and units of sample types that profilers agree on; they say nothing of the program.
#[rustfmt::skip]
pub(super) const TYPES: &[&str] = &[
    "", "cpu", "cpu-time", "cpu_time", "cpu-samples", "wall", "wall-time", "wall_time", "wall-clock", "samples", "sample",
    "count", "nanoseconds", "nanosecond", "ns", "microseconds", "us", "milliseconds", "ms", "seconds", "second", "s",
    "bytes", "byte", "by", "kilobytes", "megabytes", "kb", "mb", "objects", "object", "hertz", "hz", "percent", "events",
    "event", "cycles", "instructions", "space", "time", "1", "none", "alloc_objects", "alloc_space", "inuse_objects",
    "inuse_space", "alloc-samples", "alloc-size", "alloc-space", "alloc_in_new_tlab_objects", "alloc_in_new_tlab_bytes",
    "alloc_outside_tlab_objects", "alloc_outside_tlab_bytes", "heap-space", "heap-live-size", "heap-live-samples",
    "heap_live_size", "heap-live-objects", "live_objects", "live_bytes", "contentions", "delay", "lock-acquire",
    "lock-release", "lock-acquire-wait", "lock-release-hold", "lock_count", "lock_duration", "block", "blocks", "mutex",
    "mutex_count", "mutex_duration", "block_count", "block_duration", "goroutine", "goroutines", "goroutines_count",
    "threadcreate", "thread", "threads", "exception", "exceptions", "exception-samples", "off_cpu", "off-cpu", "on_cpu",
    "itimer", "ctimer", "allocations", "allocation", "alloc", "heap", "malloc", "malloc_size", "nativemem", "native_memory",
    "wallclock", "walltime", "timeline", "gc", "cpu_nanoseconds", "page-faults", "context-switches", "cache-misses",
    "branch-misses", "task-clock", "cpu-clock", "park", "park_count", "park_duration", "monitor", "lock", "locks", "unknown",
    "weight", "value", "duration", "size", "calls", "hits", "misses", "timestamp", "root", "file-io-read-time",
    "file-io-write-time", "socket-read-time", "socket-write-time", "gpu-time", "gpu-samples", "gpu-space",
];
