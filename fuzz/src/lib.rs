//! Checks of the fuzz targets, one module for each target. Each module's `check` takes the fuzzer's
//! bytes, and panics if a parser breaks a promise.
//!
//! Every target asserts more than the absence of panics:
//!
//! - A parsed value prints to a text that parses to an equal value.
//! - Bounds hold.
//! - If a format has a second reader, the two agree, or our reader refuses for a documented reason.
//!
//! [`keys`] has the fixed keys of a log, its publishers and peers. [`repair`] renews the signatures
//! and lengths of an input, so that a changed input passes the parsers' checks of them. [`seeds`]
//! has the valid objects from which the fuzzer starts.

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
/// The testkit's file, included by path, because a dependency on the testkit would double the build
/// of this crate.
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
