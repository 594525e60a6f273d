//! Good days and bad days of the Tor network, and relays that leave.

use super::{Environment, pair};
use crate::scenario::Scenario;
use crate::seed::{Draws, Seed};
use crate::{Millis, scenario};

/// Relays between a client and an onion service.
const RELAYS: f64 = 6.0;
const HOUR: f64 = 3_600_000.0;

/// When the network is good and when bad, and which connections fail of it.
#[derive(Clone, Debug)]
pub(super) struct Days {
    begin_bad: bool,
    /// When good and bad take turns.
    turns: Vec<Millis>,
    failures: Draws,
    breaks: Draws,
}

impl Days {
    pub(super) fn new(scenario: &Scenario, seed: Seed) -> Days {
        let days @ scenario::Days { good, bad } = scenario.tor.days;
        let draws = seed.draws("days");
        // As if the world had gone on for ever before.
        let begin_bad = draws.unit(0, 0) * ((good.1 + bad.1) as f64) < bad.1 as f64;
        let (mut turns, mut is_bad, mut at) = (Vec::new(), begin_bad, 0);
        while days.fail() && at < scenario.horizon {
            let mean = if is_bad { bad.1 } else { good.1 } as f64;
            let unit = draws.unit(0, 1 + turns.len() as u64);
            at += 1 + (-(1.0 - unit).ln() * mean) as Millis;
            turns.push(at);
            is_bad = !is_bad;
        }
        Days { begin_bad, turns, failures: seed.draws("failure"), breaks: seed.draws("break") }
    }
}

impl Environment {
    /// Whether the whole network has a bad day.
    pub fn is_bad_day(&self, at: Millis) -> bool {
        let turns = self.days.turns.partition_point(|turn| *turn <= at);
        self.days.begin_bad ^ (turns % 2 == 1)
    }

    /// Whether a try that begins then is stuck for what the day is like.
    pub(super) fn fails(
        &self,
        (client, peer): (u32, u32),
        (cycle, tries): (u64, u64),
        at: Millis,
    ) -> bool {
        let days = &self.scenario.tor.days;
        if !days.fail() {
            return false;
        }
        let (probability, _) = if self.is_bad_day(at) { days.bad } else { days.good };
        self.days.failures.unit(pair(client, peer), cycle * 8 + tries) < probability
    }

    /// How long after the beginning of a try a relay leaves that it goes over, or would.
    pub(super) fn breaks_after(
        &self,
        (client, peer): (u32, u32),
        (cycle, tries): (u64, u64),
    ) -> Option<Millis> {
        let hazard = RELAYS * self.scenario.tor.churn / HOUR;
        let unit = || self.days.breaks.unit(pair(client, peer), cycle * 8 + tries);
        (hazard > 0.0).then(|| 1 + (-(1.0 - unit()).ln() / hazard) as Millis)
    }
}
