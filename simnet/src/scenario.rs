//! What a world is made of. All times in milliseconds, all probabilities from 0 to 1.
//!
//! People write it as a file, which [`crate::study`] reads: every field has a default or is asked for,
//! and what makes no sense is refused with the line it stands in.

mod check;
mod fault;
pub mod fields;
pub mod file;
pub mod text;
mod units;

use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::faults::Fault;

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
    pub circle: u32,
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
    pub roll: (Millis, Millis),
    /// How long every peer must have seen a release before it installs.
    pub settle: Millis,
    /// One try at one peer.
    pub ask_timeout: Millis,
    /// All tries of a roll.
    pub roll_timeout: Millis,
    /// How long Tor takes.
    pub tor: Tor,
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
pub struct Tor {
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
    pub attack: Attack,
}

/// How many peers lie for the adversary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Colluding {
    /// That many of each victim's own circle.
    OfCircle(u32),
    /// That many of all nodes, wherever they are.
    OfAll(u32),
}

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attack {
    /// Holds every key and the victims' mirrors; shows them a fork with a trojan in it.
    Fork,
    /// The same, and shows the fork to this many percent of all honest nodes' mirrors for so long.
    Flash(u32, Millis),
    /// The victims' mirrors show what they showed at the start, for ever.
    Freeze,
    /// The victims reach none of their peers.
    Block,
    /// Peers that collude change their story: in every other minute they show a victim the log as it
    /// was at the start, else the log as it is.
    Story,
}

impl Mirrors {
    /// Whether one is ever down.
    pub fn fail(&self) -> bool {
        self.availability < 1.0
    }

    /// What is as ever goes without saying: so worlds from before there was a choice are the same.
    fn are_usual(&self) -> bool {
        *self == Mirrors::default()
    }
}

impl Scenario {
    /// One text for one world: what it is made of, without what it is called. Two files that say the
    /// same in other words (`60min`, `1h`) have one canonical text.
    pub fn canonical(&self) -> String {
        let bare = Scenario { name: String::new(), question: String::new(), ..self.clone() };
        serde_json::to_string(&bare).expect("plain data")
    }
}

impl Tor {
    /// Onion connections on an ordinary day.
    pub fn calm() -> Tor {
        Tor {
            connect: (2_500, 0.55),
            stuck: 0.02,
            slow: (0.0, 0, 0),
            round_trip: (280, 0.8),
            hiccup: (0.002, 5_000, 10_000),
            vantage: vec![0, 50, 155, 400],
        }
    }

    /// Under a denial of service on the whole network, as in October 2022. The slow twentieth takes
    /// the place of the stuck.
    pub fn attack() -> Tor {
        let slow = (0.05, 50_000, 120_000);
        Tor { connect: (6_100, 0.5), stuck: 0.0, slow, ..Tor::calm() }
    }

    /// A network that takes no time and never fails.
    pub fn none() -> Tor {
        Tor {
            connect: (0, 0.0),
            stuck: 0.0,
            slow: (0.0, 0, 0),
            round_trip: (0, 0.0),
            hiccup: (0.0, 0, 0),
            vantage: Vec::new(),
        }
    }
}
