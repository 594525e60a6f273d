//! SHA-256 digests and the two ways a Merkle tree makes them.

use std::fmt;

use sha2::{Digest, Sha256};

use super::text;

/// A SHA-256 digest: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// SHA-256 of `data` as it is, for artifacts and identifiers.
    pub fn of(data: &[u8]) -> Self {
        Hash(Sha256::digest(data).into())
    }

    /// The hash of a leaf, `SHA-256(0x00 ‖ data)` (RFC 6962 section 2.1).
    pub fn leaf(data: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(data);
        Hash(hasher.finalize().into())
    }

    /// The hash of an inner node, `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962 section 2.1).
    pub fn node(left: &Hash, right: &Hash) -> Self {
        let mut block = [1; 65];
        block[1..33].copy_from_slice(&left.0);
        block[33..].copy_from_slice(&right.0);
        Hash(Sha256::digest(block).into())
    }

    /// The root of the tree with no leaves: SHA-256 of nothing.
    pub fn empty_root() -> Self {
        Hash::of(&[])
    }

    /// Standard base64 with padding, 44 characters.
    pub fn base64(&self) -> String {
        text::base64(&self.0)
    }

    /// Reads what [`Hash::base64`] writes; nothing else.
    pub fn from_base64(text: &str) -> Option<Self> {
        text::unbase64(text)?.try_into().ok().map(Hash)
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn hex(&self) -> String {
        text::hex(&self.0)
    }

    /// Reads what [`Hash::hex`] writes; upper case is refused, so that a digest has one spelling.
    pub fn from_hex(text: &str) -> Option<Self> {
        text::unhex(text)?.try_into().ok().map(Hash)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}
