//! A node's peer role while nothing makes it lie. Colluding and faulty peers are built on it.

use std::sync::{Arc, OnceLock};

use unanimity_net::message::{Answer, Question};
use unanimity_protocol::CosignatureSigningKey;

use super::process::Process;
use super::world::World;
use crate::trace::View;

/// The peer that ships, in its place in the world.
pub(super) struct HonestPeer {
    pub(super) world: Arc<World>,
    pub(super) number: u32,
    pub(super) secret: CosignatureSigningKey,
    pub(super) process: Process,
    /// What it answered when it began to replay.
    pub(super) first_answer: OnceLock<Answer>,
}

impl HonestPeer {
    pub(super) fn new(
        world: &Arc<World>,
        number: u32,
        secret: CosignatureSigningKey,
        process: Process,
    ) -> HonestPeer {
        HonestPeer { world: world.clone(), number, secret, process, first_answer: OnceLock::new() }
    }

    /// An honest answer; none while the peer does not run, or if it cannot give one.
    pub(super) fn answer(&self, question: Question) -> Option<Answer> {
        self.process.peer()?.0.answer(question).ok()
    }

    /// What the peer holds, whether it vouches for that or not.
    pub(super) fn held(&self) -> Option<View> {
        let (peer, _) = self.process.peer()?;
        peer.head().map(|head| self.world.logs.view(&head))
    }
}
