//! Replay of the log entries in a spool, from the installer's head to the head of the proof bundle.

use std::io::BufReader;

use unanimity_config::ClientConfig;
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Catalog, ConfirmedRelease, Hash, Round, TreeHead};
use unanimity_state::ClientState;

use super::error::OfflineInstallError;
use crate::ReplayMismatch;
use crate::spool::{ENTRIES_FILE, SpoolReader, read_entries};

/// Frontier and catalogs of the log after a replay up to the head of a proof bundle.
pub(super) struct ReplayedLog {
    /// Frontier of the tree at the smallest head that a peer confirmed.
    pub(super) frontier: Frontier,
    /// Catalog of the entries below the smallest head that a peer confirmed.
    pub(super) catalog: Catalog,
    /// Catalog of the entries below the head of the bundle.
    pub(super) catalog_at_head: Catalog,
}

/// Replays every entry from the installer's head to the head of the bundle.
///
/// Reading begins at the first entry if the configured publishers have changed since the last run.
/// The entries must pass every trusted head: the installer's own head, and the pinned head.
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
    let differs = |head: &TreeHead, frontier: &Frontier| {
        head.size() != frontier.size() || *head.root() != frontier.root()
    };
    let mut not_passed: Vec<&TreeHead> = (state.head.iter().chain(&config.cycle.pinned))
        .filter(|trusted| trusted.size() >= held && differs(trusted, &frontier))
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
        if frontier.size() >= head.size() {
            return false;
        }
        frontier.push(Hash::leaf(entry));
        catalog.add_entry(index, entry, policy);
        not_passed.retain(|trusted| differs(trusted, &frontier));
        if frontier.size() == common {
            at_common = Some((frontier.clone(), catalog.clone()));
        }
        true
    });
    read.map_err(|source| spool.error_for(ENTRIES_FILE, source))?;
    if let Some(first) = first.filter(|first| *first > held) {
        return Err(OfflineInstallError::Gap { first, held });
    }
    if (frontier.size(), frontier.root()) != (head.size(), *head.root()) {
        return Err(ReplayMismatch::Entries { held, head: head.clone() }.into());
    }
    if let Some(trusted) = not_passed.first() {
        let (head, trusted) = (Box::new(head.clone()), Box::new((*trusted).clone()));
        return Err(ReplayMismatch::OtherLog { head, trusted }.into());
    }
    // The cosigned heads are prefixes of the bundle's head, so the entries pass the smallest of
    // them.
    let (frontier, catalog_at_common) = at_common.ok_or(ReplayMismatch::NoPeerHead)?;
    Ok(ReplayedLog { frontier, catalog: catalog_at_common, catalog_at_head: catalog })
}

/// The smallest head of a round: every peer has confirmed it.
pub(super) fn smallest_head(round: &Round) -> Option<&TreeHead> {
    round.cosigned_heads().map(|cosigned| cosigned.head()).min_by_key(|head| head.size())
}
