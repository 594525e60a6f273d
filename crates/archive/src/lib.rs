//! The strict reader of tar archives, for installers and publishers.
//!
//! Two readers can unpack one archive into different trees. A reviewer would then see another tree
//! than the node installs. This reader accepts only archives that every reader reads alike, and
//! refuses all others:
//!
//! | part | accepted |
//! |---|---|
//! | compression | none, or exactly one gzip member (RFC 1952), or exactly one zstd frame (RFC 8878) with a window of at most 8 MiB and no dictionary; no bytes before or after it |
//! | headers | POSIX `ustar`, or GNU with zeros in place of the POSIX prefix field; unsigned checksum; octal numbers, with zero bytes or spaces after them; zeros after the end of a text |
//! | entries | files `0`, directories `5`, symbolic links `2`; before each at most one extended header `x` |
//! | extended header | at most 8 KiB: `path` and `linkpath`, of which the header's own field has the first 100 bytes; times and owners, which are ignored |
//! | names | printable ASCII without `\`; relative; no empty part, `.` or `..`; a part has at most 255 bytes, a path at most 1024 bytes and 64 parts; no two names that differ only in letter case |
//! | order | the entry of a directory is before all entries in it |
//! | links | a target is `../` repeated, at most up to the root of the tree, then names: no link leads out of the tree, whatever other links the tree has |
//! | modes | files are 0755 if their owner may execute them, else 0644; directories are 0755; setuid, setgid and sticky bits are refused |
//! | end | two blocks of zeros, then at most 19 more that fill a record, then the end of the file |
//! | limits | exactly the signed number of bytes and of entries; at most 262144 entries and 32 MiB of names |
//!
//! Also refused are hard links, sparse files, devices, global extended headers, and GNU's long
//! names (`L`, `K`). A file has less than 8 GiB: larger sizes need base 256, or a second size in an
//! extended header. Owners and times of the archive are not kept: a tree belongs to the installing
//! user.
//!
//! GNU tar writes such an archive with `tar --format=posix --hard-dereference -C DIRECTORY NAMES`.

mod decoder;
mod error;
mod header;
mod limits;
mod path;
mod pax;
mod reader;
mod sink;
mod totals;
mod unpack;

pub use error::{ArchiveError, ArchiveViolation};
pub use limits::{MAX_ENTRIES, MAX_NAMES_BYTES, MAX_WINDOW_LOG};
pub use path::{EntryPath, LinkTarget, MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES};
pub use sink::TreeSink;
pub use totals::Totals;
pub use unpack::{check, unpack};
