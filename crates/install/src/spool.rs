//! The spool: where a process with a network leaves what another, without one, is to install.
//!
//! ```text
//! SPOOL/versions/.2-1.1.0.new/hello   the artifact, as it was fetched
//! SPOOL/entries                       the log's entries from the installer's own head on
//! SPOOL/proof                         the proof bundle; written last
//! ```
//!
//! `entries` is the number of the first one, 8 bytes, and then each after its length, 2 bytes, all
//! big-endian: but for the first 8 as C2SP tlog-tiles has them in bundles.
//!
//! Whoever installs believes nothing of it. It is read through one open directory, no link in it is
//! followed, and what is used is copied first.

use std::fs::File;
use std::io::Read;
use std::io::{self};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode as Rights, OFlags, ResolveFlags, fstat, openat2};
use unanimity_protocol::note::MAX_ENTRY_BYTES;
use unanimity_report::{Classify, Exit};

/// The proof bundle's name.
pub const PROOF_FILE: &str = "proof";
/// The entries' name.
pub const ENTRIES_FILE: &str = "entries";

/// A spool that is open for reading.
#[derive(Debug)]
pub struct SpoolReader {
    path: PathBuf,
    directory: File,
    owner: u32,
}

/// Why nothing in a spool is used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Anybody could put one in its place, or something in it.
    #[error("{} is no place for a spool: {why}", path.display())]
    UntrustedPlace {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of the spool is shorter than its format requires.
    #[error("{} is cut short", .0.display())]
    CutShort(PathBuf),
    /// There is nothing to install.
    #[error("there is no proof in {}: nothing is staged", .0.display())]
    Empty(PathBuf),
}

impl Classify for SpoolError {
    fn exit(&self) -> Exit {
        Exit::Disk
    }
}

impl SpoolReader {
    /// Opens one. The directory above it has to be ours alone, so that whoever owns the spool was
    /// given it by us.
    pub fn open(path: &Path) -> Result<SpoolReader, SpoolError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Io { path, source }
        };
        let wrong =
            |path: &Path, why| Err(SpoolError::UntrustedPlace { path: path.to_owned(), why });
        let above = unanimity_storage::parent(path);
        let found = std::fs::metadata(above).map_err(io(above))?;
        if found.uid() != rustix::process::geteuid().as_raw() && found.uid() != 0 {
            return wrong(above, "it belongs to another user than the one who installs");
        }
        if found.mode() & 0o022 != 0 {
            return wrong(
                above,
                "others may write to it: keep the spool in a directory that only who installs may write to",
            );
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Rights::empty());
        let directory = File::from(directory.map_err(|error| io(path)(error.into()))?);
        let found = directory.metadata().map_err(io(path))?;
        if found.mode() & 0o002 != 0 {
            return wrong(path, "everybody may write to it (chmod o-w)");
        }
        Ok(SpoolReader { path: path.to_owned(), directory, owner: found.uid() })
    }

    /// Opens a file in it: a plain one, under one name, of the spool's owner.
    pub fn open_file(&self, name: &str) -> Result<File, SpoolError> {
        let at = self.path.join(name);
        let open = || {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let file = openat2(&self.directory, name, flags, Rights::empty(), beneath)?;
            let found = fstat(&file)?;
            let plain = rustix::fs::FileType::from_raw_mode(found.st_mode).is_file();
            if !plain || found.st_nlink != 1 || found.st_uid != self.owner {
                let why = "not a plain file of the spool's owner";
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

    /// The error of the spool for an error in reading its file `name`.
    pub fn error_for(&self, name: &str, source: io::Error) -> SpoolError {
        let path = self.path.join(name);
        match source.kind() {
            io::ErrorKind::UnexpectedEof => SpoolError::CutShort(path),
            _ => SpoolError::Io { path, source },
        }
    }

    /// Reads one whole, of at most `limit` bytes.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, SpoolError> {
        let mut bytes = Vec::new();
        let read = self.open_file(name)?.take(limit as u64 + 1).read_to_end(&mut bytes);
        let bounded = read.and_then(|_| match bytes.len() > limit {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "larger than it may be")),
            false => Ok(()),
        });
        bounded.map_err(|source| self.error_for(name, source))?;
        Ok(bytes)
    }
}

/// Reads the entries of a spool, or of whoever else sends them in this form: each is given to `begin_trial`
/// with its number, until `begin_trial` has enough (`false`) or they end.
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
