//! Joining all heads that were heard, with tiles of whoever has them.

use unanimity_log::Cached;
use unanimity_net::Transport;
use unanimity_protocol::consistency::Link;
use unanimity_protocol::{Chain, Evidence, Head};

use crate::tile_sources::{Source, Sources};

/// The heads, joined.
pub(crate) struct Joined<'s, 'a, T: Transport> {
    /// The head that is adopted for this cycle, with all that are prefixes of it.
    pub(crate) chain: Chain,
    /// Who serves that head's tiles.
    pub(crate) source: &'s Cached<Source<'a, T>>,
    /// Heads that nobody's tiles tie to the others.
    pub(crate) untied: Vec<Head>,
}

/// Joins the heads, or finds that two of them contradict each other. `None` if nobody serves
/// tiles that hash up to any of them.
///
/// One hash is all that some roots need, so a head can look served and be tied to nothing. The
/// chain is therefore the one that holds the heads we trust, then the most of the peers' `views`,
/// then the largest; what it does not hold is untied, and its peers do not confirm.
pub(crate) async fn join<'s, 'a, T: Transport>(
    mut heads: Vec<Head>,
    trusted: &[Head],
    views: &[Head],
    sources: &'s Sources<'a, T>,
) -> Result<Option<Joined<'s, 'a, T>>, Box<Evidence>> {
    heads.sort_by_key(|head| (std::cmp::Reverse(head.size()), *head.root()));
    heads.dedup();
    for pair in heads.windows(2) {
        if let Some(evidence) = Evidence::of(&pair[0], &pair[1], &[]) {
            return Err(Box::new(evidence));
        }
    }
    let mut best: Option<((usize, usize, usize), Joined<'s, 'a, T>)> = None;
    for (i, head) in heads.iter().enumerate() {
        let Some(source) = sources.serving(head).await else { continue };
        let mut chain = Chain::new(head.clone());
        for older in &heads[i + 1..] {
            if let Link::Fork(evidence) = link(&mut chain, older, source, sources).await {
                return Err(evidence);
            }
        }
        let held = |heads: &[Head]| heads.iter().filter(|head| chain.holds(head)).count();
        let holds = (held(trusted), held(views), held(&heads));
        let all = holds == (trusted.len(), views.len(), heads.len() - i);
        if best.as_ref().is_none_or(|(most, _)| *most < holds) {
            let untied = heads.iter().filter(|head| !chain.holds(head)).cloned().collect();
            best = Some((holds, Joined { chain, source, untied }));
        }
        // No other can hold more.
        if all {
            break;
        }
    }
    Ok(best.map(|(_, joined)| joined))
}

/// Links one head, with the tiles of `first` or, where those are of no use, anybody's.
async fn link<T: Transport>(
    chain: &mut Chain,
    head: &Head,
    first: &Cached<Source<'_, T>>,
    sources: &Sources<'_, T>,
) -> Link {
    for source in sources.starting_with(first) {
        let Ok(path) = source.path(head.size(), chain.head()).await else { continue };
        match chain.link(head, &path) {
            Link::Unproven => {}
            shown => return shown,
        }
    }
    Link::Unproven
}
