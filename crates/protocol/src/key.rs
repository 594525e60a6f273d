//! Ed25519 keys, each bound to a name and to one use.
//!
//! A verifier key is one line, `NAME+ID+KEY` (C2SP signed-note). ID is 8 hex digits. KEY is the
//! base64 of a type byte and 32 key bytes.
//!
//! The type byte decides what the key verifies, so each type byte has its own Rust type: a
//! [`NoteVerifyingKey`] (0x01) verifies note texts, a [`CosignatureVerifyingKey`] (0x04) verifies a
//! peer's cosignatures. A key line of one type does not parse as the other type.
//!
//! Neither the name nor the id identifies a signer. Any key can have any name, and an attacker can
//! find a key with a given 4-byte id by trial. The 32 key bytes, [`PublicKeyBytes`], identify the
//! signer.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest, Sha256};

use crate::{PublicKeyBytes, SignatureCache, encoding};

const NOTE: u8 = 0x01;
const COSIGNER: u8 = 0x04;

/// The public key of a log or a publisher: verifies Ed25519 signatures of a note's text.
pub type NoteVerifyingKey = VerifyingKey<NOTE>;
/// A peer's public key: verifies Ed25519 signatures of `cosignature/v1`, a time and a checkpoint.
pub type CosignatureVerifyingKey = VerifyingKey<COSIGNER>;
/// The private key that belongs to a [`NoteVerifyingKey`].
pub type NoteSigningKey = SigningKey<NOTE>;
/// The private key that belongs to a [`CosignatureVerifyingKey`].
pub type CosignatureSigningKey = SigningKey<COSIGNER>;

/// The name in a key and in its signature lines.
///
/// A key name has 1 to 255 bytes, without Unicode spaces, control characters and `+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if (1..=255).contains(&text.len()) && !text.contains(forbidden) {
            Ok(KeyName(text.to_owned()))
        } else {
            Err(KeyError::Name)
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key id: the first 4 bytes of `SHA-256(name ‖ 0x0A ‖ type ‖ key)`. An id selects a key and
/// proves nothing.
pub type KeyId = [u8; 4];

/// The reason why a key was refused. The error never contains the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name breaks the rules of [`KeyName`].
    #[error("a key's name is 1 to 255 bytes without spaces, control characters or '+'")]
    Name,
    /// The line is not `NAME+ID+KEY`.
    #[error("not a key: expected NAME+ID+KEY, with 8 hex digits and base64")]
    Shape,
    /// The type byte is not that of a key for the expected use.
    #[error("key {name} is {}, and {} is needed here", kind(*found), kind(*wanted))]
    Type {
        /// The key's name.
        name: KeyName,
        /// The type byte of the key.
        found: u8,
        /// The type byte of the expected use.
        wanted: u8,
    },
    /// The 4-byte id in the line differs from the id computed from the name and the key.
    #[error("key {0}: the id does not match name and key, so the line was mistyped or altered")]
    Id(KeyName),
    /// The bytes are no point of the curve, or a point of small order: anyone can forge signatures
    /// for such a point.
    #[error("key {0}: not a usable Ed25519 public key")]
    Point(KeyName),
}

/// Describes a type byte for people.
fn kind(kind: u8) -> String {
    match kind {
        NOTE => "a publisher's or a log's key".to_owned(),
        COSIGNER => "a peer's key".to_owned(),
        other => format!("of the unknown type 0x{other:02x}"),
    }
}

/// A public key with its name. `TYPE` is the type byte, which decides what the key verifies.
#[derive(Clone)]
pub struct VerifyingKey<const TYPE: u8> {
    name: KeyName,
    id: KeyId,
    key: ed25519_dalek::VerifyingKey,
    cache: Option<SignatureCache>,
}

/// Two keys are equal if their names and their 32 bytes are equal.
impl<const TYPE: u8> PartialEq for VerifyingKey<TYPE> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.key == other.key
    }
}

impl<const TYPE: u8> Eq for VerifyingKey<TYPE> {}

impl<const TYPE: u8> VerifyingKey<TYPE> {
    /// Binds 32 key bytes to a name.
    ///
    /// # Errors
    ///
    /// [`KeyError::Point`] if the bytes are no point of the curve, or a point of small order.
    pub fn new(name: KeyName, raw: PublicKeyBytes) -> Result<Self, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&raw.0) {
            Ok(key) if !key.is_weak() => Ok(VerifyingKey::from_parts(name, key, None)),
            _ => Err(KeyError::Point(name)),
        }
    }

    fn from_parts(
        name: KeyName,
        key: ed25519_dalek::VerifyingKey,
        cache: Option<SignatureCache>,
    ) -> Self {
        let id = key_id(&name, TYPE, key.as_bytes());
        VerifyingKey { name, id, key, cache }
    }

    /// Returns the key with a cache of valid signatures, which it does not verify again.
    pub fn with_cache(self, cache: &SignatureCache) -> Self {
        VerifyingKey { cache: Some(cache.clone()), ..self }
    }

    /// The name in the signature lines of this key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id in the signature lines of this key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes that identify the signer.
    pub fn raw(&self) -> PublicKeyBytes {
        PublicKeyBytes(self.key.to_bytes())
    }

    // verify_strict: one message has one valid signature encoding, and small-order
    // keys and nonces are refused, so that all verifiers agree on what is valid.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = <&[u8; 64]>::try_from(signature) else { return false };
        if self.cache.as_ref().is_some_and(|cache| cache.contains(self.raw(), message, signature)) {
            return true;
        }
        let verifies = self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok();
        if verifies && let Some(cache) = &self.cache {
            cache.add(self.raw(), message, signature);
        }
        verifies
    }
}

impl<const TYPE: u8> FromStr for VerifyingKey<TYPE> {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Self, KeyError> {
        let (name, id, material) = split(line)?;
        let raw = PublicKeyBytes(unpack::<TYPE>(&name, &material)?);
        let key = VerifyingKey::new(name, raw)?;
        if key.id() == id { Ok(key) } else { Err(KeyError::Id(key.name)) }
    }
}

impl<const TYPE: u8> fmt::Display for VerifyingKey<TYPE> {
    /// Writes the line `NAME+ID+KEY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, encoding::hex(&self.id()), pack(TYPE, self.key.as_bytes()))
    }
}

impl<const TYPE: u8> fmt::Debug for VerifyingKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A private key with its name. `TYPE` is the type byte, which decides what the key signs.
///
/// The key bytes are wiped from memory on drop. `Debug` shows only the name.
#[derive(Clone)]
pub struct SigningKey<const TYPE: u8> {
    name: KeyName,
    key: ed25519_dalek::SigningKey,
    cache: Option<SignatureCache>,
}

const SECRET_PREFIX: &str = "PRIVATE+KEY+";

impl<const TYPE: u8> SigningKey<TYPE> {
    /// Makes the key from 32 bytes that the caller took from a secure random generator.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        SigningKey { name, key: ed25519_dalek::SigningKey::from_bytes(seed), cache: None }
    }

    /// Returns the key with a cache, to which it adds its signatures. [`SigningKey::public`] then
    /// returns a public key with that cache, too.
    pub fn with_cache(self, cache: &SignatureCache) -> Self {
        SigningKey { cache: Some(cache.clone()), ..self }
    }

    /// The public key that verifies the signatures of this key.
    pub fn public(&self) -> VerifyingKey<TYPE> {
        VerifyingKey::from_parts(self.name.clone(), self.key.verifying_key(), self.cache.clone())
    }

    /// Writes the line `PRIVATE+KEY+NAME+ID+SEED`, for a file that only its owner can read.
    pub fn to_private_key_line(&self) -> String {
        let id = encoding::hex(&self.public().id());
        format!("{SECRET_PREFIX}{}+{id}+{}", self.name, pack(TYPE, self.key.as_bytes()))
    }

    /// Reads a line that [`SigningKey::to_private_key_line`] wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the line has another form or type, or if its id does not match its name and
    /// key.
    pub fn from_private_key_line(line: &str) -> Result<Self, KeyError> {
        let (name, id, material) = split(line.strip_prefix(SECRET_PREFIX).ok_or(KeyError::Shape)?)?;
        let key = SigningKey::from_seed(name.clone(), &unpack::<TYPE>(&name, &material)?);
        if key.public().id() == id { Ok(key) } else { Err(KeyError::Id(name)) }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.key.sign(message).to_bytes();
        if let Some(cache) = &self.cache {
            cache.add(PublicKeyBytes(self.key.verifying_key().to_bytes()), message, &signature);
        }
        signature
    }
}

impl<const TYPE: u8> fmt::Debug for SigningKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.name)
    }
}

fn key_id(name: &KeyName, kind: u8, key: &[u8; 32]) -> KeyId {
    let mut hasher = Sha256::new();
    hasher.update(name.as_str());
    hasher.update([b'\n', kind]);
    hasher.update(key);
    let digest: [u8; 32] = hasher.finalize().into();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn pack(kind: u8, key: &[u8; 32]) -> String {
    let mut material = [kind; 33];
    material[1..].copy_from_slice(key);
    encoding::base64(&material)
}

fn unpack<const TYPE: u8>(name: &KeyName, material: &[u8]) -> Result<[u8; 32], KeyError> {
    match material.split_first() {
        Some((&kind, key)) if kind == TYPE => key.try_into().map_err(|_| KeyError::Shape),
        Some((&found, _)) => Err(KeyError::Type { name: name.clone(), found, wanted: TYPE }),
        None => Err(KeyError::Shape),
    }
}

fn split(line: &str) -> Result<(KeyName, KeyId, Vec<u8>), KeyError> {
    let (name, rest) = line.split_once('+').ok_or(KeyError::Shape)?;
    // Base64 may contain '+', name and id may not: the first two '+' are the separators.
    let (id, material) = rest.split_once('+').ok_or(KeyError::Shape)?;
    let id = encoding::from_hex(id).and_then(|id| id.try_into().ok()).ok_or(KeyError::Shape)?;
    let material = encoding::from_base64(material).ok_or(KeyError::Shape)?;
    Ok((name.parse()?, id, material))
}
