//! The adversary: the heads that it shows to each node, and the nodes that it cuts off.

use super::model::Environment;
use crate::Millis;
use crate::scenario::{Adversary, AttackScenario, Shape};
use crate::trace::TraceHead;

const MINUTE: Millis = 60_000;

impl Environment {
    /// The adversary's release, as its index and its chain; `None` if the attack has no release.
    pub fn trojan(&self) -> Option<(u32, u8)> {
        let adversary = self.scenario.adversary.as_ref()?;
        match adversary.attack {
            AttackScenario::Fork | AttackScenario::Flash(..) => Some((self.split_size(), 1)),
            AttackScenario::Logged => Some((self.log_size(adversary.start) - 1, 0)),
            _ => None,
        }
    }

    /// The sequence of the adversary's release. In the log, it lies between those of the releases
    /// before and after it. In a fork, it is above all others.
    pub fn trojan_sequence(&self) -> u32 {
        match self.trojan_logged_at {
            Millis::MAX => u32::MAX,
            start => self.release_sequence(self.releases_until(start)) - 1,
        }
    }

    /// The index of the log entry that withdraws the trojan; `None` if no entry does. It is above
    /// the index of the trojan's entry.
    pub fn withdrawal_index(&self) -> Option<u32> {
        (self.trojan_withdrawn_at < Millis::MAX)
            .then(|| self.log_size(self.trojan_withdrawn_at) - 1)
    }

    /// Whether the first `size` entries of the log contain the withdrawal of the trojan.
    pub fn is_withdrawn(&self, size: u32) -> bool {
        self.withdrawal_index().is_some_and(|index| index < size)
    }

    /// Whether an entry is the adversary's release.
    pub fn is_trojan(&self, index: u32, chain: u8) -> bool {
        self.trojan() == Some((index, chain))
    }

    /// The size up to which the adversary's chain equals the log; `u32::MAX` without a fork. The
    /// next entry of the adversary's chain is the trojan.
    pub fn split_size(&self) -> u32 {
        match &self.scenario.adversary {
            Some(Adversary { start, attack, shape, .. }) if attack.is_fork() => {
                let size = self.log_size(*start);
                if *shape == Shape::Same { size - 1 } else { size }
            }
            _ => u32::MAX,
        }
    }

    /// The number of entries of the adversary's chain at a time.
    pub fn fork_size(&self, at: Millis) -> u32 {
        match self.scenario.adversary {
            Some(Adversary { shape: Shape::Longer(by), .. }) => self.log_size(at) + by,
            _ => self.split_size() + 1,
        }
    }

    /// The head that a node's mirror shows while the mirror is up
    /// ([`Environment::mirror_service`]).
    pub fn mirror_head(&self, node: u32, at: Millis) -> TraceHead {
        let honest = |at| TraceHead { chain: 0, size: self.log_size(at) };
        let Some(adversary) = self.active_adversary(at) else { return honest(at) };
        let fork = || TraceHead { chain: 1, size: self.fork_size(at) };
        match (adversary.attack, adversary.shape) {
            (AttackScenario::Fork | AttackScenario::Flash(..), _) if self.is_victim(node) => fork(),
            (AttackScenario::Flash(percent, lasts), _)
                if at < adversary.start + lasts && self.is_deceived(node, percent) =>
            {
                fork()
            }
            (AttackScenario::Fork | AttackScenario::Flash(..), Shape::Starved(lasts))
                if at < adversary.start + lasts =>
            {
                honest(adversary.start)
            }
            (AttackScenario::Freeze, _) if self.is_victim(node) => honest(adversary.start),
            _ => honest(at),
        }
    }

    /// Whether the mirror of a node that is no victim shows a flash fork.
    fn is_deceived(&self, node: u32, percent: u32) -> bool {
        self.deceived_draws.unit(node.into(), 0) * 100.0 < f64::from(percent)
    }

    /// Whether a peer is the adversary's and lies to this client once the attack has begun.
    pub fn lies_to(&self, peer: u32, client: u32) -> bool {
        let lies_to_all = || self.scenario.adversary.as_ref().is_some_and(|a| a.equivocate_to_all);
        self.colludes(peer) && (self.is_victim(client) || lies_to_all())
    }

    /// The head that a colluding peer shows a client; `None` for a peer that answers with its own
    /// head.
    pub fn lying_head(&self, peer: u32, client: u32, at: Millis) -> Option<TraceHead> {
        if !self.lies_to(peer, client) {
            return None;
        }
        let adversary = self.active_adversary(at)?;
        let is_odd = (at / MINUTE) % 2 == 1;
        Some(match adversary.attack {
            AttackScenario::Fork | AttackScenario::Flash(..) => {
                TraceHead { chain: 1, size: self.fork_size(at) }
            }
            AttackScenario::Equivocate if is_odd => {
                TraceHead { chain: 0, size: self.log_size(adversary.start) }
            }
            _ => self.mirror_head(client, at),
        })
    }

    /// The adversary, if the attack has begun at a time.
    fn active_adversary(&self, at: Millis) -> Option<&Adversary> {
        self.scenario.adversary.as_ref().filter(|adversary| adversary.start <= at)
    }

    /// Whether a client reaches no peer because of the adversary.
    pub(super) fn is_blocked(&self, client: u32, at: Millis) -> bool {
        let blocks = |adversary: &Adversary| adversary.attack == AttackScenario::Block;
        self.is_victim(client) && self.active_adversary(at).is_some_and(blocks)
    }
}
