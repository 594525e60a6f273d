//! Proofs made from tiles: a release's inclusion proof, and a confirmed release's proof bundle.

use std::collections::BTreeSet;
use std::io;

use unanimity_config::ClientConfig;
use unanimity_log::TileReader;
use unanimity_net::Transport;
use unanimity_protocol::proof_bundle::Proofs;
use unanimity_protocol::{
    ConfirmedRelease, ConsistentHeads, CosignedHead, LoggedRelease, ProofBundle, SignedRelease,
    TreeHead,
};

use crate::error::ClientError;
use crate::tile_sources::TileHost;

/// Proves that the newest of the consistent heads contains a release, with the tiles of the first
/// host whose tiles suffice.
pub(crate) async fn prove_inclusion<'s, 'a: 's, T: Transport + 'a>(
    signed: &SignedRelease,
    consistent: &ConsistentHeads,
    trusted: Option<&TreeHead>,
    tile_hosts: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
) -> Result<LoggedRelease, ClientError> {
    let (index, size) = (signed.index(), consistent.head().size());
    let mut problems = Vec::new();
    for host in tile_hosts {
        match host.inclusion_proof(index, size, size).await {
            Ok(proof) => match signed.clone().prove_inclusion(consistent, trusted, &proof) {
                Ok(logged) => return Ok(logged),
                Err(refusal) => problems.push(refusal.to_string()),
            },
            Err(error) => problems.push(error.to_string()),
        }
    }
    Err(ClientError::Mirrors(problems))
}

/// Builds the proof bundle of a confirmed release, from the tiles of the first host for which the
/// bundle verifies.
pub(crate) async fn build_proof<'s, 'a: 's, T: Transport + 'a>(
    release: &ConfirmedRelease,
    config: &ClientConfig,
    tile_hosts: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
) -> Result<ProofBundle, ClientError> {
    let mut problems = Vec::new();
    for host in tile_hosts {
        match build_proof_from(release, host).await {
            Ok(bundle) => {
                match bundle.verify(&config.cycle.policy, &config.peers, &config.cycle.limits) {
                    Ok(_) => return Ok(bundle),
                    Err(refusal) => problems.push(refusal.to_string()),
                }
            }
            Err(error) => problems.push(format!("tiles for the proof: {error}")),
        }
    }
    Err(ClientError::Mirrors(problems))
}

async fn build_proof_from<T: Transport>(
    release: &ConfirmedRelease,
    source: &TileReader<TileHost<'_, T>>,
) -> io::Result<ProofBundle> {
    let (head, index) = (release.head(), release.log_entry().index);
    let heads = release.rounds().into_iter().flat_map(|round| round.cosigned_heads());
    let mut sizes: BTreeSet<u64> =
        heads.map(|cosigned: &CosignedHead| cosigned.head().size()).collect();
    let mut proofs = Proofs::default();
    for &size in &sizes {
        if size < head.size() {
            proofs.paths.insert(size, source.consistency_path(size, head).await?);
        }
    }
    sizes.insert(head.size());
    for size in sizes {
        proofs.inclusion.insert(size, source.inclusion_proof(index, size, head.size()).await?);
    }
    Ok(ProofBundle::from_confirmed(release, &proofs))
}
