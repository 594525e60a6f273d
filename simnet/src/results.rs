//! What was counted and measured, so that it merges exactly: in any order, to the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is counted, and in words.
pub const COUNTS: &[(&str, &str)] = &[
    ("worlds", "worlds"),
    ("polls", "polls"),
    ("polls.blind", "polls after which a peer vouches for nothing"),
    ("rolls", "rolls"),
    ("rolls.unanimous", "unanimous rolls"),
    ("rolls.incomplete", "incomplete rolls"),
    ("rolls.stale", "rolls that found the mirror stale"),
    ("rolls.fork", "rolls that found a fork"),
    ("rolls.latched", "rolls refused because of a fork found before"),
    ("rolls.undecided", "rolls that came to no decision"),
    ("installs", "installs"),
    ("releases.due", "releases due"),
    ("releases.late", "releases late"),
    ("attacks", "attacks"),
    ("attacks.noticed", "attacks that a victim noticed"),
    ("attacks.evident", "attacks of which an honest node holds evidence"),
    ("attacks.installed", "attacks whose trojan was installed"),
    ("victims", "victims"),
    ("victims.noticed", "victims who noticed"),
    ("victims.installed", "victims who installed the trojan"),
    ("evidence.nodes", "nodes that hold evidence"),
];

/// What is measured in time, and in words.
pub const TIMES: &[(&str, &str)] = &[
    ("patch", "time from release to install"),
    ("roll", "length of a roll"),
    ("notice", "time from the attack's start until a victim notices"),
    ("trojan", "time from the attack's start until a victim installs the trojan"),
    ("public", "time from the attack's start until an honest peer holds the trojan's entry"),
    ("evidence.half", "time from the first evidence until half of all nodes hold it"),
    ("evidence.all", "time from the first evidence until all nodes hold it"),
];

/// Counts and distributions by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// How often something happened.
    pub counts: BTreeMap<String, u64>,
    /// How long something took, in milliseconds.
    pub times: BTreeMap<String, Histogram>,
}

/// A distribution of whole numbers, in bins of a fixed width in the logarithm: 32 to an octave,
/// exact below 64. A quantile read from it is at most 1/32 too high.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    bins: BTreeMap<u32, u64>,
    count: u64,
    sum: u128,
    squares: u128,
}

impl Results {
    /// One more, or many.
    pub fn add_count(&mut self, name: &str, more: u64) {
        *self.counts.entry(name.to_owned()).or_default() += more;
    }

    /// One more value of a distribution.
    pub fn add_time(&mut self, name: &str, value: u64) {
        self.times.entry(name.to_owned()).or_default().add(value);
    }

    /// Adds what somebody else counted and measured.
    pub fn merge(&mut self, other: &Results) {
        for (name, count) in &other.counts {
            self.add_count(name, *count);
        }
        for (name, times) in &other.times {
            self.times.entry(name.clone()).or_default().merge(times);
        }
    }
}

impl Histogram {
    /// One more value.
    pub fn add(&mut self, value: u64) {
        *self.bins.entry(bin_index(value)).or_default() += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.squares += u128::from(value) * u128::from(value);
    }

    /// Adds another distribution.
    pub fn merge(&mut self, other: &Histogram) {
        for (bin, count) in &other.bins {
            *self.bins.entry(*bin).or_default() += count;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, in milliseconds.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// How many values lie in the bins up to the one of `format_value`.
    pub fn count_to(&self, value: u64) -> u64 {
        self.bins.range(..=bin_index(value)).map(|(_, count)| count).sum()
    }

    /// Their mean; `None` if there are none.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The standard error of the mean; `None` for fewer than two values.
    pub fn standard_error(&self) -> Option<f64> {
        let (mean, count) = (self.mean()?, self.count as f64);
        let variance = (self.squares as f64 - count * mean * mean) / (count - 1.0);
        (self.count > 1).then(|| (variance.max(0.0) / count).sqrt())
    }

    /// The value that a fraction of all values does not exceed (the top of its bin).
    pub fn quantile(&self, fraction: f64) -> Option<u64> {
        self.value_at_rank(rank_of_fraction(fraction, self.count))
    }

    /// The value of this rank (from 1), by size: the top of its bin.
    pub fn value_at_rank(&self, rank: u64) -> Option<u64> {
        let mut seen = 0;
        self.bins.iter().find_map(|(bin, count)| {
            seen += count;
            (seen >= rank).then(|| bin_top(*bin))
        })
    }

    /// Each bin's top value, and how many values lie in it or below.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut seen = 0;
        self.bins.iter().map(move |(bin, count)| {
            seen += count;
            (bin_top(*bin), seen)
        })
    }
}

/// The least rank (from 1) at which a fraction of so many values is reached. What is whole but for
/// the rounding of fractions is whole.
pub fn rank_of_fraction(fraction: f64, count: u64) -> u64 {
    let exact = fraction * count as f64;
    let whole = exact.round();
    let rank = if (exact - whole).abs() < 1e-9 * whole.max(1.0) { whole } else { exact.ceil() };
    (rank as u64).max(1)
}

fn bin_index(value: u64) -> u32 {
    if value < 64 {
        return value as u32;
    }
    let octave = value.ilog2();
    let within = (value >> (octave - 5)) as u32 & 31;
    64 + (octave - 6) * 32 + within
}

fn bin_top(bin: u32) -> u64 {
    if bin < 64 {
        return bin.into();
    }
    let (octave, within) = (6 + (bin - 64) / 32, u64::from((bin - 64) % 32));
    let width = 1u64 << (octave - 5);
    (1u64 << octave) + within * width + (width - 1)
}
