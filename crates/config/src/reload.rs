//! The reload of a configuration. While a node runs, its peers may change. Other settings may not.

use unanimity_protocol::Timestamp;

use crate::{ClientConfig, ConfigError, NodeConfig, load_node_config};

impl NodeConfig {
    /// Reads the configuration again, with the peers that `peers.toml` lists now. Refuses a change
    /// of the configuration's text or of the pinned checkpoint, such as a longer `settle`.
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
    /// Fails if the configuration's text or the pinned checkpoint changed since it was read, or if
    /// other peers have to confirm at `now`. Settings that come from no file always pass.
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
