//! What has the shape of something private and is none: identifiers, by key and shape.

/// Keys that join and identify: without them a profile belongs to nobody and to no trace.
pub fn is_identity(key: &str) -> bool {
    const NAMES: &[&str] = &[
        "service.name",
        "service.instance.id",
        "trace_id",
        "span_id",
        "traceid",
        "spanid",
        "trace.id",
        "span.id",
        "trace id",
        "span id",
        "local root span id",
        "profile_id",
        "profile.frame.type",
        "pyroscope.session_id",
    ];
    NAMES.contains(&key) || key.starts_with("process.executable.build_id.") || key.starts_with("pprof.")
}

/// Build ids, trace ids, addresses: hexadecimal through and through.
pub fn is_hex_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
