//! What the adversary shows to whom, and whom it keeps from whom.

use super::model::Environment;
use crate::Millis;
use crate::scenario::{Adversary, Attack, Shape};
use crate::trace::View;

const MINUTE: Millis = 60_000;

impl Environment {
    /// The adversary's release: its index, and of which chain.
    pub fn trojan(&self) -> Option<(u32, u8)> {
        let adversary = self.scenario.adversary.as_ref()?;
        match adversary.attack {
            Attack::Fork | Attack::Flash(..) => Some((self.split(), 1)),
            Attack::Logged => Some((self.log_size(adversary.start) - 1, 0)),
            _ => None,
        }
    }

    /// The sequence of the adversary's release: in the log, the next one, so that later releases are
    /// newer; in a fork, above all others.
    pub fn trojan_sequence(&self) -> u32 {
        match self.logged {
            Millis::MAX => u32::MAX,
            start => self.release_sequence(self.releases_until(start)) - 1,
        }
    }

    /// Where in the log that is taken back, which is later than it was logged.
    pub fn withdrawal(&self) -> Option<u32> {
        (self.withdrawn < Millis::MAX).then(|| self.log_size(self.withdrawn) - 1)
    }

    /// Whether so many entries of the log say that it is taken back.
    pub fn is_withdrawn(&self, size: u32) -> bool {
        self.withdrawal().is_some_and(|index| index < size)
    }

    /// Whether an entry is the adversary's release.
    pub fn is_trojan(&self, index: u32, chain: u8) -> bool {
        self.trojan() == Some((index, chain))
    }

    /// The size up to which the adversary's chain is the log. Its trojan is the entry after.
    pub fn split(&self) -> u32 {
        match &self.scenario.adversary {
            Some(Adversary { start, attack, shape, .. }) if attack.forks() => {
                let size = self.log_size(*start);
                if *shape == Shape::Same { size - 1 } else { size }
            }
            _ => u32::MAX,
        }
    }

    /// How many entries the adversary's chain has at a time.
    pub fn fork_size(&self, at: Millis) -> u32 {
        match self.scenario.adversary {
            Some(Adversary { shape: Shape::Longer(by), .. }) => self.log_size(at) + by,
            _ => self.split() + 1,
        }
    }

    /// What a node's own mirror shows to it while it is up ([`Environment::mirror_service`]).
    pub fn mirror(&self, node: u32, at: Millis) -> View {
        let honest = |at| View { chain: 0, size: self.log_size(at) };
        let Some(adversary) = self.begun(at) else { return honest(at) };
        let fork = || View { chain: 1, size: self.fork_size(at) };
        match (adversary.attack, adversary.shape) {
            (Attack::Fork | Attack::Flash(..), _) if self.is_victim(node) => fork(),
            (Attack::Flash(percent, lasts), _)
                if at < adversary.start + lasts && self.is_fooled(node, percent) =>
            {
                fork()
            }
            (Attack::Fork | Attack::Flash(..), Shape::Starved(lasts))
                if at < adversary.start + lasts =>
            {
                honest(adversary.start)
            }
            (Attack::Freeze, _) if self.is_victim(node) => honest(adversary.start),
            _ => honest(at),
        }
    }

    /// Whether an honest node is one of those whom a flash fork is shown to.
    fn is_fooled(&self, node: u32, percent: u32) -> bool {
        self.fooled.unit(node.into(), 0) * 100.0 < f64::from(percent)
    }

    /// Whether a peer is the adversary's and, once the attack has begun, does not answer this client
    /// with what it holds.
    pub fn lies_to(&self, peer: u32, client: u32) -> bool {
        let launders = || self.scenario.adversary.as_ref().is_some_and(|a| a.launders);
        self.colludes(peer) && (self.is_victim(client) || launders())
    }

    /// What a peer that colludes answers a client with; an honest one answers what it holds.
    pub fn lie(&self, peer: u32, client: u32, at: Millis) -> Option<View> {
        if !self.lies_to(peer, client) {
            return None;
        }
        let adversary = self.begun(at)?;
        let is_odd = (at / MINUTE) % 2 == 1;
        Some(match adversary.attack {
            Attack::Fork | Attack::Flash(..) => View { chain: 1, size: self.fork_size(at) },
            Attack::Story if is_odd => View { chain: 0, size: self.log_size(adversary.start) },
            _ => self.mirror(client, at),
        })
    }

    /// Who attacks at a time.
    fn begun(&self, at: Millis) -> Option<&Adversary> {
        self.scenario.adversary.as_ref().filter(|adversary| adversary.start <= at)
    }

    /// Whether a client reaches nobody because of the adversary.
    pub(super) fn is_blocked(&self, client: u32, at: Millis) -> bool {
        let blocks = |adversary: &Adversary| adversary.attack == Attack::Block;
        self.is_victim(client) && self.begun(at).is_some_and(blocks)
    }
}
