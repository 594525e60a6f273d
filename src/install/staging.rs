//! An artifact while it comes: bytes in order, from whoever sends them, on the disk as they come.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;

use super::{Artifacts, InstallError, Measured, Staged};
use crate::durable::files::Written;
use crate::durable::{self, Disk, DiskError, Lock, Mode};
use crate::verify::Refusal;
use crate::verify::manifest::Target;

/// So many bytes take longer to be hashed than a thread to begin.
const WORTH_A_THREAD: u64 = 128 * 1024;

/// The beginning of an artifact, perhaps all of it. Nothing is known of its bytes but their digest.
pub struct Staging {
    target: Target,
    release: String,
    directory: PathBuf,
    path: PathBuf,
    disk: Disk,
    file: Box<dyn Written>,
    measured: Measured,
    /// Nobody else stages anything meanwhile.
    _lock: Lock,
}

impl Staging {
    pub(super) fn open(
        target: Target,
        release: String,
        directory: PathBuf,
        disk: Disk,
        lock: Lock,
    ) -> Result<Staging, DiskError> {
        let path = directory.join(target.file.as_str());
        let mut measured = Measured::default();
        let resumed = disk.resume(&path, Mode::Program).map_err(DiskError::at(&path))?;
        let file = match resumed.map(|(bytes, file)| (measure(bytes, &target, &mut measured), file))
        {
            Some((Ok(()), file)) => file,
            // Of no use: longer than the artifact, or unreadable.
            _ => {
                measured = Measured::default();
                disk.create(&path, Mode::Program).map_err(DiskError::at(&path))?
            }
        };
        Ok(Staging { target, release, directory, path, disk, file, measured, _lock: lock })
    }

    /// How many bytes are here.
    pub fn length(&self) -> u64 {
        self.measured.length
    }

    /// Whether these are as many as were signed.
    pub fn is_whole(&self) -> bool {
        self.measured.length == self.target.length
    }

    /// The next bytes, in pieces. Refused if they are more than were signed; then none of them is taken.
    /// Many are hashed while they are written.
    pub fn write(&mut self, pieces: &[impl AsRef<[u8]> + Sync]) -> Result<(), InstallError> {
        let mut measured = self.measured.clone();
        let more = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
        measured.fit(&self.target, more)?;
        let file = &mut self.file;
        let mut write = || pieces.iter().try_for_each(|piece| file.write_all(piece.as_ref()));
        let mut measure = || pieces.iter().for_each(|piece| measured.add(piece.as_ref()));
        let written = self.disk.writing(&self.path).and_then(|()| {
            if more < WORTH_A_THREAD {
                measure();
                return write();
            }
            thread::scope(|scope| {
                scope.spawn(measure);
                write()
            })
        });
        written.map_err(DiskError::at(&self.path))?;
        self.measured = measured;
        Ok(())
    }

    /// Throws away what is here.
    pub fn restart(&mut self) -> Result<(), DiskError> {
        let created = self.disk.create(&self.path, Mode::Program);
        self.file = created.map_err(DiskError::at(&self.path))?;
        self.measured = Measured::default();
        Ok(())
    }

    /// Leaves nothing behind.
    pub fn discard(self) -> Result<(), DiskError> {
        self.disk.remove(&self.directory).map_err(DiskError::at(&self.directory))
    }

    /// Whether what is here is exactly what was signed.
    pub fn check(&self) -> Result<(), Refusal> {
        self.measured.check(&self.target)
    }

    /// Keeps it for others as well.
    pub fn copy_to(&self, artifacts: &Artifacts) -> Result<(), InstallError> {
        let path = durable::temporary(&self.path);
        let bytes = self.disk.open(&path).map_err(DiskError::at(&path))?;
        artifacts.keep(&self.target, bytes)
    }

    /// Makes it durable and gives it its name, if it is exactly what was signed.
    pub fn finish(self) -> Result<Staged, InstallError> {
        self.check()?;
        let Staging { target, release, directory, path, disk, file, .. } = self;
        (disk.sync_file(&*file, &path))
            .and_then(|()| disk.rename(&durable::temporary(&path), &path))
            .and_then(|()| disk.sync_dir(&directory))
            .map_err(DiskError::at(&path))?;
        let file = file.read_back().map_err(DiskError::at(&path))?;
        Ok(Staged { target, release, directory, disk, file })
    }
}

/// Reads what an earlier run left, to its end.
fn measure(
    mut file: impl Read,
    target: &Target,
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
