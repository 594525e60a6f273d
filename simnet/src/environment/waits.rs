//! When nodes poll and call the roll, and the randomness of their cycles.

use super::distributions::uniform_millis;
use super::model::Environment;
use crate::Millis;

impl Environment {
    /// When a node polls for the first time, and how long it waits after each poll.
    pub fn poll_wait(&self, node: u32, polled: u64) -> Millis {
        let (min, max) = self.scenario.poll;
        match polled {
            0 => uniform_millis(self.poll_draws.unit(node.into(), 0), 0, max),
            _ => uniform_millis(self.poll_draws.unit(node.into(), polled), min, max),
        }
    }

    /// When a node's first cycle begins, and how long after the beginning of each the next does.
    pub fn round_wait(&self, node: u32, cycles: u64) -> Millis {
        let (min, max) = self.scenario.round_interval;
        match cycles {
            // Everybody has polled by then.
            0 => {
                self.scenario.poll.1 + uniform_millis(self.round_draws.unit(node.into(), 0), 0, max)
            }
            _ => uniform_millis(self.round_draws.unit(node.into(), cycles), min, max),
        }
    }

    /// The randomness that the client's own code has in one cycle.
    pub fn cycle_rng(&self, node: u32, cycle: u64) -> rand::rngs::StdRng {
        self.cycle_draws.rng(node.into(), cycle)
    }
}
