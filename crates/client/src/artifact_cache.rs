//! A bounded cache of artifacts that this node downloaded, from which other nodes download by
//! digest.
//!
//! ```text
//! STATE/artifacts/00000012-48213-SHA256     the twelfth artifact, of 48213 bytes
//! ```
//!
//! If there is no room, the oldest artifacts are removed. Downloaders verify every artifact, so
//! they need not trust the cache.

use std::fs::File;
use std::io::Read;
use std::io::{self};
use std::path::{Path, PathBuf};

use unanimity_install::{InstallError, verify_artifact};
use unanimity_net::file_server::{FileStore, ServedFile};
use unanimity_protocol::Hash;
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::manifest::Artifact;
use unanimity_storage::{Mode, Storage, StorageError, WritableFile};

/// The cached artifacts below one state directory.
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    directory: PathBuf,
    /// The most bytes of all artifacts together.
    max_bytes: u64,
    disk: Storage,
}

/// A cached artifact, as its file name describes it.
struct CachedArtifact {
    number: u64,
    length: u64,
    digest: Hash,
    path: PathBuf,
}

impl ArtifactCache {
    /// Makes a cache in `STATE/artifacts` of at most `max_bytes` bytes. Creates no file or
    /// directory.
    pub fn new(state: &Path, max_bytes: u64, disk: Storage) -> ArtifactCache {
        ArtifactCache { directory: state.join("artifacts"), max_bytes, disk }
    }

    /// Caches an artifact, if `bytes`, read from their beginning, are exactly the signed artifact.
    ///
    /// Removes the oldest artifacts to make room. An artifact that is cached already, or is larger
    /// than the cache, is skipped.
    ///
    /// # Errors
    /// If `bytes` are not the signed artifact, or a file cannot be read, written or removed.
    pub fn insert(&self, target: &Artifact, bytes: impl Read) -> Result<(), InstallError> {
        let at = |path: &Path| StorageError::at(path);
        self.remove_unfinished().map_err(at(&self.directory))?;
        let mut kept = self.list().map_err(at(&self.directory))?;
        if target.length > self.max_bytes || kept.iter().any(|kept| kept.digest == target.sha256) {
            return Ok(());
        }
        let number = kept.last().map_or(1, |last| last.number + 1);
        let mut held: u64 = kept.iter().map(|kept| kept.length).sum();
        let mut oldest = kept.drain(..);
        while held + target.length > self.max_bytes
            && let Some(oldest) = oldest.next()
        {
            self.disk.remove(&oldest.path).map_err(at(&oldest.path))?;
            held -= oldest.length;
        }
        let (length, digest) = (target.length, target.sha256.hex());
        let path = self.directory.join(format!("{number:08}-{length}-{digest}"));
        self.disk.make_dir(&self.directory, Mode::Private).map_err(at(&self.directory))?;
        let written = self.write(target, bytes, &path);
        if written.is_err() {
            // The unfinished file must not take room on a disk that may be full.
            self.disk.remove(&unanimity_storage::temporary_path(&path)).ok();
        }
        written
    }

    fn write(&self, target: &Artifact, bytes: impl Read, path: &Path) -> Result<(), InstallError> {
        let disk = &self.disk;
        let mut file = disk.create(path, Mode::Private).map_err(StorageError::at(path))?;
        disk.announce_write(path).map_err(StorageError::at(path))?;
        verify_artifact(target, TeeReader { from: bytes, to: &mut *file })?;
        Ok(disk.finish(&*file, path).map_err(StorageError::at(path))?)
    }

    /// Removes unfinished files of a process that was killed. Only one download runs at a time, so
    /// no other process is writing one.
    fn remove_unfinished(&self) -> io::Result<()> {
        let names = match self.disk.list_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names?,
        };
        let unfinished = |name: &&std::ffi::OsString| {
            name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".new"))
        };
        names
            .iter()
            .filter(unfinished)
            .try_for_each(|name| self.disk.remove(&self.directory.join(name)))
    }

    /// The cached artifacts, the oldest first.
    fn list(&self) -> io::Result<Vec<CachedArtifact>> {
        let names = match self.disk.list_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let mut all: Vec<CachedArtifact> = names
            .iter()
            .filter_map(|name| {
                let mut fields = name.to_str()?.splitn(3, '-');
                let (number, length) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
                let digest = Hash::from_hex(fields.next()?)?;
                Some(CachedArtifact { number, length, digest, path: self.directory.join(name) })
            })
            .collect();
        all.sort_by_key(|kept| kept.number);
        Ok(all)
    }
}

/// Serves each cached artifact at the path that it has on a mirror. Serves no other files.
impl FileStore for ArtifactCache {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        let kept = self.list()?.into_iter().find(|kept| artifact_path(&kept.digest) == path);
        let kept = kept.ok_or(io::ErrorKind::NotFound)?;
        ServedFile::immutable(File::open(kept.path)?)
    }
}

/// A reader of `from` that also writes every byte to `to`.
struct TeeReader<'a, R> {
    from: R,
    to: &'a mut dyn WritableFile,
}

impl<R: Read> Read for TeeReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}
