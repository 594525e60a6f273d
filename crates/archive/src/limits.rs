//! Limits on archives.

/// The most entries of one archive. The reader keeps the name of each entry in memory.
pub const MAX_ENTRIES: u64 = 1 << 18;

/// The most bytes of all paths of one archive together: 32 MiB.
pub const MAX_NAMES_BYTES: usize = 32 << 20;

/// The largest window of a zstd frame, as a power of two, in bytes. It is 8 MiB, which every
/// decoder has to support (RFC 8878 section 3.1.1.1.2).
pub const MAX_WINDOW_LOG: u32 = 23;
