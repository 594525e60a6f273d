//! Whoever does not play by the rules: colluding peers, faulty peers, faulty mirrors.

use std::future::pending;
use std::io;
use std::sync::Arc;

use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES, Question};
use unanimity_protocol::{CosignedHead as SignedView, Hash, Timestamp};
use unanimity_storage::Clock as _;

use super::honest::HonestPeer;
use super::line::Line;
use super::world::World;
use crate::scenario::fault::Kind;
use crate::trace::View;

/// Shows a client the adversary's log, once the attack has begun.
pub(super) async fn collude(node: Arc<HonestPeer>, client: u32, mut line: Line) {
    while let Ok(Some(frame)) = unanimity_net::message::receive(&mut line).await {
        let Ok(question) = Question::decode(&frame) else { return };
        let world = &node.world;
        let answer = match world.environment.lie(node.number, client, world.time.millis()) {
            Some(view) => Some(answer_with(&node, view, question, world.time.now())),
            None => node.answer(question),
        };
        let Some(answer) = answer else { return };
        if unanimity_net::message::send(&mut line, &answer.encode()).await.is_err() {
            return;
        }
    }
}

/// Answers from any view at all.
fn answer_with(node: &HonestPeer, view: View, question: Question, at: Timestamp) -> Answer {
    let logs = &node.world.logs;
    match question {
        Question::CosignedHead(_) => Answer::CosignedHead(
            SignedView::sign(&logs.head(view), &node.secret, at).note().to_owned(),
        ),
        Question::Tile(_, tile) => logs.tile(view, tile).map_or(Answer::NoTile, Answer::Tile),
    }
}

/// Answers one connection as a faulty peer does.
pub(super) async fn misbehave(node: Arc<HonestPeer>, kind: Kind, mut line: Line) {
    while let Ok(Some(frame)) = unanimity_net::message::receive::<QUESTION_BYTES>(&mut line).await {
        let Ok(question) = Question::decode(&frame) else { return };
        let Some(bytes) = bytes(&node, kind, question).await else { return };
        if unanimity_net::message::send(&mut line, &bytes).await.is_err() {
            return;
        }
        if kind == Kind::Stall {
            pending::<()>().await;
        }
    }
}

/// What it sends; `None`: it hangs up.
async fn bytes(node: &HonestPeer, kind: Kind, question: Question) -> Option<Vec<u8>> {
    let world = &node.world;
    let (now, at) = (world.time.now(), world.time.millis());
    let honest = || node.answer(question);
    let held = node.held();
    let answer = match kind {
        Kind::Silent => pending().await,
        Kind::Stall => {
            let mut bytes = honest()?.encode();
            bytes.truncate(ANSWER_BYTES / 2);
            return Some(bytes);
        }
        Kind::Garble => return Some(vec![0x5a; ANSWER_BYTES]),
        Kind::Flood => return Some(vec![0xff; 64 * ANSWER_BYTES]),
        Kind::Replay if matches!(question, Question::CosignedHead(_)) => {
            let view = held.unwrap_or(world.environment.an_hour_before(at));
            node.first_answer.get_or_init(|| answer_with(node, view, question, now)).clone()
        }
        Kind::Slow | Kind::Fast => {
            let wrong = if kind == Kind::Slow { now.0 - 3600 } else { now.0 + 3600 };
            let answer = held.map(|held| answer_with(node, held, question, Timestamp(wrong)));
            answer.or_else(honest)?
        }
        Kind::Lag | Kind::Story => match world.environment.outdated(kind, at) {
            Some(view) => answer_with(node, view, question, now),
            None => honest()?,
        },
        Kind::Echo => {
            // Not to another of its kind, which might pass it back.
            let echoes = |peer| world.environment.faults(peer, at).any(|kind| kind == Kind::Echo);
            let mut circle = world.environment.circle(node.number).iter();
            let other = *circle.find(|&&peer| !echoes(peer))?;
            let mut line = world.hub.connect(node.number, other, (0, 0)).ok()?;
            unanimity_net::message::exchange(&mut line, &question).await.ok()?
        }
        Kind::Forge => {
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
        Kind::FalseEvidence => {
            let head = world.logs.head(held?);
            let one = format!("checkpoint {}\n{}", head.note().len(), head.note());
            Answer::Evidence(format!("unanimity/evidence/v1\npath 0\n{one}{one}"))
        }
        Kind::BadTiles => match honest()? {
            Answer::Tile(bytes) => Answer::Tile(vec![0; bytes.len()]),
            other => other,
        },
        _ => honest()?,
    };
    Some(answer.encode())
}

/// What a faulty mirror sends for a path, in place of what the surroundings say.
pub(super) fn mirror(
    world: &World,
    kind: Option<Kind>,
    shown: View,
    path: &str,
) -> io::Result<Vec<u8>> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let before = world.environment.an_hour_before(world.time.millis());
    match kind {
        Some(Kind::MirrorDead) => Err(missing()),
        Some(Kind::MirrorStale) if shown.chain == 0 => {
            let stale = View { size: before.size.min(shown.size), ..before };
            world.logs.read(stale, path).ok_or_else(missing)
        }
        // One byte more than a whole bundle of the largest entries.
        Some(Kind::MirrorEndless) if path.starts_with("tile/entries/") => {
            Ok(vec![0x20; 256 * (2 + 65_535) + 1])
        }
        Some(Kind::MirrorEndless) => Ok(vec![0x20; 256 * 1024]),
        Some(Kind::MirrorCorrupt) if path != "checkpoint" => {
            let mut bytes = world.logs.read(shown, path).ok_or_else(missing)?;
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            Ok(bytes)
        }
        Some(Kind::MirrorTrojan) if path.starts_with("tile/entries/") => {
            world.logs.trojan(shown, path).ok_or_else(missing)
        }
        _ => world.logs.read(shown, path).ok_or_else(missing),
    }
}
