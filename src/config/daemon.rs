//! `[tor]`, `[serve]`, `[alarm]`: what a node was told about taking part.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::{Text, Why};
use crate::alarm::Alarm;
use crate::net::address::DEFAULT_PORT;
use crate::net::mirror::WEB_PORT;
use crate::net::network::{Bridges, PluggableTransport, TorNetwork, TorSettings};
use unanimity_protocol::Name;

/// A node that is a peer to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// What its views are signed as, and what its ticket calls it.
    pub name: Name,
    /// The port of its onion service.
    pub port: u16,
    /// What it does by itself with an update that everybody confirms.
    pub policy: ServePolicy,
    /// The shortest wait between two rolls.
    pub roll_min: Duration,
    /// The longest.
    pub roll_max: Duration,
    /// Whether only listed peers can find it, or whoever knows its address.
    pub restricted: bool,
    /// Whether clients work for it while it is flooded; in a build with the feature `pow`.
    pub proof_of_work: bool,
    /// If it serves artifacts to anyone.
    pub artifacts: Option<ServeArtifacts>,
}

/// A node that serves the artifacts that it fetched for itself, at an address of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeArtifacts {
    /// The most bytes that it keeps for that.
    pub keep: u64,
    /// The most bytes a second, to all who fetch together.
    pub rate: u64,
}

/// What a serving node does with an update that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServePolicy {
    /// Says so.
    Notify,
    /// Fetches it as well, so that `update` need not.
    Stage,
    /// Installs it.
    Install,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct TorTable {
    state: Option<PathBuf>,
    cache: Option<PathBuf>,
    network: Option<PathBuf>,
    bootstrap_timeout: Option<Text<humantime::Duration>>,
    #[serde(default)]
    bridges: Vec<String>,
    #[serde(default)]
    transports: Vec<TransportTable>,
    #[serde(default)]
    offline: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransportTable {
    protocols: Vec<String>,
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServeTable {
    name: Text<Name>,
    #[serde(default = "default_port")]
    port: u16,
    #[serde(default = "default_policy")]
    policy: ServePolicy,
    roll_min: Option<Text<humantime::Duration>>,
    roll_max: Option<Text<humantime::Duration>>,
    #[serde(default = "yes")]
    restricted_discovery: bool,
    #[serde(default)]
    proof_of_work: bool,
    artifacts: Option<ArtifactsTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactsTable {
    keep: Option<Text<Bytes>>,
    rate: Option<Text<Bytes>>,
}

impl ArtifactsTable {
    fn check(self) -> Result<ServeArtifacts, Why> {
        let or = |value: Option<Text<Bytes>>, default| value.map_or(default, |value| value.0.0);
        let (keep, rate) = (or(self.keep, 1 << 30), or(self.rate, 1 << 20));
        if keep == 0 || rate < 256 << 10 {
            return Err(Why::Serve(
                "artifacts: keep is more than nothing, and rate at least 256KiB (a second): without [serve.artifacts] there are none",
            ));
        }
        Ok(ServeArtifacts { keep, rate })
    }
}

/// A number of bytes as people write it: `64KiB`, `512MiB`, `2GiB`.
struct Bytes(u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Bytes, Self::Err> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let found = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
        let digits = found.filter(|(number, _)| number.bytes().all(|c| c.is_ascii_digit()));
        let bytes =
            digits.and_then(|(number, bits)| number.parse::<u64>().ok()?.checked_mul(1 << bits));
        bytes.map(Bytes).ok_or("expected a number and KiB, MiB or GiB, such as 512MiB")
    }
}

fn default_port() -> u16 {
    DEFAULT_PORT
}

fn default_policy() -> ServePolicy {
    ServePolicy::Notify
}

fn yes() -> bool {
    true
}

/// The most bytes of a private network's description.
const MAX_NETWORK_BYTES: usize = 1024 * 1024;

/// A slow network takes a minute; with bridges it may be more.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(90);

impl TorTable {
    pub(super) fn bootstrap_timeout(&self) -> Result<Duration, Why> {
        let timeout = self.bootstrap_timeout.as_ref().map_or(BOOTSTRAP_TIMEOUT, |time| *time.0);
        if timeout < Duration::from_secs(1) || timeout > Duration::from_secs(15 * 60) {
            return Err(Why::Tor("bootstrap_timeout is one second to 15 minutes"));
        }
        Ok(timeout)
    }

    pub(super) fn check(self, directory: &Path, state: &Path) -> Result<TorSettings, Why> {
        let place = |path: Option<PathBuf>, default: &str| {
            path.map_or_else(|| state.join(default), |path| directory.join(path))
        };
        let network = match self.network {
            _ if self.offline => TorNetwork::Offline,
            Some(_) if !self.bridges.is_empty() || !self.transports.is_empty() => {
                return Err(Why::Tor(
                    "bridges and transports lead to the public network: they do not go with `network`",
                ));
            }
            Some(path) => {
                let path = directory.join(path);
                let text = unanimity_storage::read_at_most(&path, MAX_NETWORK_BYTES)?;
                let text = String::from_utf8(text);
                TorNetwork::Private(text.map_err(|_| Why::Tor("network: the file is not text"))?)
            }
            None => {
                let transports = self.transports.into_iter().map(|transport| PluggableTransport {
                    protocols: transport.protocols,
                    path: directory.join(transport.path),
                });
                let transports = transports.collect();
                TorNetwork::Public(Bridges { lines: self.bridges, transports })
            }
        };
        Ok(TorSettings {
            state: place(self.state, "tor"),
            cache: place(self.cache, "tor-cache"),
            network,
        })
    }
}

impl ServeTable {
    pub(super) fn check(self) -> Result<Serve, Why> {
        if self.name.0.as_str().contains('+') {
            return Err(Why::Serve("name: a key's name has no '+'"));
        }
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let or = |value: Option<Text<humantime::Duration>>, default: Duration| {
            value.map_or(default, |value| *value.0)
        };
        let (roll_min, roll_max) = (or(self.roll_min, minutes(20)), or(self.roll_max, minutes(40)));
        if roll_min < Duration::from_secs(1) || roll_max < roll_min {
            return Err(Why::Serve("roll_min is at least one second, and roll_max not smaller"));
        }
        if roll_max > minutes(24 * 60) {
            return Err(Why::Serve(
                "roll_max is at most one day: a node that does not ask does not notice",
            ));
        }
        if self.port == 0 || self.port == WEB_PORT {
            return Err(Why::Serve("port is 1 to 65535, and not 80, where the log is served"));
        }
        if self.proof_of_work && !cfg!(feature = "pow") {
            return Err(Why::Serve(
                "proof_of_work: this program was built without the feature `pow`",
            ));
        }
        Ok(Serve {
            name: self.name.0,
            port: self.port,
            policy: self.policy,
            roll_min,
            roll_max,
            restricted: self.restricted_discovery,
            proof_of_work: self.proof_of_work,
            artifacts: self.artifacts.map(ArtifactsTable::check).transpose()?,
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct AlarmTable {
    #[serde(default)]
    command: Vec<String>,
    incomplete_after: Option<Text<humantime::Duration>>,
}

impl AlarmTable {
    pub(super) fn check(self) -> Result<Alarm, Why> {
        let default = Alarm::default();
        let incomplete_after =
            self.incomplete_after.map_or(default.incomplete_after, |after| *after.0);
        if self.command.first().is_some_and(|program| !Path::new(program).is_absolute()) {
            return Err(Why::Alarm("command: its program is named by an absolute path"));
        }
        if incomplete_after > Duration::from_secs(30 * 24 * 3600) {
            return Err(Why::Alarm(
                "incomplete_after is at most 30 days: silence is what an attacker wants",
            ));
        }
        Ok(Alarm { command: self.command, incomplete_after })
    }
}
