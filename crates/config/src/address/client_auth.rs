//! Keys of Tor client authorization (rend-spec-v3, "Client authorization"), by which listed peers
//! find an onion service.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// The public key of a client that may find an onion service. As text: `descriptor:x25519:BASE32`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientAuthKey(pub [u8; 32]);

/// The private key of a client that may find an onion service. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientAuthSecret([u8; 32]);

impl ClientAuthSecret {
    /// Makes the key from 32 bytes of a secure random number generator.
    pub fn from_seed(seed: [u8; 32]) -> ClientAuthSecret {
        ClientAuthSecret(seed)
    }

    /// The bytes of the key, for a file that only its owner may read, and for Tor.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ClientAuthSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAuthSecret(..)")
    }
}

/// The text is not a `client_auth` key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a client_auth key: expected descriptor:x25519: and 52 characters of A-Z and 2-7")]
pub struct ClientAuthKeyError;

const PREFIX: &str = "descriptor:x25519:";

impl FromStr for ClientAuthKey {
    type Err = ClientAuthKeyError;

    /// Parses `descriptor:x25519:BASE32` in upper or lower case.
    fn from_str(text: &str) -> Result<Self, ClientAuthKeyError> {
        let start = text.get(..PREFIX.len()).ok_or(ClientAuthKeyError)?;
        if !start.eq_ignore_ascii_case(PREFIX) {
            return Err(ClientAuthKeyError);
        }
        let key = text[PREFIX.len()..].to_ascii_uppercase();
        let key = BASE32_NOPAD.decode(key.as_bytes()).map_err(|_| ClientAuthKeyError)?;
        Ok(ClientAuthKey(key.try_into().map_err(|_| ClientAuthKeyError)?))
    }
}

impl fmt::Display for ClientAuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for ClientAuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl ClientAuthSecret {
    /// The public key, which other nodes list so that this node finds their onion services
    /// (rend-spec-v3, section "Client authorization": x25519).
    pub fn public(&self) -> ClientAuthKey {
        ClientAuthKey(x25519(*self.as_bytes(), X25519_BASEPOINT_BYTES))
    }
}
