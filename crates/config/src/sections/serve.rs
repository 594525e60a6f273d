//! `[serve]`: the daemon, its rounds, and its onion services for peers and artifacts.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use unanimity_protocol::Name;

use crate::address::onion::DEFAULT_PORT;
use crate::operator_file::Parsed;
use crate::{ConfigErrorKind, WEB_PORT};

/// The settings of the daemon: its name as a peer, its rounds and its onion services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// The node's name in its key and in its invite, without `+`.
    pub name: Name,
    /// The port of the node's onion service for peers: 1 to 65535, except [`WEB_PORT`].
    pub port: u16,
    /// What the daemon does with an update that every peer confirms.
    pub policy: ServePolicy,
    /// The shortest wait between two rounds, at least one second.
    pub round_interval_min: Duration,
    /// The longest wait between two rounds, at most one day.
    pub round_interval_max: Duration,
    /// Whether only listed peers can find the onion service. If false, every client that knows the
    /// address can.
    pub client_auth: bool,
    /// Whether clients need a proof of work while the onion service is flooded. This setting needs
    /// a build with the feature `pow`.
    pub proof_of_work: bool,
    /// The settings of `[serve.artifacts]`. `None`: the node serves no artifacts.
    pub artifacts: Option<ServeArtifactsSettings>,
}

/// The limits on serving artifacts. A node serves the artifacts that it downloaded for itself. They
/// have their own onion service, which serves any client that knows its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeArtifactsSettings {
    /// The most bytes of artifacts that the node keeps in order to serve them, at least 1.
    pub max_bytes: u64,
    /// The most bytes per second that the node sends to all clients together, at least 256 KiB.
    pub bytes_per_second: u64,
}

/// What the daemon does with an update that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServePolicy {
    /// Sends an alert.
    Notify,
    /// Sends an alert and downloads the update.
    Download,
    /// Downloads the update, and installs it in a later cycle.
    Install,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServeTable {
    name: Parsed<Name>,
    #[serde(default = "default_port")]
    port: u16,
    #[serde(default = "default_policy")]
    policy: ServePolicy,
    round_interval_min: Option<Parsed<humantime::Duration>>,
    round_interval_max: Option<Parsed<humantime::Duration>>,
    #[serde(default = "yes")]
    client_auth: bool,
    #[serde(default)]
    proof_of_work: bool,
    artifacts: Option<ArtifactsTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactsTable {
    keep: Option<Parsed<ByteSize>>,
    rate: Option<Parsed<ByteSize>>,
}

impl ArtifactsTable {
    fn validate(self) -> Result<ServeArtifactsSettings, ConfigErrorKind> {
        let or =
            |value: Option<Parsed<ByteSize>>, default| value.map_or(default, |value| value.0.0);
        let (keep, rate) = (or(self.keep, 1 << 30), or(self.rate, 1 << 20));
        if keep == 0 || rate < 256 << 10 {
            return Err(ConfigErrorKind::Serve(
                "artifacts: keep must be more than 0, and rate at least 256KiB (per second). To serve no artifacts, remove [serve.artifacts]",
            ));
        }
        Ok(ServeArtifactsSettings { max_bytes: keep, bytes_per_second: rate })
    }
}

/// A number of bytes, such as `64KiB`, `512MiB` or `2GiB`.
struct ByteSize(u64);

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ByteSize, Self::Err> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let found = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
        let digits = found.filter(|(number, _)| number.bytes().all(|c| c.is_ascii_digit()));
        let bytes =
            digits.and_then(|(number, bits)| number.parse::<u64>().ok()?.checked_mul(1 << bits));
        bytes.map(ByteSize).ok_or("expected a number and KiB, MiB or GiB, such as 512MiB")
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

impl ServeTable {
    pub(crate) fn validate(self) -> Result<ServeSettings, ConfigErrorKind> {
        if self.name.0.as_str().contains('+') {
            return Err(ConfigErrorKind::Serve(
                "name: it is part of a key, so it must not contain '+'",
            ));
        }
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let or = |value: Option<Parsed<humantime::Duration>>, default: Duration| {
            value.map_or(default, |value| *value.0)
        };
        let (round_interval_min, round_interval_max) =
            (or(self.round_interval_min, minutes(20)), or(self.round_interval_max, minutes(40)));
        if round_interval_min < Duration::from_secs(1) || round_interval_max < round_interval_min {
            return Err(ConfigErrorKind::Serve(
                "round_interval_min is at least one second, and round_interval_max is not smaller",
            ));
        }
        if round_interval_max > minutes(24 * 60) {
            return Err(ConfigErrorKind::Serve(
                "round_interval_max is at most one day: without a round, the node notices neither an update nor a fork",
            ));
        }
        if self.port == 0 || self.port == WEB_PORT {
            return Err(ConfigErrorKind::Serve(
                "port is 1 to 65535, and not 80, where the node serves the log",
            ));
        }
        Ok(ServeSettings {
            name: self.name.0,
            port: self.port,
            policy: self.policy,
            round_interval_min,
            round_interval_max,
            client_auth: self.client_auth,
            proof_of_work: self.proof_of_work,
            artifacts: self.artifacts.map(ArtifactsTable::validate).transpose()?,
        })
    }
}
