//! What survives an allow-list without being named, because it joins and identifies: as far as the value looks the part.

use super::detectors::is_id;
use crate::profile::{Dictionary, Role, Value};

/// What runs a frame, as `profile.frame.type` says it.
const FRAME_TYPES: &[&str] = &[
    "abort-marker",
    "beam",
    "cpython",
    "dotnet",
    "go",
    "jvm",
    "kernel",
    "luajit",
    "native",
    "perl",
    "php",
    "phpjit",
    "ruby",
    "rust",
    "v8js",
];

/// What pprof says of mappings and locations: whether something holds.
const FLAGS: &[&str] = &[
    "pprof.location.is_folded",
    "pprof.mapping.has_functions",
    "pprof.mapping.has_filenames",
    "pprof.mapping.has_line_numbers",
    "pprof.mapping.has_inline_frames",
];

/// Whether the value of this key, one of those that join, is what the key says.
pub fn is_join(d: &Dictionary, key: &str, value: &Value) -> bool {
    if key.starts_with("pprof.") {
        return FLAGS.contains(&key) && matches!(value, Value::Bool(_));
    }
    match value {
        // a service is called as its owner likes
        _ if key.starts_with("service.") => true,
        Value::Empty | Value::Bool(_) | Value::Int(_) => true,
        Value::String(id) if key == "profile.frame.type" => FRAME_TYPES.contains(&d.str(*id)),
        Value::String(id) => is_id(d.str(*id)) || is_build_id_of_go(d.str(*id)),
        Value::Array(items) => items.iter().all(|item| is_join(d, key, item)),
        Value::Bytes(bytes) => matches!(bytes.len(), 8 | 16 | 20 | 32),
        Value::Double(_) | Value::Map(_) => false,
    }
}

/// Two or four hashes of twenty letters: `mZ2rTnCw0.../8kQ...`.
fn is_build_id_of_go(text: &str) -> bool {
    let is_hash = |part: &str| {
        part.len() == 20
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    matches!(text.split('/').count(), 2 | 4) && text.split('/').all(is_hash)
}

/// The carrier that a text under this key would be, had it come as a field of a profile.
pub fn carrier(key: &str) -> Option<Role> {
    match key.strip_prefix("pprof.")? {
        "profile.drop_frames" | "profile.keep_frames" => Some(Role::FramePattern),
        "profile.doc_url" => Some(Role::DocUrl),
        "scope.default_sample_type" => Some(Role::TypeName),
        key if key.starts_with("profile.comment") => Some(Role::Comment),
        _ => None,
    }
}
