//! Every node's onion service, and the connections to it.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use unanimity_config::OnionAddress;
use unanimity_net::Listener;

use super::delayed_stream::{DelayedStream, delayed_stream_pair};
use crate::Millis;
use crate::environment::{Environment, ServiceSchedule};

/// Every service, and who listens there.
pub(super) struct SimulatedNetwork {
    services: Mutex<Vec<ServiceSchedule>>,
    dial_queues: Mutex<Vec<DialQueue>>,
}

/// Where connections to a node arrive, each with who dialled: Tor does not tell, an adversary who
/// watches the victim's guard may know.
type DialQueue = UnboundedSender<(u32, DelayedStream)>;

impl SimulatedNetwork {
    pub(super) fn new(environment: &Environment) -> SimulatedNetwork {
        let services = (0..environment.scenario.nodes).map(|node| environment.service(node));
        SimulatedNetwork { services: Mutex::new(services.collect()), dial_queues: Mutex::default() }
    }

    /// Opens the next node's door.
    pub(super) fn listen(&self) -> UnboundedReceiver<(u32, DelayedStream)> {
        let (door, arriving) = mpsc::unbounded_channel();
        self.dial_queues.lock().unwrap_or_else(PoisonError::into_inner).push(door);
        arriving
    }

    /// Whether a node's service is up at a time, not before any time asked about earlier.
    pub(super) fn is_up(&self, environment: &Environment, node: u32, at: Millis) -> bool {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services[node as usize].is_up(environment, node, at)
    }

    /// A connection, at once.
    pub(super) fn connect(
        &self,
        from: u32,
        to: u32,
        (there, back): (u64, u64),
    ) -> io::Result<DelayedStream> {
        let (ours, theirs) =
            delayed_stream_pair(Duration::from_millis(there), Duration::from_millis(back));
        let doors = self.dial_queues.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The node at an address.
pub(super) fn node_at(address: &OnionAddress) -> u32 {
    u32::from_be_bytes([address.key[0], address.key[1], address.key[2], address.key[3]])
}

/// The connections that an honest peer answers.
pub(super) struct AcceptedStreams(pub(super) UnboundedReceiver<DelayedStream>);

impl Listener for AcceptedStreams {
    type Stream = DelayedStream;

    async fn accept(&mut self) -> io::Result<DelayedStream> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
