//! The decision rules of a client's cycle. They need no keys or proofs, so that the simulator can
//! call the same code as the client.

pub mod admission;
pub mod confirmation;
pub mod head_choice;
