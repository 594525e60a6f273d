//! The claims about the protocol crate, as tests. The name of a test is its claim.

mod bundles;
mod catalog;
mod checkpoints;
mod cosigned_heads;
mod evidence;
mod fixtures;
mod head_choice;
mod keys;
mod manifests;
mod notes;
mod rounds;
mod stages;
mod tree;
mod vectors;
mod withdrawals;
