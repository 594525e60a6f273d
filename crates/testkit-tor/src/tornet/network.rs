//! A private Tor network on loopback: three directory authorities and three relays. Each is a `tor`
//! process in a temporary directory. The authorities relay, too. No configuration names the public
//! network.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use unanimity_testkit::TestError;

use crate::tornet::node::{
    self, AUTHORITIES, DirectoryAuthority, FIRST_INTERVAL, NODES, TorNode, write_torrcs,
};
use crate::tornet::package::{DebianPackage, ExternalPrograms};

const TOR: DebianPackage = DebianPackage {
    name: "tor",
    programs: &["tor", "tor-gencert"],
    remark: "; its service need not run",
};
/// The pause between two calls of [`PrivateTorNetwork::is_ready`].
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The longest wait for the network, which takes 10 seconds to start on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// The time from the start to the first consensus, in seconds, if no vote fails.
const FIRST_CONSENSUS_DELAY_SECS: u64 = 8;
/// How late the first consensus may be, before the nodes are restarted for a new vote.
const CONSENSUS_GRACE: Duration = Duration::from_secs(8);
/// The time that a relay has to fetch the consensus, before it receives SIGHUP again.
const REFETCH_INTERVAL: Duration = Duration::from_secs(5);

/// A running network. Dropping this value kills its processes.
pub struct PrivateTorNetwork {
    programs: ExternalPrograms,
    directory: TempDir,
    nodes: Vec<TorNode>,
    running: Vec<Child>,
    started: Instant,
    /// The time of the last start of all nodes, and the planned seconds from then to the consensus.
    last_restart: (Instant, u64),
    last_refetch: Option<Instant>,
}

impl std::fmt::Debug for PrivateTorNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateTorNetwork(..)")
    }
}

impl PrivateTorNetwork {
    /// Starts the network, and waits until every node has the consensus that names all nodes.
    ///
    /// If the machine has no `tor`, Debian's package is downloaded and unpacked in `package`, where
    /// the next call finds it. `report` receives a line for every step. Fails after 90 seconds.
    pub fn start(package: &Path, report: impl FnMut(&str)) -> Result<PrivateTorNetwork, TestError> {
        let mut network = PrivateTorNetwork::start_without_waiting(package, report)?;
        while !network.is_ready()? {
            std::thread::park_timeout(POLL_INTERVAL);
        }
        Ok(network)
    }

    /// Starts the network without waiting. The caller then calls [`PrivateTorNetwork::is_ready`]
    /// until it returns true.
    pub fn start_without_waiting(
        package: &Path,
        mut report: impl FnMut(&str),
    ) -> Result<PrivateTorNetwork, TestError> {
        let programs = ExternalPrograms::find(&TOR, package, &mut report)?;
        report(&format!(
            "making the keys of {NODES} relays, of which {AUTHORITIES} are directory authorities"
        ));
        let directory = tempfile::tempdir()?;
        let ports = free_ports(2 * NODES)?;
        let nodes: Result<Vec<TorNode>, TestError> = std::thread::scope(|scope| {
            let creating: Vec<_> = ports
                .chunks_exact(2)
                .enumerate()
                .map(|(i, ports)| {
                    let (programs, above) = (&programs, directory.path());
                    scope.spawn(move || TorNode::create(programs, above, i, ports[0], ports[1]))
                })
                .collect();
            let created = creating.into_iter().map(|node| node.join());
            created.map(|node| node.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let began = Instant::now();
        let mut network = PrivateTorNetwork {
            programs,
            directory,
            nodes: nodes?,
            running: Vec::new(),
            started: began,
            last_restart: (began, FIRST_CONSENSUS_DELAY_SECS),
            last_refetch: None,
        };
        report("waiting for the first consensus of the directory authorities, about ten seconds");
        network.restart_nodes(FIRST_CONSENSUS_DELAY_SECS)?;
        Ok(network)
    }

    /// Kills and starts all nodes, with the first consensus `lead` seconds from now.
    fn restart_nodes(&mut self, lead: u64) -> Result<(), TestError> {
        self.kill_nodes();
        write_torrcs(&self.nodes, lead)?;
        for node in &self.nodes {
            let tor = node.command(&self.programs)?.spawn();
            self.running.push(tor.map_err(|error| format!("cannot start tor: {error}"))?);
        }
        (self.last_restart, self.last_refetch) = ((Instant::now(), lead), None);
        Ok(())
    }

    fn kill_nodes(&mut self) {
        for mut child in self.running.drain(..) {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Returns the network as a fragment of arti's configuration.
    pub fn arti_config(&self) -> String {
        let caches: Vec<String> = (self.nodes.iter())
            .map(|node| {
                format!(
                    "  {{ rsa_identity = \"{}\", ed_identity = \"{}\", orports = [\"127.0.0.1:{}\"] }}",
                    node.rsa, node.ed25519, node.or_port
                )
            })
            .collect();
        let list = |each: &dyn Fn(&DirectoryAuthority) -> String| {
            let authorities = self.nodes.iter().filter_map(|node| node.authority.as_ref());
            authorities.map(each).collect::<Vec<_>>().join(", ")
        };
        let identities = list(&|authority| format!("\"{}\"", authority.v3_identity));
        let dir_addresses = list(&|authority| format!("[\"127.0.0.1:{}\"]", authority.dir_port));
        format!(
            "[tor_network]\nfallback_caches = [\n{}\n]\n\
             [tor_network.authorities]\nv3idents = [{identities}]\n\
             uploads = [{dir_addresses}]\ndownloads = [{dir_addresses}]\nvotes = [{dir_addresses}]\n\
             [path_rules]\nipv4_subnet_family_prefix = 33\nipv6_subnet_family_prefix = 129\n\
             [address_filter]\nallow_local_addrs = true\n\
             [preemptive_circuits]\ndisable_at_threshold = 0\ninitial_predicted_ports = []\n\
             [circuit_timing]\nhs_dir_requery_interval = \"1 second\"\n\
             [override_net_params]\ncbtdisabled = 1\nguard-min-filtered-sample-size = 2\n",
            caches.join(",\n")
        )
    }

    /// Returns the command of a further `tor` that uses the network, with `lines` in its torrc.
    /// Makes the directory `directory` for that `tor`. It must not exist before.
    pub fn participant_command(&self, directory: &Path, lines: &str) -> Result<Command, TestError> {
        node::participant_command(&self.nodes, &self.programs, directory, lines)
    }

    /// Returns the addresses of the relays. A participant of the network connects to nothing else.
    pub fn relays(&self) -> Vec<SocketAddr> {
        let ports = self.nodes.iter().map(|node| node.or_port);
        ports.map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect()
    }

    /// Returns a path in the network's temporary directory, which is removed with the network.
    pub fn scratch_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Whether every node has the consensus that names all nodes.
    ///
    /// Until then, every call also helps the network on: it makes late relays fetch the consensus
    /// again, and starts all nodes again after a failed vote. It fails if a node has ended, or if
    /// the network is not ready 90 seconds after its start.
    pub fn is_ready(&mut self) -> Result<bool, TestError> {
        if self.nodes.iter().all(TorNode::has_full_consensus) {
            return Ok(true);
        }
        if self.started.elapsed() > START_TIMEOUT {
            let (wait, late) = (
                START_TIMEOUT.as_secs(),
                self.nodes.iter().find(|node| !node.has_full_consensus()),
            );
            let log = late.map_or_else(String::new, TorNode::log);
            return Err(
                format!("the private Tor network was not ready within {wait} s: {log}").into()
            );
        }
        for (node, child) in self.nodes.iter().zip(&mut self.running) {
            if let Some(status) = child.try_wait()? {
                let (name, log) = (&node.name, node.log());
                return Err(format!(
                    "{name} of the private Tor network ended with {status}\n{log}"
                )
                .into());
            }
        }
        let authorities = &self.nodes[..AUTHORITIES];
        let (voting, lead) = self.last_restart;
        if authorities.iter().all(TorNode::has_full_consensus) {
            // Relays that asked for the consensus too early wait before they ask again.
            if self.last_refetch.is_none_or(|last| last.elapsed() > REFETCH_INTERVAL) {
                for child in &self.running[AUTHORITIES..] {
                    kill_process(Pid::from_child(child), Signal::HUP)?;
                }
                self.last_refetch = Some(Instant::now());
            }
        } else if authorities.iter().any(TorNode::has_partial_consensus)
            || voting.elapsed() > Duration::from_secs(lead) + CONSENSUS_GRACE
        {
            // On a busy machine, an authority may be too late for the vote.
            self.restart_nodes((2 * lead).min(FIRST_INTERVAL - 1))?;
        }
        Ok(false)
    }
}

impl Drop for PrivateTorNetwork {
    fn drop(&mut self) {
        self.kill_nodes();
    }
}

/// Returns different ports of 127.0.0.1 that were free a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>, TestError> {
    let held: Result<Vec<TcpListener>, _> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    held?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
