//! Claims about the simulator, one module for each part of it.
//!
//! They are one program, which links once.

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
