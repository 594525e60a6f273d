//! The answers of colluding and faulty peers, and the files of faulty mirrors.

use std::future::pending;
use std::io;
use std::sync::Arc;

use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES, Question};
use unanimity_protocol::{CosignedHead, Hash, Timestamp};
use unanimity_storage::Clock as _;

use super::delayed_stream::DelayedStream;
use super::honest_peer::HonestPeer;
use super::world::SimulatedWorld;
use crate::scenario::fault::FaultKind;
use crate::trace::TraceHead;

/// Answers the questions of one connection with the heads that the adversary shows `client`. Before
/// the attack, the answers are honest.
pub(super) async fn answer_as_colluder(
    node: Arc<HonestPeer>,
    client: u32,
    mut stream: DelayedStream,
) {
    while let Ok(Some(frame)) = unanimity_net::message::receive(&mut stream).await {
        let Ok(question) = Question::decode(&frame) else { return };
        let world = &node.world;
        let answer = match world.environment.lying_head(node.number, client, world.clock.millis()) {
            Some(head) => Some(answer_from_head(&node, head, question, world.clock.now())),
            None => node.answer(question),
        };
        let Some(answer) = answer else { return };
        if unanimity_net::message::send(&mut stream, &answer.encode()).await.is_err() {
            return;
        }
    }
}

/// Answers a question as a peer that holds `head` and cosigns at `at`.
fn answer_from_head(
    node: &HonestPeer,
    head: TraceHead,
    question: Question,
    at: Timestamp,
) -> Answer {
    let logs = &node.world.logs;
    match question {
        Question::CosignedHead(_) => Answer::CosignedHead(
            CosignedHead::sign(&logs.tree_head(head), &node.signing_key, at).note().to_owned(),
        ),
        Question::Tile(_, tile) => logs.tile(head, tile).map_or(Answer::NoTile, Answer::Tile),
    }
}

/// Answers the questions of one connection as a peer with the fault `kind`.
pub(super) async fn answer_as_faulty_peer(
    node: Arc<HonestPeer>,
    kind: FaultKind,
    mut stream: DelayedStream,
) {
    while let Ok(Some(frame)) = unanimity_net::message::receive::<QUESTION_BYTES>(&mut stream).await
    {
        let Ok(question) = Question::decode(&frame) else { return };
        let Some(bytes) = faulty_answer_bytes(&node, kind, question).await else { return };
        if unanimity_net::message::send(&mut stream, &bytes).await.is_err() {
            return;
        }
        if kind == FaultKind::Stall {
            pending::<()>().await;
        }
    }
}

/// The bytes that a peer with the fault `kind` sends; `None` if it closes the connection.
async fn faulty_answer_bytes(
    node: &HonestPeer,
    kind: FaultKind,
    question: Question,
) -> Option<Vec<u8>> {
    let world = &node.world;
    let (now, at) = (world.clock.now(), world.clock.millis());
    let honest = || node.answer(question);
    let held = node.held_head();
    let answer = match kind {
        FaultKind::Silent => pending().await,
        FaultKind::Stall => {
            let mut bytes = honest()?.encode();
            bytes.truncate(ANSWER_BYTES / 2);
            return Some(bytes);
        }
        FaultKind::Malformed => return Some(vec![0x5a; ANSWER_BYTES]),
        FaultKind::Flood => return Some(vec![0xff; 64 * ANSWER_BYTES]),
        FaultKind::Replay if matches!(question, Question::CosignedHead(_)) => {
            let head = held.unwrap_or(world.environment.head_an_hour_before(at));
            node.first_answer.get_or_init(|| answer_from_head(node, head, question, now)).clone()
        }
        FaultKind::Slow | FaultKind::Fast => {
            let wrong = if kind == FaultKind::Slow { now.0 - 3600 } else { now.0 + 3600 };
            let answer = held.map(|held| answer_from_head(node, held, question, Timestamp(wrong)));
            answer.or_else(honest)?
        }
        FaultKind::StaleHead | FaultKind::Equivocate => {
            match world.environment.outdated_head(kind, at) {
                Some(head) => answer_from_head(node, head, question, now),
                None => honest()?,
            }
        }
        FaultKind::Relay => {
            // Another relaying peer might pass the question back, so relaying peers are left out.
            let relays =
                |peer| world.environment.faults_at(peer, at).any(|kind| kind == FaultKind::Relay);
            let mut peers = world.environment.peers_of(node.number).iter();
            let other = *peers.find(|&&peer| !relays(peer))?;
            let mut stream = world.network.connect(node.number, other, (0, 0)).ok()?;
            unanimity_net::message::exchange(&mut stream, &question).await.ok()?
        }
        FaultKind::Forge => {
            let size = world.environment.log_size(at) + 1;
            let forged = unanimity_protocol::NoteSigningKey::from_seed(
                world.logs.keys.log_key.public().name().clone(),
                &[7; 32],
            );
            let origin = world.logs.keys.log.origin.clone();
            let checkpoint =
                unanimity_protocol::Checkpoint { origin, size: size.into(), root: Hash([9; 32]) };
            Answer::CosignedHead(checkpoint.sign(&forged).to_string())
        }
        FaultKind::FalseEvidence => {
            let head = world.logs.tree_head(held?);
            let one = format!("checkpoint {}\n{}", head.note().len(), head.note());
            Answer::Evidence(format!("unanimity/evidence/v1\npath 0\n{one}{one}"))
        }
        FaultKind::BadTiles => match honest()? {
            Answer::Tile(bytes) => Answer::Tile(vec![0; bytes.len()]),
            other => other,
        },
        _ => honest()?,
    };
    Some(answer.encode())
}

/// The file that a mirror with the fault `kind` sends for a path. Without a fault, the mirror sends
/// the file of the log whose head is `shown`.
pub(super) fn read_faulty_mirror(
    world: &SimulatedWorld,
    kind: Option<FaultKind>,
    shown: TraceHead,
    path: &str,
) -> io::Result<Vec<u8>> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let before = world.environment.head_an_hour_before(world.clock.millis());
    match kind {
        Some(FaultKind::MirrorDead) => Err(missing()),
        Some(FaultKind::MirrorStale) if shown.chain == 0 => {
            let stale = TraceHead { size: before.size.min(shown.size), ..before };
            world.logs.read(stale, path).ok_or_else(missing)
        }
        // One byte more than the largest possible bundle of entries.
        Some(FaultKind::MirrorEndless) if path.starts_with("tile/entries/") => {
            Ok(vec![0x20; 256 * (2 + 65_535) + 1])
        }
        Some(FaultKind::MirrorEndless) => Ok(vec![0x20; 256 * 1024]),
        Some(FaultKind::MirrorCorrupt) if path != "checkpoint" => {
            let mut bytes = world.logs.read(shown, path).ok_or_else(missing)?;
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            Ok(bytes)
        }
        Some(FaultKind::MirrorTrojan) if path.starts_with("tile/entries/") => {
            world.logs.read_with_unlogged_release(shown, path).ok_or_else(missing)
        }
        _ => world.logs.read(shown, path).ok_or_else(missing),
    }
}
