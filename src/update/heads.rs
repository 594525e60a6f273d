//! Joining all heads that were heard, with tiles of whoever has them.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::UpdateError;
use crate::config::Config;
use crate::log::Tiles;
use crate::log::reader::Cached;
use crate::net::mirror::race;
use crate::net::wire::{self, Answer, Question};
use crate::net::{Mirror, OnionAddress, Transport};
use unanimity_protocol::consistency::Link;
use unanimity_protocol::proof_bundle::Proofs;
use unanimity_protocol::{Agreed, Bundle, Chain, Evidence, Head, Logged, Signed, Tile, View};

/// A host of tiles: a mirror, or a peer. What it serves is verified, so it does not matter which.
pub(super) enum Source<'a, T: Transport> {
    Mirror(&'a Mirror),
    Peer {
        config: &'a Config,
        transport: &'a T,
        address: &'a OnionAddress,
        stream: Mutex<Option<T::Stream>>,
        /// Missed a deadline, and is not waited for again.
        stalled: AtomicBool,
    },
}

impl<T: Transport> Tiles for Source<'_, T> {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        match self {
            Source::Mirror(mirror) => mirror.tile(tile).await,
            Source::Peer { config, transport, address, stream, stalled } => {
                let mut stream = stream.lock().await;
                if stalled.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let exchange = async {
                    let mut open = match stream.take() {
                        Some(open) => open,
                        None => transport.dial(address).await?,
                    };
                    let question = Question::Tile(config.policy.log.id(), tile);
                    let answer = wire::ask(&mut open, &question).await.map_err(io::Error::other)?;
                    Ok::<_, io::Error>((open, answer))
                };
                // A stream that failed or stalled is dropped with the exchange.
                let exchanged = timeout(config.ask_timeout, exchange).await;
                stalled.store(exchanged.is_err(), Ordering::Relaxed);
                let (open, answer) = exchanged??;
                *stream = Some(open);
                match answer {
                    Answer::Tile(bytes) => Ok(bytes),
                    _ => Err(io::Error::new(io::ErrorKind::NotFound, "the peer has no such tile")),
                }
            }
        }
    }
}

/// Everybody who may serve tiles: the mirrors, then the peers. Nobody is connected to before
/// the first question.
pub(super) struct Sources<'a, T: Transport>(Vec<Cached<Source<'a, T>>>);

impl<'a, T: Transport> Sources<'a, T> {
    pub(super) fn new(config: &'a Config, transport: &'a T, mirrors: &[&'a Mirror]) -> Self {
        let mirrors = mirrors.iter().map(|mirror| Source::Mirror(mirror));
        let peers = config.addresses.values().map(|address| Source::Peer {
            config,
            transport,
            address,
            stream: Mutex::new(None),
            stalled: AtomicBool::new(false),
        });
        Sources(mirrors.chain(peers).map(Cached::new).collect())
    }

    /// The first whose tiles hash up to a head's root.
    pub(super) async fn serving(&self, head: &Head) -> Option<&Cached<Source<'a, T>>> {
        let found = race(0..self.0.len(), |which| {
            let serves = self.0[which].serves(head);
            serves.map(move |serves| if serves { Ok(which) } else { Err(()) }).boxed()
        });
        found.await.ok().map(|which| &self.0[which])
    }

    /// All of them, and first the one that has proved to be of use. It may still lack a tile.
    pub(super) fn starting_with<'s>(
        &'s self,
        first: &'s Cached<Source<'a, T>>,
    ) -> impl Iterator<Item = &'s Cached<Source<'a, T>>> {
        std::iter::once(first).chain(&self.0)
    }
}

/// The heads, joined.
pub(super) struct Joined<'s, 'a, T: Transport> {
    /// The head that is adopted for this cycle, with all that are prefixes of it.
    pub(super) chain: Chain,
    /// Who serves that head's tiles.
    pub(super) source: &'s Cached<Source<'a, T>>,
    /// Heads that nobody's tiles tie to the others.
    pub(super) untied: Vec<Head>,
}

/// Joins the heads, or finds that two of them contradict each other. `None` if nobody serves
/// tiles that hash up to any of them.
///
/// One hash is all that some roots need, so a head can look served and be tied to nothing. The
/// chain is therefore the one that holds the heads we trust, then the most of the peers' `views`,
/// then the largest; what it does not hold is untied, and its peers do not confirm.
pub(super) async fn join<'s, 'a, T: Transport>(
    mut heads: Vec<Head>,
    trusted: &[Head],
    views: &[Head],
    sources: &'s Sources<'a, T>,
) -> Result<Option<Joined<'s, 'a, T>>, Box<Evidence>> {
    heads.sort_by_key(|head| (std::cmp::Reverse(head.size()), *head.root()));
    heads.dedup();
    for pair in heads.windows(2) {
        if let Some(evidence) = Evidence::of(&pair[0], &pair[1], &[]) {
            return Err(Box::new(evidence));
        }
    }
    let mut best: Option<((usize, usize, usize), Joined<'s, 'a, T>)> = None;
    for (i, head) in heads.iter().enumerate() {
        let Some(source) = sources.serving(head).await else { continue };
        let mut chain = Chain::new(head.clone());
        for older in &heads[i + 1..] {
            if let Link::Fork(evidence) = link(&mut chain, older, source, sources).await {
                return Err(evidence);
            }
        }
        let held = |heads: &[Head]| heads.iter().filter(|head| chain.holds(head)).count();
        let holds = (held(trusted), held(views), held(&heads));
        let all = holds == (trusted.len(), views.len(), heads.len() - i);
        if best.as_ref().is_none_or(|(most, _)| *most < holds) {
            let untied = heads.iter().filter(|head| !chain.holds(head)).cloned().collect();
            best = Some((holds, Joined { chain, source, untied }));
        }
        // No other can hold more.
        if all {
            break;
        }
    }
    Ok(best.map(|(_, joined)| joined))
}

/// Links one head, with the tiles of `first` or, where those are of no use, anybody's.
async fn link<T: Transport>(
    chain: &mut Chain,
    head: &Head,
    first: &Cached<Source<'_, T>>,
    sources: &Sources<'_, T>,
) -> Link {
    for source in sources.starting_with(first) {
        let Ok(path) = source.path(head.size(), chain.head()).await else { continue };
        match chain.link(head, &path) {
            Link::Unproven => {}
            shown => return shown,
        }
    }
    Link::Unproven
}

/// Proves that a release is in the chain's head, with the tiles of the first host whose tiles do.
pub(super) async fn logged<'s, 'a: 's, T: Transport + 'a>(
    signed: &Signed,
    chain: &Chain,
    trusted: Option<&Head>,
    hosts: impl Iterator<Item = &'s Cached<Source<'a, T>>>,
) -> Result<Logged, UpdateError> {
    let (index, size) = (signed.index(), chain.head().size());
    let mut problems = Vec::new();
    for host in hosts {
        match host.inclusion(index, size, size).await {
            Ok(proof) => match signed.clone().logged(chain, trusted, &proof) {
                Ok(logged) => return Ok(logged),
                Err(refusal) => problems.push(refusal.to_string()),
            },
            Err(error) => problems.push(error.to_string()),
        }
    }
    Err(UpdateError::Mirrors(problems))
}

/// The proof bundle of what was agreed on: one that verifies, from the first host whose tiles
/// make one.
pub(super) async fn bundle<'s, 'a: 's, T: Transport + 'a>(
    agreed: &Agreed,
    config: &Config,
    hosts: impl Iterator<Item = &'s Cached<Source<'a, T>>>,
) -> Result<Bundle, UpdateError> {
    let mut problems = Vec::new();
    for host in hosts {
        match bundle_of(agreed, host).await {
            Ok(bundle) => match bundle.verify(&config.policy, &config.peers, &config.limits) {
                Ok(_) => return Ok(bundle),
                Err(refusal) => problems.push(refusal.to_string()),
            },
            Err(error) => problems.push(format!("tiles for the proof: {error}")),
        }
    }
    Err(UpdateError::Mirrors(problems))
}

async fn bundle_of<T: Transport>(
    agreed: &Agreed,
    source: &Cached<Source<'_, T>>,
) -> io::Result<Bundle> {
    let (head, index) = (agreed.head(), agreed.entry().index);
    let views = agreed.rolls().into_iter().flat_map(|roll| roll.views());
    let mut sizes: BTreeSet<u64> = views.map(|view: &View| view.head().size()).collect();
    let mut proofs = Proofs::default();
    for &size in &sizes {
        if size < head.size() {
            proofs.paths.insert(size, source.path(size, head).await?);
        }
    }
    sizes.insert(head.size());
    for size in sizes {
        proofs.inclusion.insert(size, source.inclusion(index, size, head.size()).await?);
    }
    Ok(Bundle::of(agreed, &proofs))
}
