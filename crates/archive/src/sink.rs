//! The receiver of an archive's entries.

use std::convert::Infallible;

use crate::path::{EntryPath, LinkTarget};

/// Receives the checked entries of an archive, in their order.
pub trait TreeSink {
    /// The error if the sink cannot write an entry.
    type Error;

    /// Receives a directory. The sink has received all directories above it before.
    fn directory(&mut self, path: &EntryPath) -> Result<(), Self::Error>;
    /// Receives a file. [`TreeSink::bytes`] then receives its content.
    fn file(&mut self, path: &EntryPath, executable: bool) -> Result<(), Self::Error>;
    /// Receives the next bytes of the file that [`TreeSink::file`] received last.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Receives a symbolic link.
    fn link(&mut self, path: &EntryPath, target: &LinkTarget) -> Result<(), Self::Error>;
}

/// A sink that discards every entry, for a publisher's check of an archive.
pub(crate) struct NullSink;

impl TreeSink for NullSink {
    type Error = Infallible;

    fn directory(&mut self, _: &EntryPath) -> Result<(), Self::Error> {
        Ok(())
    }

    fn file(&mut self, _: &EntryPath, _: bool) -> Result<(), Self::Error> {
        Ok(())
    }

    fn bytes(&mut self, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn link(&mut self, _: &EntryPath, _: &LinkTarget) -> Result<(), Self::Error> {
        Ok(())
    }
}
