//! Reading the log: the mirrors' checkpoints, and every new entry below the chosen head.

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

/// Reads and verifies every mirror's checkpoint. All mirrors are asked at once, so that their
/// timeouts overlap.
pub(crate) async fn read_checkpoints<'a>(
    mirrors: &[&'a Mirror],
    log: &Log,
) -> Vec<(&'a Mirror, Result<TreeHead, String>)> {
    join_all(mirrors.iter().map(|&mirror| async move {
        let bytes = mirror.read("checkpoint", MAX_NOTE_BYTES as u64).await;
        let head = bytes.map_err(|error| error.to_string()).and_then(|bytes| {
            TreeHead::verify(&bytes, log).map_err(|error| describe_checkpoint_error(&error))
        });
        (mirror, head)
    }))
    .await
}

/// Describes why a checkpoint does not verify. If the checkpoint is of another log, or lacks the
/// log's signature, the text names the settings that may be wrong.
fn describe_checkpoint_error(error: &CheckpointError) -> String {
    match error {
        CheckpointError::OtherLog { .. } | CheckpointError::Note(NoteError::Unsigned) => {
            format!("checkpoint: {error}. Compare [log] origin and key in the configuration")
        }
        error => format!("checkpoint: {error}"),
    }
}

/// The hosts from which the client can read entries.
pub(crate) struct EntrySources<'a> {
    /// The mirrors, each with its checkpoint or the reason why there is none.
    pub(crate) shown: &'a [(&'a Mirror, Result<TreeHead, String>)],
    /// The peers whose cosigned head is at least as large as the chosen head.
    pub(crate) peers: &'a [&'a Mirror],
}

/// The first entries of the log: the right edge of their tree, and the catalog of their releases
/// and withdrawals.
#[derive(Clone)]
pub(crate) struct LogPrefix {
    pub(crate) frontier: Frontier,
    pub(crate) catalog: Catalog,
}

/// The result of reading all entries below a head. The entries hash to the root of that head.
pub(crate) struct LogReading {
    /// The releases and withdrawals below the head.
    pub(crate) catalog: Catalog,
    /// The prefix that every peer confirmed, if reading reached its size.
    pub(crate) at_common_size: Option<LogPrefix>,
    /// The new entries of this product that the catalog refused, each with its index.
    pub(crate) refused: Vec<(u64, Refusal)>,
    /// How many of the new entries have a kind that this version does not know.
    pub(crate) unknown_kinds: u64,
    /// The names of the hosts that failed to serve entries which another host then served.
    pub(crate) failed: Vec<String>,
}

/// Reads every entry between the stored prefix and `head`.
///
/// Each bundle comes from the first mirror whose bundle belongs to the tree of `head`, or else from
/// a peer. No entry is skipped, because a decision needs all entries.
pub(crate) async fn read_entries<'s, 'a: 's, T: Transport + 'a>(
    hosts: EntrySources<'_>,
    tiles: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
    state: &ClientState,
    policy: &Policy,
    head: &TreeHead,
    common: Option<u64>,
    progress: &ProgressSink,
) -> Result<LogReading, CycleError> {
    let mut prefix = LogPrefix { frontier: state.frontier.clone(), catalog: state.catalog.clone() };
    let from = prefix.frontier.size();
    let mut reading = LogReading {
        catalog: prefix.catalog.clone(),
        at_common_size: (common == Some(from)).then(|| prefix.clone()),
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
            Ok(shown) => problems.push(format!("{mirror}: shows only size {}", shown.size())),
            Err(why) => problems.push(format!("{mirror}: {why}")),
        }
    }
    mirrors.extend(hosts.peers);
    // `head` may be smaller than the stored prefix.
    let of = head.size().saturating_sub(from);
    if of > 0 {
        progress.report(|| CycleProgress::Log { entries: 0, of });
    }
    let entry_reader = open_entry_reader(tiles, head, from).await?;
    let read = entry_reader.read(&mirrors, |index, entry| {
        prefix.frontier.push(Hash::leaf(entry));
        match prefix.catalog.add_entry(index, entry, policy) {
            Entry::Refused(refusal) => reading.refused.push((index, refusal)),
            Entry::UnknownKind => reading.unknown_kinds += 1,
            Entry::Ours | Entry::Foreign => {}
        }
        if common == Some(prefix.frontier.size()) {
            reading.at_common_size = Some(prefix.clone());
        }
        let read = index + 1;
        if read % TILE_WIDTH == 0 || read == head.size() {
            progress.report(|| CycleProgress::Log { entries: read - from, of });
        }
    });
    match read.await {
        Ok(failed) if prefix.frontier.root() == *head.root() => {
            reading.failed = failed.iter().map(|host| mirrors[*host].to_string()).collect();
            reading.catalog = prefix.catalog;
            Ok(reading)
        }
        // The new entries belong to the head, so the stored prefix does not belong to it.
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

/// Makes the reader that verifies entries, from the first host whose tiles prove the hashes of the
/// entries.
async fn open_entry_reader<'s, 'a: 's, T: Transport + 'a>(
    tiles: impl Iterator<Item = &'s TileReader<TileHost<'a, T>>>,
    head: &TreeHead,
    from: u64,
) -> Result<EntryReader, ClientError> {
    let mut problems = Vec::new();
    for host in tiles {
        match EntryReader::from_tiles(host, head, from).await {
            Ok(entry_reader) => return Ok(entry_reader),
            Err(error) => problems.push(error.to_string()),
        }
    }
    Err(ClientError::Mirrors(problems))
}
