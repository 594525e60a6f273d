//! What is true, decided from bytes and a time alone.

mod bundles;
mod catalog;
mod checkpoints;
mod evidence;
pub(crate) mod fixtures;
mod joining;
mod keys;
mod manifests;
mod notes;
mod rolls;
mod stages;
mod tree;
mod withdrawals;
