//! The simulator's claims, one module for each room. One binary, so that they link once.

mod agreement;
mod attacks;
mod commands;
mod engine;
mod faults;
mod full;
mod golden;
mod measure;
mod population;
mod report;
mod scenario;
mod studies;
mod swarm;
mod sweep;
mod tor;
mod validate;
