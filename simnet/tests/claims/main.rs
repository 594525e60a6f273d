//! What is claimed of the simulator.

mod real;
mod swarm;
