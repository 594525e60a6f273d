//! The size of an unpacked archive.

/// The number of unpacked bytes and of entries in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The sum of all file sizes in bytes.
    pub unpacked: u64,
    /// The number of files, directories and links.
    pub entries: u64,
}
