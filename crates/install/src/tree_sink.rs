//! Writes the entries of an archive into a tree that is being filled.

use unanimity_archive::{Path, Sink, Target};
use unanimity_storage::{Mode, StorageError, TreeWriter};

/// Into a directory.
pub struct StorageTreeSink<'a>(pub &'a mut TreeWriter);

impl Sink for StorageTreeSink<'_> {
    type Error = StorageError;

    fn directory(&mut self, path: &Path) -> Result<(), StorageError> {
        self.0.make_dir(path.as_str())
    }

    fn file(&mut self, path: &Path, executable: bool) -> Result<(), StorageError> {
        let mode = if executable { Mode::Program } else { Mode::Public };
        self.0.create(path.as_str(), mode)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.write(bytes)
    }

    fn link(&mut self, path: &Path, target: &Target) -> Result<(), StorageError> {
        self.0.link(target.as_str(), path.as_str())
    }
}
