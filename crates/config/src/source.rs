//! The file that a configuration was read from.

use std::path::PathBuf;

use unanimity_protocol::Hash;

use crate::{ConfigError, ConfigErrorKind};
/// The file that a configuration was read from, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSource {
    /// The file.
    pub path: PathBuf,
    pub(crate) digest: Hash,
}

impl ConfigSource {
    pub(crate) fn changed_error(&self) -> ConfigError {
        ConfigError { path: self.path.clone(), why: ConfigErrorKind::Changed }
    }
}
