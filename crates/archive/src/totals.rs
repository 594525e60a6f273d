//! How much an archive holds.

/// How much is in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of all files together.
    pub unpacked: u64,
    /// Number of entries, directories included and extended headers not.
    pub entries: u64,
}
