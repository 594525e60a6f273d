//! Counts and time distributions of worlds. They merge exactly: in any order, to the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name and description of every count.
pub const COUNTS: &[(&str, &str)] = &[
    ("worlds", "worlds"),
    ("polls", "polls"),
    ("polls.no_fresh_head", "polls after which a peer has no fresh head"),
    ("rounds", "rounds"),
    ("rounds.unanimous", "unanimous rounds"),
    ("rounds.incomplete", "incomplete rounds"),
    ("rounds.stale", "rounds that found the mirror stale"),
    ("rounds.fork", "rounds that found a fork"),
    ("rounds.latched", "rounds refused because of a fork that was found before"),
    ("rounds.undecided", "rounds without a decision"),
    ("installs", "installs"),
    ("releases.due", "releases due"),
    ("releases.late", "releases late"),
    ("attacks", "attacks"),
    ("attacks.noticed", "attacks that a victim noticed"),
    ("attacks.evident", "attacks after which an honest node holds evidence"),
    ("attacks.installed", "attacks whose trojan was installed"),
    ("victims", "victims"),
    ("victims.noticed", "victims that noticed"),
    ("victims.installed", "victims that installed the trojan"),
    ("evidence.nodes", "nodes that hold evidence"),
];

/// Name and description of every distribution of times.
pub const TIMES: &[(&str, &str)] = &[
    ("patch", "time from release to install"),
    ("round", "length of a round"),
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
    /// Counts, by a name of [`COUNTS`].
    pub counts: BTreeMap<String, u64>,
    /// Distributions of times in milliseconds, by a name of [`TIMES`].
    pub times: BTreeMap<String, Histogram>,
}

/// A distribution of whole numbers, in bins of fixed logarithmic width: 32 for each octave, exact
/// below 64. A quantile is at most 1/32 too high.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    bins: BTreeMap<u32, u64>,
    count: u64,
    sum: u128,
    squares: u128,
}

impl Results {
    /// Adds `more` to a count.
    pub fn add_count(&mut self, name: &str, more: u64) {
        *self.counts.entry(name.to_owned()).or_default() += more;
    }

    /// Adds a value to a distribution.
    pub fn add_time(&mut self, name: &str, value: u64) {
        self.times.entry(name.to_owned()).or_default().add(value);
    }

    /// Adds the counts and distributions of other worlds.
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
    /// Adds a value.
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

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values, in milliseconds.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The number of values in the bins up to that of `value`.
    pub fn count_to(&self, value: u64) -> u64 {
        self.bins.range(..=bin_index(value)).map(|(_, count)| count).sum()
    }

    /// The mean of all values; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The standard error of the mean; `None` for fewer than two values.
    pub fn standard_error(&self) -> Option<f64> {
        let (mean, count) = (self.mean()?, self.count as f64);
        let variance = (self.squares as f64 - count * mean * mean) / (count - 1.0);
        (self.count > 1).then(|| (variance.max(0.0) / count).sqrt())
    }

    /// The value that a fraction of all values does not exceed: the top of its bin. `None` without
    /// values.
    pub fn quantile(&self, fraction: f64) -> Option<u64> {
        self.value_at_rank(rank_of_fraction(fraction, self.count))
    }

    /// The value at a rank in ascending order, from 1: the top of its bin. `None` if there are
    /// fewer values.
    pub fn value_at_rank(&self, rank: u64) -> Option<u64> {
        let mut seen = 0;
        self.bins.iter().find_map(|(bin, count)| {
            seen += count;
            (seen >= rank).then(|| bin_top(*bin))
        })
    }

    /// The top value of each bin, and the number of values in this bin and below.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut seen = 0;
        self.bins.iter().map(move |(bin, count)| {
            seen += count;
            (bin_top(*bin), seen)
        })
    }
}

/// The lowest rank (from 1) at which a fraction of `count` values is reached. A rank that is whole
/// except for a rounding error counts as whole.
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
