//! A private Tor network on loopback: three directory authorities, which relay as well, and three
//! relays, each a `tor` process in a temporary directory. Nothing of it knows of the public network.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use unanimity::verify::Hash;

const AUTHORITIES: usize = 3;
const NODES: usize = 6;
/// Seconds between two consensuses, after the first: longer than any test run.
const INTERVAL: u64 = 28_800;
/// The first consensus lands this many seconds after the start.
const LEAD: u64 = 8;
/// Within which the network has to stand.
const PATIENCE: Duration = Duration::from_secs(90);

/// The network, which ends with this value.
pub(crate) struct TorNetwork {
    directory: TempDir,
    nodes: Vec<Node>,
    running: Vec<Child>,
}

struct Node {
    name: String,
    directory: PathBuf,
    or_port: u16,
    dir_port: u16,
    rsa: String,
    ed25519: String,
    /// Authorities only.
    v3_identity: Option<String>,
}

/// Where `tor` and `tor-gencert` are, and the libraries they need.
struct Programs {
    directory: PathBuf,
    libraries: Vec<PathBuf>,
}

impl TorNetwork {
    /// Starts the network and waits until every node has the consensus that names all of them.
    pub(crate) fn start() -> TorNetwork {
        let programs = Programs::find();
        let directory = tempfile::tempdir().unwrap();
        let ports = free_ports(2 * NODES);
        let nodes: Vec<Node> = std::thread::scope(|scope| {
            let making: Vec<_> = (0..NODES)
                .map(|i| {
                    let (directory, ports) = (directory.path(), &ports[2 * i..]);
                    let programs = &programs;
                    scope.spawn(move || make_node(programs, directory, i, ports[0], ports[1]))
                })
                .collect();
            making.into_iter().map(|node| node.join().unwrap()).collect()
        });
        let mut network = TorNetwork { directory, nodes, running: Vec::new() };
        network.configure();
        for node in &network.nodes {
            let mut tor = programs.command("tor");
            tor.args(["--defaults-torrc", "/dev/null", "--hush", "-f"]);
            tor.arg(node.directory.join("torrc"));
            tor.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            network.running.push(tor.spawn().unwrap());
        }
        network.wait();
        network
    }

    /// The network as a fragment of arti's configuration.
    pub(crate) fn arti(&self) -> String {
        let caches: Vec<String> = (self.nodes.iter())
            .map(|node| {
                format!(
                    "  {{ rsa_identity = \"{}\", ed_identity = \"{}\", orports = [\"127.0.0.1:{}\"] }}",
                    node.rsa, node.ed25519, node.or_port
                )
            })
            .collect();
        let authorities = || self.nodes.iter().filter(|node| node.v3_identity.is_some());
        let list =
            |each: &dyn Fn(&Node) -> String| authorities().map(each).collect::<Vec<_>>().join(", ");
        let identities = list(&|node| format!("\"{}\"", node.v3_identity.as_deref().unwrap()));
        let places = list(&|node| format!("[\"127.0.0.1:{}\"]", node.dir_port));
        format!(
            "[tor_network]\nfallback_caches = [\n{}\n]\n\
             [tor_network.authorities]\nv3idents = [{identities}]\n\
             uploads = [{places}]\ndownloads = [{places}]\nvotes = [{places}]\n\
             [path_rules]\nipv4_subnet_family_prefix = 33\nipv6_subnet_family_prefix = 129\n\
             [address_filter]\nallow_local_addrs = true\n\
             [preemptive_circuits]\ndisable_at_threshold = 0\ninitial_predicted_ports = []\n\
             [circuit_timing]\nhs_dir_requery_interval = \"1 second\"\n\
             [override_net_params]\ncbtdisabled = 1\nguard-min-filtered-sample-size = 2\n",
            caches.join(",\n")
        )
    }

    fn configure(&self) {
        let authorities = || self.nodes.iter().filter(|node| node.v3_identity.is_some());
        let lines: String = authorities()
            .map(|node| {
                let v3 = node.v3_identity.as_deref().unwrap();
                format!(
                    "DirAuthority {} orport={} no-v2 v3ident={v3} 127.0.0.1:{} {}\n",
                    node.name, node.or_port, node.dir_port, node.rsa
                )
            })
            .collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for node in &self.nodes {
            let mut torrc = format!(
                "TestingTorNetwork 1\nDataDirectory {}\nNickname {}\nLog notice file {}\n\
                 RunAsDaemon 0\nShutdownWaitLength 0\nAddress 127.0.0.1\nAddressDisableIPv6 1\n\
                 OutboundBindAddress 127.0.0.1\nORPort 127.0.0.1:{} IPv4Only\nSocksPort 0\n\
                 ControlPort 0\nAssumeReachable 1\nExitRelay 1\nExitPolicy reject *:*\n\
                 ContactInfo test\nPathsNeededToBuildCircuits 0.67\nNumCPUs 1\n\
                 DoSCircuitCreationEnabled 0\nDoSConnectionEnabled 0\nDoSStreamCreationEnabled 0\n{lines}",
                node.directory.display(),
                node.name,
                node.directory.join("log").display(),
                node.or_port
            );
            if node.v3_identity.is_some() {
                torrc += &format!(
                    "AuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\n\
                     DirPort 127.0.0.1:{} IPv4Only\nTestingDirAuthVoteExit *\n\
                     TestingDirAuthVoteGuard *\nTestingDirAuthVoteHSDir *\n\
                     TestingMinExitFlagThreshold 0\nMinUptimeHidServDirectoryV2 0\n\
                     TestingAuthDirTimeToLearnReachability 0\nAuthDirMaxServersPerAddr 0\n\
                     AuthDirTestEd25519LinkKeys 0\nAuthDirTestReachability 0\n\
                     V3AuthVotingInterval {INTERVAL}\nV3AuthVoteDelay 4\nV3AuthDistDelay 4\n\
                     V3AuthNIntervalsValid 3\nTestingV3AuthInitialVotingInterval 10\n\
                     TestingV3AuthInitialVoteDelay 2\nTestingV3AuthInitialDistDelay 2\n\
                     TestingV3AuthVotingStartOffset {}\n\
                     ConsensusParams hsdir_interval={} cbtdisabled=1 guard-min-filtered-sample-size=2\n",
                    node.dir_port,
                    (now + LEAD) % 10,
                    24 * INTERVAL / 60
                );
                // A young network has no shared random values for a day, and without two of them an
                // onion service has no second time period to be published in.
                let value = |word: &str| Hash::of(format!("{word}{lines}").as_bytes()).base64();
                let day = |days: u64| utc(now + days * 86_400);
                fs::write(
                    node.directory.join("sr-state"),
                    format!(
                        "Version 1\nTorVersion Tor 0.4.9\nValidAfter {}\nValidUntil {}\n\
                         SharedRandPreviousValue 3 {}\nSharedRandCurrentValue 3 {}\n",
                        day(30),
                        day(31),
                        value("previous"),
                        value("current")
                    ),
                )
                .unwrap();
            }
            fs::write(node.directory.join("torrc"), torrc).unwrap();
        }
    }

    fn wait(&mut self) {
        let began = Instant::now();
        let complete = |node: &Node| {
            let consensus = fs::read_to_string(node.directory.join("cached-microdesc-consensus"));
            let consensus = consensus.unwrap_or_default();
            let flags = |flag: &str| {
                let lines = consensus.lines().filter_map(|line| line.strip_prefix("s "));
                lines.filter(|line| line.split(' ').any(|word| word == flag)).count()
            };
            flags("HSDir") == NODES && flags("Guard") == NODES
        };
        let mut nudged = false;
        while !self.nodes.iter().all(complete) {
            assert!(began.elapsed() < PATIENCE, "no Tor network within {PATIENCE:?}");
            for (node, child) in self.nodes.iter().zip(&mut self.running) {
                if let Some(status) = child.try_wait().unwrap() {
                    let log = fs::read_to_string(node.directory.join("log")).unwrap_or_default();
                    panic!("{} ended with {status}:\n{log}", node.name);
                }
            }
            // Relays that asked for the consensus too early wait before they ask again.
            if !nudged && self.nodes[..AUTHORITIES].iter().all(complete) {
                for child in &self.running[AUTHORITIES..] {
                    let pid = rustix::process::Pid::from_child(child);
                    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
                }
                nudged = true;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// A directory that ends with the network.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for TorNetwork {
    fn drop(&mut self) {
        for child in &mut self.running {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn make_node(programs: &Programs, above: &Path, i: usize, or_port: u16, dir_port: u16) -> Node {
    let name = format!("node{i}");
    let directory = above.join(&name);
    let keys = directory.join("keys");
    fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    fs::DirBuilder::new().mode(0o700).create(&keys).unwrap();
    let v3_identity = (i < AUTHORITIES).then(|| {
        let mut gencert = programs.command("tor-gencert");
        gencert.args(["--create-identity-key", "--passphrase-fd", "0", "-m", "24", "-a"]);
        gencert.arg(format!("127.0.0.1:{dir_port}"));
        for (flag, file) in [
            ("-i", "authority_identity_key"),
            ("-s", "authority_signing_key"),
            ("-c", "authority_certificate"),
        ] {
            gencert.arg(flag).arg(keys.join(file));
        }
        run(gencert, b"passphrase\n");
        let certificate = fs::read_to_string(keys.join("authority_certificate")).unwrap();
        let line = certificate.lines().find_map(|line| line.strip_prefix("fingerprint "));
        line.unwrap().to_owned()
    });
    // Not even to make its keys does a tor run that knows of the public authorities.
    let torrc = format!(
        "TestingTorNetwork 1\nDirAuthority dummy orport=1 no-v2 v3ident={} 127.0.0.1:1 {}\n\
         DataDirectory {}\nNickname {name}\nORPort 127.0.0.1:{or_port}\nAddress 127.0.0.1\n\
         AssumeReachable 1\nSocksPort 0\n",
        "A".repeat(40),
        "B".repeat(40),
        directory.display(),
    );
    fs::write(directory.join("torrc"), torrc).unwrap();
    let mut tor = programs.command("tor");
    tor.args(["--defaults-torrc", "/dev/null", "--hush", "--list-fingerprint", "-f"]);
    tor.arg(directory.join("torrc"));
    let printed = run(tor, b"");
    let line = printed.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    let rsa = line.unwrap_or_else(|| panic!("no fingerprint in {printed}")).replace(' ', "");
    let ed25519 = fs::read_to_string(directory.join("fingerprint-ed25519")).unwrap();
    let ed25519 = ed25519.split_whitespace().nth(1).unwrap().to_owned();
    Node { name, directory, or_port, dir_port, rsa, ed25519, v3_identity }
}

impl Programs {
    /// The machine's own `tor`, or Debian's package unpacked beside the build: its service is
    /// never installed, so it never starts.
    fn find() -> Programs {
        let usual = ["/usr/bin", "/usr/sbin"].map(PathBuf::from);
        let here =
            usual.into_iter().find(|d| d.join("tor").exists() && d.join("tor-gencert").exists());
        if let Some(directory) = here {
            return Programs { directory, libraries: Vec::new() };
        }
        let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tor-package");
        if !unpacked.join("usr/bin/tor").exists() {
            unpack(&unpacked);
        }
        let libraries =
            ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|d| unpacked.join(d));
        Programs { directory: unpacked.join("usr/bin"), libraries: libraries.to_vec() }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.directory.join(name));
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", std::env::join_paths(&self.libraries).unwrap());
        }
        command
    }
}

/// Downloads and unpacks Debian's package of tor and the libraries it names, without installing.
fn unpack(to: &Path) {
    let work = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tree = work.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).current_dir(work.path()).stdin(Stdio::null()).output()
    };
    let download = |package: &str| apt(&["download", package]).is_ok_and(|o| o.status.success());
    if !download("tor") {
        apt(&["update"]).expect("tor is not installed, and there is no apt-get to get it with");
        assert!(download("tor"), "tor is not installed, and apt-get cannot download it");
    }
    let package = |name: &str| {
        let found = fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().path());
        found
            .into_iter()
            .find(|p| p.file_name().unwrap().to_string_lossy().starts_with(&format!("{name}_")))
    };
    let mut deb = Command::new("dpkg-deb");
    deb.arg("-f").arg(package("tor").unwrap()).arg("Depends");
    let depends = run(deb, b"");
    let libraries = depends.split(',').filter_map(|d| d.split_whitespace().next());
    let libraries: Vec<&str> =
        libraries.filter(|d| d.starts_with("lib") || d.starts_with("zlib")).collect();
    for name in libraries.into_iter().filter(|name| *name != "libc6") {
        download(name);
    }
    for entry in fs::read_dir(work.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let mut deb = Command::new("dpkg-deb");
            deb.arg("-x").arg(&path).arg(&tree);
            run(deb, b"");
        }
    }
    // Whole or not at all, also when two runs meet here.
    if let Err(error) = fs::rename(&tree, to) {
        assert!(to.join("usr/bin/tor").exists(), "cannot unpack tor: {error}");
    }
}

fn run(mut command: Command, input: &[u8]) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input).or_else(ignore_closed).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

fn ignore_closed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// Ports of 127.0.0.1 that nobody listened on a moment ago, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// `2026-11-22 09:45:00`.
fn utc(seconds: u64) -> String {
    let moment = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(moment).to_string().replace('T', " ").replace('Z', "")
}
