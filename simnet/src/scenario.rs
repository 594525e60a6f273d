//! What a world is made of. All times in milliseconds, all probabilities from 0 to 1.
//!
//! People write it as a file, which [`crate::study`] reads: every field has a default or is asked for,
//! and what makes no sense is refused with the line it stands in.

mod check;
pub mod fault;
mod fault_file;
pub mod fields;
pub mod file;
pub mod text;
mod units;

use fault::Fault;
use serde::{Deserialize, Serialize};

use crate::Millis;

/// A world, but for its seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: String,
    /// The question it answers, in words.
    pub question: String,
    /// When the world ends.
    pub horizon: Millis,
    /// How many nodes; each is a client of its circle and a peer to whoever has it in theirs.
    pub nodes: u32,
    /// How many peers each node asks.
    pub peers: u32,
    /// Who they are.
    pub topology: Topology,
    /// The fraction of time that a node's onion service is up.
    pub availability: f64,
    /// The mean of an outage, which is exponential.
    pub mean_outage: Millis,
    /// Whether mirrors are up.
    #[serde(default, skip_serializing_if = "Mirrors::are_usual")]
    pub mirrors: Mirrors,
    /// The waits between two polls of a peer, uniform.
    pub poll: (Millis, Millis),
    /// How long a poll counts.
    pub max_poll_age: Millis,
    /// The waits between the end of one cycle of a client and the next, uniform.
    pub round_interval: (Millis, Millis),
    /// How long every peer must have seen a release before it installs.
    pub settle: Millis,
    /// One try at one peer.
    pub ask_timeout: Millis,
    /// All tries of a roll.
    pub round_timeout: Millis,
    /// How long Tor takes.
    pub tor: TorScenario,
    /// When our product's releases come: the first, and then one in every such time.
    pub release: (Millis, Millis),
    /// Other entries of the log: one in every such time; 0 for none.
    pub background: Millis,
    /// A release that is not installed after this long is late.
    pub late: Millis,
    /// Who attacks, if anybody.
    pub adversary: Option<Adversary>,
    /// What goes wrong besides.
    pub faults: Vec<Fault>,
}

/// How often every node's own mirror is up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mirrors {
    /// The fraction of time that it is.
    pub availability: f64,
    /// The mean of an outage, which is exponential.
    pub mean_outage: Millis,
    /// From when until when there are outages at all.
    pub within: (Millis, Millis),
}

impl Default for Mirrors {
    /// Always up.
    fn default() -> Mirrors {
        Mirrors { availability: 1.0, mean_outage: 4 * 3_600_000, within: (0, Millis::MAX) }
    }
}

/// Who asks whom.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Topology {
    /// Peers drawn uniformly from all others.
    Random,
    /// The next ones round a ring.
    Ring,
    /// A ring, of which this fraction of edges was drawn anew.
    SmallWorld(f64),
    /// That many communities; this fraction of a node's peers is drawn from its own.
    Communities(u32, f64),
}

/// The model of Tor. SIMNET's table; every number in it is a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TorScenario {
    /// Median and sigma of the lognormal onion connection.
    pub connect: (Millis, f64),
    /// Probability that a connection is stuck until the deadline.
    pub stuck: f64,
    /// Probability that a connection is one of the slow ones, uniform in `slow`.
    pub slow: (f64, Millis, Millis),
    /// Median and sigma of the lognormal round trip on an open circuit.
    pub round_trip: (Millis, f64),
    /// Probability and range of a round trip that hangs for a while.
    pub hiccup: (f64, Millis, Millis),
    /// Added to each round trip, drawn once for each pair of client and peer.
    pub vantage: Vec<Millis>,
    /// Good days and bad days of the whole network.
    #[serde(default, skip_serializing_if = "Days::are_alike")]
    pub days: Days,
    /// The fraction of relays that leave in an hour. A connection is over six of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub churn: f64,
}

/// A Markov chain of good days and bad days, the same for everybody: the probability that a connection
/// is stuck, and how long such days last in the mean, which is exponential.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Days {
    /// On good days.
    pub good: (f64, Millis),
    /// On bad ones.
    pub bad: (f64, Millis),
}

impl Default for Days {
    /// Nothing fails on any of them.
    fn default() -> Days {
        let day = 24 * 3_600_000;
        Days { good: (0.0, 14 * day), bad: (0.0, 2 * day) }
    }
}

impl Days {
    /// Whether a connection ever fails because of them.
    pub fn can_fail(&self) -> bool {
        self.good.0 > 0.0 || self.bad.0 > 0.0
    }

    /// How long they last then makes no difference.
    fn are_alike(&self) -> bool {
        !self.can_fail()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// Who attacks, from when, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adversary {
    /// From when.
    pub start: Millis,
    /// How many nodes are targeted.
    pub victims: u32,
    /// Who of the nodes are the adversary's.
    pub colluding: Colluding,
    /// What it does.
    pub attack: AttackScenario,
    /// If that is a fork: where it parts from the log, and how large it is.
    #[serde(default, skip_serializing_if = "Shape::is_usual")]
    pub shape: Shape,
    /// If that is a fork: whether peers that collude show it to everybody who asks, so that honest
    /// peers might vouch for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub equivocate_to_all: bool,
    /// If it logs a trojan: how long after that the publisher, who has its keys as well, takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_after: Option<Millis>,
}

/// What a fork looks like beside the log. In all shapes the trojan is the first entry that is not the log's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// The log at the start, and the trojan after it: one entry larger, until the log has grown.
    #[default]
    Next,
    /// The log at the start, with the trojan in place of its newest entry: one size, two roots.
    Same,
    /// That many entries larger than the log, for as long as it grows: no honest head ever reaches it.
    Longer(u32),
    /// As `Next`, and for so long honest mirrors show no more than what the log was at the start:
    /// honest heads are prefixes of the fork, and prove nothing against it.
    Starved(Millis),
}

/// How many peers lie for the adversary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Colluding {
    /// That many of each victim's own circle.
    OfPeers(u32),
    /// That many of all nodes, wherever they are.
    OfAll(u32),
}

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttackScenario {
    /// Holds every key and the victims' mirrors; shows them a fork with a trojan in it.
    Fork,
    /// The same, and shows the fork to this many percent of all honest nodes' mirrors for so long.
    Flash(u32, Millis),
    /// Holds enough of the publisher's keys and appends a trojan to the log, for everybody to see and to
    /// install. Victims are those of whom that is counted.
    Logged,
    /// The victims' mirrors show what they showed at the start, for ever.
    Freeze,
    /// The victims reach none of their peers.
    Block,
    /// Peers that collude change their story: in every other minute they show a victim the log as it
    /// was at the start, else the log as it is.
    Equivocate,
}

impl Mirrors {
    /// Whether one is ever down.
    pub fn can_fail(&self) -> bool {
        self.availability < 1.0
    }

    /// What is as ever goes without saying: so worlds from before there was a choice are the same.
    fn are_usual(&self) -> bool {
        *self == Mirrors::default()
    }
}

impl Adversary {
    /// One victim, nobody colludes, a fork is of the usual shape and not laundered, and what is logged
    /// stays.
    pub fn new(attack: AttackScenario, start: Millis) -> Adversary {
        Adversary {
            start,
            victims: 1,
            colluding: Colluding::OfPeers(0),
            attack,
            shape: Shape::Next,
            equivocate_to_all: false,
            withdrawn_after: None,
        }
    }
}

impl AttackScenario {
    /// Whether victims are shown another log than everybody else.
    pub fn is_fork(self) -> bool {
        matches!(self, AttackScenario::Fork | AttackScenario::Flash(..))
    }
}

impl Shape {
    fn is_usual(&self) -> bool {
        *self == Shape::Next
    }
}

impl Scenario {
    /// Whether it can be played at all, however little sense it makes. A file that people write is
    /// held to more.
    pub fn is_playable(&self) -> bool {
        let waits = |(least, most): (Millis, Millis)| (1_000..=most).contains(&least);
        let chance = |p: f64| (0.0..=1.0).contains(&p);
        let communities = match self.topology {
            Topology::Communities(count, inside) => {
                (1..=self.nodes).contains(&count) && chance(inside)
            }
            Topology::SmallWorld(rewired) => chance(rewired),
            Topology::Random | Topology::Ring => true,
        };
        (1..self.nodes).contains(&self.peers)
            && (1..=50 * 365 * 86_400_000).contains(&self.horizon)
            && waits(self.poll)
            && waits(self.round_interval)
            && communities
            && chance(self.availability)
            && chance(self.mirrors.availability)
            && self.faults.iter().all(|fault| chance(fault.share))
    }

    /// One text for one world: what it is made of, without what it is called. Two files that say the
    /// same in other words (`60min`, `1h`) have one canonical text.
    pub fn canonical_text(&self) -> String {
        let bare = Scenario { name: String::new(), question: String::new(), ..self.clone() };
        serde_json::to_string(&bare).expect("plain data")
    }
}

impl TorScenario {
    /// Onion connections on an ordinary day.
    pub fn calm() -> TorScenario {
        TorScenario {
            connect: (2_500, 0.55),
            stuck: 0.02,
            slow: (0.0, 0, 0),
            round_trip: (280, 0.8),
            hiccup: (0.002, 5_000, 10_000),
            vantage: vec![0, 50, 155, 400],
            days: Days::default(),
            churn: 0.0,
        }
    }

    /// The same over months: bad days, which take the place of the stuck, and relays that leave.
    pub fn days() -> TorScenario {
        let Days { good, bad } = Days::default();
        let days = Days { good: (0.007, good.1), bad: (0.33, bad.1) };
        TorScenario { stuck: 0.0, days, churn: 0.009, ..TorScenario::calm() }
    }

    /// Under a denial of service on the whole network, as in October 2022. The slow twentieth takes
    /// the place of the stuck.
    pub fn attack() -> TorScenario {
        let slow = (0.05, 50_000, 120_000);
        TorScenario { connect: (6_100, 0.5), stuck: 0.0, slow, ..TorScenario::calm() }
    }

    /// A network that takes no time and never fails.
    pub fn none() -> TorScenario {
        TorScenario {
            connect: (0, 0.0),
            stuck: 0.0,
            slow: (0.0, 0, 0),
            round_trip: (0, 0.0),
            hiccup: (0.0, 0, 0),
            vantage: Vec::new(),
            days: Days::default(),
            churn: 0.0,
        }
    }
}
