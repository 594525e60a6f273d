//! Who reaches whom, when: the nodes' Tor.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use unanimity_config::OnionAddress;
use unanimity_net::Transport;

use super::delayed_stream::DelayedStream;
use super::network::node_at;
use super::world::SimulatedWorld;
use crate::environment::ConnectOutcome;
use crate::scenario::fault::FaultKind;

/// One node's way to the others. Each cycle is told when it begins.
pub(super) struct SimulatedTor {
    pub(super) world: Arc<SimulatedWorld>,
    pub(super) node: u32,
    /// The cycle, how often each peer was dialled in it, and whether the roll is closed.
    dials: Mutex<CycleDials>,
}

#[derive(Default)]
struct CycleDials {
    cycle: u64,
    tries: BTreeMap<u32, u64>,
    closed: bool,
}

impl SimulatedTor {
    pub(super) fn new(world: &Arc<SimulatedWorld>, node: u32) -> SimulatedTor {
        SimulatedTor { world: world.clone(), node, dials: Mutex::default() }
    }

    fn progress(&self) -> MutexGuard<'_, CycleDials> {
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the peers are asked for views, in the model's time.
    pub(super) fn begin_cycle(&self, cycle: u64) {
        *self.progress() = CycleDials { cycle, ..CycleDials::default() };
    }

    /// From here on they are asked for tiles, which costs no time.
    pub(super) fn close_round(&self) {
        self.progress().closed = true;
    }
}

impl Transport for SimulatedTor {
    type Stream = DelayedStream;

    async fn dial(&self, to: &OnionAddress) -> io::Result<DelayedStream> {
        let (world, peer) = (&self.world, node_at(to));
        let (environment, now) = (&world.environment, world.clock.millis());
        let up = world.network.is_up(environment, peer, now) && !environment.is_offline(peer, now);
        let named = {
            let mut progress = self.progress();
            if progress.closed {
                // Where tiles cost no time, to wait for some in vain costs none either.
                let speaks =
                    environment.peer_fault(peer, self.node, now) != Some(FaultKind::Silent);
                let serves = up && speaks && !environment.is_partitioned(self.node, peer, now, now);
                return if serves {
                    world.network.connect(self.node, peer, (0, 0))
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
        match environment.connect_outcome(both, named, now, up) {
            ConnectOutcome::Stuck => pending().await,
            ConnectOutcome::Refused(after) => {
                sleep(Duration::from_millis(after)).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            ConnectOutcome::Connected(after) => {
                sleep(Duration::from_millis(after)).await;
                world.network.connect(self.node, peer, environment.round_trip(both, named))
            }
        }
    }
}
