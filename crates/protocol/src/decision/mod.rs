//! The rules of a cycle, without keys or proofs: the client and the simulator call the same ones.

pub mod admission;
pub mod confirmation;
pub mod head_choice;
