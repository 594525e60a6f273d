//! Proof bundles and the proofs in them: as they come, and with their notes signed anew.
//!
//! A bundle or proof prints to the text that it was read from, but for a proof's `extra` line, which is
//! not kept. A bundle that verifies names a release of ours, confirmed by every peer in both rounds.

use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::proof_bundle::MAX_BUNDLE_BYTES;
use unanimity_protocol::tree::MAX_PROOF;
use unanimity_protocol::{Bundle, TlogProof};

use crate::keys::KEYS;
use crate::repair;

/// Checks one text, as a bundle and as a proof.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    proof(text);
    bundle(text);
    bundle(&repair::blocks(text));
}

fn proof(text: &str) {
    let Ok(proof) = TlogProof::parse(text) else { return };
    assert!(proof.hashes.len() <= MAX_PROOF);
    let printed = proof.to_string();
    assert_eq!(TlogProof::parse(&printed).as_ref(), Ok(&proof));
    assert!(printed == text || text.contains("\nextra "));
}

fn bundle(text: &str) {
    let Ok(bundle) = Bundle::parse(text) else { return };
    assert!(text.len() <= MAX_BUNDLE_BYTES);
    let printed = bundle.to_string();
    assert_eq!(Bundle::parse(&printed).as_ref(), Ok(&bundle));
    assert!(printed == text || text.contains("\nextra "));
    let limits = RoundLimits::default();
    let verified = bundle.verify(&KEYS.policy, &KEYS.peers, &limits);
    if let Ok(agreed) = verified {
        let manifest = agreed.manifest();
        assert_eq!(bundle.claimed().as_ref(), Some(manifest));
        assert_eq!(manifest.log, KEYS.log.origin);
        assert_eq!(manifest.product, KEYS.policy.product);
        let [earlier, latest] = agreed.rounds();
        assert!(earlier.closed_at().after(limits.settle) <= latest.closed_at());
        for roll in [earlier, latest] {
            assert_eq!(roll.views().count(), KEYS.peers.iter().count());
            assert!(roll.views().all(|view| view.head().size() > agreed.log_entry().index));
        }
    }
}
