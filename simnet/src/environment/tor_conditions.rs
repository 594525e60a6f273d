//! Good days and bad days of the whole Tor network.

use crate::scenario::Scenario;
use crate::seed::{Draws, Seed};
use crate::{Millis, scenario};

/// The alternation of good and bad days, and the draws for connections that fail because of them.
#[derive(Clone, Debug)]
pub(super) struct TorConditions {
    begins_bad: bool,
    /// When good days turn bad or bad days turn good, in order of time.
    changes: Vec<Millis>,
    pub(super) failure_draws: Draws,
    pub(super) relay_draws: Draws,
}

impl TorConditions {
    pub(super) fn new(scenario: &Scenario, seed: Seed) -> TorConditions {
        let days @ scenario::Days { good, bad } = scenario.tor.days;
        let draws = seed.draws("days");
        // The chain starts in its stationary distribution.
        let begins_bad = draws.unit(0, 0) * ((good.1 + bad.1) as f64) < bad.1 as f64;
        let (mut changes, mut is_bad, mut at) = (Vec::new(), begins_bad, 0);
        while days.can_fail() && at < scenario.horizon {
            let mean = if is_bad { bad.1 } else { good.1 } as f64;
            let unit = draws.unit(0, 1 + changes.len() as u64);
            at += 1 + (-(1.0 - unit).ln() * mean) as Millis;
            changes.push(at);
            is_bad = !is_bad;
        }
        TorConditions {
            begins_bad,
            changes,
            failure_draws: seed.draws("failure"),
            relay_draws: seed.draws("break"),
        }
    }

    /// Whether the whole network has a bad day at `at`.
    pub(super) fn is_bad(&self, at: Millis) -> bool {
        let passed = self.changes.partition_point(|change| *change <= at);
        self.begins_bad ^ (passed % 2 == 1)
    }
}
