//! The hosts from which a cycle reads, and their order: the configured mirrors, then the peers for
//! files that the mirrors lack.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom as _;
use unanimity_config::{ClientConfig, MirrorUrl};
use unanimity_net::{Mirror, WebConnector};
use unanimity_protocol::{Name, Peer, PublicKeyBytes, Round, TreeHead};

/// The mirrors and peers from which a cycle reads. Each has circuits of its own.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) mirrors: Vec<Mirror>,
    /// The names of the mirrors that are asked after the others.
    pub(crate) deprioritized: BTreeSet<String>,
    /// Each peer's key, and the peer's copy of the log as a mirror.
    peers: Vec<(PublicKeyBytes, Mirror)>,
    /// The onion services at which peers serve artifacts to any node, as mirrors.
    artifact_peers: Vec<Mirror>,
}

impl Sources {
    /// Makes the sources from `mirrors` and the configured peers. Without `web`, it leaves the
    /// peers out.
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

    /// The mirrors in a random order, the deprioritized ones last.
    pub(crate) fn shuffled_mirrors(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut mirrors = self.mirrors.clone();
        mirrors.shuffle(rng);
        mirrors.sort_by_cached_key(|mirror| self.deprioritized.contains(&mirror.to_string()));
        mirrors
    }

    /// The hosts that may have log entries: the mirrors in a random order, then the peers.
    pub(crate) fn log_sources(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let peers = self.peers.iter().map(|(_, mirror)| mirror.clone());
        self.shuffled_mirrors(rng).into_iter().chain(peers).collect()
    }

    /// The hosts that may have artifacts: the mirrors, then the peers, both in a random order.
    pub(crate) fn artifact_sources(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut artifact_peers = self.artifact_peers.clone();
        artifact_peers.shuffle(rng);
        [self.shuffled_mirrors(rng), artifact_peers].concat()
    }

    /// The peers whose cosigned head in `round` is at least as large as `head`. Such a peer serves
    /// the entries below `head`, or soon will.
    pub(crate) fn peers_covering(&self, round: &Round, head: &TreeHead) -> Vec<&Mirror> {
        let covers = |key: PublicKeyBytes| {
            round
                .cosigned_heads()
                .any(|cosigned| cosigned.cosigner() == key && cosigned.head().size() >= head.size())
        };
        self.peers.iter().filter(|(key, _)| covers(*key)).map(|(_, mirror)| mirror).collect()
    }
}
