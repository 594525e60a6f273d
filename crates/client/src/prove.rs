//! Proving with tiles: a release in a head, and what convinces others of it.

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

/// Proves that a release is in the chain's head, with the tiles of the first host whose tiles do.
pub(crate) async fn prove_inclusion<'s, 'a: 's, T: Transport + 'a>(
    signed: &SignedRelease,
    chain: &ConsistentHeads,
    trusted: Option<&TreeHead>,
    tile_hosts: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
) -> Result<LoggedRelease, ClientError> {
    let (index, size) = (signed.index(), chain.head().size());
    let mut problems = Vec::new();
    for host in tile_hosts {
        match host.inclusion_proof(index, size, size).await {
            Ok(proof) => match signed.clone().prove_inclusion(chain, trusted, &proof) {
                Ok(logged) => return Ok(logged),
                Err(refusal) => problems.push(refusal.to_string()),
            },
            Err(error) => problems.push(error.to_string()),
        }
    }
    Err(ClientError::Mirrors(problems))
}

/// The proof bundle of what was agreed on: one that verifies, from the first host whose tiles
/// make one.
pub(crate) async fn build_proof<'s, 'a: 's, T: Transport + 'a>(
    agreed: &ConfirmedRelease,
    config: &ClientConfig,
    tile_hosts: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
) -> Result<ProofBundle, ClientError> {
    let mut problems = Vec::new();
    for host in tile_hosts {
        match build_proof_from(agreed, host).await {
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
    agreed: &ConfirmedRelease,
    source: &TileReader<TileHost<'_, T>>,
) -> io::Result<ProofBundle> {
    let (head, index) = (agreed.head(), agreed.log_entry().index);
    let views = agreed.rounds().into_iter().flat_map(|roll| roll.cosigned_heads());
    let mut sizes: BTreeSet<u64> = views.map(|view: &CosignedHead| view.head().size()).collect();
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
    Ok(ProofBundle::from_confirmed(agreed, &proofs))
}
