//! Proof bundles and the proofs in them, as the fuzzer wrote them and with renewed signatures.
//!
//! A parsed bundle or proof prints to its own text, except a proof's `extra` line, which is
//! dropped. A verified bundle names a release of the policy's product, which every peer has
//! confirmed in both rounds.

use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::proof_bundle::MAX_BUNDLE_BYTES;
use unanimity_protocol::tree::MAX_PROOF;
use unanimity_protocol::{ProofBundle, TlogProof};

use crate::keys::KEYS;
use crate::repair;

/// Checks one text as a bundle and as a proof.
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
    let Ok(bundle) = ProofBundle::parse(text) else { return };
    assert!(text.len() <= MAX_BUNDLE_BYTES);
    let printed = bundle.to_string();
    assert_eq!(ProofBundle::parse(&printed).as_ref(), Ok(&bundle));
    assert!(printed == text || text.contains("\nextra "));
    let limits = RoundLimits::default();
    let verified = bundle.verify(&KEYS.policy, &KEYS.peers, &limits);
    if let Ok(release) = verified {
        let manifest = release.manifest();
        assert_eq!(bundle.claimed_manifest().as_ref(), Some(manifest));
        assert_eq!(manifest.log, KEYS.log.origin);
        assert_eq!(manifest.product, KEYS.policy.product);
        let [earlier, latest] = release.rounds();
        assert!(earlier.closed_at().after(limits.settle) <= latest.closed_at());
        for round in [earlier, latest] {
            assert_eq!(round.cosigned_heads().count(), KEYS.peers.iter().count());
            assert!(
                round.cosigned_heads().all(|head| head.head().size() > release.log_entry().index)
            );
        }
    }
}
