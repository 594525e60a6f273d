//! When nodes poll and call the roll, and the randomness of their cycles.

use super::distributions::whole;
use super::model::Environment;
use crate::Millis;

impl Environment {
    /// When a node polls for the first time, and how long it waits after each poll.
    pub fn poll_wait(&self, node: u32, polled: u64) -> Millis {
        let (min, max) = self.scenario.poll;
        match polled {
            0 => whole(self.polls.unit(node.into(), 0), 0, max),
            _ => whole(self.polls.unit(node.into(), polled), min, max),
        }
    }

    /// When a node's first cycle begins, and how long after the beginning of each the next does.
    pub fn roll_wait(&self, node: u32, cycles: u64) -> Millis {
        let (min, max) = self.scenario.roll;
        match cycles {
            // Everybody has polled by then.
            0 => self.scenario.poll.1 + whole(self.rolls.unit(node.into(), 0), 0, max),
            _ => whole(self.rolls.unit(node.into(), cycles), min, max),
        }
    }

    /// The randomness that the client's own code has in one cycle.
    pub fn cycle_rng(&self, node: u32, cycle: u64) -> rand::rngs::StdRng {
        self.cycles.rng(node.into(), cycle)
    }
}
