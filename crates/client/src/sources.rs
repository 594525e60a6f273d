//! The sources of a cycle and their order: the configured mirrors, then the peers for what the mirrors lack.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom as _;
use unanimity_config::{Config, Site};
use unanimity_net::{Mirror, Web};
use unanimity_protocol::{Name, Peer, PublicKeyBytes, Round, TreeHead};

/// Each on circuits that nothing else of this node shares.
#[derive(Default)]
pub(crate) struct Hosts {
    pub(crate) mirrors: Vec<Mirror>,
    /// Those mirrors that are asked after the others, by name.
    pub(crate) last: BTreeSet<String>,
    /// What each peer keeps of the log for others.
    peers: Vec<(PublicKeyBytes, Mirror)>,
    /// Where peers serve artifacts to anyone.
    shelves: Vec<Mirror>,
}

impl Hosts {
    /// Without a `web` to reach them by, the peers serve nothing.
    pub(crate) fn new(config: &Config, mirrors: &[Mirror], web: Option<Arc<dyn Web>>) -> Hosts {
        let mirrors = mirrors.iter().map(Mirror::anew).collect();
        let Some(web) = web else {
            return Hosts { mirrors, ..Hosts::default() };
        };
        let named = |name: &Name, site| Mirror::named(format!("peer {name}"), site, &web);
        let log = |peer: &Peer| {
            let key = peer.key.raw();
            Some((key, named(&peer.name, Site::onion(config.addresses.get(&key)?.key))))
        };
        let peers = config.peers.iter().filter_map(log).collect();
        let shelves = config.artifacts.iter().map(|(name, site)| named(name, site.clone()));
        Hosts { mirrors, peers, shelves: shelves.collect(), last: BTreeSet::new() }
    }

    /// In an order drawn anew, but for those who come last.
    pub(crate) fn mirrors_in_any_order(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut mirrors = self.mirrors.clone();
        mirrors.shuffle(rng);
        mirrors.sort_by_cached_key(|mirror| self.last.contains(&mirror.to_string()));
        mirrors
    }

    /// Everybody who may have entries: the mirrors, and then the peers.
    pub(crate) fn of_the_log(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let peers = self.peers.iter().map(|(_, mirror)| mirror.clone());
        self.mirrors_in_any_order(rng).into_iter().chain(peers).collect()
    }

    /// The mirrors, and then those who have other things to do.
    pub(crate) fn of_artifacts(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut shelves = self.shelves.clone();
        shelves.shuffle(rng);
        [self.mirrors_in_any_order(rng), shelves].concat()
    }

    /// Those whose view in a roll covers a head: what they keep of the log does too, or soon will.
    pub(crate) fn peers_with(&self, roll: &Round, head: &TreeHead) -> Vec<&Mirror> {
        let covers = |key: PublicKeyBytes| {
            roll.views().any(|view| view.cosigner() == key && view.head().size() >= head.size())
        };
        self.peers.iter().filter(|(key, _)| covers(*key)).map(|(_, mirror)| mirror).collect()
    }
}
