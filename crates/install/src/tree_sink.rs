//! Writes the entries of an archive into a tree that is being filled.

use unanimity_archive::{Path, Sink, Target};
use unanimity_storage::{DiskError, Mode, Tree};

/// Into a directory.
pub struct Fill<'a>(pub &'a mut Tree);

impl Sink for Fill<'_> {
    type Error = DiskError;

    fn directory(&mut self, path: &Path) -> Result<(), DiskError> {
        self.0.make_dir(path.as_str())
    }

    fn file(&mut self, path: &Path, executable: bool) -> Result<(), DiskError> {
        let mode = if executable { Mode::Program } else { Mode::Public };
        self.0.create(path.as_str(), mode)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.0.write(bytes)
    }

    fn link(&mut self, path: &Path, target: &Target) -> Result<(), DiskError> {
        self.0.link(target.as_str(), path.as_str())
    }
}
