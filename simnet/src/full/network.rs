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

/// The schedule of every node's onion service, and the queue of connections to every node.
pub(super) struct SimulatedNetwork {
    services: Mutex<Vec<ServiceSchedule>>,
    dial_queues: Mutex<Vec<DialQueue>>,
}

/// The connections that arrive at a node, each with the number of the client. Tor does not reveal
/// the client, but an adversary that watches the victim's guard may know it.
type DialQueue = UnboundedSender<(u32, DelayedStream)>;

impl SimulatedNetwork {
    pub(super) fn new(environment: &Environment) -> SimulatedNetwork {
        let services = (0..environment.scenario.nodes).map(|node| environment.service(node));
        SimulatedNetwork { services: Mutex::new(services.collect()), dial_queues: Mutex::default() }
    }

    /// Opens the port of one node, and returns its connections. The n-th call (from 0) is for node
    /// n.
    pub(super) fn listen(&self) -> UnboundedReceiver<(u32, DelayedStream)> {
        let (queue, arriving) = mpsc::unbounded_channel();
        self.dial_queues.lock().unwrap_or_else(PoisonError::into_inner).push(queue);
        arriving
    }

    /// Whether a node's service is up at `at`. Times must not decrease from call to call.
    pub(super) fn is_up(&self, environment: &Environment, node: u32, at: Millis) -> bool {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services[node as usize].is_up(environment, node, at)
    }

    /// Connects a client to a node at once. Bytes take `there` milliseconds to the node, and `back`
    /// milliseconds to the client. Fails if the node does not listen.
    pub(super) fn connect(
        &self,
        from: u32,
        to: u32,
        (there, back): (u64, u64),
    ) -> io::Result<DelayedStream> {
        let (ours, theirs) =
            delayed_stream_pair(Duration::from_millis(there), Duration::from_millis(back));
        let queues = self.dial_queues.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.get(to as usize).map(|queue| queue.send((from, theirs))) {
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

/// A listener that yields the connections that a node's honest witness answers.
pub(super) struct AcceptedStreams(pub(super) UnboundedReceiver<DelayedStream>);

impl Listener for AcceptedStreams {
    type Stream = DelayedStream;

    async fn accept(&mut self) -> io::Result<DelayedStream> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
