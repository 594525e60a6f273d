//! A cache of signatures that this process has verified or made.
//!
//! The simulator signs and verifies for thousands of nodes in one process. Without a cache, half of
//! its time would go into verifying its own signatures, so its keys share one [`SignatureCache`].
//! The programs use no cache: they verify every signature every time.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::PublicKeyBytes;

/// Valid signatures, each with its key and its message. Clones share one cache.
///
/// Only this crate adds signatures: those that passed the strict check, and those that a private
/// key made. So every signature in the cache would pass the check again.
#[derive(Clone)]
pub struct SignatureCache(Arc<Mutex<Generations>>);

/// A map from each signature to its key and its message. The whole message is kept, because a hash
/// could collide.
type Generation = HashMap<[u8; 64], (PublicKeyBytes, Box<[u8]>), BuildHasherDefault<DefaultHasher>>;

/// Two generations of cached signatures, so that used signatures stay longer than unused ones.
struct Generations {
    /// The most signatures of one generation.
    capacity: usize,
    young: Generation,
    old: Generation,
}

impl SignatureCache {
    /// Makes an empty cache that keeps at least the last `capacity` signatures, and at most twice
    /// as many.
    pub fn new(capacity: usize) -> SignatureCache {
        let (young, old) = (Generation::default(), Generation::default());
        SignatureCache(Arc::new(Mutex::new(Generations { capacity, young, old })))
    }

    pub(crate) fn contains(
        &self,
        key: PublicKeyBytes,
        message: &[u8],
        signature: &[u8; 64],
    ) -> bool {
        let mut all = self.lock();
        let matches =
            |(signer, signed): &(PublicKeyBytes, Box<[u8]>)| *signer == key && **signed == *message;
        if all.young.get(signature).is_some_and(matches) {
            return true;
        }
        if !all.old.get(signature).is_some_and(matches) {
            return false;
        }
        if let Some((signer, signed)) = all.old.remove(signature) {
            all.add(*signature, signer, signed);
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
        if self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(signature, (key, message));
    }
}

impl fmt::Debug for SignatureCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignatureCache")
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

    const CAPACITY: usize = 100;

    fn size(cache: &SignatureCache) -> usize {
        let all = cache.lock();
        all.young.len() + all.old.len()
    }

    #[test]
    fn cache_holds_only_signatures_that_this_process_verified_or_made() {
        let cache = SignatureCache::new(8);
        let key: NoteVerifyingKey = secret().public().with_cache(&cache);
        let signature = secret().sign(b"text");
        let mut forged = signature;
        forged[3] ^= 1;
        assert!(!key.verifies(b"text", &forged));
        assert!(!key.verifies(b"other text", &signature));
        assert_eq!(size(&cache), 0, "a signature that does not verify is not added");
        assert!(key.verifies(b"text", &signature));
        assert_eq!(size(&cache), 1);
        secret().with_cache(&cache).sign(b"another");
        assert_eq!(size(&cache), 2);
    }

    #[test]
    fn cached_signature_verifies_for_no_other_key_message_or_signature() {
        let cache = SignatureCache::new(8);
        let signature = secret().with_cache(&cache).sign(b"text");
        let key = secret().public().with_cache(&cache);
        let other = NoteSigningKey::from_seed("log".parse().expect("a key name"), &[8; 32]);
        let other = other.public().with_cache(&cache);
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
    fn cache_keeps_used_signatures_longer_and_is_bounded() {
        let cache = SignatureCache::new(CAPACITY);
        let raw = secret().public().raw();
        for count in 0..5 * CAPACITY as u64 {
            let mut signature = [0; 64];
            cache.add(raw, b"always", &signature);
            signature[..8].copy_from_slice(&(count + 1).to_le_bytes());
            cache.add(raw, b"once", &signature);
            assert!(cache.contains(raw, b"always", &[0; 64]));
            assert!(size(&cache) <= 2 * CAPACITY + 1);
        }
        let mut first = [0; 64];
        first[0] = 1;
        assert!(!cache.contains(raw, b"once", &first));
    }
}
