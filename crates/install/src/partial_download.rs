//! An artifact while it comes: bytes in order, from whoever sends them, on the disk as they come.

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

/// So many bytes take longer to be hashed than a thread to be told of them.
const HASH_THREAD_MIN_BYTES: u64 = 128 * 1024;

/// So many bytes keep a disk busy while the next ones are hashed.
const WRITEBACK_MIN_BYTES: u64 = 8 << 20;

/// How often bytes may be handed to the thread that hashes before it has begun with them.
const HASH_QUEUE_LENGTH: usize = 4;

/// The beginning of an artifact, perhaps all of it. Nothing is known of its bytes but their digest.
pub struct PartialDownload {
    artifact: Artifact,
    release: String,
    directory: PathBuf,
    path: PathBuf,
    disk: Storage,
    file: Box<dyn WritableFile>,
    /// Bytes that are here.
    length: u64,
    hasher: BackgroundHasher,
    /// Bytes that the disk was told to begin with.
    writeback_started: u64,
    /// Nobody else stages anything meanwhile.
    _lock: Lock,
}

/// Bytes to be hashed.
type HashJob = Box<dyn FnOnce(&mut ArtifactHasher) + Send>;

/// What was measured so far, and the thread that measures on, if there is one.
#[derive(Default)]
struct BackgroundHasher {
    measured: ArtifactHasher,
    thread: Option<(SyncSender<HashJob>, JoinHandle<ArtifactHasher>)>,
}

impl BackgroundHasher {
    /// Adds bytes, so many of them. Many are hashed by a thread of its own, which may be behind.
    fn add(&mut self, more: u64, hashing: impl FnOnce(&mut ArtifactHasher) + Send + 'static) {
        if self.thread.is_none() && more < HASH_THREAD_MIN_BYTES {
            return hashing(&mut self.measured);
        }
        let (bytes, _) = self.thread.get_or_insert_with(|| {
            let mut measured = std::mem::take(&mut self.measured);
            let (bytes, handed) = sync_channel::<HashJob>(HASH_QUEUE_LENGTH);
            let thread = thread::spawn(move || {
                handed.into_iter().for_each(|hashing| hashing(&mut measured));
                measured
            });
            (bytes, thread)
        });
        // It is there until we have it end.
        bytes.send(Box::new(hashing)).ok();
    }

    /// Waits until all of them are hashed.
    fn finish(&mut self) -> &ArtifactHasher {
        if let Some((bytes, thread)) = self.thread.take() {
            drop(bytes);
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
            // Of no use: longer than the artifact, or unreadable.
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

    /// How many bytes are here.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether these are as many as were signed.
    pub fn is_complete(&self) -> bool {
        self.length == self.artifact.length
    }

    /// The next bytes, in pieces. Refused if they are more than were signed; then none of them is taken.
    /// They are hashed while they are written, and the disk begins with them while the next ones come.
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

    /// Throws away what is here.
    pub fn restart(&mut self) -> Result<(), StorageError> {
        let created = self.disk.create(&self.path, Mode::Program);
        self.file = created.map_err(StorageError::at(&self.path))?;
        self.hasher = BackgroundHasher::default();
        (self.length, self.writeback_started) = (0, 0);
        Ok(())
    }

    /// Leaves nothing behind.
    pub fn discard(self) -> Result<(), StorageError> {
        self.disk.remove(&self.directory).map_err(StorageError::at(&self.directory))
    }

    /// Whether what is here is exactly what was signed.
    pub fn check(&mut self) -> Result<(), ArtifactMismatch> {
        self.hasher.finish().check(&self.artifact)
    }

    /// What was signed of the artifact.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// The bytes that are here, from the first one.
    pub fn open_reader(&self) -> Result<Box<dyn ReadableFile>, StorageError> {
        let path = unanimity_storage::temporary_path(&self.path);
        self.disk.open(&path).map_err(StorageError::at(&path))
    }

    /// Makes it durable and gives it its name, if it is exactly what was signed.
    pub fn finish(mut self) -> Result<VerifiedArtifact, InstallError> {
        self.check()?;
        let PartialDownload { artifact, release, directory, path, disk, file, .. } = self;
        disk.finish(&*file, &path).map_err(StorageError::at(&path))?;
        let file = file.read_back().map_err(StorageError::at(&path))?;
        Ok(VerifiedArtifact { artifact, release, directory, disk, file })
    }
}

/// Reads what an earlier run left, to its end.
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
        write!(f, "Staging({}, {} bytes)", self.release, self.length())
    }
}
