//! The settings of Tor: which network a node uses, and its bridges.

use std::path::PathBuf;

/// The environment variable that makes the program refuse the public Tor network. The variable is
/// for tests and research, where no connection may leave the machine by mistake.
pub const NO_PUBLIC_NETWORK: &str = "UNANIMITY_NO_PUBLIC_TOR";

/// Which Tor network a node uses, and the directories that Tor uses.
#[derive(Clone, Debug)]
pub struct TorSettings {
    /// The directory with the keys of the node's onion services, and with its choice of guards.
    /// Only the directory's owner may read it.
    pub state: PathBuf,
    /// The directory with the state of the network, which can be downloaded again.
    pub cache: PathBuf,
    /// The Tor network.
    pub network: TorNetwork,
}

/// The Tor network that a node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorNetwork {
    /// The public network. The first hop is a bridge, or a guard if no bridges are configured.
    Public(Bridges),
    /// A private network, described by a fragment of arti's configuration. All of its authorities
    /// and first hops must be on loopback: it is for tests and research on one machine.
    Private(String),
    /// No network: every peer counts as silent.
    Offline,
}

/// Bridges: entry relays that the public network's directory does not list, for places where Tor is
/// blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridges {
    /// Bridge lines, as a bridge distributor hands them out.
    pub lines: Vec<String>,
    /// The pluggable transports that the bridge lines name.
    pub transports: Vec<PluggableTransport>,
}

/// A program that disguises traffic to a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluggableTransport {
    /// The protocols that the program speaks, such as `obfs4`.
    pub protocols: Vec<String>,
    /// The path of the program.
    pub path: PathBuf,
}
