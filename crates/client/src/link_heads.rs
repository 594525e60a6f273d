//! Linking all known heads with consistency proofs, from the tiles of mirrors and peers.

use unanimity_log::TileReader;
use unanimity_net::Transport;
use unanimity_protocol::consistency::Consistency;
use unanimity_protocol::decision::head_choice::{ChoiceStep, HeadCandidate, HeadChoice};
use unanimity_protocol::{ConsistentHeads, Evidence, TreeHead};

use crate::tile_sources::{TileHost, TileSources};

/// The head that the cycle chose, the heads that are linked to it, and its host.
pub(crate) struct LinkedHeads<'s, 'a, T: Transport> {
    /// The chosen head, with all heads that are proved to be prefixes of it.
    pub(crate) consistent: ConsistentHeads,
    /// The host that serves the chosen head's tiles.
    pub(crate) source: &'s TileReader<TileHost<'a, T>>,
    /// The heads that no host's tiles link to the chosen head.
    pub(crate) unlinked: Vec<TreeHead>,
}

/// Links the heads of a choice, or returns evidence that two of them contradict each other.
/// `None` if no host serves tiles that hash to the root of any head.
///
/// A host can serve enough tiles for a head's root and lack the tiles that link this head to the
/// others. [`HeadChoice`] therefore decides which served head is chosen. Peers with an unlinked
/// head do not confirm.
pub(crate) async fn link_heads<'s, 'a, T: Transport>(
    choice: &mut HeadChoice<'_, TreeHead>,
    sources: &'s TileSources<'a, T>,
) -> Result<Option<LinkedHeads<'s, 'a, T>>, Box<Evidence>> {
    let mut best = None;
    loop {
        match choice.step() {
            ChoiceStep::Try(candidate) => best = try_head(candidate, sources).await.or(best),
            ChoiceStep::Chosen(_) => break,
            ChoiceStep::NoneServed => return Ok(None),
            ChoiceStep::Fork(evidence) => return Err(evidence.clone()),
        }
    }
    Ok(best.map(|(consistent, source)| {
        let unlinked =
            choice.heads().iter().filter(|head| !consistent.contains(head)).cloned().collect();
        LinkedHeads { consistent, source, unlinked }
    }))
}

/// Tries one head. If it is the best so far, returns the heads that are linked to it, and its host.
async fn try_head<'s, 'a, T: Transport>(
    candidate: HeadCandidate<'_, '_, TreeHead>,
    sources: &'s TileSources<'a, T>,
) -> Option<(ConsistentHeads, &'s TileReader<TileHost<'a, T>>)> {
    let Some(source) = sources.find_host(candidate.head()).await else {
        candidate.unserved();
        return None;
    };
    let mut consistent = ConsistentHeads::new(candidate.head().clone());
    for older in candidate.smaller() {
        let link = link_head(&mut consistent, older, source, sources).await;
        if let Consistency::Fork(evidence) = link {
            candidate.fork(evidence);
            return None;
        }
    }
    candidate.served(|head| consistent.contains(head)).then_some((consistent, source))
}

/// Links `head` to the consistent heads, with the tiles of `first`, or else of any other host.
async fn link_head<T: Transport>(
    consistent: &mut ConsistentHeads,
    head: &TreeHead,
    first: &TileReader<TileHost<'_, T>>,
    sources: &TileSources<'_, T>,
) -> Consistency {
    for source in sources.starting_with(first) {
        let Ok(path) = source.consistency_path(head.size(), consistent.head()).await else {
            continue;
        };
        match consistent.add(head, &path) {
            Consistency::Unproven => {}
            proven => return proven,
        }
    }
    Consistency::Unproven
}
