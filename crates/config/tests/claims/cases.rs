//! The settings of generated test input.

use proptest::test_runner::{Config, RngSeed};

/// Settings for `cases` generated inputs, equal in every run. Failures leave no file.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default() }
}
