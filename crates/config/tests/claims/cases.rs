//! Generated input.

use proptest::test_runner::{Config, RngSeed};

/// Generated input, the same in every run and with nothing written down.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default() }
}
