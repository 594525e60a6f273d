//! The hosts of tiles: mirrors and peers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::Mutex;
use tokio::time::timeout;
use unanimity_config::{ClientConfig, OnionAddress};
use unanimity_log::{TileReader, TileSource, hedged};
use unanimity_net::message::{Answer, Question};
use unanimity_net::{
    Mirror, Transport,
    message::{self},
};
use unanimity_protocol::{Tile, TreeHead};

/// A host of tiles: a mirror or a peer. Every tile is verified, so no host is trusted.
pub(crate) enum TileHost<'a, T: Transport> {
    Mirror(&'a Mirror),
    Peer {
        config: &'a ClientConfig,
        transport: &'a T,
        address: &'a OnionAddress,
        stream: Mutex<Option<T::Stream>>,
        /// Whether the peer missed a deadline. A stalled peer is not asked again.
        stalled: AtomicBool,
    },
}

impl<T: Transport> TileSource for TileHost<'_, T> {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        match self {
            TileHost::Mirror(mirror) => mirror.tile(tile).await,
            TileHost::Peer { config, transport, address, stream, stalled } => {
                let mut stream = stream.lock().await;
                if stalled.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let exchange = async {
                    let mut open = match stream.take() {
                        Some(open) => open,
                        None => transport.dial(address).await?,
                    };
                    let question = Question::Tile(config.cycle.policy.log.id(), tile);
                    let answer =
                        message::exchange(&mut open, &question).await.map_err(io::Error::other)?;
                    Ok::<_, io::Error>((open, answer))
                };
                // A stream that failed or stalled is dropped with the exchange.
                let exchanged = timeout(config.cycle.ask_timeout, exchange).await;
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

/// All hosts that may serve tiles: the mirrors, then the peers. The client connects to a peer when
/// it first asks this peer for a tile.
pub(crate) struct TileSources<'a, T: Transport>(Vec<TileReader<TileHost<'a, T>>>);

impl<'a, T: Transport> TileSources<'a, T> {
    pub(crate) fn new(config: &'a ClientConfig, transport: &'a T, mirrors: &[&'a Mirror]) -> Self {
        let mirrors = mirrors.iter().map(|mirror| TileHost::Mirror(mirror));
        let peers = config.addresses.values().map(|address| TileHost::Peer {
            config,
            transport,
            address,
            stream: Mutex::new(None),
            stalled: AtomicBool::new(false),
        });
        TileSources(mirrors.chain(peers).map(TileReader::new).collect())
    }

    /// Finds a host whose tiles hash to a head's root, or `None` if there is no such host.
    pub(crate) async fn find_host(&self, head: &TreeHead) -> Option<&TileReader<TileHost<'a, T>>> {
        let found = hedged(0..self.0.len(), |which| {
            let serves = self.0[which].matches_head(head);
            serves.map(move |serves| if serves { Ok(which) } else { Err(()) }).boxed()
        });
        found.await.ok().map(|which| &self.0[which])
    }

    /// Iterates over `first`, then over all hosts. Even if `first` proves a head, it may lack a
    /// tile.
    pub(crate) fn starting_with<'s>(
        &'s self,
        first: &'s TileReader<TileHost<'a, T>>,
    ) -> impl Iterator<Item = &'s TileReader<TileHost<'a, T>>> {
        std::iter::once(first).chain(&self.0)
    }
}
