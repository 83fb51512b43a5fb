//! Every compression that profiles travel in.

/// How bytes are compressed on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 0 to 9.
    Gzip(u32),
    /// zlib, level 0 to 9 (HTTP calls it `deflate`).
    Deflate(u32),
    /// Zstandard, level 1 to 19.
    Zstd(i32),
    /// Snappy block format.
    Snappy,
    /// LZ4 frame format.
    Lz4,
}
