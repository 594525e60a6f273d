//! Who reaches whom, when: the nodes' Tor.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::sleep;
use unanimity_config::OnionAddress;
use unanimity_net::{Listener, Transport};

use super::World;
use super::line::{Line, line};
use crate::environment::{Connect, Environment, Service};
use crate::scenario::fault::Kind;

/// Every service, and who listens there.
pub(super) struct Hub {
    services: Mutex<Vec<Service>>,
    doors: Mutex<Vec<Door>>,
}

/// Where connections to a node arrive, each with who dialled: Tor does not tell, an adversary who
/// watches the victim's guard may know.
type Door = UnboundedSender<(u32, Line)>;

impl Hub {
    pub(super) fn new(environment: &Environment) -> Hub {
        let services = (0..environment.scenario.nodes).map(|node| environment.service(node));
        Hub { services: Mutex::new(services.collect()), doors: Mutex::default() }
    }

    /// Opens the next node's door.
    pub(super) fn open(&self) -> UnboundedReceiver<(u32, Line)> {
        let (door, arriving) = mpsc::unbounded_channel();
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).push(door);
        arriving
    }

    fn is_up(&self, world: &World, node: u32) -> bool {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services[node as usize].is_up(&world.environment, node, world.time.millis())
    }

    /// A connection, at once.
    pub(super) fn connect(
        &self,
        from: u32,
        to: u32,
        (there, back): (u64, u64),
    ) -> io::Result<Line> {
        let (ours, theirs) = line(Duration::from_millis(there), Duration::from_millis(back));
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        match doors.get(to as usize).map(|door| door.send((from, theirs))) {
            Some(Ok(())) => Ok(ours),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// The address of a node.
pub(super) fn address(node: u32) -> OnionAddress {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&node.to_be_bytes());
    OnionAddress { key, port: 4242 }
}

fn node_at(address: &OnionAddress) -> u32 {
    u32::from_be_bytes([address.key[0], address.key[1], address.key[2], address.key[3]])
}

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
    tries: std::collections::BTreeMap<u32, u64>,
    closed: bool,
}

impl Tor {
    pub(super) fn new(world: &Arc<World>, node: u32) -> Tor {
        Tor { world: world.clone(), node, progress: Mutex::default() }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
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
        let up = world.hub.is_up(world, peer) && !environment.is_off(peer, now);
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

/// The connections that an honest peer answers.
pub(super) struct Accepted(pub(super) UnboundedReceiver<Line>);

impl Listener for Accepted {
    type Stream = Line;

    async fn accept(&mut self) -> io::Result<Line> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
