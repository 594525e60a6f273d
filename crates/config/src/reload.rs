//! Reading again: what may change while a node runs, and what may not.

use unanimity_protocol::Timestamp;

use crate::{ClientConfig, ConfigError, NodeConfig, load_node_config};
impl NodeConfig {
    /// The same, with the circle as its file has it now. Refuses to go on by anything else that
    /// was changed since it was read: a key struck out, a longer `settle`.
    pub fn reload(&self) -> Result<NodeConfig, ConfigError> {
        let now = load_node_config(&self.source.path)?;
        if now.source == self.source && now.cycle.pinned == self.cycle.pinned {
            Ok(now)
        } else {
            Err(self.source.changed_error())
        }
    }
}

impl ClientConfig {
    /// Refuses to go on if what it was read from says something else by now, or other peers have to
    /// confirm at `now`.
    pub fn check_unchanged(&self, now: Timestamp) -> Result<(), ConfigError> {
        let Some(source) = &self.source else { return Ok(()) };
        let node = load_node_config(&source.path)?;
        let same = node.source == *source && node.cycle.pinned == self.cycle.pinned;
        if same && node.client_config(now)?.peers == self.peers {
            Ok(())
        } else {
            Err(source.changed_error())
        }
    }
}
