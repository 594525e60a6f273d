//! Names that are safe in a path, a terminal and a report.

use std::fmt;
use std::str::FromStr;

/// The name of a product, channel, version, platform, file, peer or operator.
///
/// A name has 1 to 64 characters of `[A-Za-z0-9._+~-]` and does not start with a dot. So a name
/// cannot lead out of a directory, hide a file or carry an escape sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The error for a text that is not a [`Name`], with the first 80 characters of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a safe name: use 1 to 64 of A-Z a-z 0-9 . _ + ~ -, not starting with a dot")]
pub struct NameError(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._+~-".contains(&c);
        if (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(allowed) {
            Ok(Name(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
