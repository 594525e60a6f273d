//! The file that a configuration was read from.

use std::path::PathBuf;

use unanimity_protocol::Hash;

use crate::{ConfigError, Why};
/// The file that a configuration was read from, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    pub(crate) digest: Hash,
}

impl Source {
    pub(crate) fn changed(&self) -> ConfigError {
        ConfigError { path: self.path.clone(), why: Why::Changed }
    }
}
