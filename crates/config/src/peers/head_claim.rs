//! The head that an invite claims for the log, not verified yet.

use std::fmt;
use std::str::FromStr;

use unanimity_protocol::Hash;

/// The size and root of the log that an invite claims, not verified yet: `SIZE ROOT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadClaim {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "expected \"SIZE ROOT\": a size below 2^63 and the base64 of its root, with one space between"
)]
pub(crate) struct HeadClaimError;

impl HeadClaim {
    /// Parses a size and a root in the spelling of a checkpoint: decimal without leading zeros, and
    /// base64. Size 0 needs the root of the empty tree.
    pub(crate) fn from_fields(size: &str, root: &str) -> Option<HeadClaim> {
        let number = size.parse().ok().filter(|n: &u64| *n < 1 << 63 && n.to_string() == size);
        let claim = HeadClaim { size: number?, root: Hash::from_base64(root)? };
        (claim.size > 0 || claim.root == Hash::empty_root()).then_some(claim)
    }
}

impl FromStr for HeadClaim {
    type Err = HeadClaimError;

    fn from_str(text: &str) -> Result<Self, HeadClaimError> {
        let (size, root) = text.split_once(' ').ok_or(HeadClaimError)?;
        HeadClaim::from_fields(size, root).ok_or(HeadClaimError)
    }
}

impl fmt::Display for HeadClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, self.root.base64())
    }
}
