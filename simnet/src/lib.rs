//! A simulator of networks of `unanimity` nodes. It measures how likely and how soon a targeted
//! update is noticed, and what unanimity costs.
//!
//! A world is a [`Scenario`] and a [`Seed`], and nothing else. Availability of services, circuit
//! times and the heads that mirrors show are a pure function of both, in [`environment`]. Two tiers
//! live in that environment:
//!
//! 1. [`full`]: the shipped client and witness, over simulated byte streams in virtual time.
//! 2. [`population`]: up to a million nodes as numbers, with the same pure decisions.
//!
//! Both tiers report [`Event`]s. [`checkers`] and [`measure`] read only events, so both tiers are
//! checked and measured alike, and compared with each other.
//!
//! Other modules:
//!
//! - [`swarm`] makes random worlds for the full tier.
//! - [`study`] reads scenario files.
//! - [`sweep`] plays all worlds of a study, on one machine or many.
//! - [`report`] draws the results.
//! - [`validate`] compares the population with the formulas of [`closed_form`].

pub mod checkers;
pub mod cli;
pub mod closed_form;
pub mod engine;
pub mod environment;
pub mod full;
pub mod measure;
pub mod population;
pub mod report;
pub mod results;
pub mod scenario;
pub mod seed;
pub mod study;
pub mod swarm;
pub mod sweep;
mod time;
pub mod topology;
pub mod trace;
pub mod validate;

pub use environment::Environment;
pub use measure::play;
pub use results::Results;
pub use scenario::Scenario;
pub use seed::Seed;
pub use study::Study;
pub use time::Millis;
pub use trace::Event;
