//! The parameters of a simulated world. All times are milliseconds, all probabilities are from 0 to
//! 1.
//!
//! [`crate::study`] reads scenarios from files. In a file, a field is required or has a default. An
//! invalid value is refused with its line.

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

/// All parameters of a world except its seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The name in reports: the file's name without directory and extension.
    pub name: String,
    /// The question that the scenario answers, in words.
    pub question: String,
    /// When the world ends.
    pub horizon: Millis,
    /// Number of nodes. Each is a client, and a peer of the nodes that list it.
    pub nodes: u32,
    /// Number of peers that each node asks.
    pub peers: u32,
    /// Which peers each node has.
    pub topology: Topology,
    /// The fraction of time that a node's onion service is up.
    pub availability: f64,
    /// The mean duration of an onion service's outage, exponential.
    pub mean_outage: Millis,
    /// How often mirrors are up.
    #[serde(default, skip_serializing_if = "Mirrors::are_usual")]
    pub mirrors: Mirrors,
    /// The shortest and longest wait between two polls of a witness, uniform.
    pub poll: (Millis, Millis),
    /// How long a poll counts. Without a newer poll, the witness has no fresh head afterwards.
    pub max_poll_age: Millis,
    /// The shortest and longest wait from the beginning of one cycle of a client to the next,
    /// uniform.
    pub round_interval: (Millis, Millis),
    /// How long every peer must have seen a release before a node installs it.
    pub settle: Millis,
    /// The limit of one try at one peer.
    pub ask_timeout: Millis,
    /// The limit of all tries of a round.
    pub round_timeout: Millis,
    /// How long Tor connections take, and how often they fail.
    pub tor: TorScenario,
    /// The product's releases: when the first is logged, and the time between two; 0 for only one.
    pub release: (Millis, Millis),
    /// The time between two log entries of other products; 0 for none.
    pub background: Millis,
    /// A release that a node has not installed after this time is late.
    pub late: Millis,
    /// The adversary, if there is an attack.
    pub adversary: Option<Adversary>,
    /// What goes wrong besides the adversary and outages.
    pub faults: Vec<Fault>,
}

/// How often the nodes' mirrors are up. Every node has a mirror of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mirrors {
    /// The fraction of time that a mirror is up.
    pub availability: f64,
    /// The mean duration of a mirror's outage, exponential.
    pub mean_outage: Millis,
    /// The period in which outages happen, from its beginning to its end. All mirrors are up
    /// outside the period.
    pub within: (Millis, Millis),
}

impl Default for Mirrors {
    /// Mirrors that are always up.
    fn default() -> Mirrors {
        Mirrors { availability: 1.0, mean_outage: 4 * 3_600_000, within: (0, Millis::MAX) }
    }
}

/// How the peers of each node are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Topology {
    /// Peers are drawn uniformly from all other nodes.
    Random,
    /// Peers are the next nodes round a ring.
    Ring,
    /// A ring in which this fraction of the edges is drawn again.
    SmallWorld(f64),
    /// This many communities. This fraction of a node's peers is drawn from the node's own
    /// community.
    Communities(u32, f64),
}

/// The model of Tor. `docs/src/researcher/scenario-files.md` has the source of every default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TorScenario {
    /// Median and sigma of the lognormal time to connect to an onion service.
    pub connect: (Millis, f64),
    /// Probability that a connection is stuck until the deadline.
    pub stuck: f64,
    /// Probability that a connection is slow, and the least and most time that it then takes,
    /// uniform.
    pub slow: (f64, Millis, Millis),
    /// Median and sigma of the lognormal round trip on an open circuit.
    pub round_trip: (Millis, f64),
    /// Probability that a round trip hangs, and the least and most time that it then hangs,
    /// uniform.
    pub hiccup: (f64, Millis, Millis),
    /// Times of which one is added to each round trip. The added time is drawn once for each pair
    /// of client and peer.
    pub vantage: Vec<Millis>,
    /// Good days and bad days of the whole network.
    #[serde(default, skip_serializing_if = "Days::are_alike")]
    pub days: Days,
    /// The fraction of relays that leave in an hour. A connection goes over six relays.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub churn: f64,
}

/// Good days and bad days of the whole network, which alternate. A period of days of one kind has
/// an exponential duration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Days {
    /// For good days: the probability that they make a connection stuck, in addition to
    /// [`TorScenario::stuck`], and the mean duration of a period.
    pub good: (f64, Millis),
    /// For bad days: the probability that they make a connection stuck, in addition to
    /// [`TorScenario::stuck`], and the mean duration of a period.
    pub bad: (f64, Millis),
}

impl Default for Days {
    /// Days on which no connection is stuck. Good days last 14 days in the mean, and bad days 2
    /// days.
    fn default() -> Days {
        let day = 24 * 3_600_000;
        Days { good: (0.0, 14 * day), bad: (0.0, 2 * day) }
    }
}

impl Days {
    /// Whether a connection ever fails because of the day.
    pub fn can_fail(&self) -> bool {
        self.good.0 > 0.0 || self.bad.0 > 0.0
    }

    /// Whether good and bad days have no effect. Such a value is not serialized.
    fn are_alike(&self) -> bool {
        !self.can_fail()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// An attack: its start, its victims, the adversary's nodes and what they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adversary {
    /// When the attack starts.
    pub start: Millis,
    /// Number of targeted nodes.
    pub victims: u32,
    /// Which nodes are the adversary's.
    pub colluding: Colluding,
    /// What the adversary does.
    pub attack: AttackScenario,
    /// For a fork: where it departs from the log, and how large it is.
    #[serde(default, skip_serializing_if = "Shape::is_usual")]
    pub shape: Shape,
    /// For a fork: whether colluding peers show the fork to every client that asks, and not only to
    /// the victims.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub equivocate_to_all: bool,
    /// For a logged trojan: the time from its log entry to its withdrawal by the publisher, which
    /// still has its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_after: Option<Millis>,
}

/// How a fork compares with the log. In all shapes the trojan is the first entry that differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// The log as it was when the attack started, and the trojan after it. This fork is one entry
    /// larger than the log, until the log grows.
    #[default]
    Next,
    /// The log as it was when the attack started, with the trojan in place of its newest entry. Log
    /// and fork then have one size and two roots.
    Same,
    /// Always this many entries larger than the log, so no honest head ever reaches its size.
    Longer(u32),
    /// The same fork as `Next`. For this time, honest mirrors show only the log as it was when the
    /// attack started. Honest heads are then prefixes of the fork, and prove nothing against it.
    Starved(Millis),
}

/// The nodes that lie for the adversary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Colluding {
    /// This many of each victim's own peers.
    OfPeers(u32),
    /// This many of all nodes.
    OfAll(u32),
}

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttackScenario {
    /// The adversary holds every key and the victims' mirrors. It shows the victims a fork with a
    /// trojan.
    Fork,
    /// A fork that the mirrors of this percentage of honest nodes show, too, for this time.
    Flash(u32, Millis),
    /// The adversary holds enough of the publisher's keys, and appends a trojan to the log. All
    /// nodes see and install it; the installations of the victims are counted.
    Logged,
    /// The victims' mirrors show the log as it was when the attack started, for ever.
    Freeze,
    /// The victims reach none of their peers.
    Block,
    /// In every other minute, colluding peers show a victim the log as it was when the attack
    /// started. In the minutes between, they show the current log.
    Equivocate,
}

impl Mirrors {
    /// Whether a mirror is ever down.
    pub fn can_fail(&self) -> bool {
        self.availability < 1.0
    }

    /// Whether the value is the default. A default is not serialized, so adding the field `mirrors`
    /// changed neither the canonical text nor the seeds of earlier worlds.
    fn are_usual(&self) -> bool {
        *self == Mirrors::default()
    }
}

impl Adversary {
    /// An attack on one victim without colluding peers. A fork has the shape `Next` and is shown to
    /// victims only. A logged trojan is never withdrawn.
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
    /// Whether victims are shown another log than other nodes.
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
    /// Whether the simulator can play the world without a panic or an endless loop. Scenario files
    /// are checked more strictly.
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

    /// The canonical text of a world: all parameters, without name and question. Two files that
    /// write one value differently (`60min`, `1h`) have one canonical text.
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

    /// Tor over months: like [`TorScenario::calm`], with bad days in place of `stuck`, and relays
    /// that leave.
    pub fn days() -> TorScenario {
        let Days { good, bad } = Days::default();
        let days = Days { good: (0.007, good.1), bad: (0.33, bad.1) };
        TorScenario { stuck: 0.0, days, churn: 0.009, ..TorScenario::calm() }
    }

    /// Tor under a denial of service on the whole network, as in October 2022. Slow connections
    /// (5%) take the place of `stuck`.
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
