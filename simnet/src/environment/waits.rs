//! The waits between polls and between cycles, and the random numbers of each cycle.

use super::distributions::uniform_millis;
use super::model::Environment;
use crate::Millis;

impl Environment {
    /// The wait before a node's next poll. For `polled` = 0 it is the time of the first poll.
    pub fn poll_wait(&self, node: u32, polled: u64) -> Millis {
        let (min, max) = self.scenario.poll;
        match polled {
            0 => uniform_millis(self.poll_draws.unit(node.into(), 0), 0, max),
            _ => uniform_millis(self.poll_draws.unit(node.into(), polled), min, max),
        }
    }

    /// The wait from the beginning of a node's cycle to the next. For `cycles` = 0 it is the time
    /// of the first cycle.
    pub fn round_wait(&self, node: u32, cycles: u64) -> Millis {
        let (min, max) = self.scenario.round_interval;
        match cycles {
            // The longest first wait for a poll is added, so every node polls before its first
            // cycle.
            0 => {
                self.scenario.poll.1 + uniform_millis(self.round_draws.unit(node.into(), 0), 0, max)
            }
            _ => uniform_millis(self.round_draws.unit(node.into(), cycles), min, max),
        }
    }

    /// The random number generator for the client's code in one cycle.
    pub fn cycle_rng(&self, node: u32, cycle: u64) -> rand::rngs::StdRng {
        self.cycle_draws.rng(node.into(), cycle)
    }
}
