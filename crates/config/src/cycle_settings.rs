//! What a cycle goes by, whoever the peers are.

use std::path::PathBuf;
use std::time::Duration;

use unanimity_protocol::decision::admission::Limits;
use unanimity_protocol::{Head, Name, Policy};

use crate::{Polling, Procedure, Spool};

/// The part of a node's settings that does not depend on who its peers are.
#[derive(Clone, Debug)]
pub struct CycleSettings {
    /// Whose releases of what, from which log.
    pub policy: Policy,
    /// Which of a release's artifacts is ours.
    pub platform: Name,
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
