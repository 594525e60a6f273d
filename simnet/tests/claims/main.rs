//! What is claimed of the simulator, as tests. One binary, so that they link once.

mod commands;
mod report;
mod scenario;
mod studies;
mod sweep;
