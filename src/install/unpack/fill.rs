//! Where the entries of an archive go to.

use super::path::{Path, Target};
use unanimity_storage::Tree;
use unanimity_storage::{DiskError, Mode};

/// Takes entries that were judged, in their order.
pub(super) trait Sink {
    /// A directory; everything above it came before.
    fn directory(&mut self, path: &Path) -> Result<(), DiskError>;
    /// A file. The bytes that follow are its own.
    fn file(&mut self, path: &Path, executable: bool) -> Result<(), DiskError>;
    /// More bytes of the last file.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), DiskError>;
    /// A symbolic link.
    fn link(&mut self, path: &Path, target: &Target) -> Result<(), DiskError>;
}

/// Into a directory.
pub(super) struct Fill<'a>(pub(super) &'a mut Tree);

impl Sink for Fill<'_> {
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

/// Nowhere: whoever publishes wants to know only whether they could.
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn directory(&mut self, _: &Path) -> Result<(), DiskError> {
        Ok(())
    }

    fn file(&mut self, _: &Path, _: bool) -> Result<(), DiskError> {
        Ok(())
    }

    fn bytes(&mut self, _: &[u8]) -> Result<(), DiskError> {
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Target) -> Result<(), DiskError> {
        Ok(())
    }
}
