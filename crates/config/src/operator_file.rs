//! The reading of files that an operator writes, and values that are parsed from TOML strings.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Deserialize;

use crate::error::MAX_FILE_BYTES;
use crate::{ConfigError, ConfigErrorKind};

/// A value that is parsed from a TOML string while the file is read, so an error names its line.
pub(crate) struct Parsed<T>(pub(crate) T);

impl<'de, T: std::str::FromStr<Err: std::fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Parsed).map_err(serde::de::Error::custom)
    }
}

/// The placeholder that `init` writes for a value that only the operator knows.
const FILL_IN: &str = "FILL IN";

pub(crate) fn parse_file<T>(
    path: &Path,
    read: impl FnOnce(&str) -> Result<T, ConfigErrorKind>,
) -> Result<T, ConfigError> {
    let text = read_file(path);
    text.and_then(|text| read(&text)).map_err(|why| ConfigError { path: path.to_owned(), why })
}

pub(crate) fn read_file(path: &Path) -> Result<String, ConfigErrorKind> {
    let file = unanimity_storage::open_regular_file(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o002 != 0 {
        return Err(ConfigErrorKind::Writable(mode));
    }
    let text = std::io::read_to_string(file.take(MAX_FILE_BYTES + 1))?;
    // A shortened text could lack a peer, so a longer file is refused.
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigErrorKind::TooLong);
    }
    let is_open = |line: &str| !line.trim_start().starts_with('#') && line.contains(FILL_IN);
    let open_lines = (1..).zip(text.lines()).filter(|(_, line)| is_open(line));
    let missing: Vec<usize> = open_lines.map(|(number, _)| number).collect();
    if missing.is_empty() { Ok(text) } else { Err(ConfigErrorKind::FillIn(missing)) }
}
