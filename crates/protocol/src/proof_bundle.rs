//! The proof bundle: all that convinces a third party, offline, that a release was agreed on.
//!
//! ```text
//! unanimity/bundle/v1
//! manifest INDEX BYTES
//! (the release's note, as it is in the log)
//! head BYTES
//! (the checkpoint that all views are prefixes of)
//! inclusion N
//! (N hashes: the release is entry INDEX of that head)
//! path SIZE N
//! (N hashes: the head of SIZE is a prefix of it; one for each size among the views)
//! roll SECONDS COUNT
//! view BYTES
//! (a c2sp.org/tlog-proof@v1 of the release, its checkpoint cosigned by one peer; COUNT of them)
//! roll SECONDS COUNT
//! ...
//! ```
//!
//! The earlier roll comes first. Verification runs the same stages as an update does and
//! ends in the same type, [`ConfirmedRelease`], so it cannot be weaker than an update's.

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
/// The most bytes of a bundle.
pub const MAX_BUNDLE_BYTES: usize = 4 * 1024 * 1024;
/// The most views in one roll of a bundle.
const MAX_COSIGNED_HEADS: u64 = 256;

/// A bundle as read, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofBundle {
    index: u64,
    manifest: String,
    head: String,
    inclusion: Vec<Hash>,
    paths: BTreeMap<u64, Vec<Hash>>,
    rounds: [(Timestamp, Vec<TlogProof>); 2],
}

/// The text is not a bundle; the line says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Longer than the bound.
    #[error("a proof bundle has at most {MAX_BUNDLE_BYTES} bytes")]
    TooLong,
    /// Not in the form above.
    #[error("line {0}: not a unanimity/bundle/v1")]
    Form(usize),
}

/// The hashes that a bundle needs and that only the tree's tiles have.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    /// For each size among head and views: the release's inclusion in that prefix.
    pub inclusion: BTreeMap<u64, Vec<Hash>>,
    /// For each size among the views below the head's: the path to the head.
    pub paths: BTreeMap<u64, Vec<Hash>>,
}

impl ProofBundle {
    /// Writes down what was agreed on. `proofs` covers every size among head and views.
    pub fn from_confirmed(agreed: &ConfirmedRelease, proofs: &Proofs) -> ProofBundle {
        let inclusion = |size| proofs.inclusion.get(&size).cloned().unwrap_or_default();
        let index = agreed.log_entry().index;
        let rolls = agreed.rounds().map(|roll| {
            let views = roll.cosigned_heads().map(|view| TlogProof {
                index,
                hashes: inclusion(view.head().size()),
                checkpoint: view.note().to_owned(),
            });
            (roll.closed_at(), views.collect())
        });
        ProofBundle {
            index,
            manifest: agreed.log_entry().note.to_string(),
            head: agreed.head().note().to_owned(),
            inclusion: inclusion(agreed.head().size()),
            paths: proofs.paths.clone(),
            rounds: rolls,
        }
    }

    /// The release's statement as it is in here. Nothing of it is verified.
    pub fn claimed_manifest(&self) -> Option<Manifest> {
        Manifest::parse(Note::parse(self.manifest.as_bytes()).ok()?.text()).ok()
    }

    /// Reads a bundle.
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
        let rolls = [read_round(lines)?, read_round(lines)?];
        Some(ProofBundle { index, manifest, head, inclusion, paths, rounds: rolls })
    }

    /// Runs the whole pipeline on what the bundle holds, as of its latest roll: signatures,
    /// inclusion, every view joined, every configured peer in both rolls.
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
        let mut chain = ConsistentHeads::new(head);
        // What each peer showed in the earlier roll: less than that in the latest is no answer.
        let mut shown: BTreeMap<PublicKeyBytes, u64> = BTreeMap::new();
        let mut open = |(at, proofs): &(Timestamp, Vec<TlogProof>)| {
            let mut received: BTreeMap<PublicKeyBytes, Result<CosignedHead, PeerFailure>> =
                BTreeMap::new();
            for proof in proofs {
                let view = self.verify_cosigned_head(proof, &leaf, policy, peers)?;
                let Some(view) = view else { continue };
                let path = self.paths.get(&view.head().size()).map_or(&[][..], Vec::as_slice);
                match chain.add(view.head(), path) {
                    Consistency::Consistent => {}
                    Consistency::Fork(evidence) => return Err(Refusal::Fork(evidence)),
                    Consistency::Unproven => return Err(Refusal::Bundle(BundleFault::Unproven)),
                }
                let (key, size) = (view.cosigner(), view.head().size());
                let before = shown.insert(key, size).unwrap_or(0);
                if received.insert(key, limits.admit(view, *at, before)).is_some() {
                    return Err(Refusal::Bundle(BundleFault::DuplicateCosigner));
                }
            }
            Ok(Round::new(peers, *at, received))
        };
        let [earlier, latest] = &self.rounds;
        let (earlier, latest) = (open(earlier)?, open(latest)?);
        signed.prove_inclusion(&chain, None, &self.inclusion)?.confirm(
            &chain,
            peers,
            limits,
            Some(&earlier),
            &latest,
        )
    }

    /// The view in a proof, if it is by one of our peers; others are somebody else's and do not count.
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
        let view = CosignedHead::verify(bytes, &policy.log, &peer.key).map_err(|why| {
            let peer = peer.name.clone();
            Refusal::Bundle(BundleFault::CosignedHead { peer, why })
        })?;
        if proof.index != self.index || !proof.verify(leaf, view.head()) {
            return Err(Refusal::Bundle(BundleFault::NotIncluded(peer.name.clone())));
        }
        Ok(Some(view))
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
        for (at, views) in &self.rounds {
            writeln!(f, "roll {} {}", at.0, views.len())?;
            for view in views {
                let view = view.to_string();
                write!(f, "view {}\n{view}", view.len())?;
            }
        }
        Ok(())
    }
}

fn read_round(lines: &mut LineReader<'_>) -> Option<(Timestamp, Vec<TlogProof>)> {
    let [at, count] = numbers(lines.field("roll")?)?;
    if count > MAX_COSIGNED_HEADS {
        return None;
    }
    let mut views = Vec::new();
    for _ in 0..count {
        let [length] = numbers(lines.field("view")?)?;
        views.push(TlogProof::parse(&block(lines, length, 2 * MAX_NOTE_BYTES)?).ok()?);
    }
    Some((Timestamp(at), views))
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
