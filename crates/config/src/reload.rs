//! The reload of a configuration: the peers may change while a node runs, other settings may not.

use unanimity_protocol::Timestamp;

use crate::{ClientConfig, ConfigError, NodeConfig, load_node_config};

impl NodeConfig {
    /// The configuration with the peers as their file lists them now. Refuses every other change
    /// since the configuration was read, such as a removed key or a longer `settle`.
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
    /// Refuses if the configuration or the pinned checkpoint changed since they were read, or if
    /// other peers have to confirm at `now`. Settings that come from no file pass.
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
