//! The state that all nodes of a world share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use unanimity_protocol::CosignatureSigningKey;

use super::clock::VirtualClock;
use super::logs::SimulatedLogs;
use super::network::SimulatedNetwork;
use crate::Event;
use crate::environment::{Environment, ServiceSchedule};
use crate::trace::EventKind;

/// A world: its environment, logs, network, mirrors, clock and events.
pub(super) struct SimulatedWorld {
    pub(super) environment: Environment,
    pub(super) logs: SimulatedLogs,
    /// The cosigning key of each node, by the node's number.
    pub(super) signing_keys: Vec<CosignatureSigningKey>,
    pub(super) network: SimulatedNetwork,
    pub(super) mirrors: Mutex<Vec<ServiceSchedule>>,
    pub(super) clock: VirtualClock,
    pub(super) events: Mutex<Vec<Event>>,
}

impl SimulatedWorld {
    pub(super) fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mirror_is_up(&self, node: u32) -> bool {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        mirrors[node as usize].is_up(&self.environment, node, self.clock.millis())
    }

    pub(super) fn record_event(&self, node: u32, kind: EventKind) {
        let at = self.clock.millis();
        self.events().push(Event { at, node, kind });
    }
}
