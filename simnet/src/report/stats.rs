//! Estimates over worlds, with 95% confidence intervals.
//!
//! Worlds are independent, and cases within a world are not. So a fraction of many cases in few
//! worlds is less certain than one of as many independent cases. Its variance is the variance
//! between worlds (of a ratio of sums, by linearisation). The interval is Wilson's, with as many
//! trials as give this variance (Korn and Graubard 1998). With one trial in each world it is
//! Wilson's interval (1927).

use crate::Results;
use crate::results::{Histogram, rank_of_fraction};
use crate::study::{PlotMeasure, Quantity};

/// The 97.5% quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// An estimate with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate; infinite for a time that is not reached within the observed time.
    pub value: f64,
    /// The 95% interval; `None` if it needs the variance between worlds and there is one world
    /// only. The upper end may be infinite.
    pub interval: Option<(f64, f64)>,
    /// The number of worlds.
    pub worlds: usize,
    /// Whether the estimate is a fraction with many cases in a world, and 0 or 1 in every world.
    /// Each world then counts as one trial, so the interval is as wide as if all cases of a world
    /// happened together.
    pub extreme: bool,
}

/// Numerator and denominator of a ratio in one world.
type RatioTerms = (f64, f64);

/// Estimates a measure from worlds; `None` if the worlds have no case of it.
pub fn estimate(measure: &PlotMeasure, worlds: &[&Results]) -> Option<Estimate> {
    match &measure.quantity {
        Quantity::Count(name) => {
            let of = measure.denominator.as_deref()?;
            let pairs = worlds.iter().map(|world| (count(world, name), count(world, of)));
            let pairs: Vec<RatioTerms> = pairs.collect();
            if measure.is_fraction() { fraction(&pairs) } else { ratio(&pairs) }
        }
        Quantity::Mean(name) => {
            let times = worlds.iter().filter_map(|world| world.times.get(name));
            let pairs = times.map(|times| (times.sum() as f64, times.count() as f64));
            ratio(&pairs.collect::<Vec<RatioTerms>>())
        }
        Quantity::Quantile(name, q) => quantile(worlds, name, measure.denominator.as_deref(), *q),
        Quantity::Time(_) => None,
    }
}

/// The merged distribution of all worlds, and the number of all cases, including those that never
/// ended. `None` if the measure has no times, or there is no case.
pub fn pool_times(measure: &PlotMeasure, worlds: &[&Results]) -> Option<(Histogram, u64)> {
    let (Quantity::Time(name) | Quantity::Mean(name) | Quantity::Quantile(name, _)) =
        &measure.quantity
    else {
        return None;
    };
    let mut all = Histogram::default();
    for times in worlds.iter().filter_map(|world| world.times.get(name)) {
        all.merge(times);
    }
    let of = match &measure.denominator {
        Some(of) => worlds.iter().map(|world| count(world, of) as u64).sum(),
        None => all.count(),
    };
    (of > 0).then_some((all, of))
}

fn count(world: &Results, name: &str) -> f64 {
    world.counts.get(name).copied().unwrap_or(0) as f64
}

fn fraction(pairs: &[RatioTerms]) -> Option<Estimate> {
    let (p, n) = ratio_of_sums(pairs)?;
    let worlds = pairs.iter().filter(|(_, of)| *of > 0.0).count();
    let interval =
        effective_trials(pairs, p).map(|(trials, z)| wilson_interval(p, trials.min(n), z));
    let many = pairs.iter().any(|(_, of)| *of > 1.0);
    Some(Estimate { value: p, interval, worlds, extreme: many && (p <= 0.0 || p >= 1.0) })
}

fn ratio(pairs: &[RatioTerms]) -> Option<Estimate> {
    let (value, _) = ratio_of_sums(pairs)?;
    let worlds = pairs.iter().filter(|(_, of)| *of > 0.0).count();
    let half =
        variance(pairs, value).map(|variance| student_quantile(worlds - 1) * variance.sqrt());
    let interval = half.map(|half| ((value - half).max(0.0), value + half));
    Some(Estimate { value, interval, worlds, extreme: false })
}

/// Estimates a quantile. Its interval is the inverse of the fraction's interval (Woodruff 1952).
fn quantile(worlds: &[&Results], name: &str, of: Option<&str>, q: f64) -> Option<Estimate> {
    let of = of.map(str::to_owned);
    let measure =
        PlotMeasure { quantity: Quantity::Time(name.to_owned()), denominator: of.clone() };
    let (all, total) = pool_times(&measure, worlds)?;
    // The time at which this fraction of all cases had ended.
    let at = |fraction: f64| {
        all.value_at_rank(rank_of_fraction(fraction, total)).map_or(f64::INFINITY, |ms| ms as f64)
    };
    let value = at(q);
    let pairs = worlds.iter().map(|world| {
        let times = world.times.get(name);
        let below = times.map_or(0, |times| match value.is_finite() {
            true => times.count_to(value as u64),
            false => times.count(),
        });
        let count_of = |of: &str| count(world, of);
        let ended = times.map_or(0.0, |times| times.count() as f64);
        (below as f64, of.as_deref().map_or(ended, count_of))
    });
    let pairs: Vec<RatioTerms> = pairs.collect();
    let (reached, n) = ratio_of_sums(&pairs)?;
    let interval = effective_trials(&pairs, reached).map(|(trials, z)| {
        let (low, high) = wilson_interval(q, trials.min(n), z);
        (at(low), at(high))
    });
    let worlds = pairs.iter().filter(|(_, of)| *of > 0.0).count();
    Some(Estimate { value, interval, worlds, extreme: false })
}

fn ratio_of_sums(pairs: &[RatioTerms]) -> Option<(f64, f64)> {
    let above: f64 = pairs.iter().map(|pair| pair.0).sum();
    let below: f64 = pairs.iter().map(|pair| pair.1).sum();
    (below > 0.0).then(|| (above / below, below))
}

/// The variance of a ratio of sums over worlds; `None` for a single world.
fn variance(pairs: &[RatioTerms], ratio: f64) -> Option<f64> {
    let used = pairs.iter().filter(|(_, of)| *of > 0.0);
    let worlds = used.clone().count() as f64;
    let below: f64 = used.clone().map(|pair| pair.1).sum();
    let squares: f64 = used.map(|(above, of)| (above - ratio * of).powi(2)).sum();
    (worlds > 1.0).then(|| worlds / (worlds - 1.0) * squares / (below * below))
}

/// The number of independent trials that would have the same variance as the fraction, and the
/// factor of the standard deviation for the interval.
fn effective_trials(pairs: &[RatioTerms], p: f64) -> Option<(f64, f64)> {
    let used: Vec<&RatioTerms> = pairs.iter().filter(|(_, of)| *of > 0.0).collect();
    if used.iter().all(|(_, of)| *of <= 1.0) {
        return Some((used.len() as f64, Z));
    }
    let variance = variance(pairs, p)?;
    // If the fraction is 0 or 1 in all worlds, the variance is 0, so each world counts as one
    // trial.
    match p <= 0.0 || p >= 1.0 {
        true => Some((used.len() as f64, Z)),
        false => Some((p * (1.0 - p) / variance, student_quantile(used.len() - 1))),
    }
}

/// Wilson's interval of a fraction `p` of `n` trials.
pub fn wilson_interval(p: f64, n: f64, z: f64) -> (f64, f64) {
    let squared = z * z;
    let middle = p + squared / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + squared / (4.0 * n * n)).sqrt();
    let whole = 1.0 + squared / n;
    (((middle - half) / whole).clamp(0.0, p), ((middle + half) / whole).clamp(p, 1.0))
}

/// The 97.5% quantile of Student's t. Up to 10 degrees of freedom it is a table, then the expansion
/// of Cornish and Fisher in 1/df, with an error below 0.001.
pub fn student_quantile(degrees: usize) -> f64 {
    const TABLE: [f64; 10] =
        [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    match degrees {
        0 => f64::INFINITY,
        few if few <= TABLE.len() => TABLE[few - 1],
        many => {
            let df = many as f64;
            let (z3, z5) = (Z.powi(3), Z.powi(5));
            let second = (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / 96.0;
            let third = (3.0 * Z.powi(7) + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / 384.0;
            Z + (z3 + Z) / 4.0 / df + second / df.powi(2) + third / df.powi(3)
        }
    }
}
