//! Joining all heads that were heard, with tiles of whoever has them.

use unanimity_log::TileReader;
use unanimity_net::Transport;
use unanimity_protocol::consistency::Consistency;
use unanimity_protocol::decision::head_choice::{ChoiceStep, HeadCandidate, HeadChoice};
use unanimity_protocol::{ConsistentHeads, Evidence, TreeHead};

use crate::tile_sources::{TileHost, TileSources};

/// The heads, joined.
pub(crate) struct LinkedHeads<'s, 'a, T: Transport> {
    /// The head that is adopted for this cycle, with all that are prefixes of it.
    pub(crate) chain: ConsistentHeads,
    /// Who serves that head's tiles.
    pub(crate) source: &'s TileReader<TileHost<'a, T>>,
    /// Heads that nobody's tiles tie to the others.
    pub(crate) unlinked: Vec<TreeHead>,
}

/// Joins the heads of a choice, or finds that two of them contradict each other. `None` if nobody
/// serves tiles that hash up to any of them.
///
/// One hash is all that some roots need, so a head can look served and be tied to nothing:
/// [`HeadChoice`] says which of the served heads is adopted. What its chain does not hold is
/// untied, and its peers do not confirm.
pub(crate) async fn link_heads<'s, 'a, T: Transport>(
    choice: &mut HeadChoice<'_, TreeHead>,
    sources: &'s TileSources<'a, T>,
) -> Result<Option<LinkedHeads<'s, 'a, T>>, Box<Evidence>> {
    let mut best = None;
    loop {
        match choice.step() {
            ChoiceStep::Try(trial) => best = try_head(trial, sources).await.or(best),
            ChoiceStep::Chosen(_) => break,
            ChoiceStep::NoneServed => return Ok(None),
            ChoiceStep::Fork(evidence) => return Err(evidence.clone()),
        }
    }
    Ok(best.map(|(chain, source)| {
        let unlinked =
            choice.heads().iter().filter(|head| !chain.contains(head)).cloned().collect();
        LinkedHeads { chain, source, unlinked }
    }))
}

/// Tries one head. Returns its chain and its host if it is the best so far.
async fn try_head<'s, 'a, T: Transport>(
    trial: HeadCandidate<'_, '_, TreeHead>,
    sources: &'s TileSources<'a, T>,
) -> Option<(ConsistentHeads, &'s TileReader<TileHost<'a, T>>)> {
    let Some(source) = sources.find_host(trial.head()).await else {
        trial.unserved();
        return None;
    };
    let mut chain = ConsistentHeads::new(trial.head().clone());
    for older in trial.smaller() {
        if let Consistency::Fork(evidence) = link_head(&mut chain, older, source, sources).await {
            trial.fork(evidence);
            return None;
        }
    }
    trial.served(|head| chain.contains(head)).then_some((chain, source))
}

/// Links one head, with the tiles of `first_asked_for` or, where those are of no use, anybody's.
async fn link_head<T: Transport>(
    chain: &mut ConsistentHeads,
    head: &TreeHead,
    first: &TileReader<TileHost<'_, T>>,
    sources: &TileSources<'_, T>,
) -> Consistency {
    for source in sources.starting_with(first) {
        let Ok(path) = source.consistency_path(head.size(), chain.head()).await else { continue };
        match chain.add(head, &path) {
            Consistency::Unproven => {}
            shown => return shown,
        }
    }
    Consistency::Unproven
}
