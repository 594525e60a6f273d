//! Joining all heads that were heard, with tiles of whoever has them.

use unanimity_log::Cached;
use unanimity_net::Transport;
use unanimity_protocol::consistency::Consistency;
use unanimity_protocol::decision::head_choice::{HeadChoice, Step, Trial};
use unanimity_protocol::{ConsistentHeads, Evidence, TreeHead};

use crate::tile_sources::{Source, Sources};

/// The heads, joined.
pub(crate) struct Joined<'s, 'a, T: Transport> {
    /// The head that is adopted for this cycle, with all that are prefixes of it.
    pub(crate) chain: ConsistentHeads,
    /// Who serves that head's tiles.
    pub(crate) source: &'s Cached<Source<'a, T>>,
    /// Heads that nobody's tiles tie to the others.
    pub(crate) untied: Vec<TreeHead>,
}

/// Joins the heads of a choice, or finds that two of them contradict each other. `None` if nobody
/// serves tiles that hash up to any of them.
///
/// One hash is all that some roots need, so a head can look served and be tied to nothing:
/// [`HeadChoice`] says which of the served heads is adopted. What its chain does not hold is
/// untied, and its peers do not confirm.
pub(crate) async fn join<'s, 'a, T: Transport>(
    choice: &mut HeadChoice<'_, TreeHead>,
    sources: &'s Sources<'a, T>,
) -> Result<Option<Joined<'s, 'a, T>>, Box<Evidence>> {
    let mut best = None;
    loop {
        match choice.step() {
            Step::Try(trial) => best = attempt(trial, sources).await.or(best),
            Step::Chosen(_) => break,
            Step::NoneServed => return Ok(None),
            Step::Fork(evidence) => return Err(evidence.clone()),
        }
    }
    Ok(best.map(|(chain, source)| {
        let untied = choice.heads().iter().filter(|head| !chain.contains(head)).cloned().collect();
        Joined { chain, source, untied }
    }))
}

/// Tries one head. Returns its chain and its host if it is the best so far.
async fn attempt<'s, 'a, T: Transport>(
    trial: Trial<'_, '_, TreeHead>,
    sources: &'s Sources<'a, T>,
) -> Option<(ConsistentHeads, &'s Cached<Source<'a, T>>)> {
    let Some(source) = sources.serving(trial.head()).await else {
        trial.unserved();
        return None;
    };
    let mut chain = ConsistentHeads::new(trial.head().clone());
    for older in trial.smaller() {
        if let Consistency::Fork(evidence) = link(&mut chain, older, source, sources).await {
            trial.fork(evidence);
            return None;
        }
    }
    trial.served(|head| chain.contains(head)).then_some((chain, source))
}

/// Links one head, with the tiles of `first` or, where those are of no use, anybody's.
async fn link<T: Transport>(
    chain: &mut ConsistentHeads,
    head: &TreeHead,
    first: &Cached<Source<'_, T>>,
    sources: &Sources<'_, T>,
) -> Consistency {
    for source in sources.starting_with(first) {
        let Ok(path) = source.path(head.size(), chain.head()).await else { continue };
        match chain.add(head, &path) {
            Consistency::Unproven => {}
            shown => return shown,
        }
    }
    Consistency::Unproven
}
