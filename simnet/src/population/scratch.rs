//! Lists that every decision fills anew.

use unanimity_protocol::decision::confirmation::Confirmation;

use super::kept::Entry;
use super::tree::Tree;

/// A release that could be installed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    pub(super) index: u32,
    pub(super) chain: u8,
}

/// Lists that every decision fills anew.
#[derive(Default)]
pub(super) struct Scratch {
    /// What each peer's answer amounts to as a view; none for one that does not count.
    pub(super) latest: Vec<Entry>,
    pub(super) standings: Vec<Confirmation>,
    pub(super) settled: Vec<Confirmation>,
    pub(super) heads: Vec<Tree>,
    pub(super) views: Vec<Tree>,
    pub(super) candidates: Vec<Release>,
}
