//! The sources of a cycle and their order: the configured mirrors, then the peers for what the mirrors lack.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom as _;
use unanimity_config::{ClientConfig, MirrorUrl};
use unanimity_net::{Mirror, WebConnector};
use unanimity_protocol::{Name, Peer, PublicKeyBytes, Round, TreeHead};

/// Each on circuits that nothing else of this node shares.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) mirrors: Vec<Mirror>,
    /// Those mirrors that are asked after the others, by name.
    pub(crate) deprioritized: BTreeSet<String>,
    /// What each peer keeps of the log for others.
    peers: Vec<(PublicKeyBytes, Mirror)>,
    /// Where peers serve artifacts to anyone.
    artifact_peers: Vec<Mirror>,
}

impl Sources {
    /// Without a `web` to reach them by, the peers serve nothing.
    pub(crate) fn new(
        config: &ClientConfig,
        mirrors: &[Mirror],
        web: Option<Arc<dyn WebConnector>>,
    ) -> Sources {
        let mirrors = mirrors.iter().map(Mirror::isolated).collect();
        let Some(web) = web else {
            return Sources { mirrors, ..Sources::default() };
        };
        let named = |name: &Name, site| Mirror::from_url(format!("peer {name}"), site, &web);
        let log = |peer: &Peer| {
            let key = peer.key.raw();
            Some((
                key,
                named(&peer.name, MirrorUrl::from_onion_key(config.addresses.get(&key)?.key)),
            ))
        };
        let peers = config.peers.iter().filter_map(log).collect();
        let artifact_peers = config.artifacts.iter().map(|(name, site)| named(name, site.clone()));
        Sources {
            mirrors,
            peers,
            artifact_peers: artifact_peers.collect(),
            deprioritized: BTreeSet::new(),
        }
    }

    /// In an order drawn anew, but for those who come last.
    pub(crate) fn shuffled_mirrors(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut mirrors = self.mirrors.clone();
        mirrors.shuffle(rng);
        mirrors.sort_by_cached_key(|mirror| self.deprioritized.contains(&mirror.to_string()));
        mirrors
    }

    /// Everybody who may have entries: the mirrors, and then the peers.
    pub(crate) fn log_sources(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let peers = self.peers.iter().map(|(_, mirror)| mirror.clone());
        self.shuffled_mirrors(rng).into_iter().chain(peers).collect()
    }

    /// The mirrors, and then those who have other things to do.
    pub(crate) fn artifact_sources(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut artifact_peers = self.artifact_peers.clone();
        artifact_peers.shuffle(rng);
        [self.shuffled_mirrors(rng), artifact_peers].concat()
    }

    /// Those whose view in a roll covers a head: what they keep of the log does too, or soon will.
    pub(crate) fn peers_covering(&self, round: &Round, head: &TreeHead) -> Vec<&Mirror> {
        let covers = |key: PublicKeyBytes| {
            round
                .cosigned_heads()
                .any(|view| view.cosigner() == key && view.head().size() >= head.size())
        };
        self.peers.iter().filter(|(key, _)| covers(*key)).map(|(_, mirror)| mirror).collect()
    }
}
