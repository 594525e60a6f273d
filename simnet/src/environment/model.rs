//! The environment's data: peer lists, victims, colluding nodes, and the draws for each purpose.

use std::collections::BTreeSet;

use super::tor_conditions::TorConditions;
use crate::scenario::{Adversary, AttackScenario, Colluding, Scenario};
use crate::seed::{Draws, Seed};
use crate::{Millis, topology};

/// The beginning of every world, in seconds since 1970.
pub const EPOCH: u64 = 1_790_000_000;

/// The environment of a world, drawn from a scenario and a seed.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The scenario of the world.
    pub scenario: Scenario,
    pub(super) peer_lists: Vec<u32>,
    pub(super) victims: BTreeSet<u32>,
    pub(super) colluders: BTreeSet<u32>,
    /// When the adversary appends the trojan to the log; `Millis::MAX` for never.
    pub(super) trojan_logged_at: Millis,
    /// When the publisher withdraws the trojan; `Millis::MAX` for never.
    pub(super) trojan_withdrawn_at: Millis,
    pub(super) tor_conditions: TorConditions,
    pub(super) connect_draws: Draws,
    pub(super) round_trip_draws: Draws,
    pub(super) vantage_draws: Draws,
    pub(super) poll_draws: Draws,
    pub(super) round_draws: Draws,
    pub(super) outage_draws: Draws,
    pub(super) mirror_outage_draws: Draws,
    pub(super) deceived_draws: Draws,
    pub(super) cycle_draws: Draws,
    pub(super) fault_draws: Draws,
}

impl Environment {
    /// Draws the peer lists, the victims and the colluding nodes.
    pub fn new(scenario: Scenario, seed: Seed) -> Environment {
        let peer_lists = topology::peer_lists(&scenario, seed.draws("circles"));
        let mut victims = BTreeSet::new();
        let mut colluders = BTreeSet::new();
        if let Some(adversary) = &scenario.adversary {
            let draws = seed.draws("victims");
            victims = topology::sample(draws, 0, adversary.victims, scenario.nodes, |_| false);
            let draws = seed.draws("colluders");
            match adversary.colluding {
                Colluding::OfAll(count) => {
                    let taken = |node| victims.contains(&node);
                    colluders = topology::sample(draws, 0, count, scenario.nodes, taken);
                }
                Colluding::OfPeers(count) => {
                    for &victim in &victims {
                        let first = victim as usize * scenario.peers as usize;
                        let peers = &peer_lists[first..first + scenario.peers as usize];
                        let chosen = topology::sample(
                            draws,
                            u64::from(victim),
                            count.min(scenario.peers),
                            scenario.peers,
                            |_| false,
                        );
                        colluders.extend(chosen.into_iter().map(|index| peers[index as usize]));
                    }
                    colluders = &colluders - &victims;
                }
            }
        }
        let (logged, withdrawn) = trojan_times(&scenario);
        Environment {
            trojan_logged_at: logged,
            trojan_withdrawn_at: withdrawn,
            tor_conditions: TorConditions::new(&scenario, seed),
            scenario,
            peer_lists,
            victims,
            colluders,
            connect_draws: seed.draws("connect"),
            round_trip_draws: seed.draws("round trip"),
            vantage_draws: seed.draws("vantage"),
            poll_draws: seed.draws("poll"),
            round_draws: seed.draws("roll"),
            outage_draws: seed.draws("outage"),
            mirror_outage_draws: seed.draws("mirror outage"),
            deceived_draws: seed.draws("fooled"),
            cycle_draws: seed.draws("cycle"),
            fault_draws: seed.draws("faulty"),
        }
    }

    /// The peers that a node asks, in order of their numbers.
    pub fn peers_of(&self, node: u32) -> &[u32] {
        let size = self.scenario.peers as usize;
        &self.peer_lists[node as usize * size..][..size]
    }

    /// Whether this node is targeted.
    pub fn is_victim(&self, node: u32) -> bool {
        self.victims.contains(&node)
    }

    /// Whether this node belongs to the adversary ([`Environment::lies_to`]).
    pub fn colludes(&self, node: u32) -> bool {
        self.colluders.contains(&node)
    }

    /// The targeted nodes.
    pub fn victims(&self) -> &BTreeSet<u32> {
        &self.victims
    }
}

/// When the adversary appends its trojan to the log, and when the publisher withdraws it.
/// `Millis::MAX` stands for never.
fn trojan_times(scenario: &Scenario) -> (Millis, Millis) {
    let never = Millis::MAX;
    match &scenario.adversary {
        Some(Adversary { attack: AttackScenario::Logged, start, withdrawn_after, .. }) => {
            (*start, withdrawn_after.map_or(never, |after| start.saturating_add(after)))
        }
        _ => (never, never),
    }
}
