//! The path of a configuration file, and the digest by which a later change of its text is noticed.

use std::path::PathBuf;

use unanimity_protocol::Hash;

use crate::{ConfigError, ConfigErrorKind};

/// The path of a configuration file, and the digest of its text when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSource {
    /// The path of the file.
    pub path: PathBuf,
    pub(crate) digest: Hash,
}

impl ConfigSource {
    pub(crate) fn changed_error(&self) -> ConfigError {
        ConfigError { path: self.path.clone(), why: ConfigErrorKind::Changed }
    }
}
