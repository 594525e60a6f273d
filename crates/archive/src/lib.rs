//! The one strict reader of archives, for installing and for publishing.
//!
//! Two readers can unpack one archive into different trees: then a reviewer looks at another tree than
//! the node installs. So this reader takes only what every reader reads alike, and refuses the rest:
//!
//! | part | what is taken |
//! |---|---|
//! | packing | nothing, or exactly one gzip member (RFC 1952), or exactly one zstd frame (RFC 8878) with a window of at most 8 MiB and no dictionary; nothing before it and nothing after |
//! | headers | POSIX `ustar`, and GNU's where it is the same; unsigned checksum; octal numbers; zeros wherever a field is not filled |
//! | entries | files `0`, directories `5`, symbolic links `2`, and before each at most one extended header `x` |
//! | extended header | at most 8 KiB: `path` and `linkpath` for names of more than 100 bytes (the header's own field is then their first 100), and times and owners, which are ignored |
//! | names | printable ASCII without `\`; relative; no empty part, `.` or `..`; 255 bytes a part, 1024 and 64 parts a path; no two names that differ only in letter case |
//! | order | a directory's entry before all that is in it |
//! | links | a target is `../`, at most up to the top of the tree, then names: no link leads out, whatever other links there are |
//! | rights | files 0755 if their owner may execute them, else 0644; directories 0755; setuid, setgid and sticky bits are refused |
//! | end | two blocks of zeros, then at most 19 more that fill a record, then nothing |
//! | bounds | exactly the signed number of bytes and of entries; 262144 entries; 32 MiB of names |
//!
//! Hard links are refused altogether, as are sparse files, devices, global extended headers, GNU's
//! long names (`L`, `K`) and sizes of 8 GiB and more (they need base 256, or a size told twice).
//! Owners and times of the archive are not kept: a tree belongs to the installing user.
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
