//! The settings of a cycle that do not depend on the peers.

use std::path::PathBuf;
use std::time::Duration;

use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::{Name, Policy, TreeHead};

use crate::{HookSettings, PollingSettings, SpoolSettings};

/// The settings of a cycle that do not depend on the peers.
#[derive(Clone, Debug)]
pub struct CycleSettings {
    /// Product, channel, log, publisher keys and threshold.
    pub policy: Policy,
    /// The platform whose artifact this node installs.
    pub platform: Name,
    /// The waiting time of a release, and the maximum age of rounds and cosignatures.
    pub limits: RoundLimits,
    /// How long one try at one peer may take.
    pub ask_timeout: Duration,
    /// How long the whole round may take, including all tries at all peers.
    pub round_timeout: Duration,
    /// When this node's own witness polls its mirrors.
    pub polling: PollingSettings,
    /// A tree head of the log that the operator obtained separately. The log has to extend this
    /// head.
    pub pinned: Option<TreeHead>,
    /// The directory in which versions are installed.
    pub install_root: PathBuf,
    /// Versions kept, hooks and time limits of an installation.
    pub hooks: HookSettings,
    /// The spool, if one process downloads and another installs. `None`: one process does both.
    pub spool: Option<SpoolSettings>,
    /// The maximum age of every peer's cosignature when `unanimity-install` installs. `None`: not
    /// configured.
    pub freshness: Option<Duration>,
    /// The state directory.
    pub state: PathBuf,
}
