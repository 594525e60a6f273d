//! The settings of a client: those of a node, with enough peers counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use unanimity_protocol::decision::admission::Limits;
use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{Head, Name, PeerSet, Policy, RawKey, Timestamp};

use crate::{
    CircleError, ConfigError, Node, OnionAddress, Polling, Procedure, Site, Source, Spool, Why,
};
/// Everything a node was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read, if it was.
    pub source: Option<Source>,
    /// Whose releases of what, from which log.
    pub policy: Policy,
    /// Which of a release's artifacts is ours.
    pub platform: Name,
    /// Who has to confirm.
    pub peers: PeerSet,
    /// Where they are reached, by their key.
    pub addresses: BTreeMap<RawKey, OnionAddress>,
    /// Which of them serve artifacts to anyone, and where.
    pub artifacts: Vec<(Name, Site)>,
    /// How many bytes of artifacts this node keeps for others. `None`: it serves none.
    pub keeps: Option<u64>,
    /// How long is long enough, and how old is too old.
    pub limits: Limits,
    /// How long one try at one peer may take.
    pub ask_timeout: Duration,
    /// How long the whole roll may take, with all tries at all peers.
    pub roll_timeout: Duration,
    /// When this node's own peer role polls.
    pub polling: Polling,
    /// A head of the log that the operator got some other way.
    pub pinned: Option<Head>,
    /// Where versions are installed.
    pub install_root: PathBuf,
    /// What else belongs to installing one.
    pub procedure: Procedure,
    /// Where what is fetched is left for somebody else to install, if this process may not.
    pub spool: Option<Spool>,
    /// How old every peer's word may be for whoever installs without a network, if the operator says so.
    pub freshness: Option<Duration>,
    /// Where the node remembers.
    pub state: PathBuf,
}

impl Node {
    /// What a client goes by, if enough peers count at `now`.
    pub fn client(&self, now: Timestamp) -> Result<Config, ConfigError> {
        let peers = self.circle.counted(now).map_err(|error| {
            let why = match (error, self.circle.joining().count()) {
                (PeerSetError::TooFew { operators, min_peers }, joining @ 1..) => {
                    Why::Joining { operators, min_peers, joining }
                }
                (error, _) => CircleError::from(error).into(),
            };
            ConfigError { path: self.peers_path.clone(), why }
        })?;
        let node = self.clone();
        Ok(Config {
            source: Some(node.source),
            policy: node.policy,
            platform: node.platform,
            peers,
            addresses: node.circle.addresses(now),
            artifacts: node.circle.artifacts(now),
            keeps: node.serve.as_ref().and_then(|serve| serve.artifacts).map(|some| some.keep),
            limits: node.limits,
            ask_timeout: node.ask_timeout,
            roll_timeout: node.roll_timeout,
            polling: node.polling,
            pinned: node.pinned,
            install_root: node.install_root,
            procedure: node.procedure,
            spool: node.spool,
            freshness: node.freshness,
            state: node.state,
        })
    }
}
