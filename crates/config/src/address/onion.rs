//! Onion addresses, version 3 (Tor rend-spec-v3, "Encoding onion addresses").

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, Encoding};
use sha3::{Digest, Sha3_256};

/// The port of an onion address that names no port.
pub const DEFAULT_PORT: u16 = 4242;

/// The address of an onion service: its identity key and a port. `Display` writes the lower-case
/// host name and the port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OnionAddress {
    /// The service's ed25519 identity key.
    pub key: [u8; 32],
    /// The port, 1 to 65535.
    pub port: u16,
}

/// The text is not an onion address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnionAddressError {
    /// The text is not 56 characters of base32, `.onion`, and optionally a port.
    #[error(
        "{0:?} is not an onion address: expected 56 characters of a-z and 2-7, '.onion', and optionally ':PORT'"
    )]
    Shape(String),
    /// The checksum or the version inside the address is wrong, so a character was mistyped.
    #[error("{0:?} was mistyped: its checksum does not match")]
    Checksum(String),
}

const VERSION: u8 = 3;

fn base32() -> Encoding {
    let mut spec = BASE32_NOPAD.specification();
    spec.symbols.make_ascii_lowercase();
    spec.encoding().expect("the alphabet of RFC 4648 in lower case")
}

/// Computes the checksum of an address: two bytes that detect a mistyped character.
fn checksum(key: &[u8; 32]) -> [u8; 2] {
    let mut hasher = Sha3_256::new();
    hasher.update(b".onion checksum");
    hasher.update(key);
    hasher.update([VERSION]);
    let digest = hasher.finalize();
    [digest[0], digest[1]]
}

impl FromStr for OnionAddress {
    type Err = OnionAddressError;

    /// Parses an address in upper or lower case. The host name may end with a dot. An address
    /// without a port gets [`DEFAULT_PORT`].
    fn from_str(text: &str) -> Result<Self, OnionAddressError> {
        let shape = || OnionAddressError::Shape(text.chars().take(80).collect());
        let lower = text.to_ascii_lowercase();
        let (host, port) = match lower.split_once(':') {
            None => (lower.as_str(), DEFAULT_PORT),
            Some((host, port)) => {
                let digits = port.bytes().all(|c| c.is_ascii_digit());
                let port = port.parse().ok().filter(|&port: &u16| port > 0 && digits);
                (host, port.ok_or_else(shape)?)
            }
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let label = host.strip_suffix(".onion").ok_or_else(shape)?;
        let bytes: [u8; 35] = (base32().decode(label.as_bytes()).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(shape)?;
        let (key, rest) = bytes.split_first_chunk::<32>().ok_or_else(shape)?;
        let [a, b] = checksum(key);
        if rest != [a, b, VERSION] {
            return Err(OnionAddressError::Checksum(text.to_owned()));
        }
        Ok(OnionAddress { key: *key, port })
    }
}

impl OnionAddress {
    /// The host name of the service: 56 characters of base32, and `.onion`.
    pub fn host(&self) -> String {
        let bytes = [&self.key[..], &checksum(&self.key), &[VERSION]].concat();
        format!("{}.onion", base32().encode(&bytes))
    }
}

impl fmt::Display for OnionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port)
    }
}

impl fmt::Debug for OnionAddress {
    /// Writes a placeholder, so that no address gets into a log by `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnionAddress(..)")
    }
}
