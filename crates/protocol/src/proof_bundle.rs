//! Proof bundles: one file that proves, without a network, that every peer confirmed a release.
//!
//! ```text
//! unanimity/bundle/v1
//! manifest INDEX BYTES
//! (the release's note, as it is in the log)
//! head BYTES
//! (the checkpoint that all cosigned heads are prefixes of)
//! inclusion N
//! (N hashes: the release is entry INDEX of that head)
//! path SIZE N
//! (N hashes: the tree of SIZE is a prefix of the head; one path for each smaller cosigned head)
//! round SECONDS COUNT
//! cosigned-head BYTES
//! (a c2sp.org/tlog-proof@v1 of the release, its checkpoint cosigned by one peer; COUNT times)
//! round SECONDS COUNT
//! ...
//! ```
//!
//! The earlier round comes first. Verification runs the same stages as an update and returns a
//! [`ConfirmedRelease`], so it is as strict as an update.

use std::collections::BTreeMap;

use crate::bundle_fault::BundleFault;
use crate::checkpoint::TreeHead;
use crate::consistency::Consistency;
use crate::decision::admission::RoundLimits;
use crate::line_reader::LineReader;
use crate::manifest::Manifest;
use crate::note::{MAX_ENTRY_BYTES, MAX_NOTE_BYTES, Note};
use crate::tree::MAX_PROOF;
use crate::{
    ConfirmedRelease, ConsistentHeads, CosignedHead, Hash, LogEntry, PeerFailure, PeerSet, Policy,
    PublicKeyBytes, Refusal, Round, SignedRelease, Timestamp, TlogProof,
    encoding::{self},
};

const HEADER: &str = "unanimity/bundle/v1";
/// The most bytes of a bundle: 4 MiB.
pub const MAX_BUNDLE_BYTES: usize = 4 * 1024 * 1024;
/// The most cosigned heads in one round of a bundle.
const MAX_COSIGNED_HEADS: u64 = 256;

/// A parsed proof bundle. [`ProofBundle::verify`] verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofBundle {
    index: u64,
    manifest: String,
    head: String,
    inclusion: Vec<Hash>,
    paths: BTreeMap<u64, Vec<Hash>>,
    rounds: [(Timestamp, Vec<TlogProof>); 2],
}

/// The reason why a text is not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The text has more than [`MAX_BUNDLE_BYTES`] bytes.
    #[error("a proof bundle has at most {MAX_BUNDLE_BYTES} bytes")]
    TooLong,
    /// The text is malformed at or near the line with this number.
    #[error("line {0}: not a unanimity/bundle/v1")]
    Form(usize),
}

/// The hashes of a bundle that come from the log's tiles.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    /// Inclusion proofs of the release, one for the bundle's head and one for each other size of a
    /// cosigned head, keyed by size.
    pub inclusion: BTreeMap<u64, Vec<Hash>>,
    /// Consistency proofs to the bundle's head, one for each smaller cosigned head, keyed by its
    /// size.
    pub paths: BTreeMap<u64, Vec<Hash>>,
}

impl ProofBundle {
    /// Makes the bundle of a confirmed release.
    ///
    /// `proofs` must have the hashes for the sizes of the head and of all cosigned heads. If one is
    /// missing, the bundle does not verify.
    pub fn from_confirmed(confirmed: &ConfirmedRelease, proofs: &Proofs) -> ProofBundle {
        let inclusion = |size| proofs.inclusion.get(&size).cloned().unwrap_or_default();
        let index = confirmed.log_entry().index;
        let rounds = confirmed.rounds().map(|round| {
            let cosigned_heads = round.cosigned_heads().map(|cosigned| TlogProof {
                index,
                hashes: inclusion(cosigned.head().size()),
                checkpoint: cosigned.note().to_owned(),
            });
            (round.closed_at(), cosigned_heads.collect())
        });
        ProofBundle {
            index,
            manifest: confirmed.log_entry().note.to_string(),
            head: confirmed.head().note().to_owned(),
            inclusion: inclusion(confirmed.head().size()),
            paths: proofs.paths.clone(),
            rounds,
        }
    }

    /// The manifest in the bundle, without any verification. `None` if it is malformed.
    pub fn claimed_manifest(&self) -> Option<Manifest> {
        Manifest::parse(Note::parse(self.manifest.as_bytes()).ok()?.text()).ok()
    }

    /// Reads a bundle. Verifies nothing.
    pub fn parse(text: &str) -> Result<ProofBundle, BundleError> {
        if text.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLong);
        }
        let mut lines = LineReader::new(text);
        match ProofBundle::read(&mut lines) {
            Some(bundle) if lines.is_at_end() => Ok(bundle),
            _ => Err(BundleError::Form(lines.line_number().max(1))),
        }
    }

    fn read(lines: &mut LineReader<'_>) -> Option<ProofBundle> {
        if lines.line()? != HEADER {
            return None;
        }
        let [index, length] = numbers(lines.field("manifest")?)?;
        let manifest = block(lines, length, MAX_ENTRY_BYTES)?;
        let [length] = numbers(lines.field("head")?)?;
        let head = block(lines, length, MAX_NOTE_BYTES)?;
        let [count] = numbers(lines.field("inclusion")?)?;
        let inclusion = lines.hashes(count, MAX_PROOF)?;
        let mut paths = BTreeMap::new();
        while lines.peek().starts_with("path ") {
            let [size, count] = numbers(lines.field("path")?)?;
            if paths.last_key_value().is_some_and(|(last, _)| *last >= size) {
                return None;
            }
            paths.insert(size, lines.hashes(count, MAX_PROOF)?);
        }
        let rounds = [read_round(lines)?, read_round(lines)?];
        Some(ProofBundle { index, manifest, head, inclusion, paths, rounds })
    }

    /// Runs the whole pipeline on the bundle, as of the time of its latest round.
    ///
    /// The pipeline checks the publisher's signatures, the expiry at that time, the inclusion in
    /// the log, the consistency of all cosigned heads, and the confirmation of every configured
    /// peer in both rounds.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails; [`Refusal::Bundle`] for a fault that only a
    /// bundle can have; [`Refusal::Fork`] if a cosigned head contradicts the bundle's head.
    pub fn verify(
        &self,
        policy: &Policy,
        peers: &PeerSet,
        limits: &RoundLimits,
    ) -> Result<ConfirmedRelease, Refusal> {
        let note = Note::parse(self.manifest.as_bytes()).map_err(Refusal::BadSignature)?;
        let [_, (closed, _)] = &self.rounds;
        let signed =
            SignedRelease::verify(LogEntry { index: self.index, note }, policy, 0, *closed)?;
        let leaf = Hash::leaf(self.manifest.as_bytes());
        let head = TreeHead::verify(self.head.as_bytes(), &policy.log)
            .map_err(|error| Refusal::Bundle(BundleFault::Head(error)))?;
        let mut heads = ConsistentHeads::new(head);
        // Each peer's size in the earlier round: a smaller size in the latest round does not count.
        let mut shown: BTreeMap<PublicKeyBytes, u64> = BTreeMap::new();
        let mut verify_round = |(at, proofs): &(Timestamp, Vec<TlogProof>)| {
            let mut received: BTreeMap<PublicKeyBytes, Result<CosignedHead, PeerFailure>> =
                BTreeMap::new();
            for proof in proofs {
                let cosigned = self.verify_cosigned_head(proof, &leaf, policy, peers)?;
                let Some(cosigned) = cosigned else { continue };
                let (key, size) = (cosigned.cosigner(), cosigned.head().size());
                let path = self.paths.get(&size).map_or(&[][..], Vec::as_slice);
                match heads.add(cosigned.head(), path) {
                    Consistency::Consistent => {}
                    Consistency::Fork(evidence) => return Err(Refusal::Fork(evidence)),
                    Consistency::Unproven => return Err(Refusal::Bundle(BundleFault::Unproven)),
                }
                let before = shown.insert(key, size).unwrap_or(0);
                if received.insert(key, limits.admit(cosigned, *at, before)).is_some() {
                    return Err(Refusal::Bundle(BundleFault::DuplicateCosigner));
                }
            }
            Ok(Round::new(peers, *at, received))
        };
        let [earlier, latest] = &self.rounds;
        let (earlier, latest) = (verify_round(earlier)?, verify_round(latest)?);
        signed.prove_inclusion(&heads, None, &self.inclusion)?.confirm(
            &heads,
            peers,
            limits,
            Some(&earlier),
            &latest,
        )
    }

    /// Verifies the cosigned head and the inclusion in a proof. `None` if the head has no signature
    /// line of a configured peer.
    fn verify_cosigned_head(
        &self,
        proof: &TlogProof,
        leaf: &Hash,
        policy: &Policy,
        peers: &PeerSet,
    ) -> Result<Option<CosignedHead>, Refusal> {
        let bytes = proof.checkpoint.as_bytes();
        let note = Note::parse(bytes).map_err(|error| Refusal::Bundle(BundleFault::Note(error)))?;
        let signed_by = |key: &crate::CosignatureVerifyingKey| {
            note.lines_naming(key.name(), key.id()).next().is_some()
        };
        let Some(peer) = peers.iter().find(|peer| signed_by(&peer.key)) else { return Ok(None) };
        let cosigned = CosignedHead::verify(bytes, &policy.log, &peer.key).map_err(|why| {
            let peer = peer.name.clone();
            Refusal::Bundle(BundleFault::CosignedHead { peer, why })
        })?;
        if proof.index != self.index || !proof.verify(leaf, cosigned.head()) {
            return Err(Refusal::Bundle(BundleFault::NotIncluded(peer.name.clone())));
        }
        Ok(Some(cosigned))
    }
}

impl std::fmt::Display for ProofBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hashes = |f: &mut std::fmt::Formatter<'_>, hashes: &[Hash]| {
            hashes.iter().try_for_each(|hash| writeln!(f, "{}", hash.base64()))
        };
        write!(f, "{HEADER}\nmanifest {} {}\n{}", self.index, self.manifest.len(), self.manifest)?;
        write!(f, "head {}\n{}", self.head.len(), self.head)?;
        writeln!(f, "inclusion {}", self.inclusion.len())?;
        hashes(f, &self.inclusion)?;
        for (size, path) in &self.paths {
            writeln!(f, "path {size} {}", path.len())?;
            hashes(f, path)?;
        }
        for (at, proofs) in &self.rounds {
            writeln!(f, "round {} {}", at.0, proofs.len())?;
            for proof in proofs {
                let proof = proof.to_string();
                write!(f, "cosigned-head {}\n{proof}", proof.len())?;
            }
        }
        Ok(())
    }
}

fn read_round(lines: &mut LineReader<'_>) -> Option<(Timestamp, Vec<TlogProof>)> {
    let [at, count] = numbers(lines.field("round")?)?;
    if count > MAX_COSIGNED_HEADS {
        return None;
    }
    let mut proofs = Vec::new();
    for _ in 0..count {
        let [length] = numbers(lines.field("cosigned-head")?)?;
        proofs.push(TlogProof::parse(&block(lines, length, 2 * MAX_NOTE_BYTES)?).ok()?);
    }
    Some((Timestamp(at), proofs))
}

fn block(lines: &mut LineReader<'_>, length: u64, limit: usize) -> Option<String> {
    if length > limit as u64 {
        return None;
    }
    Some(lines.block(length)?.to_owned())
}

fn numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let numbers: Option<Vec<u64>> = text.split(' ').map(encoding::decimal).collect();
    numbers?.try_into().ok()
}

/// The book's chapter on the library, so that its example program is tested with this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/library.md")]
struct LibraryChapter;
