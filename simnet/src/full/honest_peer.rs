//! A node's peer role while nothing makes it lie. Colluding and faulty peers are built on it.

use std::sync::{Arc, OnceLock};

use unanimity_net::message::{Answer, Question};
use unanimity_protocol::CosignatureSigningKey;

use super::peer_process::PeerProcess;
use super::world::SimulatedWorld;
use crate::trace::TraceHead;

/// The peer that ships, in its place in the world.
pub(super) struct HonestPeer {
    pub(super) world: Arc<SimulatedWorld>,
    pub(super) number: u32,
    pub(super) signing_key: CosignatureSigningKey,
    pub(super) process: PeerProcess,
    /// What it answered when it began to replay.
    pub(super) first_answer: OnceLock<Answer>,
}

impl HonestPeer {
    pub(super) fn new(
        world: &Arc<SimulatedWorld>,
        number: u32,
        secret: CosignatureSigningKey,
        process: PeerProcess,
    ) -> HonestPeer {
        HonestPeer {
            world: world.clone(),
            number,
            signing_key: secret,
            process,
            first_answer: OnceLock::new(),
        }
    }

    /// An honest answer; none while the peer does not run, or if it cannot give one.
    pub(super) fn answer(&self, question: Question) -> Option<Answer> {
        self.process.peer()?.0.answer(question).ok()
    }

    /// What the peer holds, whether it vouches for that or not.
    pub(super) fn held_head(&self) -> Option<TraceHead> {
        let (peer, _) = self.process.peer()?;
        peer.head().map(|head| self.world.logs.trace_head(&head))
    }
}
