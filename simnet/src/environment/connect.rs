//! Times and failures of Tor connections: connecting, round trips, bad days, and relays that leave.

use super::distributions::{lognormal_millis, uniform_millis};
use super::model::Environment;
use crate::Millis;

/// The number of relays between a client and an onion service.
const RELAYS: f64 = 6.0;
const HOUR: f64 = 3_600_000.0;

/// The result of a try to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// Connected after this time.
    Connected(Millis),
    /// Refused after this time because the service is down, or broken after this time because a
    /// relay left.
    Refused(Millis),
    /// Neither connected nor refused before any deadline.
    Stuck,
}

impl Environment {
    /// The result of a client's try to connect to a peer. Cycles and tries count from 0; the try
    /// begins at `at`, and `up` says whether the peer's service is up then.
    pub fn connect_outcome(
        &self,
        client_and_peer: (u32, u32),
        cycle_and_try: (u64, u64),
        at: Millis,
        up: bool,
    ) -> ConnectOutcome {
        let tor = &self.scenario.tor;
        let ((client, peer), (cycle, tries)) = (client_and_peer, cycle_and_try);
        let blocked = self.is_blocked(client, at)
            || self.is_partitioned(client, peer, at, at)
            || self.fails_by_conditions(client_and_peer, cycle_and_try, at);
        let at = |draw: u64| {
            self.connect_draws.unit(pair_key(client, peer), (cycle * 8 + tries) * 4 + draw)
        };
        if blocked || at(0) < tor.stuck {
            return ConnectOutcome::Stuck;
        }
        let (slow, least, most) = tor.slow;
        let after = if at(1) < slow {
            uniform_millis(at(2), least, most)
        } else {
            lognormal_millis(tor.connect, at(2), at(3))
        };
        let used = || {
            let (there, back) =
                if up { self.round_trip(client_and_peer, cycle_and_try) } else { (0, 0) };
            after + there + back
        };
        match self
            .relay_leaves_after(client_and_peer, cycle_and_try)
            .filter(|broken| *broken < used())
        {
            Some(broken) => ConnectOutcome::Refused(broken),
            None if up => ConnectOutcome::Connected(after),
            None => ConnectOutcome::Refused(after),
        }
    }

    /// The time of a question on its way to the peer, and of the answer on its way back.
    pub fn round_trip(
        &self,
        (client, peer): (u32, u32),
        (cycle, tries): (u64, u64),
    ) -> (Millis, Millis) {
        let tor = &self.scenario.tor;
        let at = |draw: u64| {
            self.round_trip_draws.unit(pair_key(client, peer), (cycle * 8 + tries) * 4 + draw)
        };
        let shift = match &tor.vantage[..] {
            [] => 0,
            shifts => {
                let which =
                    self.vantage_draws.bits(pair_key(client, peer), 0) % shifts.len() as u64;
                shifts[which as usize]
            }
        };
        let (hiccup, least, most) = tor.hiccup;
        let hang = if at(0) < hiccup { uniform_millis(at(1), least, most) } else { 0 };
        let whole_trip = shift + lognormal_millis(tor.round_trip, at(2), at(3)) + hang;
        (whole_trip / 2, whole_trip - whole_trip / 2)
    }

    /// Whether the whole network has a bad day at `at`.
    pub fn is_bad_day(&self, at: Millis) -> bool {
        self.tor_conditions.is_bad(at)
    }

    /// Whether a try that begins at `at` is stuck because of a good or bad day.
    fn fails_by_conditions(
        &self,
        (client, peer): (u32, u32),
        (cycle, tries): (u64, u64),
        at: Millis,
    ) -> bool {
        let days = &self.scenario.tor.days;
        if !days.can_fail() {
            return false;
        }
        let (probability, _) = if self.is_bad_day(at) { days.bad } else { days.good };
        self.tor_conditions.failure_draws.unit(pair_key(client, peer), cycle * 8 + tries)
            < probability
    }

    /// The time from the beginning of a try until one of its relays leaves; `None` without churn.
    fn relay_leaves_after(
        &self,
        (client, peer): (u32, u32),
        (cycle, tries): (u64, u64),
    ) -> Option<Millis> {
        let hazard = RELAYS * self.scenario.tor.churn / HOUR;
        let unit =
            || self.tor_conditions.relay_draws.unit(pair_key(client, peer), cycle * 8 + tries);
        (hazard > 0.0).then(|| 1 + (-(1.0 - unit()).ln() / hazard) as Millis)
    }
}

fn pair_key(client: u32, peer: u32) -> u64 {
    u64::from(client) << 32 | u64::from(peer)
}
