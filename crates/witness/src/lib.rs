//! The witness role: follows a log through its own mirrors, and answers peers from its stored
//! state.
//!
//! The witness polls its mirrors at random times and *never fetches because of a question*.
//! Otherwise an attacker with control of the mirrors could show the victim's fork to every witness,
//! just after the victim asks.
//!
//! The head moves only along trees that the witness's own mirrors served and that the witness has
//! hashed itself. A head from any other source is never adopted and never cosigned.
//!
//! The witness also stores the entries below its head. It serves the tree and the entries as a
//! mirror does ([`file_view`]), for listed clients without another mirror.

mod answer;
mod entry_files;
mod entry_store;
pub mod file_view;
mod witness;

pub use answer::{FRAME_TIMEOUT, MAX_QUESTIONS, MAX_STREAMS, MIN_CONNECTION_HOLD, STREAM_TIMEOUT};
pub use witness::{HeadRelation, PollOutcome, Witness, WitnessConfig, WitnessError};
