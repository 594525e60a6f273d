//! Partial downloads: the first bytes of an artifact, written to the disk as they arrive.

use std::io::Read;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::{
    fmt,
    io::{self},
    thread::{self},
};

use unanimity_protocol::manifest::Artifact;
use unanimity_storage::{Lock, Mode, ReadableFile, Storage, StorageError, WritableFile};

use crate::artifact::{ArtifactHasher, VerifiedArtifact, check_fits};
use crate::error::InstallError;
use crate::refusal::ArtifactMismatch;

/// The size of a write, in bytes, from which a separate thread hashes. From this size on, hashing
/// takes longer than handing the bytes to the thread.
const HASH_THREAD_MIN_BYTES: u64 = 128 * 1024;

/// Number of bytes after which the system is asked to begin writing them to the disk.
const WRITEBACK_MIN_BYTES: u64 = 8 << 20;

/// The most pieces of work that wait for the hashing thread.
const HASH_QUEUE_LENGTH: usize = 4;

/// The first bytes of an artifact, or all of them. They are not verified before
/// [`PartialDownload::check`].
pub struct PartialDownload {
    artifact: Artifact,
    release: String,
    directory: PathBuf,
    path: PathBuf,
    disk: Storage,
    file: Box<dyn WritableFile>,
    /// Number of bytes received so far.
    length: u64,
    hasher: BackgroundHasher,
    /// Number of bytes whose writing to the disk was started.
    writeback_started: u64,
    /// The lock for downloads, which keeps other processes from downloading to this root.
    _lock: Lock,
}

/// Work for the hashing thread.
type HashJob = Box<dyn FnOnce(&mut ArtifactHasher) + Send>;

/// The hasher of a download. It moves to a thread of its own at the first large write.
#[derive(Default)]
struct BackgroundHasher {
    measured: ArtifactHasher,
    thread: Option<(SyncSender<HashJob>, JoinHandle<ArtifactHasher>)>,
}

impl BackgroundHasher {
    /// Hashes `more` bytes with `hashing`. The first large write starts a thread. The thread hashes
    /// all later bytes and may lag behind.
    fn add(&mut self, more: u64, hashing: impl FnOnce(&mut ArtifactHasher) + Send + 'static) {
        if self.thread.is_none() && more < HASH_THREAD_MIN_BYTES {
            return hashing(&mut self.measured);
        }
        let (jobs, _) = self.thread.get_or_insert_with(|| {
            let mut measured = std::mem::take(&mut self.measured);
            let (jobs, receiver) = sync_channel::<HashJob>(HASH_QUEUE_LENGTH);
            let thread = thread::spawn(move || {
                receiver.into_iter().for_each(|hashing| hashing(&mut measured));
                measured
            });
            (jobs, thread)
        });
        // The thread runs until `finish` drops this sender.
        jobs.send(Box::new(hashing)).ok();
    }

    /// Waits until all bytes are hashed.
    fn finish(&mut self) -> &ArtifactHasher {
        if let Some((jobs, thread)) = self.thread.take() {
            drop(jobs);
            self.measured = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        &self.measured
    }
}

impl PartialDownload {
    pub(crate) fn open(
        artifact: Artifact,
        release: String,
        directory: PathBuf,
        disk: Storage,
        lock: Lock,
    ) -> Result<PartialDownload, StorageError> {
        let path = directory.join(artifact.file.as_str());
        let mut measured = ArtifactHasher::default();
        let resumed = disk.resume(&path, Mode::Program).map_err(StorageError::at(&path))?;
        let file = match resumed
            .map(|(bytes, file)| (hash_existing(bytes, &artifact, &mut measured), file))
        {
            Some((Ok(()), file)) => file,
            // The existing bytes are useless: longer than the artifact, or unreadable.
            _ => {
                measured = ArtifactHasher::default();
                disk.create(&path, Mode::Program).map_err(StorageError::at(&path))?
            }
        };
        let (length, writeback_started) = (measured.length, measured.length);
        let hasher = BackgroundHasher { measured, thread: None };
        Ok(PartialDownload {
            artifact,
            release,
            directory,
            path,
            disk,
            file,
            length,
            hasher,
            writeback_started,
            _lock: lock,
        })
    }

    /// Number of bytes received so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the signed length is reached.
    pub fn is_complete(&self) -> bool {
        self.length == self.artifact.length
    }

    /// Appends the next bytes, in pieces. If they exceed the signed length, all of them are
    /// refused.
    ///
    /// The bytes are hashed while they are written. The system writes them to the disk while the
    /// next ones arrive.
    pub fn write<P>(&mut self, pieces: Vec<P>) -> Result<(), InstallError>
    where
        P: AsRef<[u8]> + Send + Sync + 'static,
    {
        let more = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
        check_fits(&self.artifact, self.length, more)?;
        let pieces = Arc::new(pieces);
        let hashed = pieces.clone();
        self.disk.announce_write(&self.path).map_err(StorageError::at(&self.path))?;
        self.hasher.add(more, move |measured| {
            hashed.iter().for_each(|piece| measured.add(piece.as_ref()));
        });
        let mut written = pieces.iter().map(|piece| self.file.write_all(piece.as_ref()));
        written.try_for_each(|written| written).map_err(StorageError::at(&self.path))?;
        self.length += more;
        let new = self.length - self.writeback_started;
        if new >= WRITEBACK_MIN_BYTES {
            self.file.start_writeback(self.writeback_started, new);
            self.writeback_started += new;
        }
        Ok(())
    }

    /// Drops all bytes and begins again at the first one.
    pub fn restart(&mut self) -> Result<(), StorageError> {
        let created = self.disk.create(&self.path, Mode::Program);
        self.file = created.map_err(StorageError::at(&self.path))?;
        self.hasher = BackgroundHasher::default();
        (self.length, self.writeback_started) = (0, 0);
        Ok(())
    }

    /// Removes the download and its directory.
    pub fn discard(self) -> Result<(), StorageError> {
        self.disk.remove(&self.directory).map_err(StorageError::at(&self.directory))
    }

    /// Checks that the bytes have the signed length and digest.
    pub fn check(&mut self) -> Result<(), ArtifactMismatch> {
        self.hasher.finish().check(&self.artifact)
    }

    /// The artifact as the manifest describes it.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Opens the bytes received so far for reading, from the first one.
    pub fn open_reader(&self) -> Result<Box<dyn ReadableFile>, StorageError> {
        let path = unanimity_storage::temporary_path(&self.path);
        self.disk.open(&path).map_err(StorageError::at(&path))
    }

    /// Verifies the bytes, makes them durable, and gives the file its name.
    ///
    /// # Errors
    ///
    /// [`ArtifactMismatch`] if the length or the digest differs from the signed one.
    pub fn finish(mut self) -> Result<VerifiedArtifact, InstallError> {
        self.check()?;
        let PartialDownload { artifact, release, directory, path, disk, file, .. } = self;
        disk.finish(&*file, &path).map_err(StorageError::at(&path))?;
        let file = file.read_back().map_err(StorageError::at(&path))?;
        Ok(VerifiedArtifact { artifact, release, directory, disk, file })
    }
}

/// Hashes the bytes that an earlier run left. Refuses them if they exceed the signed length.
fn hash_existing(
    mut file: impl Read,
    artifact: &Artifact,
    measured: &mut ArtifactHasher,
) -> Result<(), InstallError> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => measured.add_checked(artifact, &buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(InstallError::Source(error)),
        }
    }
}

impl fmt::Debug for PartialDownload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartialDownload({}, {} bytes)", self.release, self.length())
    }
}
