//! The state that all nodes of a world share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use unanimity_protocol::CosignatureSigningKey;

use super::clock::Time;
use super::hub::Hub;
use super::logs::Logs;
use crate::Event;
use crate::environment::{Environment, Service};
use crate::trace::What;

/// What all nodes live in.
pub(super) struct World {
    pub(super) environment: Environment,
    pub(super) logs: Logs,
    /// Each node's, by its number.
    pub(super) secrets: Vec<CosignatureSigningKey>,
    pub(super) hub: Hub,
    pub(super) mirrors: Mutex<Vec<Service>>,
    pub(super) time: Time,
    pub(super) events: Mutex<Vec<Event>>,
}

impl World {
    pub(super) fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mirror_is_up(&self, node: u32) -> bool {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        mirrors[node as usize].is_up(&self.environment, node, self.time.millis())
    }

    pub(super) fn tell(&self, node: u32, what: What) {
        let at = self.time.millis();
        self.events().push(Event { at, node, what });
    }
}
