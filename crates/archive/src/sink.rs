//! Where the entries of an archive go to.

use std::convert::Infallible;

use crate::path::{EntryPath, LinkTarget};

/// Takes entries that were judged, in their order.
pub trait TreeSink {
    /// Why an entry could not be written.
    type Error;

    /// A directory; everything above it came before.
    fn directory(&mut self, path: &EntryPath) -> Result<(), Self::Error>;
    /// A file. The bytes that follow are its own.
    fn file(&mut self, path: &EntryPath, executable: bool) -> Result<(), Self::Error>;
    /// More bytes of the last file.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    /// A symbolic link.
    fn link(&mut self, path: &EntryPath, target: &LinkTarget) -> Result<(), Self::Error>;
}

/// Nowhere: whoever publishes wants to know only whether they could.
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
