//! A laboratory for `unanimity`: how likely is a targeted update noticed, by whom and when, and
//! what does unanimity cost.
//!
//! A world is a [`Scenario`] and a [`Seed`], and nothing else. What happens around the nodes (who
//! is up, how long a circuit takes, what a mirror shows to whom) is a pure function of both, in
//! [`environment`]. Two tiers live in that environment:
//!
//! 1. [`full`]: the client and the peer that ship, over simulated byte streams in virtual time.
//! 2. [`population`]: a million nodes as numbers, with the same pure decisions.
//!
//! Both tell what happened as [`Event`]s. [`checkers`] and [`format_measure_events`] know those and nothing of
//! how they came about; so both tiers are checked and measured alike, and compared with each other.
//!
//! Around them: [`swarm`] makes random worlds for the first tier, [`study`] reads scenario files,
//! [`run_run_swarm`] plays all their worlds on one machine or many, [`report`] draws what came of it, and
//! [`validate`] holds the second tier against what is known without it, the formulas of [`closed_form`].

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
