//! The peer role: follows a log through its own mirrors, and answers whoever asks from what it holds.
//!
//! It polls its own mirrors at random times and *never fetches because it was asked*: otherwise
//! an attacker with control of the mirrors could show every peer the fork just after the victim asks. Its head moves only along trees that its own mirrors served and that it has hashed
//! itself; a head heard from anybody else is never adopted and never cosigned.
//!
//! It also stores the entries below its head. It serves tree and entries as a mirror does ([`file_view`]), for
//! listed clients without another mirror.

mod answer;
mod entry_files;
mod entry_store;
pub mod file_view;
mod witness;

pub use answer::{FRAME_TIMEOUT, MAX_QUESTIONS, MAX_STREAMS, MIN_CONNECTION_HOLD, STREAM_TIMEOUT};
pub use witness::{HeadRelation, PollOutcome, Witness, WitnessConfig, WitnessError};
