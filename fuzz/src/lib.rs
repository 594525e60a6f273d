//! What the fuzz targets check, one module a target: `check` takes the fuzzer's bytes and panics
//! where a parser breaks a promise.
//!
//! Every target asserts more than that nothing panics. What parses is printed and parses again to an
//! equal value. Bounds hold. Where another reader of a format exists, the two agree, or ours refuses
//! for a documented reason.
//!
//! [`keys`] are the fixed keys of a log, its publishers and peers. [`repair`] signs and counts anew
//! what the fuzzer changed, so that a change gets past the signatures. [`seeds`] are real objects
//! that the fuzzer starts from.

pub mod archive;
pub mod bundle;
pub mod checkpoint;
pub mod config;
pub mod entries;
pub mod evidence;
pub mod http;
pub mod identity;
pub mod invite;
pub mod journal;
pub mod keys;
pub mod message;
pub mod note;
pub mod peers;
pub mod proof;
pub mod repair;
pub mod request;
/// The testkit's file: a dependency on the whole testkit would double what is built here.
#[path = "../../crates/testkit/src/rfc6962.rs"]
pub mod rfc6962;
mod scratch;
pub mod seeds;
pub mod spool;
pub mod state;
pub mod statement;
pub mod stream;
pub mod tile;
pub mod value;
