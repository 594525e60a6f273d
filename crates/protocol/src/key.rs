//! Ed25519 keys, each bound to a name and to the one thing it signs.
//!
//! A verifier key travels as one line, `NAME+ID+KEY`: the id is 8 hex digits,
//! KEY is base64 of a type byte and 32 key bytes (C2SP signed-note). The type
//! decides what the key signs, so it is a type here too: a [`NoteVerifyingKey`] (0x01)
//! signs note texts, a [`CosignatureVerifyingKey`] (0x04) signs a peer's view of a log, and
//! neither passes for the other.
//!
//! Ids are four bytes and can be ground, names are free: neither is an identity.
//! Who signed is judged by [`PublicKeyBytes`], the 32 bytes themselves.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest, Sha256};

use crate::{PublicKeyBytes, SignatureCache, encoding};

const NOTE: u8 = 0x01;
const COSIGNER: u8 = 0x04;

/// The log's or a publisher's key: Ed25519 over a note's text.
pub type NoteVerifyingKey = VerifyingKey<NOTE>;
/// A peer's key: Ed25519 over `cosignature/v1`, a time and a checkpoint.
pub type CosignatureVerifyingKey = VerifyingKey<COSIGNER>;
/// The secret half of a [`NoteVerifyingKey`].
pub type NoteSigningKey = SigningKey<NOTE>;
/// The secret half of a [`CosignatureVerifyingKey`].
pub type CosignatureSigningKey = SigningKey<COSIGNER>;

/// The name in a key and in its signature lines: 1 to 255 bytes, no Unicode
/// space, no control character, no `+`.
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

/// The first 4 bytes of `SHA-256(name ‖ 0x0A ‖ type ‖ key)`: a hint, not an identity.
pub type KeyId = [u8; 4];

/// Why a key was refused. Never contains the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name breaks the rules of [`KeyName`].
    #[error("a key's name is 1 to 255 bytes without spaces, control characters or '+'")]
    Name,
    /// The line is not `NAME+ID+KEY`.
    #[error("not a key: expected NAME+ID+KEY, with 8 hex digits and base64")]
    Shape,
    /// The type byte says that the key is for something else.
    #[error("key {name} is {}, and {} is needed here", kind(*found), kind(*wanted))]
    Type {
        /// Whose key.
        name: KeyName,
        /// The type byte it carries.
        found: u8,
        /// The type byte this place takes.
        wanted: u8,
    },
    /// The 4-byte id is not the one computed from name and key.
    #[error("key {0}: its id does not belong to it, so the line was mistyped or altered")]
    Id(KeyName),
    /// Not a point of the curve, or one of small order, for which signatures can be forged.
    #[error("key {0}: not a usable Ed25519 public key")]
    Point(KeyName),
}

/// What a type byte means to people.
fn kind(kind: u8) -> String {
    match kind {
        NOTE => "a publisher's or a log's key".to_owned(),
        COSIGNER => "a peer's key".to_owned(),
        other => format!("of the unknown type 0x{other:02x}"),
    }
}

/// A public key with its name; `TYPE` says what it signs.
#[derive(Clone)]
pub struct VerifyingKey<const TYPE: u8> {
    name: KeyName,
    id: KeyId,
    key: ed25519_dalek::VerifyingKey,
    cache: Option<SignatureCache>,
}

/// Equal if name and key are.
impl<const TYPE: u8> PartialEq for VerifyingKey<TYPE> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.key == other.key
    }
}

impl<const TYPE: u8> Eq for VerifyingKey<TYPE> {}

impl<const TYPE: u8> VerifyingKey<TYPE> {
    /// Binds 32 key bytes to a name. Refuses points of small order.
    pub fn new(name: KeyName, raw: PublicKeyBytes) -> Result<Self, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&raw.0) {
            Ok(key) if !key.is_weak() => Ok(VerifyingKey::from_parts(name, key, None)),
            _ => Err(KeyError::Point(name)),
        }
    }

    fn from_parts(
        name: KeyName,
        key: ed25519_dalek::VerifyingKey,
        known: Option<SignatureCache>,
    ) -> Self {
        let id = key_id(&name, TYPE, key.as_bytes());
        VerifyingKey { name, id, key, cache: known }
    }

    /// The same key, which does not verify again what is known to verify.
    pub fn with_cache(self, known: &SignatureCache) -> Self {
        VerifyingKey { cache: Some(known.clone()), ..self }
    }

    /// The name in its signature lines.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The hint in its signature lines.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The identity.
    pub fn raw(&self) -> PublicKeyBytes {
        PublicKeyBytes(self.key.to_bytes())
    }

    // verify_strict: one message has one valid signature encoding, and small-order
    // keys and nonces are refused, so that all verifiers agree on what is valid.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = <&[u8; 64]>::try_from(signature) else { return false };
        if self.cache.as_ref().is_some_and(|known| known.contains(self.raw(), message, signature)) {
            return true;
        }
        let verifies = self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok();
        if verifies && let Some(known) = &self.cache {
            known.add(self.raw(), message, signature);
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
    /// The one-line form, `NAME+ID+KEY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, encoding::hex(&self.id()), pack(TYPE, self.key.as_bytes()))
    }
}

impl<const TYPE: u8> fmt::Debug for VerifyingKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A secret key with its name; `TYPE` says what it signs. Wiped when dropped;
/// `Debug` shows the name only.
#[derive(Clone)]
pub struct SigningKey<const TYPE: u8> {
    name: KeyName,
    key: ed25519_dalek::SigningKey,
    cache: Option<SignatureCache>,
}

const SECRET_PREFIX: &str = "PRIVATE+KEY+";

impl<const TYPE: u8> SigningKey<TYPE> {
    /// Makes the key from 32 bytes that the caller drew from a secure generator.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        SigningKey { name, key: ed25519_dalek::SigningKey::from_bytes(seed), cache: None }
    }

    /// The same key; what it signs is known to verify. So does its public half remember.
    pub fn with_cache(self, known: &SignatureCache) -> Self {
        SigningKey { cache: Some(known.clone()), ..self }
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey<TYPE> {
        VerifyingKey::from_parts(self.name.clone(), self.key.verifying_key(), self.cache.clone())
    }

    /// The one-line form `PRIVATE+KEY+NAME+ID+SEED`, for a file that only its owner reads.
    pub fn to_private_key_line(&self) -> String {
        let id = encoding::hex(&self.public().id());
        format!("{SECRET_PREFIX}{}+{id}+{}", self.name, pack(TYPE, self.key.as_bytes()))
    }

    /// Reads what [`SigningKey::to_private_key_line`] writes.
    pub fn from_private_key_line(line: &str) -> Result<Self, KeyError> {
        let (name, id, material) = split(line.strip_prefix(SECRET_PREFIX).ok_or(KeyError::Shape)?)?;
        let secret = SigningKey::from_seed(name.clone(), &unpack::<TYPE>(&name, &material)?);
        if secret.public().id() == id { Ok(secret) } else { Err(KeyError::Id(name)) }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.key.sign(message).to_bytes();
        if let Some(known) = &self.cache {
            known.add(PublicKeyBytes(self.key.verifying_key().to_bytes()), message, &signature);
        }
        signature
    }
}

impl<const TYPE: u8> fmt::Debug for SigningKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
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
    // base64 may contain '+', the id may not: the first two are the separators.
    let (id, material) = rest.split_once('+').ok_or(KeyError::Shape)?;
    let id = encoding::from_hex(id).and_then(|id| id.try_into().ok()).ok_or(KeyError::Shape)?;
    let material = encoding::from_base64(material).ok_or(KeyError::Shape)?;
    Ok((name.parse()?, id, material))
}
