//! A world's surroundings: its circles, its victims and its colluders.

use std::collections::BTreeSet;

use super::days::Days;
use crate::scenario::{Adversary, Attack, Colluding, Scenario};
use crate::seed::{Draws, Seed};
use crate::{Millis, topology};

/// The time that every world begins at, in seconds since 1970.
pub const EPOCH: u64 = 1_790_000_000;

/// A world's surroundings.
#[derive(Clone, Debug)]
pub struct Environment {
    /// What it was made of.
    pub scenario: Scenario,
    pub(super) circles: Vec<u32>,
    pub(super) victims: BTreeSet<u32>,
    pub(super) colluders: BTreeSet<u32>,
    /// When the adversary appends to the log itself.
    pub(super) logged: Millis,
    /// When the publisher takes that back.
    pub(super) withdrawn: Millis,
    pub(super) days: Days,
    pub(super) connects: Draws,
    pub(super) trips: Draws,
    pub(super) shifts: Draws,
    pub(super) polls: Draws,
    pub(super) rolls: Draws,
    pub(super) outages: Draws,
    pub(super) mirror_outages: Draws,
    pub(super) fooled: Draws,
    pub(super) cycles: Draws,
    pub(super) faulty: Draws,
}

impl Environment {
    /// Draws who is who.
    pub fn new(scenario: Scenario, seed: Seed) -> Environment {
        let circles = topology::circles(&scenario, seed.draws("circles"));
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
                Colluding::OfCircle(count) => {
                    for &victim in &victims {
                        let first = victim as usize * scenario.circle as usize;
                        let circle = &circles[first..first + scenario.circle as usize];
                        let places = topology::sample(
                            draws,
                            u64::from(victim),
                            count.min(scenario.circle),
                            scenario.circle,
                            |_| false,
                        );
                        colluders.extend(places.into_iter().map(|place| circle[place as usize]));
                    }
                    colluders = &colluders - &victims;
                }
            }
        }
        let (logged, withdrawn) = logged(&scenario);
        Environment {
            logged,
            withdrawn,
            days: Days::new(&scenario, seed),
            scenario,
            circles,
            victims,
            colluders,
            connects: seed.draws("connect"),
            trips: seed.draws("round trip"),
            shifts: seed.draws("vantage"),
            polls: seed.draws("poll"),
            rolls: seed.draws("roll"),
            outages: seed.draws("outage"),
            mirror_outages: seed.draws("mirror outage"),
            fooled: seed.draws("fooled"),
            cycles: seed.draws("cycle"),
            faulty: seed.draws("faulty"),
        }
    }

    /// Whom a node asks, in order of their numbers.
    pub fn circle(&self, node: u32) -> &[u32] {
        let size = self.scenario.circle as usize;
        &self.circles[node as usize * size..][..size]
    }

    /// Whether the adversary is after this node.
    pub fn is_victim(&self, node: u32) -> bool {
        self.victims.contains(&node)
    }

    /// Whether this node is the adversary's ([`Environment::lies_to`]).
    pub fn colludes(&self, node: u32) -> bool {
        self.colluders.contains(&node)
    }

    /// The targeted nodes.
    pub fn victims(&self) -> &BTreeSet<u32> {
        &self.victims
    }
}

/// When the adversary appends its trojan to the log, and when the publisher takes that back; never, if
/// they do not.
fn logged(scenario: &Scenario) -> (Millis, Millis) {
    let never = Millis::MAX;
    match &scenario.adversary {
        Some(Adversary { attack: Attack::Logged, start, withdrawn_after, .. }) => {
            (*start, withdrawn_after.map_or(never, |after| start.saturating_add(after)))
        }
        _ => (never, never),
    }
}
