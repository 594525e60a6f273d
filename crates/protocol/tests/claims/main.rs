//! What the protocol crate promises, as tests: each is named for what it says.

mod bundles;
mod catalog;
mod checkpoints;
mod evidence;
mod fixtures;
mod head_choice;
mod joining;
mod keys;
mod manifests;
mod notes;
mod rolls;
mod stages;
mod tree;
mod vectors;
mod withdrawals;
