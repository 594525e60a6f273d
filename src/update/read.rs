//! Reading the mirrors: their checkpoints, and every new entry below the adopted head.

use futures_util::future::join_all;

use super::{Failure, UpdateError};
use crate::log::reader;
use crate::net::Mirror;
use crate::store::ClientState;
use crate::verify::catalog::Reading as Entry;
use crate::verify::checkpoint::CheckpointError;
use crate::verify::note::{MAX_NOTE_BYTES, NoteError};
use crate::verify::tree::Frontier;
use crate::verify::{Catalog, Hash, Head, Log, Policy, Refusal};

/// What every mirror shows, opened.
pub(super) async fn checkpoints<'a>(
    mirrors: &[&'a Mirror],
    log: &Log,
) -> Vec<(&'a Mirror, Result<Head, String>)> {
    // All at once: those that stall do so at the same time.
    join_all(mirrors.iter().map(|&mirror| async move {
        let bytes = mirror.read("checkpoint", MAX_NOTE_BYTES as u64).await;
        let head = bytes
            .map_err(|error| error.to_string())
            .and_then(|bytes| Head::open(&bytes, log).map_err(|error| refused(&error)));
        (mirror, head)
    }))
    .await
}

/// Why a checkpoint is none of ours, and where to look if all mirrors say so.
fn refused(error: &CheckpointError) -> String {
    match error {
        CheckpointError::OtherLog { .. } | CheckpointError::Note(NoteError::Unsigned) => {
            format!("checkpoint: {error} (compare [log] origin and key in the configuration)")
        }
        error => format!("checkpoint: {error}"),
    }
}

/// The tree's right edge and the releases below it.
#[derive(Clone)]
pub(super) struct Edge {
    pub(super) frontier: Frontier,
    pub(super) catalog: Catalog,
}

/// All entries up to a head, read and hashed to its root.
pub(super) struct Reading {
    /// The releases below the head.
    pub(super) catalog: Catalog,
    /// The same at the size that every peer confirmed, if reading passed it.
    pub(super) at_common: Option<Edge>,
    /// Entries of ours that fail a check of their own.
    pub(super) refused: Vec<(u64, Refusal)>,
    /// Entries of kinds we do not know.
    pub(super) unknown_kinds: u64,
}

/// Reads every entry between what is stored and `head`, from the first mirror whose entries
/// hash up to it. None is skipped: a fact holds only if nothing was left out.
pub(super) async fn entries(
    shown: &[(&Mirror, Result<Head, String>)],
    state: &ClientState,
    policy: &Policy,
    head: &Head,
    common: Option<u64>,
) -> Result<Reading, Failure> {
    let start = Edge { frontier: state.frontier.clone(), catalog: state.catalog.clone() };
    let from = start.frontier.size();
    let fresh = |edge: &Edge| Reading {
        catalog: edge.catalog.clone(),
        at_common: (common == Some(from)).then(|| edge.clone()),
        refused: Vec::new(),
        unknown_kinds: 0,
    };
    if from == head.size() {
        return Ok(fresh(&start));
    }
    let mut problems = Vec::new();
    let mut altered = None;
    for (mirror, shown) in shown {
        match shown {
            Ok(shown) if shown.size() >= head.size() => {}
            Ok(shown) => {
                problems.push(format!("{mirror}: shows {} entries only", shown.size()));
                continue;
            }
            Err(why) => {
                problems.push(format!("{mirror}: {why}"));
                continue;
            }
        }
        let (mut edge, mut reading) = (start.clone(), fresh(&start));
        let taken = reader::entries(mirror, from..head.size(), |index, entry| {
            edge.frontier.push(Hash::leaf(entry));
            match edge.catalog.read(index, entry, policy) {
                Entry::Refused(refusal) => reading.refused.push((index, refusal)),
                Entry::UnknownKind => reading.unknown_kinds += 1,
                Entry::Ours | Entry::Foreign => {}
            }
            if common == Some(edge.frontier.size()) {
                reading.at_common = Some(edge.clone());
            }
        });
        match taken.await {
            Ok(()) if edge.frontier.root() == *head.root() => {
                reading.catalog = edge.catalog;
                return Ok(reading);
            }
            Ok(()) => altered = Some(mirror.to_string()),
            Err(error) => problems.push(format!("{mirror}: {error}")),
        }
    }
    if let Some(mirror) = altered {
        let why = format!("{mirror} serves entries that are not those of the log's head ({head})");
        return Err(Refusal::NotLogged(why).into());
    }
    Err(UpdateError::Mirrors(problems).into())
}
