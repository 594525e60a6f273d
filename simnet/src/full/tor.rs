//! The simulated Tor of one node: its connections to the services of other nodes.

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

/// A node's transport to its peers. [`SimulatedTor::begin_cycle`] announces each cycle.
pub(super) struct SimulatedTor {
    pub(super) world: Arc<SimulatedWorld>,
    pub(super) node: u32,
    /// The current cycle, the number of tries at each peer in it, and whether its round is closed.
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

    /// Begins a cycle. From now on, connections are for cosigned heads, and take the time that the
    /// environment draws.
    pub(super) fn begin_cycle(&self, cycle: u64) {
        *self.progress() = CycleDials { cycle, ..CycleDials::default() };
    }

    /// Ends the round of the cycle. From now on, connections are for tiles, and take no time.
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
        let cycle_and_try = {
            let mut progress = self.progress();
            if progress.closed {
                // Tiles cost no time, so a silent peer refuses at once instead of letting the
                // client wait.
                let answers =
                    environment.peer_fault(peer, self.node, now) != Some(FaultKind::Silent);
                let serves =
                    up && answers && !environment.is_partitioned(self.node, peer, now, now);
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
        let client_and_peer = (self.node, peer);
        match environment.connect_outcome(client_and_peer, cycle_and_try, now, up) {
            ConnectOutcome::Stuck => pending().await,
            ConnectOutcome::Refused(after) => {
                sleep(Duration::from_millis(after)).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            ConnectOutcome::Connected(after) => {
                sleep(Duration::from_millis(after)).await;
                let delays = environment.round_trip(client_and_peer, cycle_and_try);
                world.network.connect(self.node, peer, delays)
            }
        }
    }
}
