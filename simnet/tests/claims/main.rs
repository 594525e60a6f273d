//! The simulator's claims, one module for each room.

mod agreement;
mod engine;
mod measure;
mod population;
mod real;
mod swarm;
