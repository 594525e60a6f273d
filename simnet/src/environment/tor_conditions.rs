//! Good days and bad days of the Tor network.

use crate::scenario::Scenario;
use crate::seed::{Draws, Seed};
use crate::{Millis, scenario};

/// When the network is good and when bad, and which connections fail of it.
#[derive(Clone, Debug)]
pub(super) struct TorConditions {
    begins_bad: bool,
    /// When good and bad take turns.
    changes: Vec<Millis>,
    pub(super) failure_draws: Draws,
    pub(super) relay_draws: Draws,
}

impl TorConditions {
    pub(super) fn new(scenario: &Scenario, seed: Seed) -> TorConditions {
        let days @ scenario::Days { good, bad } = scenario.tor.days;
        let draws = seed.draws("days");
        // As if the world had gone on for ever before.
        let begin_bad = draws.unit(0, 0) * ((good.1 + bad.1) as f64) < bad.1 as f64;
        let (mut turns, mut is_bad, mut at) = (Vec::new(), begin_bad, 0);
        while days.can_fail() && at < scenario.horizon {
            let mean = if is_bad { bad.1 } else { good.1 } as f64;
            let unit = draws.unit(0, 1 + turns.len() as u64);
            at += 1 + (-(1.0 - unit).ln() * mean) as Millis;
            turns.push(at);
            is_bad = !is_bad;
        }
        TorConditions {
            begins_bad: begin_bad,
            changes: turns,
            failure_draws: seed.draws("failure"),
            relay_draws: seed.draws("break"),
        }
    }

    /// Whether the whole network has a bad day.
    pub(super) fn is_bad(&self, at: Millis) -> bool {
        let turns = self.changes.partition_point(|turn| *turn <= at);
        self.begins_bad ^ (turns % 2 == 1)
    }
}
