//! A node's honest peer role. Colluding and faulty peers are built on it.

use std::sync::{Arc, OnceLock};

use unanimity_net::message::{Answer, Question};
use unanimity_protocol::CosignatureSigningKey;

use super::peer_process::PeerProcess;
use super::world::SimulatedWorld;
use crate::trace::TraceHead;

/// The shipped witness of one node in a world, with the key that it cosigns with.
pub(super) struct HonestPeer {
    pub(super) world: Arc<SimulatedWorld>,
    pub(super) number: u32,
    pub(super) signing_key: CosignatureSigningKey,
    pub(super) process: PeerProcess,
    /// The answer that the fault `replay` repeats.
    pub(super) first_answer: OnceLock<Answer>,
}

impl HonestPeer {
    pub(super) fn new(
        world: &Arc<SimulatedWorld>,
        number: u32,
        signing_key: CosignatureSigningKey,
        process: PeerProcess,
    ) -> HonestPeer {
        HonestPeer {
            world: world.clone(),
            number,
            signing_key,
            process,
            first_answer: OnceLock::new(),
        }
    }

    /// The honest answer; `None` if the peer does not run or cannot answer.
    pub(super) fn answer(&self, question: Question) -> Option<Answer> {
        self.process.peer()?.0.answer(question).ok()
    }

    /// The largest head that the peer has verified, fresh or not; `None` if it does not run or has
    /// none.
    pub(super) fn held_head(&self) -> Option<TraceHead> {
        let (peer, _) = self.process.peer()?;
        peer.head().map(|head| self.world.logs.trace_head(&head))
    }
}
