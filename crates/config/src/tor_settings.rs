//! Which Tor network a node takes part in, and how.

use std::path::PathBuf;

/// When this variable is set in the environment, the public network is refused: for tests and
/// research, where nothing may leave the machine by mistake.
pub const NO_PUBLIC_NETWORK: &str = "UNANIMITY_NO_PUBLIC_TOR";

/// How this node takes part in Tor.
#[derive(Clone, Debug)]
pub struct TorSettings {
    /// Keys of our services, guards. Only its owner may read it.
    pub state: PathBuf,
    /// What the network looks like; can be fetched again.
    pub cache: PathBuf,
    /// Which network.
    pub network: TorNetwork,
}

/// The network to take part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorNetwork {
    /// The one that everybody uses, entered by a guard of its list or, if there are any, by these bridges.
    Public(Bridges),
    /// Another one, described by a fragment of arti's own configuration. All of its authorities
    /// and first hops must be on loopback: this is for tests and research on one machine.
    Private(String),
    /// None: every peer is silent.
    Offline,
}

/// Ways into a network that its list does not name, for where Tor is blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridges {
    /// Bridge lines, as they are handed out.
    pub lines: Vec<String>,
    /// Programs that disguise the traffic, for the lines that ask for one.
    pub transports: Vec<PluggableTransport>,
}

/// A program that disguises traffic to a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluggableTransport {
    /// Which disguises it knows, such as `obfs4`.
    pub protocols: Vec<String>,
    /// The program.
    pub path: PathBuf,
}
