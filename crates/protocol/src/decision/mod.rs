//! The rules of a cycle without keys and proofs, called by the client and by the simulator.

pub mod admission;
pub mod confirmation;
pub mod head_choice;
