//! The log's entries from the installer's own head to a bundle's, as a spool has them.

use std::io::BufReader;

use unanimity_config::ClientConfig;
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Catalog, ConfirmedRelease, Hash, Round, TreeHead};
use unanimity_state::ClientState;

use super::error::OfflineInstallError;
use crate::ReplayMismatch;
use crate::spool::{ENTRIES_FILE, SpoolReader, read_entries};

/// What the entries up to a bundle's head came to.
pub(super) struct ReplayedLog {
    /// The tree's edge where every peer confirmed it.
    pub(super) frontier: Frontier,
    /// The releases below that.
    pub(super) catalog: Catalog,
    /// The same up to the head itself.
    pub(super) catalog_at_head: Catalog,
}

/// Reads every entry from our own head to the bundle's, or from the first if other publishers are
/// configured than were when it was read. Every head that is trusted here has to be on the way.
pub(super) fn replay(
    config: &ClientConfig,
    state: &ClientState,
    confirmed: &ConfirmedRelease,
    spool: &SpoolReader,
) -> Result<ReplayedLog, OfflineInstallError> {
    let (policy, head) = (&config.cycle.policy, confirmed.head());
    let (mut frontier, mut catalog) = (state.frontier.clone(), state.catalog.clone());
    let held = frontier.size();
    let [_, latest] = confirmed.rounds();
    let common = smallest_head(latest).map_or(0, TreeHead::size);
    let known = state.head.as_ref().map_or(0, TreeHead::size);
    if common < known {
        return Err(ReplayMismatch::Behind { proven: common, known }.into());
    }
    let is_not_at = |head: &TreeHead, frontier: &Frontier| {
        head.size() != frontier.size() || *head.root() != frontier.root()
    };
    let mut unmet: Vec<&TreeHead> = (state.head.iter().chain(&config.cycle.pinned))
        .filter(|trusted| trusted.size() >= held && is_not_at(trusted, &frontier))
        .collect();
    let mut at_common = (common == held).then(|| (frontier.clone(), catalog.clone()));
    let mut first = None;
    let read = read_entries(BufReader::new(spool.open_file(ENTRIES_FILE)?), |index, entry| {
        if *first.get_or_insert(index) > held {
            return false;
        }
        if index < held {
            return true;
        }
        frontier.push(Hash::leaf(entry));
        catalog.add_entry(index, entry, policy);
        unmet.retain(|trusted| is_not_at(trusted, &frontier));
        if frontier.size() == common {
            at_common = Some((frontier.clone(), catalog.clone()));
        }
        frontier.size() < head.size()
    });
    read.map_err(|source| spool.error_for(ENTRIES_FILE, source))?;
    if let Some(first) = first.filter(|first| *first > held) {
        return Err(OfflineInstallError::Gap { first, held });
    }
    if (frontier.size(), frontier.root()) != (head.size(), *head.root()) {
        return Err(ReplayMismatch::Entries { held, head: head.clone() }.into());
    }
    if let Some(trusted) = unmet.first() {
        let (head, trusted) = (Box::new(head.clone()), Box::new((*trusted).clone()));
        return Err(ReplayMismatch::OtherLog { head, trusted }.into());
    }
    // The views are prefixes of the head, so the smallest is passed on the way to it.
    let (frontier, edge) = at_common.ok_or(ReplayMismatch::NoPeerHead)?;
    Ok(ReplayedLog { frontier, catalog: edge, catalog_at_head: catalog })
}

/// What every peer of a roll confirmed.
pub(super) fn smallest_head(round: &Round) -> Option<&TreeHead> {
    round.cosigned_heads().map(|view| view.head()).min_by_key(|head| head.size())
}
