//! Reading the mirrors: their checkpoints, and every new entry below the adopted head.

use futures_util::future::join_all;
use unanimity_log::{EntryReader, TileReader};
use unanimity_net::{Mirror, Transport};
use unanimity_protocol::catalog::Reading as Entry;
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::note::{MAX_NOTE_BYTES, NoteError};
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Catalog, Hash, Log, LogMismatch, Policy, Refusal, TreeHead};
use unanimity_state::ClientState;

use crate::tile_sources::TileHost;
use crate::{ClientError, CycleError, CycleProgress, MirrorProblem, ProgressSink};

/// What every mirror shows, opened.
pub(crate) async fn read_checkpoints<'a>(
    mirrors: &[&'a Mirror],
    log: &Log,
) -> Vec<(&'a Mirror, Result<TreeHead, String>)> {
    // All at once: those that stall do so at the same time.
    join_all(mirrors.iter().map(|&mirror| async move {
        let bytes = mirror.read("checkpoint", MAX_NOTE_BYTES as u64).await;
        let head = bytes.map_err(|error| error.to_string()).and_then(|bytes| {
            TreeHead::verify(&bytes, log).map_err(|error| describe_checkpoint_error(&error))
        });
        (mirror, head)
    }))
    .await
}

/// Why a checkpoint is none of ours, and where to look if all mirrors say so.
fn describe_checkpoint_error(error: &CheckpointError) -> String {
    match error {
        CheckpointError::OtherLog { .. } | CheckpointError::Note(NoteError::Unsigned) => {
            format!("checkpoint: {error} (compare [log] origin and key in the configuration)")
        }
        error => format!("checkpoint: {error}"),
    }
}

/// Who may have entries.
pub(crate) struct EntrySources<'a> {
    /// The mirrors, and what each shows.
    pub(crate) shown: &'a [(&'a Mirror, Result<TreeHead, String>)],
    /// What peers serve whose view is large enough.
    pub(crate) peers: &'a [&'a Mirror],
}

/// The tree's right edge and the releases below it.
#[derive(Clone)]
pub(crate) struct LogPrefix {
    pub(crate) frontier: Frontier,
    pub(crate) catalog: Catalog,
}

/// All entries up to a head, read and hashed to its root.
pub(crate) struct LogReading {
    /// The releases below the head.
    pub(crate) catalog: Catalog,
    /// The same at the size that every peer confirmed, if reading passed it.
    pub(crate) at_common_size: Option<LogPrefix>,
    /// Entries of ours that fail a check of their own.
    pub(crate) refused: Vec<(u64, Refusal)>,
    /// Entries of kinds we do not know.
    pub(crate) unknown_kinds: u64,
    /// Mirrors that did not have what others had.
    pub(crate) failed: Vec<String>,
}

/// Reads every entry between what is stored and `head`, each bundle from whichever mirror serves
/// what hashes up to it, and from peers where no mirror does. None is skipped: a fact holds only
/// if nothing was left out.
pub(crate) async fn read_entries<'s, 'a: 's, T: Transport + 'a>(
    hosts: EntrySources<'_>,
    tiles: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
    state: &ClientState,
    policy: &Policy,
    head: &TreeHead,
    common: Option<u64>,
    progress: &ProgressSink,
) -> Result<LogReading, CycleError> {
    let mut edge = LogPrefix { frontier: state.frontier.clone(), catalog: state.catalog.clone() };
    let from = edge.frontier.size();
    let mut reading = LogReading {
        catalog: edge.catalog.clone(),
        at_common_size: (common == Some(from)).then(|| edge.clone()),
        refused: Vec::new(),
        unknown_kinds: 0,
        failed: Vec::new(),
    };
    if from == head.size() {
        return Ok(reading);
    }
    let mut problems = Vec::new();
    let mut mirrors = Vec::new();
    for (mirror, shown) in hosts.shown {
        match shown {
            Ok(shown) if shown.size() >= head.size() => mirrors.push(*mirror),
            Ok(shown) => problems.push(format!("{mirror}: shows {} entries only", shown.size())),
            Err(why) => problems.push(format!("{mirror}: {why}")),
        }
    }
    mirrors.extend(hosts.peers);
    // What the mirrors show may be less than what was read before.
    let of = head.size().saturating_sub(from);
    if of > 0 {
        progress.report(|| CycleProgress::Log { entries: 0, of });
    }
    let entry_reader = open_entry_reader(tiles, head, from).await?;
    let taken = entry_reader.read(&mirrors, |index, entry| {
        edge.frontier.push(Hash::leaf(entry));
        match edge.catalog.add_entry(index, entry, policy) {
            Entry::Refused(refusal) => reading.refused.push((index, refusal)),
            Entry::UnknownKind => reading.unknown_kinds += 1,
            Entry::Ours | Entry::Foreign => {}
        }
        if common == Some(edge.frontier.size()) {
            reading.at_common_size = Some(edge.clone());
        }
        let read = index + 1;
        if read % TILE_WIDTH == 0 || read == head.size() {
            progress.report(|| CycleProgress::Log { entries: read - from, of });
        }
    });
    match taken.await {
        Ok(failed) if edge.frontier.root() == *head.root() => {
            reading.failed = failed.iter().map(|host| mirrors[*host].to_string()).collect();
            reading.catalog = edge.catalog;
            Ok(reading)
        }
        // The entries are those of the head, so what they were put on is not.
        Ok(_) => {
            let mismatch = LogMismatch::EarlierEntries { read: from, head: head.clone() };
            Err(Refusal::NotLogged(mismatch).into())
        }
        Err(unread) => {
            let Some(altered) = unread.iter().find(|unread| unread.error.is_none()) else {
                problems.extend(unread.iter().map(|unread| unread.describe(&mirrors)));
                return Err(ClientError::Mirrors(problems).into());
            };
            let served = altered.describe(&mirrors);
            Err(MirrorProblem::OtherEntries { served, head: head.clone() }.into())
        }
    }
}

/// What the entries must hash to, from the first host of tiles that can prove it.
async fn open_entry_reader<'s, 'a: 's, T: Transport + 'a>(
    tiles: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
    head: &TreeHead,
    from: u64,
) -> Result<EntryReader, ClientError> {
    let mut problems = Vec::new();
    for host in tiles {
        match EntryReader::from_tiles(host, head, from).await {
            Ok(bundles) => return Ok(bundles),
            Err(error) => problems.push(error.to_string()),
        }
    }
    Err(ClientError::Mirrors(problems))
}
