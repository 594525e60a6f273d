//! Reading again: what may change while a node runs, and what may not.

use unanimity_protocol::Timestamp;

use crate::{Config, ConfigError, Node, load_node};
impl Node {
    /// The same, with the circle as its file has it now. Refuses to go on by anything else that
    /// was changed since it was read: a key struck out, a longer `settle`.
    pub fn read_again(&self) -> Result<Node, ConfigError> {
        let now = load_node(&self.source.path)?;
        if now.source == self.source && now.cycle.pinned == self.cycle.pinned {
            Ok(now)
        } else {
            Err(self.source.changed())
        }
    }
}

impl Config {
    /// Refuses to go on if what it was read from says something else by now, or other peers have to
    /// confirm at `now`.
    pub fn check_unchanged(&self, now: Timestamp) -> Result<(), ConfigError> {
        let Some(source) = &self.source else { return Ok(()) };
        let node = load_node(&source.path)?;
        let same = node.source == *source && node.cycle.pinned == self.cycle.pinned;
        if same && node.client(now)?.peers == self.peers { Ok(()) } else { Err(source.changed()) }
    }
}
