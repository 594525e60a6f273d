//! Who reaches whom, when: the nodes' Tor.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use unanimity_config::OnionAddress;
use unanimity_net::Transport;

use super::hub::node_at;
use super::line::Line;
use super::world::World;
use crate::environment::Connect;
use crate::scenario::fault::Kind;

/// One node's way to the others. Each cycle is told when it begins.
pub(super) struct Tor {
    pub(super) world: Arc<World>,
    pub(super) node: u32,
    /// The cycle, how often each peer was dialled in it, and whether the roll is closed.
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    cycle: u64,
    tries: BTreeMap<u32, u64>,
    closed: bool,
}

impl Tor {
    pub(super) fn new(world: &Arc<World>, node: u32) -> Tor {
        Tor { world: world.clone(), node, progress: Mutex::default() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the peers are asked for views, in the model's time.
    pub(super) fn begin(&self, cycle: u64) {
        *self.progress() = Progress { cycle, ..Progress::default() };
    }

    /// From here on they are asked for tiles, which costs no time.
    pub(super) fn close(&self) {
        self.progress().closed = true;
    }
}

impl Transport for Tor {
    type Stream = Line;

    async fn dial(&self, to: &OnionAddress) -> io::Result<Line> {
        let (world, peer) = (&self.world, node_at(to));
        let (environment, now) = (&world.environment, world.time.millis());
        let up = world.hub.is_up(environment, peer, now) && !environment.is_off(peer, now);
        let named = {
            let mut progress = self.progress();
            if progress.closed {
                // Where tiles cost no time, to wait for some in vain costs none either.
                let speaks = environment.peer_fault(peer, self.node, now) != Some(Kind::Silent);
                let serves = up && speaks && !environment.are_apart(self.node, peer, now, now);
                return if serves {
                    world.hub.connect(self.node, peer, (0, 0))
                } else {
                    Err(io::ErrorKind::ConnectionRefused.into())
                };
            }
            let cycle = progress.cycle;
            let tries = progress.tries.entry(peer).or_default();
            *tries += 1;
            (cycle, *tries - 1)
        };
        let both = (self.node, peer);
        match environment.connect(both, named, now, up) {
            Connect::Never => pending().await,
            Connect::Refused(after) => {
                sleep(Duration::from_millis(after)).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Connect::After(after) => {
                sleep(Duration::from_millis(after)).await;
                world.hub.connect(self.node, peer, environment.round_trip(both, named))
            }
        }
    }
}
