//! What surrounds the nodes: who asks whom, who is up, how long Tor takes, what a mirror shows to
//! whom. A pure function of scenario and seed, the same for both tiers.
//!
//! What is modelled is asking. Mirrors and tiles cost no time: a cycle is over when its roll closes.

use std::collections::BTreeSet;

use crate::scenario::{Attack, Colluding, Scenario};
use crate::seed::{Draws, Seed};
use crate::trace::View;
use crate::{Millis, topology};

/// The time that every world begins at, in seconds since 1970.
pub const EPOCH: u64 = 1_790_000_000;

const MINUTE: Millis = 60_000;

/// How a try to connect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Connected after so long.
    After(Millis),
    /// Refused after so long: the service is down.
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
        Environment {
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

    /// Whether this node is the adversary's: it lies to the victims, and to nobody else.
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
    pub fn connect(
        &self,
        (client, peer): (u32, u32),
        (cycle, tries): (u64, u64),
        at: Millis,
        up: bool,
    ) -> Connect {
        let tor = &self.scenario.tor;
        let blocked = self.is_blocked(client, at) || self.are_apart(client, peer, at, at);
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
        if up { Connect::After(after) } else { Connect::Refused(after) }
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
        1 + (self.releases_until(at) + others) as u32
    }

    /// How many of our product's releases there are at a time. The n-th has the sequence n + 1.
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
        // Of what comes at one time, releases come first.
        let at = self.release_at(n);
        let others = (at.saturating_sub(1)).checked_div(self.scenario.background).unwrap_or(0);
        1 + (n + others) as u32
    }

    /// The size up to which the adversary's chain is the log. Its trojan is the entry after.
    pub fn split(&self) -> u32 {
        match &self.scenario.adversary {
            Some(adversary) if matches!(adversary.attack, Attack::Fork | Attack::Flash(..)) => {
                self.log_size(adversary.start)
            }
            _ => u32::MAX,
        }
    }

    /// What a node's own mirror shows to it while it is up ([`Environment::mirror_service`]).
    pub fn mirror(&self, node: u32, at: Millis) -> View {
        let honest = View { chain: 0, size: self.log_size(at) };
        let Some(adversary) = &self.scenario.adversary else { return honest };
        if at < adversary.start {
            return honest;
        }
        let fork = || View { chain: 1, size: self.split() + 1 };
        match adversary.attack {
            Attack::Fork | Attack::Flash(..) if self.is_victim(node) => fork(),
            Attack::Flash(percent, lasts) if at < adversary.start + lasts => {
                let fooled = self.fooled.unit(node.into(), 0) * 100.0 < f64::from(percent);
                if fooled { fork() } else { honest }
            }
            Attack::Freeze if self.is_victim(node) => {
                View { chain: 0, size: self.log_size(adversary.start) }
            }
            _ => honest,
        }
    }

    /// What a peer that colludes answers a client with; an honest one answers what it holds.
    pub fn lie(&self, peer: u32, client: u32, at: Millis) -> Option<View> {
        let adversary = self.scenario.adversary.as_ref()?;
        if at < adversary.start || !self.colludes(peer) || !self.is_victim(client) {
            return None;
        }
        let is_odd = (at / MINUTE) % 2 == 1;
        Some(match adversary.attack {
            Attack::Story if is_odd => View { chain: 0, size: self.log_size(adversary.start) },
            _ => self.mirror(client, at),
        })
    }

    fn has_begun(&self, at: Millis) -> bool {
        self.scenario.adversary.as_ref().is_some_and(|adversary| adversary.start <= at)
    }

    fn is_blocked(&self, client: u32, at: Millis) -> bool {
        let adversary = self.scenario.adversary.as_ref();
        let blocks = adversary.is_some_and(|adversary| adversary.attack == Attack::Block);
        blocks && self.is_victim(client) && self.has_begun(at)
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
            self.until += self.wait(environment, node);
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
        1 + (-(1.0 - unit).ln() * mean) as Millis
    }
}

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
    (median as f64 * (sigma * normal).exp()).ceil() as Millis
}
