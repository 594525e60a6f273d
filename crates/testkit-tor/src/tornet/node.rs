//! One `tor` of the private network: its keys, and the torrc that keeps it on loopback.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use unanimity_protocol::Hash;
use unanimity_testkit::TestError;

use crate::tornet::package::{ExternalPrograms, run_to_end};

/// The number of directory authorities.
pub(crate) const AUTHORITIES: usize = 3;
/// The number of nodes: the authorities and the other relays.
pub(crate) const NODES: usize = 6;
/// The time between two consensuses after the first, in seconds: longer than any run.
const INTERVAL: u64 = 28_800;
/// The time between two attempts at the first consensus, in seconds. It divides half an hour, as
/// `tor` requires.
pub(crate) const FIRST_INTERVAL: u64 = 30;

/// A relay of the private network. It may be a directory authority, too.
pub(crate) struct TorNode {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) or_port: u16,
    pub(crate) rsa: String,
    pub(crate) ed25519: String,
    pub(crate) authority: Option<DirectoryAuthority>,
}

/// The properties of a directory authority.
pub(crate) struct DirectoryAuthority {
    pub(crate) v3_identity: String,
    pub(crate) dir_port: u16,
}

impl TorNode {
    /// Makes the keys of node number `i`, in a new directory below `above`. Node 0 is the first.
    pub(crate) fn create(
        programs: &ExternalPrograms,
        above: &Path,
        i: usize,
        or_port: u16,
        dir_port: u16,
    ) -> Result<TorNode, TestError> {
        let name = format!("node{i}");
        let directory = above.join(&name);
        let keys = directory.join("keys");
        for directory in [&directory, &keys] {
            fs::DirBuilder::new().mode(0o700).create(directory)?;
        }
        let authority = match i < AUTHORITIES {
            true => Some(DirectoryAuthority {
                v3_identity: create_authority_keys(programs, &keys, dir_port)?,
                dir_port,
            }),
            false => None,
        };
        // The dummy authority replaces the public ones, also while `tor` only makes its keys.
        let torrc = format!(
            "TestingTorNetwork 1\nDirAuthority dummy orport=1 no-v2 v3ident={} 127.0.0.1:1 {}\n\
             DataDirectory {}\nNickname {name}\nORPort 127.0.0.1:{or_port}\nAddress 127.0.0.1\n\
             AssumeReachable 1\nSocksPort 0\n",
            "A".repeat(40),
            "B".repeat(40),
            directory.display(),
        );
        fs::write(directory.join("torrc"), torrc)?;
        let mut tor = tor_command(programs, &directory)?;
        tor.arg("--list-fingerprint");
        let printed = run_to_end(tor, b"")?;
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        let rsa = line.ok_or("tor printed no fingerprint")?.replace(' ', "");
        let ed25519 = fs::read_to_string(directory.join("fingerprint-ed25519"))?;
        let ed25519 = ed25519.split_whitespace().nth(1).ok_or("tor wrote no fingerprint")?;
        let ed25519 = ed25519.to_owned();
        Ok(TorNode { name, directory, or_port, rsa, ed25519, authority })
    }

    /// Returns the command that runs the node. Its torrc must be written first.
    pub(crate) fn command(&self, programs: &ExternalPrograms) -> Result<Command, TestError> {
        let mut tor = tor_command(programs, &self.directory)?;
        tor.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(tor)
    }

    /// Whether the node has a consensus that lists every node as guard and as HSDir.
    pub(crate) fn has_full_consensus(&self) -> bool {
        self.consensus() == Some(true)
    }

    /// Whether the node has a consensus that lacks some nodes. The next consensus is hours away.
    pub(crate) fn has_partial_consensus(&self) -> bool {
        self.consensus() == Some(false)
    }

    fn consensus(&self) -> Option<bool> {
        let path = self.directory.join("cached-microdesc-consensus");
        let consensus = fs::read_to_string(path).ok()?;
        let flags = |flag: &str| {
            let lines = consensus.lines().filter_map(|line| line.strip_prefix("s "));
            lines.filter(|line| line.split(' ').any(|word| word == flag)).count()
        };
        Some(flags("HSDir") == NODES && flags("Guard") == NODES)
    }

    /// Removes the files of an earlier run, except the keys and the log.
    fn clear_state(&self) -> Result<(), TestError> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == "keys" || name == "log" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Returns the node's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

/// Returns a `tor` command that reads only the torrc of `directory`.
fn tor_command(programs: &ExternalPrograms, directory: &Path) -> Result<Command, TestError> {
    let mut tor = programs.command("tor")?;
    tor.args(["--defaults-torrc", "/dev/null", "--hush", "-f"]).arg(directory.join("torrc"));
    Ok(tor)
}

/// Makes a directory authority's keys and returns its v3 identity.
fn create_authority_keys(
    programs: &ExternalPrograms,
    keys: &Path,
    dir_port: u16,
) -> Result<String, TestError> {
    let mut gencert = programs.command("tor-gencert")?;
    gencert.args(["--create-identity-key", "--passphrase-fd", "0", "-m", "24", "-a"]);
    gencert.arg(format!("127.0.0.1:{dir_port}"));
    for (flag, file) in [
        ("-i", "authority_identity_key"),
        ("-s", "authority_signing_key"),
        ("-c", "authority_certificate"),
    ] {
        gencert.arg(flag).arg(keys.join(file));
    }
    run_to_end(gencert, b"passphrase\n")?;
    let certificate = fs::read_to_string(keys.join("authority_certificate"))?;
    let line = certificate.lines().find_map(|line| line.strip_prefix("fingerprint "));
    Ok(line.ok_or("tor-gencert wrote no fingerprint")?.to_owned())
}

/// Returns the lines of a torrc that name the authorities. These authorities replace those of the
/// public network.
fn authority_lines(nodes: &[TorNode]) -> String {
    let line = |node: &TorNode| {
        let DirectoryAuthority { v3_identity, dir_port } = node.authority.as_ref()?;
        Some(format!(
            "DirAuthority {} orport={} no-v2 v3ident={v3_identity} 127.0.0.1:{dir_port} {}\n",
            node.name, node.or_port, node.rsa
        ))
    };
    nodes.iter().filter_map(line).collect()
}

/// Returns the command of a `tor` that uses the network without relaying, with further `lines` in
/// its torrc. Makes the directory `directory`, which must not exist before.
pub(crate) fn participant_command(
    nodes: &[TorNode],
    programs: &ExternalPrograms,
    directory: &Path,
    lines: &str,
) -> Result<Command, TestError> {
    let torrc = format!(
        "TestingTorNetwork 1\nDataDirectory {}\nLog notice file {}\nRunAsDaemon 0\nSocksPort 0\n\
         ShutdownWaitLength 0\nAddressDisableIPv6 1\nOutboundBindAddress 127.0.0.1\n\
         PathsNeededToBuildCircuits 0.67\n__OwningControllerProcess {}\n{}{lines}",
        directory.display(),
        directory.join("log").display(),
        std::process::id(),
        authority_lines(nodes),
    );
    fs::DirBuilder::new().mode(0o700).create(directory)?;
    fs::write(directory.join("torrc"), torrc)?;
    let mut tor = tor_command(programs, directory)?;
    tor.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(tor)
}

/// Writes every node's torrc, which names the authorities and only loopback addresses.
///
/// The authorities make the first consensus `lead` seconds from now. `lead` must be less than
/// [`FIRST_INTERVAL`]. The files of an earlier run are removed, except keys and logs.
pub(crate) fn write_torrcs(nodes: &[TorNode], lead: u64) -> Result<(), TestError> {
    let authorities = authority_lines(nodes);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    for node in nodes {
        node.clear_state()?;
        // All sockets of an exit are bound to 127.0.0.1, so it reaches only loopback. It resolves
        // no names. Its policy accepts everything, because the consensus would treat a policy for
        // loopback alone as a rejection of all.
        let resolver = node.directory.join("resolv.conf");
        fs::write(&resolver, "nameserver 127.0.0.1\n")?;
        let mut torrc = format!(
            "TestingTorNetwork 1\nDataDirectory {}\nNickname {}\nLog notice file {}\n\
             RunAsDaemon 0\nShutdownWaitLength 0\nAddress 127.0.0.1\nAddressDisableIPv6 1\n\
             OutboundBindAddress 127.0.0.1\nORPort 127.0.0.1:{} IPv4Only\nSocksPort 0\n\
             ControlPort 0\nAssumeReachable 1\nExitRelay 1\nExitPolicyRejectPrivate 0\n\
             ExitPolicy accept *:*\nServerDNSDetectHijacking 0\nServerDNSAllowBrokenConfig 1\n\
             ServerDNSResolvConfFile {}\n\
             ContactInfo test\nPathsNeededToBuildCircuits 0.67\nNumCPUs 1\n\
             DoSCircuitCreationEnabled 0\nDoSConnectionEnabled 0\nDoSStreamCreationEnabled 0\n\
             __OwningControllerProcess {}\n{authorities}",
            node.directory.display(),
            node.name,
            node.directory.join("log").display(),
            node.or_port,
            resolver.display(),
            // The node ends by itself if this process has ended without killing it.
            std::process::id(),
        );
        if let Some(authority) = &node.authority {
            torrc += &format!(
                "AuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\n\
                 DirPort 127.0.0.1:{} IPv4Only\nTestingDirAuthVoteExit *\n\
                 TestingDirAuthVoteGuard *\nTestingDirAuthVoteHSDir *\n\
                 TestingMinExitFlagThreshold 0\nMinUptimeHidServDirectoryV2 0\n\
                 TestingAuthDirTimeToLearnReachability 0\nAuthDirMaxServersPerAddr 0\n\
                 AuthDirTestEd25519LinkKeys 0\nAuthDirTestReachability 0\n\
                 V3AuthVotingInterval {INTERVAL}\nV3AuthVoteDelay 4\nV3AuthDistDelay 4\n\
                 V3AuthNIntervalsValid 3\nTestingV3AuthInitialVotingInterval {FIRST_INTERVAL}\n\
                 TestingV3AuthInitialVoteDelay 2\nTestingV3AuthInitialDistDelay 2\n\
                 TestingV3AuthVotingStartOffset {}\n\
                 ConsensusParams hsdir_interval={} cbtdisabled=1 guard-min-filtered-sample-size=2\n",
                authority.dir_port,
                (now + lead) % FIRST_INTERVAL,
                24 * INTERVAL / 60
            );
            let shared = shared_random_state(now, &authorities);
            fs::write(node.directory.join("sr-state"), shared)?;
        }
        fs::write(node.directory.join("torrc"), torrc)?;
    }
    Ok(())
}

/// Returns the state file of an authority, with two shared random values. A new network would have
/// no such values for a day. An onion service needs two, because it is published for two periods.
fn shared_random_state(now: u64, seed: &str) -> String {
    let value = |label: &str| Hash::digest(format!("{label}{seed}").as_bytes()).base64();
    // `2026-11-22 09:45:00`
    let day = |days: u64| {
        let moment = UNIX_EPOCH + Duration::from_secs(now + days * 86_400);
        humantime::format_rfc3339_seconds(moment).to_string().replace('T', " ").replace('Z', "")
    };
    format!(
        "Version 1\nTorVersion Tor 0.4.9\nValidAfter {}\nValidUntil {}\n\
         SharedRandPreviousValue 3 {}\nSharedRandCurrentValue 3 {}\n",
        day(30),
        day(31),
        value("previous"),
        value("current")
    )
}
