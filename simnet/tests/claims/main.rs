//! The simulator's claims, one module for each room.

mod engine;
mod measure;
mod population;
