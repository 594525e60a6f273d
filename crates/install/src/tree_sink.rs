//! Sink that writes the entries of an archive into a directory tree.

use unanimity_archive::{EntryPath, LinkTarget, TreeSink};
use unanimity_storage::{Mode, StorageError, TreeWriter};

/// Writes the entries of an archive through a [`TreeWriter`].
pub struct StorageTreeSink<'a>(pub &'a mut TreeWriter);

impl TreeSink for StorageTreeSink<'_> {
    type Error = StorageError;

    fn directory(&mut self, path: &EntryPath) -> Result<(), StorageError> {
        self.0.make_dir(path.as_str())
    }

    fn file(&mut self, path: &EntryPath, executable: bool) -> Result<(), StorageError> {
        let mode = if executable { Mode::Program } else { Mode::Public };
        self.0.create(path.as_str(), mode)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.write(bytes)
    }

    fn link(&mut self, path: &EntryPath, target: &LinkTarget) -> Result<(), StorageError> {
        self.0.symlink(target.as_str(), path.as_str())
    }
}
