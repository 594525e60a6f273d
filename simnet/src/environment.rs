//! What surrounds the nodes: who asks whom, who is up, how long Tor takes, what a mirror shows to
//! whom. A pure function of scenario and seed, the same for both tiers.
//!
//! What is modelled is asking. Mirrors and tiles cost no time: a cycle is over when its roll closes.

mod adversary;
mod days;

use std::collections::BTreeSet;

use crate::scenario::{Colluding, Scenario};
use crate::seed::{Draws, Seed};
use crate::{Millis, topology};

/// The time that every world begins at, in seconds since 1970.
pub const EPOCH: u64 = 1_790_000_000;

/// How a try to connect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Connected after so long.
    After(Millis),
    /// Refused after so long: the service is down. Or broken after so long, be it made by then or not.
    Refused(Millis),
    /// Not before any deadline.
    Never,
}

/// A world's surroundings.
#[derive(Clone, Debug)]
pub struct Environment {
    /// What it was made of.
    pub scenario: Scenario,
    circles: Vec<u32>,
    victims: BTreeSet<u32>,
    colluders: BTreeSet<u32>,
    /// When the adversary appends to the log itself.
    logged: Millis,
    /// When the publisher takes that back.
    withdrawn: Millis,
    days: days::Days,
    connects: Draws,
    trips: Draws,
    shifts: Draws,
    polls: Draws,
    rolls: Draws,
    outages: Draws,
    mirror_outages: Draws,
    fooled: Draws,
    cycles: Draws,
    pub(crate) faulty: Draws,
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
        let (logged, withdrawn) = adversary::logged(&scenario);
        Environment {
            logged,
            withdrawn,
            days: days::Days::new(&scenario, seed),
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

    /// How one try (from 0) of a client to connect to a peer in one of its cycles (from 0) ends, if
    /// it begins `at` that time and the peer is `up` then.
    pub fn connect(&self, both: (u32, u32), named: (u64, u64), at: Millis, up: bool) -> Connect {
        let tor = &self.scenario.tor;
        let ((client, peer), (cycle, tries)) = (both, named);
        let blocked = self.is_blocked(client, at)
            || self.are_apart(client, peer, at, at)
            || self.fails(both, named, at);
        let at = |draw: u64| self.connects.unit(pair(client, peer), (cycle * 8 + tries) * 4 + draw);
        if blocked || at(0) < tor.stuck {
            return Connect::Never;
        }
        let (slow, least, most) = tor.slow;
        let after = if at(1) < slow {
            whole(at(2), least, most)
        } else {
            lognormal(tor.connect, at(2), at(3))
        };
        let used = || {
            let (there, back) = if up { self.round_trip(both, named) } else { (0, 0) };
            after + there + back
        };
        match self.breaks_after(both, named).filter(|broken| *broken < used()) {
            Some(broken) => Connect::Refused(broken),
            None if up => Connect::After(after),
            None => Connect::Refused(after),
        }
    }

    /// The two ways of one question and its answer.
    pub fn round_trip(
        &self,
        (client, peer): (u32, u32),
        (cycle, tries): (u64, u64),
    ) -> (Millis, Millis) {
        let tor = &self.scenario.tor;
        let at = |draw: u64| self.trips.unit(pair(client, peer), (cycle * 8 + tries) * 4 + draw);
        let shift = match &tor.vantage[..] {
            [] => 0,
            shifts => {
                let which = self.shifts.bits(pair(client, peer), 0) % shifts.len() as u64;
                shifts[which as usize]
            }
        };
        let (hiccup, least, most) = tor.hiccup;
        let hang = if at(0) < hiccup { whole(at(1), least, most) } else { 0 };
        let whole_trip = shift + lognormal(tor.round_trip, at(2), at(3)) + hang;
        (whole_trip / 2, whole_trip - whole_trip / 2)
    }

    /// How many entries the log has at a time: one at the beginning, then releases and others.
    pub fn log_size(&self, at: Millis) -> u32 {
        let others = at.checked_div(self.scenario.background).unwrap_or(0);
        let appended = [self.logged, self.withdrawn].iter().filter(|when| **when <= at).count();
        1 + (self.releases_until(at) + others) as u32 + appended as u32
    }

    /// The sequence of the n-th release (from 0). They leave room for a trojan before each.
    pub fn release_sequence(&self, n: u64) -> u32 {
        2 * (n as u32 + 1)
    }

    /// How many of our product's releases there are at a time.
    pub fn releases_until(&self, at: Millis) -> u64 {
        let (first, every) = self.scenario.release;
        match at.checked_sub(first) {
            None => 0,
            Some(since) => 1 + since.checked_div(every).unwrap_or(0),
        }
    }

    /// When the n-th release (from 0) came.
    pub fn release_at(&self, n: u64) -> Millis {
        let (first, every) = self.scenario.release;
        first + n * every
    }

    /// Where the n-th release is in the log.
    pub fn release_index(&self, n: u64) -> u32 {
        // Of what comes at one time, releases come first and what the adversary is about last.
        let at = self.release_at(n);
        let others = (at.saturating_sub(1)).checked_div(self.scenario.background).unwrap_or(0);
        let appended = [self.logged, self.withdrawn].iter().filter(|when| **when < at).count();
        1 + (n + others) as u32 + appended as u32
    }

    /// A node's onion service as it is at the beginning.
    pub fn service(&self, node: u32) -> Service {
        self.first(Host::Onion, node)
    }

    /// A node's own mirror as it is at the beginning. Both roles of the node see this one mirror.
    pub fn mirror_service(&self, node: u32) -> Service {
        self.first(Host::Mirror, node)
    }

    fn first(&self, host: Host, node: u32) -> Service {
        let (draws, availability, _) = self.outages(host);
        let up = draws.unit(node.into(), 0) < availability;
        let mut service = Service { host, up, until: 0, drawn: 0 };
        // Exponential waits have no memory: the first is like every other.
        service.until = service.wait(self, node);
        service
    }

    /// What outages of a host are drawn from, how often it is up, and an outage's mean.
    fn outages(&self, host: Host) -> (&Draws, f64, Millis) {
        let scenario = &self.scenario;
        let mirrors = &scenario.mirrors;
        match host {
            Host::Onion => (&self.outages, scenario.availability, scenario.mean_outage),
            Host::Mirror => (&self.mirror_outages, mirrors.availability, mirrors.mean_outage),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Host {
    Onion,
    Mirror,
}

/// Whether a node's onion service, or its mirror, is up: now, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    host: Host,
    up: bool,
    until: Millis,
    drawn: u32,
}

impl Service {
    /// Whether it is up at a time, not before any time asked about earlier.
    pub fn is_up(&mut self, environment: &Environment, node: u32, at: Millis) -> bool {
        while self.until <= at {
            self.up = !self.up;
            self.until = self.until.saturating_add(self.wait(environment, node));
        }
        let (from, until) = environment.scenario.mirrors.within;
        self.up || matches!(self.host, Host::Mirror) && !(from..until).contains(&at)
    }

    /// What it was when that was last asked.
    pub fn was_up(&self) -> bool {
        self.up
    }

    fn wait(&mut self, environment: &Environment, node: u32) -> Millis {
        let (draws, availability, outage) = environment.outages(self.host);
        if availability >= 1.0 {
            return Millis::MAX / 2;
        }
        let outage = outage as f64;
        let mean = if self.up { outage * availability / (1.0 - availability) } else { outage };
        self.drawn += 1;
        let unit = draws.unit(node.into(), self.drawn.into());
        // A length that is no longer than anything is not the end of numbers.
        1 + ((-(1.0 - unit).ln() * mean) as Millis).min(Millis::MAX / 4)
    }
}

/// Longer than any deadline, and short enough to be added to any time.
const LONGEST: Millis = 1 << 40;

fn pair(client: u32, peer: u32) -> u64 {
    u64::from(client) << 32 | u64::from(peer)
}

/// Uniform in whole milliseconds, both ends included.
fn whole(unit: f64, least: Millis, most: Millis) -> Millis {
    least + (unit * (most - least + 1) as f64) as Millis
}

/// By Box and Muller (1958), rounded up to a whole millisecond.
fn lognormal((median, sigma): (Millis, f64), a: f64, b: f64) -> Millis {
    let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    ((median as f64 * (sigma * normal).exp()).ceil() as Millis).min(LONGEST)
}
