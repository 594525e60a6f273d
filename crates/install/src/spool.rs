//! The spool: the directory in which the downloader leaves a release for the installer.
//!
//! ```text
//! SPOOL/versions/.2-1.1.0.new/hello   the artifact, as downloaded
//! SPOOL/entries                       the log's entries from the installer's head on
//! SPOOL/proof                         the proof bundle; written last
//! ```
//!
//! `entries` begins with the log index of its first entry, in 8 bytes. Then the entries follow,
//! each after its length in 2 bytes. All numbers are big-endian. After the first 8 bytes, this is
//! the format of a C2SP tlog-tiles entry bundle.
//!
//! The installer trusts nothing in the spool. It reads the spool through one open directory,
//! follows no link in it, and copies the artifact before use.

use std::fs::File;
use std::io::Read;
use std::io::{self};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode as Rights, OFlags, ResolveFlags, fstat, openat2};
use unanimity_protocol::note::MAX_ENTRY_BYTES;
use unanimity_report::{Classify, Exit};

/// File name of the proof bundle.
pub const PROOF_FILE: &str = "proof";
/// File name of the log entries.
pub const ENTRIES_FILE: &str = "entries";

/// A spool that is open for reading.
#[derive(Debug)]
pub struct SpoolReader {
    path: PathBuf,
    directory: File,
    owner: u32,
}

/// Why the installer cannot use a spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A file of the spool, or the spool itself, cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Another user could replace the spool, or every user may write into it.
    #[error("{} cannot be used as a spool: {why}", path.display())]
    UntrustedPlace {
        /// The spool, or the directory above it.
        path: PathBuf,
        /// What is wrong with the directory.
        why: &'static str,
    },
    /// A file of the spool is shorter than its format requires.
    #[error("{} is truncated", .0.display())]
    CutShort(PathBuf),
    /// The spool has no proof bundle, so there is nothing to install.
    #[error("there is no proof in {}: nothing is downloaded", .0.display())]
    Empty(PathBuf),
}

impl Classify for SpoolError {
    fn exit(&self) -> Exit {
        Exit::Disk
    }
}

impl SpoolReader {
    /// Opens a spool. The directory above the spool must belong to this user or to root, and no
    /// other user may write to that directory. So the owner of that directory has chosen the owner
    /// of the spool.
    ///
    /// A spool that every user may write into is refused.
    pub fn open(path: &Path) -> Result<SpoolReader, SpoolError> {
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Io { path, source }
        };
        let untrusted =
            |path: &Path, why| Err(SpoolError::UntrustedPlace { path: path.to_owned(), why });
        let parent = unanimity_storage::parent(path);
        let found = std::fs::metadata(parent).map_err(io_error(parent))?;
        if found.uid() != rustix::process::geteuid().as_raw() && found.uid() != 0 {
            return untrusted(
                parent,
                "it belongs to a user other than the installing user and root",
            );
        }
        if found.mode() & 0o022 != 0 {
            return untrusted(
                parent,
                "other users may write to it. Keep the spool in a directory that only the installing user may write to",
            );
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Rights::empty());
        let directory = File::from(directory.map_err(|error| io_error(path)(error.into()))?);
        let found = directory.metadata().map_err(io_error(path))?;
        if found.mode() & 0o002 != 0 {
            return untrusted(path, "every user may write to it (run chmod o-w on it)");
        }
        Ok(SpoolReader { path: path.to_owned(), directory, owner: found.uid() })
    }

    /// Opens a regular file of the spool. The file must belong to the spool's owner and have no
    /// second hard link.
    pub fn open_file(&self, name: &str) -> Result<File, SpoolError> {
        let at = self.path.join(name);
        let open = || {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let file = openat2(&self.directory, name, flags, Rights::empty(), beneath)?;
            let found = fstat(&file)?;
            let plain = rustix::fs::FileType::from_raw_mode(found.st_mode).is_file();
            if !plain || found.st_nlink != 1 || found.st_uid != self.owner {
                let why = "must be a regular file without a second hard link, owned by the owner of the spool";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            Ok(File::from(file))
        };
        match open() {
            Err(error) if name == PROOF_FILE && error.kind() == io::ErrorKind::NotFound => {
                Err(SpoolError::Empty(self.path.clone()))
            }
            opened => opened.map_err(|source| SpoolError::Io { path: at, source }),
        }
    }

    /// Converts an I/O error from reading the file `name` of the spool into a [`SpoolError`].
    pub fn error_for(&self, name: &str, source: io::Error) -> SpoolError {
        let path = self.path.join(name);
        match source.kind() {
            io::ErrorKind::UnexpectedEof => SpoolError::CutShort(path),
            _ => SpoolError::Io { path, source },
        }
    }

    /// Reads a whole file of the spool. A file of more than `limit` bytes is an error.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, SpoolError> {
        let mut bytes = Vec::new();
        let read = self.open_file(name)?.take(limit as u64 + 1).read_to_end(&mut bytes);
        let bounded = read.and_then(|_| match bytes.len() > limit {
            true => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "larger than the limit for this file",
            )),
            false => Ok(()),
        });
        bounded.map_err(|source| self.error_for(name, source))?;
        Ok(bytes)
    }
}

/// Reads entries in the format of the spool's file `entries`.
///
/// Calls `take` with the log index and the bytes of each entry. Stops when `take` returns `false`,
/// or at the end of the input. An input that ends inside the first index, a length or an entry is
/// an [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
pub fn read_entries(
    mut from: impl Read,
    mut take: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<()> {
    let mut number = [0; 8];
    from.read_exact(&mut number)?;
    let mut number = u64::from_be_bytes(number);
    let mut entry = vec![0; MAX_ENTRY_BYTES];
    loop {
        let mut length = [0; 2];
        match from.read(&mut length[..1])? {
            0 => return Ok(()),
            _ => from.read_exact(&mut length[1..])?,
        }
        let entry = &mut entry[..usize::from(u16::from_be_bytes(length))];
        from.read_exact(entry)?;
        if !take(number, entry) {
            return Ok(());
        }
        number = number.checked_add(1).ok_or(io::ErrorKind::InvalidData)?;
    }
}
