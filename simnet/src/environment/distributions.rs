//! Distributions of times, computed from uniform random numbers.

use crate::Millis;

/// The limit of drawn times: longer than any deadline, and short enough to be added to any time.
const MAX_MILLIS: Millis = 1 << 40;

/// A uniform time in whole milliseconds, both ends included.
pub(super) fn uniform_millis(unit: f64, least: Millis, most: Millis) -> Millis {
    least + (unit * (most - least + 1) as f64) as Millis
}

/// A lognormal time by Box and Muller (1958), rounded up to a whole millisecond.
pub(super) fn lognormal_millis((median, sigma): (Millis, f64), a: f64, b: f64) -> Millis {
    let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    ((median as f64 * (sigma * normal).exp()).ceil() as Millis).min(MAX_MILLIS)
}
