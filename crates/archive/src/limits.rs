//! Limits on archives.

/// The most entries of one archive. The reader keeps the name of each entry in memory.
pub const MAX_ENTRIES: u64 = 1 << 18;

/// The most bytes of all paths of one archive together: 32 MiB.
pub const MAX_NAMES_BYTES: usize = 32 << 20;

/// The binary logarithm of the largest accepted window of a zstd frame, which has 8 MiB.
///
/// RFC 8878 section 3.1.1.1.2 recommends that every decoder support a window of that size.
pub const MAX_WINDOW_LOG: u32 = 23;
