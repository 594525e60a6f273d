//! `[serve]`: a node that is a peer to others.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use unanimity_protocol::Name;

use crate::address::onion::DEFAULT_PORT;
use crate::operator_file::Parsed;
use crate::{ConfigErrorKind, WEB_PORT};

/// A node that is a peer to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// What its views are signed as, and what its ticket calls it.
    pub name: Name,
    /// The port of its onion service.
    pub port: u16,
    /// What it does by itself with an update that everybody confirms.
    pub policy: ServePolicy,
    /// The shortest wait between two rolls.
    pub round_interval_min: Duration,
    /// The longest.
    pub round_interval_max: Duration,
    /// Whether only listed peers can find it, or whoever knows its address.
    pub client_auth: bool,
    /// Whether clients work for it while it is flooded; in a build with the feature `pow`.
    pub proof_of_work: bool,
    /// If it serves artifacts to anyone.
    pub artifacts: Option<ServeArtifactsSettings>,
}

/// A node that serves the artifacts that it fetched for itself, at an address of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeArtifactsSettings {
    /// The most bytes that it keeps for that.
    pub max_bytes: u64,
    /// The most bytes a second, to all who fetch together.
    pub bytes_per_second: u64,
}

/// What a serving node does with an update that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServePolicy {
    /// Says so.
    Notify,
    /// Fetches it as well, so that `update` need not.
    Download,
    /// Installs it.
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
                "artifacts: keep is more than nothing, and rate at least 256KiB (a second): without [serve.artifacts] there are none",
            ));
        }
        Ok(ServeArtifactsSettings { max_bytes: keep, bytes_per_second: rate })
    }
}

/// A number of bytes as people write it: `64KiB`, `512MiB`, `2GiB`.
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
            return Err(ConfigErrorKind::Serve("name: a key's name has no '+'"));
        }
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let or = |value: Option<Parsed<humantime::Duration>>, default: Duration| {
            value.map_or(default, |value| *value.0)
        };
        let (round_interval_min, round_interval_max) =
            (or(self.round_interval_min, minutes(20)), or(self.round_interval_max, minutes(40)));
        if round_interval_min < Duration::from_secs(1) || round_interval_max < round_interval_min {
            return Err(ConfigErrorKind::Serve(
                "roll_min is at least one second, and roll_max not smaller",
            ));
        }
        if round_interval_max > minutes(24 * 60) {
            return Err(ConfigErrorKind::Serve(
                "roll_max is at most one day: a node that does not ask does not notice",
            ));
        }
        if self.port == 0 || self.port == WEB_PORT {
            return Err(ConfigErrorKind::Serve(
                "port is 1 to 65535, and not 80, where the log is served",
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
