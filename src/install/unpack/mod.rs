//! Archives: one strict reader, for whoever installs and for whoever publishes.
//!
//! What one program reads in an archive and another does not is where trees differ from what
//! somebody looked at. So there is one way to write a tree down here, and all else is refused:
//!
//! | part | what is taken |
//! |---|---|
//! | packing | nothing, or exactly one gzip member (RFC 1952), or exactly one zstd frame (RFC 8878) with a window of at most 8 MiB and no dictionary; nothing before it and nothing after |
//! | headers | POSIX `ustar`, and GNU's where it is the same; unsigned checksum; octal numbers; zeros wherever a field is not filled |
//! | entries | files `0`, directories `5`, symbolic links `2`, and before each at most one extended header `x` |
//! | extended header | at most 8 KiB: `path` and `linkpath` for names of more than 100 bytes (the header's own field is then their first 100), and times and owners, which are ignored |
//! | names | printable ASCII without `\`; relative; no empty part, `.` or `..`; 255 bytes a part, 1024 and 64 parts a path; no two alike but for letter case |
//! | order | a directory's entry before all that is in it |
//! | links | a target is `../` as often as leads to the top of the tree or less, then names: it cannot lead out, whatever other links there are |
//! | rights | files 0755 if their owner may execute them, else 0644; directories 0755; setuid, setgid and sticky bits are refused |
//! | end | two blocks of zeros, then at most 19 more that fill a record, then nothing |
//! | bounds | exactly the signed number of bytes and of entries; 262144 entries; 32 MiB of names |
//!
//! Hard links are refused altogether, as are sparse files, devices, global extended headers, GNU's
//! long names (`L`, `K`) and sizes of 8 GiB and more (they need base 256, or a size told twice).
//! Owners and times of the archive are not kept: a tree belongs to whoever installs it.
//!
//! GNU tar writes such an archive with `tar --format=posix --hard-dereference -C DIRECTORY NAMES`.

mod fill;
mod header;
mod packed;
mod path;
mod pax;
mod reader;

use std::io::{self, Read};

pub use path::{MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES};

use fill::{Fill, Nowhere};
use packed::Packed;
use unanimity_protocol::manifest::ArchiveFormat;
use unanimity_storage::DiskError;
use unanimity_storage::Tree;

/// The most entries of one archive: what has to be remembered of each is in memory.
pub const MAX_ENTRIES: u64 = 1 << 18;

/// The most bytes of all paths of one archive together.
pub const MAX_NAMES_BYTES: usize = 32 << 20;

/// The largest window of a zstd frame, as a power of two, in bytes: 8 MiB, what every decoder has to
/// support (RFC 8878 section 3.1.1.1.2).
pub const MAX_WINDOW_LOG: u32 = 23;

/// How much is in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of all files together.
    pub unpacked: u64,
    /// Number of entries, directories included and extended headers not.
    pub entries: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It breaks a rule, here.
    #[error(transparent)]
    Refused(#[from] Broken),
    /// Its bytes cannot be read.
    #[error("reading the archive: {0}")]
    Source(io::Error),
    /// The tree cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The rule that an archive breaks, and where. Names are quoted, with everything but printable
/// ASCII escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", place(.entry))]
pub struct Broken {
    /// Which entry, counted from 1, and its name as far as it is known; `None` for the archive.
    pub entry: Option<(u64, String)>,
    /// What is wrong.
    pub why: String,
}

fn place(entry: &Option<(u64, String)>) -> String {
    entry.as_ref().map_or_else(String::new, |(number, name)| format!("entry {number}, {name}: "))
}

/// Reads an archive to its end and unpacks nothing: what it comes to, if it can be installed.
pub fn check(format: ArchiveFormat, source: impl Read) -> Result<Totals, UnpackError> {
    let bound = Totals { unpacked: u64::MAX, entries: MAX_ENTRIES };
    reader::read(&mut Packed::open(format, source)?, bound, &mut Nowhere)
}

/// Unpacks an archive into an empty tree, which is not yet durable then. On an error the tree is
/// to be thrown away. It stops at what is more than was signed, before any of that is written.
pub fn unpack(
    format: ArchiveFormat,
    signed: Totals,
    source: impl Read,
    tree: &mut Tree,
) -> Result<(), UnpackError> {
    let bound = Totals { entries: signed.entries.min(MAX_ENTRIES), ..signed };
    let found = reader::read(&mut Packed::open(format, source)?, bound, &mut Fill(tree))?;
    let short = |what: &str, found, signed| {
        let why = format!("{found} {what} in all, and {signed} were signed");
        Err(Broken { entry: None, why }.into())
    };
    if found.entries != signed.entries {
        return short("entries", found.entries, signed.entries);
    }
    if found.unpacked != signed.unpacked {
        return short("bytes unpacked", found.unpacked, signed.unpacked);
    }
    Ok(())
}

/// Bytes from an archive for a person's terminal: quoted, escaped, and not endless.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}
