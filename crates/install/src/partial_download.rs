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

use crate::artifact::{Measured, Staged, fit};
use crate::error::InstallError;
use crate::refusal::ArtifactMismatch;

/// So many bytes take longer to be hashed than a thread to be told of them.
const WORTH_A_THREAD: u64 = 128 * 1024;

/// So many bytes keep a disk busy while the next ones are hashed.
const WORTH_A_SYNC: u64 = 8 << 20;

/// How often bytes may be handed to the thread that hashes before it has begun with them.
const WAITING: usize = 4;

/// The beginning of an artifact, perhaps all of it. Nothing is known of its bytes but their digest.
pub struct Staging {
    target: Artifact,
    release: String,
    directory: PathBuf,
    path: PathBuf,
    disk: Storage,
    file: Box<dyn WritableFile>,
    /// Bytes that are here.
    length: u64,
    digest: Digesting,
    /// Bytes that the disk was told to begin with.
    begun: u64,
    /// Nobody else stages anything meanwhile.
    _lock: Lock,
}

/// Bytes to be hashed.
type Hashing = Box<dyn FnOnce(&mut Measured) + Send>;

/// What was measured so far, and the thread that measures on, if there is one.
#[derive(Default)]
struct Digesting {
    measured: Measured,
    thread: Option<(SyncSender<Hashing>, JoinHandle<Measured>)>,
}

impl Digesting {
    /// Adds bytes, so many of them. Many are hashed by a thread of its own, which may be behind.
    fn add(&mut self, more: u64, hashing: impl FnOnce(&mut Measured) + Send + 'static) {
        if self.thread.is_none() && more < WORTH_A_THREAD {
            return hashing(&mut self.measured);
        }
        let (bytes, _) = self.thread.get_or_insert_with(|| {
            let mut measured = std::mem::take(&mut self.measured);
            let (bytes, handed) = sync_channel::<Hashing>(WAITING);
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
    fn end(&mut self) -> &Measured {
        if let Some((bytes, thread)) = self.thread.take() {
            drop(bytes);
            self.measured = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        &self.measured
    }
}

impl Staging {
    pub(crate) fn open(
        target: Artifact,
        release: String,
        directory: PathBuf,
        disk: Storage,
        lock: Lock,
    ) -> Result<Staging, StorageError> {
        let path = directory.join(target.file.as_str());
        let mut measured = Measured::default();
        let resumed = disk.resume(&path, Mode::Program).map_err(StorageError::at(&path))?;
        let file = match resumed.map(|(bytes, file)| (measure(bytes, &target, &mut measured), file))
        {
            Some((Ok(()), file)) => file,
            // Of no use: longer than the artifact, or unreadable.
            _ => {
                measured = Measured::default();
                disk.create(&path, Mode::Program).map_err(StorageError::at(&path))?
            }
        };
        let (length, begun) = (measured.length, measured.length);
        let digest = Digesting { measured, thread: None };
        Ok(Staging {
            target,
            release,
            directory,
            path,
            disk,
            file,
            length,
            digest,
            begun,
            _lock: lock,
        })
    }

    /// How many bytes are here.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether these are as many as were signed.
    pub fn is_whole(&self) -> bool {
        self.length == self.target.length
    }

    /// The next bytes, in pieces. Refused if they are more than were signed; then none of them is taken.
    /// They are hashed while they are written, and the disk begins with them while the next ones come.
    pub fn write<P>(&mut self, pieces: Vec<P>) -> Result<(), InstallError>
    where
        P: AsRef<[u8]> + Send + Sync + 'static,
    {
        let more = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
        fit(&self.target, self.length, more)?;
        let pieces = Arc::new(pieces);
        let hashed = pieces.clone();
        self.disk.writing(&self.path).map_err(StorageError::at(&self.path))?;
        self.digest.add(more, move |measured| {
            hashed.iter().for_each(|piece| measured.add(piece.as_ref()));
        });
        let mut written = pieces.iter().map(|piece| self.file.write_all(piece.as_ref()));
        written.try_for_each(|written| written).map_err(StorageError::at(&self.path))?;
        self.length += more;
        let new = self.length - self.begun;
        if new >= WORTH_A_SYNC {
            self.file.start_writeback(self.begun, new);
            self.begun += new;
        }
        Ok(())
    }

    /// Throws away what is here.
    pub fn restart(&mut self) -> Result<(), StorageError> {
        let created = self.disk.create(&self.path, Mode::Program);
        self.file = created.map_err(StorageError::at(&self.path))?;
        self.digest = Digesting::default();
        (self.length, self.begun) = (0, 0);
        Ok(())
    }

    /// Leaves nothing behind.
    pub fn discard(self) -> Result<(), StorageError> {
        self.disk.remove(&self.directory).map_err(StorageError::at(&self.directory))
    }

    /// Whether what is here is exactly what was signed.
    pub fn check(&mut self) -> Result<(), ArtifactMismatch> {
        self.digest.end().check(&self.target)
    }

    /// What was signed of the artifact.
    pub fn target(&self) -> &Artifact {
        &self.target
    }

    /// The bytes that are here, from the first one.
    pub fn read(&self) -> Result<Box<dyn ReadableFile>, StorageError> {
        let path = unanimity_storage::temporary(&self.path);
        self.disk.open(&path).map_err(StorageError::at(&path))
    }

    /// Makes it durable and gives it its name, if it is exactly what was signed.
    pub fn finish(mut self) -> Result<Staged, InstallError> {
        self.check()?;
        let Staging { target, release, directory, path, disk, file, .. } = self;
        disk.finish(&*file, &path).map_err(StorageError::at(&path))?;
        let file = file.read_back().map_err(StorageError::at(&path))?;
        Ok(Staged { target, release, directory, disk, file })
    }
}

/// Reads what an earlier run left, to its end.
fn measure(
    mut file: impl Read,
    target: &Artifact,
    measured: &mut Measured,
) -> Result<(), InstallError> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => measured.take(target, &buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(InstallError::Source(error)),
        }
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staging({}, {} bytes)", self.release, self.length())
    }
}
