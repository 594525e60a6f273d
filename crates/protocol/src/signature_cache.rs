//! Signatures that need not be verified again, because this process verified them or made them.
//!
//! A simulator plays the signer and the verifier of thousands of nodes in one process, and half of
//! its time would go into verifying again what it has just signed. It gives its keys one
//! [`SignatureCache`] to share. This program gives its own none: it verifies everything, every time.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::PublicKeyBytes;

/// Signatures that verify, each with the very key and the very message. Clones share them.
///
/// Whoever holds one cannot add to it. A signature gets in only by having passed the strict check,
/// or by having been made with the secret key that belongs to the public one, so asking here first
/// answers as the check would.
#[derive(Clone)]
pub struct SignatureCache(Arc<Mutex<Generations>>);

/// By signature; the whole message is kept, so that no hash stands for it.
type Generation = HashMap<[u8; 64], (PublicKeyBytes, Box<[u8]>), BuildHasherDefault<DefaultHasher>>;

/// Two, so that what is still asked for outlives what is not.
struct Generations {
    /// The most signatures of one.
    most: usize,
    young: Generation,
    old: Generation,
}

impl SignatureCache {
    /// Nothing yet, and room for at least so many.
    pub fn new(room: usize) -> SignatureCache {
        let (young, old) = (Generation::default(), Generation::default());
        SignatureCache(Arc::new(Mutex::new(Generations { most: room, young, old })))
    }

    pub(crate) fn contains(
        &self,
        key: PublicKeyBytes,
        message: &[u8],
        signature: &[u8; 64],
    ) -> bool {
        let mut all = self.lock();
        let is_it = |(of, over): &(PublicKeyBytes, Box<[u8]>)| *of == key && **over == *message;
        if all.young.get(signature).is_some_and(is_it) {
            return true;
        }
        if !all.old.get(signature).is_some_and(is_it) {
            return false;
        }
        if let Some((of, over)) = all.old.remove(signature) {
            all.add(*signature, of, over);
        }
        true
    }

    pub(crate) fn add(&self, key: PublicKeyBytes, message: &[u8], signature: &[u8; 64]) {
        self.lock().add(*signature, key, message.into());
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn add(&mut self, signature: [u8; 64], key: PublicKeyBytes, message: Box<[u8]>) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(signature, (key, message));
    }
}

impl fmt::Debug for SignatureCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoteSigningKey;
    use crate::key::NoteVerifyingKey;

    fn secret() -> NoteSigningKey {
        NoteSigningKey::from_seed("log".parse().expect("a key name"), &[7; 32])
    }

    const MOST: usize = 100;

    fn size(known: &SignatureCache) -> usize {
        let all = known.lock();
        all.young.len() + all.old.len()
    }

    #[test]
    fn only_what_was_verified_or_signed_here_is_known() {
        let known = SignatureCache::new(8);
        let key: NoteVerifyingKey = secret().public().with_cache(&known);
        let signature = secret().sign(b"text");
        let mut forged = signature;
        forged[3] ^= 1;
        assert!(!key.verifies(b"text", &forged));
        assert!(!key.verifies(b"other text", &signature));
        assert_eq!(size(&known), 0, "what does not verify is forgotten");
        assert!(key.verifies(b"text", &signature));
        assert_eq!(size(&known), 1);
        secret().with_cache(&known).sign(b"another");
        assert_eq!(size(&known), 2);
    }

    #[test]
    fn a_known_signature_passes_for_no_other_key_message_or_signature() {
        let known = SignatureCache::new(8);
        let signature = secret().with_cache(&known).sign(b"text");
        let key = secret().public().with_cache(&known);
        let other = NoteSigningKey::from_seed("log".parse().expect("a key name"), &[8; 32]);
        let other = other.public().with_cache(&known);
        assert!(key.verifies(b"text", &signature));
        assert!(!other.verifies(b"text", &signature));
        assert!(!key.verifies(b"texts", &signature));
        assert!(!key.verifies(b"text", &signature[..63]));
        for at in 0..64 {
            let mut altered = signature;
            altered[at] ^= 1;
            assert!(!key.verifies(b"text", &altered), "byte {at}");
        }
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not_and_all_is_bounded() {
        let known = SignatureCache::new(MOST);
        let raw = secret().public().raw();
        for count in 0..5 * MOST as u64 {
            let mut signature = [0; 64];
            known.add(raw, b"always", &signature);
            signature[..8].copy_from_slice(&(count + 1).to_le_bytes());
            known.add(raw, b"once", &signature);
            assert!(known.contains(raw, b"always", &[0; 64]));
            assert!(size(&known) <= 2 * MOST + 1);
        }
        let mut first = [0; 64];
        first[0] = 1;
        assert!(!known.contains(raw, b"once", &first));
    }
}
