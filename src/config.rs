//! A node's configuration: TOML in, checked types out.
//!
//! Unknown fields are errors that name the line. What contradicts itself is refused here,
//! so the rest of the program cannot meet a node without peers or a key in two roles.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::net::{Mirror, OnionAddress};
use crate::peer::Polling;
use crate::verify::checkpoint::CheckpointError;
use crate::verify::note::MAX_NOTE_BYTES;
use crate::verify::roll::{CLOCK_SKEW, Limits, PeerSetError};
use crate::verify::stage::PolicyError;
use crate::verify::{CosignerKey, Head, Log, Name, NoteKey, Peer, PeerSet, Policy, RawKey};

/// Everything a node was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose releases of what, from which log.
    pub policy: Policy,
    /// Which of a release's artifacts is ours.
    pub platform: Name,
    /// Who has to confirm.
    pub peers: PeerSet,
    /// Where they are reached, by their key.
    pub addresses: BTreeMap<RawKey, OnionAddress>,
    /// Where the log and the artifacts are read, at least one.
    pub mirrors: Vec<Mirror>,
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
    /// Where the node remembers.
    pub state: PathBuf,
}

/// Why a configuration was refused: which file, what, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It cannot be read.
    #[error("{0}; `unanimity init` writes one to fill in")]
    Io(#[from] std::io::Error),
    /// Whoever may write it decides what is installed.
    #[error(
        "everybody may write to it (mode {0:03o}): run chmod o-w on it, and look at what it says"
    )]
    Writable(u32),
    /// As `init` wrote it.
    #[error("still to be filled in: {}", lines(.0))]
    FillIn(Vec<usize>),
    /// Not TOML, an unknown field, or a value of the wrong form; the text names the line.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// The publisher's keys or the threshold.
    #[error("[publisher] {0}")]
    Policy(#[from] PolicyError),
    /// The peers as a whole.
    #[error("{0}")]
    Peers(#[from] PeerSetError),
    /// Two peers are one service.
    #[error("peers {0} and {1} have the same onion address")]
    SameAddress(Name, Name),
    /// A key that could play two parts.
    #[error("the key of peer {0} is also a publisher's or the log's: a key has one role")]
    TwoRoles(Name),
    /// The pinned checkpoint is not one of the log.
    #[error("[log] pinned: {}: {why}", path.display())]
    Pinned {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: PinnedError,
    },
    /// What the node remembers would be among what it installs.
    #[error("[install] root and state are one directory, or one is inside the other")]
    RootIsState,
    /// Nothing to read from.
    #[error("[log] mirrors is empty: name at least one")]
    NoMirrors,
    /// A time that makes a check empty.
    #[error("[limits] {0}")]
    Limits(&'static str),
}

/// Why the pinned checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    /// Its file cannot be read.
    #[error("{0}")]
    Disk(#[from] crate::durable::DiskError),
    /// It is no checkpoint of the log.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
}

fn lines(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("line{} {}", if numbers.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    product: ProductTable,
    publisher: PublisherTable,
    log: LogTable,
    install: InstallTable,
    #[serde(default)]
    limits: LimitsTable,
    /// The peers' file, beside this one.
    #[serde(default = "default_peers")]
    peers: PathBuf,
}

fn default_peers() -> PathBuf {
    "peers.toml".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductTable {
    name: Text<Name>,
    channel: Text<Name>,
    platform: Option<Text<Name>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherTable {
    threshold: usize,
    keys: Vec<Text<NoteKey>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    origin: Text<crate::verify::Origin>,
    key: Text<NoteKey>,
    mirrors: Vec<Text<Mirror>>,
    pinned: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstallTable {
    root: PathBuf,
    state: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    settle: Option<Text<humantime::Duration>>,
    roll_ttl: Option<Text<humantime::Duration>>,
    view_ttl: Option<Text<humantime::Duration>>,
    ask_timeout: Option<Text<humantime::Duration>>,
    roll_timeout: Option<Text<humantime::Duration>>,
    poll_min: Option<Text<humantime::Duration>>,
    poll_max: Option<Text<humantime::Duration>>,
    max_poll_age: Option<Text<humantime::Duration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeersFile {
    #[serde(default = "default_min_peers")]
    min_peers: usize,
    #[serde(default)]
    peer: Vec<PeerTable>,
}

fn default_min_peers() -> usize {
    3
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    name: Text<Name>,
    operator: Text<Name>,
    address: Text<OnionAddress>,
    key: Text<CosignerKey>,
}

/// A value with a spelling of its own, parsed where it stands so that an error names its line.
struct Text<T>(T);

impl<'de, T: std::str::FromStr<Err: std::fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Text).map_err(serde::de::Error::custom)
    }
}

/// The platform this program was built for, as manifests name it: `x86_64-linux`.
pub fn this_platform() -> Name {
    let platform = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    platform.parse().expect("a platform is a safe name")
}

/// Reads a node's configuration and its peers. Relative paths in it start at its directory.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let (config, peers_path) = in_file(path, |text| {
        let file: NodeFile = toml::from_str(text)?;
        let directory = crate::durable::parent(path);
        let peers_path = directory.join(&file.peers);
        Ok((file, peers_path))
    })?;
    let (peers, addresses) = load_peers(&peers_path)?;
    let refuse = |path: &Path| {
        let path = path.to_owned();
        move |why| ConfigError { path, why }
    };
    let directory = crate::durable::parent(path);
    let mut roles: BTreeSet<RawKey> = config.publisher.keys.iter().map(|key| key.0.raw()).collect();
    roles.insert(config.log.key.0.raw());
    if let Some(peer) = peers.iter().find(|peer| roles.contains(&peer.key.raw())) {
        return Err(refuse(&peers_path)(Why::TwoRoles(peer.name.clone())));
    }
    config.check(directory, peers, addresses).map_err(refuse(path))
}

/// Reads a peers file such as `peers.example.toml`.
pub fn load_peers(path: &Path) -> Result<(PeerSet, BTreeMap<RawKey, OnionAddress>), ConfigError> {
    in_file(path, |text| {
        let file: PeersFile = toml::from_str(text)?;
        let mut services: BTreeMap<[u8; 32], Name> = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        let mut peers = Vec::new();
        for PeerTable { name, operator, address, key } in file.peer {
            if let Some(other) = services.insert(address.0.key, name.0.clone()) {
                return Err(Why::SameAddress(other, name.0));
            }
            addresses.insert(key.0.raw(), address.0);
            peers.push(Peer { name: name.0, operator: operator.0, key: key.0 });
        }
        Ok((PeerSet::new(peers, file.min_peers)?, addresses))
    })
}

/// The most bytes of a configuration file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// What `init` leaves where only the operator knows what belongs there.
const FILL_IN: [&str; 2] = ["FILL IN", "/FILL/IN"];

fn in_file<T>(path: &Path, read: impl FnOnce(&str) -> Result<T, Why>) -> Result<T, ConfigError> {
    let text = read_file(path);
    text.and_then(|text| read(&text)).map_err(|why| ConfigError { path: path.to_owned(), why })
}

fn read_file(path: &Path) -> Result<String, Why> {
    let file = crate::durable::open_plain(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o002 != 0 {
        return Err(Why::Writable(mode));
    }
    let text = std::io::read_to_string(file.take(MAX_FILE_BYTES))?;
    let open = |line: &str| {
        !line.trim_start().starts_with('#') && FILL_IN.iter().any(|f| line.contains(f))
    };
    let missing: Vec<usize> =
        (1..).zip(text.lines()).filter(|(_, line)| open(line)).map(|(number, _)| number).collect();
    if missing.is_empty() { Ok(text) } else { Err(Why::FillIn(missing)) }
}

impl NodeFile {
    fn check(
        self,
        directory: &Path,
        peers: PeerSet,
        addresses: BTreeMap<RawKey, OnionAddress>,
    ) -> Result<Config, Why> {
        let log = Log { origin: self.log.origin.0, key: self.log.key.0 };
        let pinned = match &self.log.pinned {
            Some(path) => {
                let path = directory.join(path);
                let bytes = crate::durable::read_at_most(&path, MAX_NOTE_BYTES);
                let head = bytes.map_err(PinnedError::from);
                let head = head.and_then(|bytes| Ok(Head::open(&bytes, &log)?));
                Some(head.map_err(|why| Why::Pinned { path, why })?)
            }
            None => None,
        };
        let (root, state) = (&self.install.root, &self.install.state);
        if root.starts_with(state) || state.starts_with(root) {
            return Err(Why::RootIsState);
        }
        let keys = self.publisher.keys.into_iter().map(|key| key.0).collect();
        let ProductTable { name, channel, platform } = self.product;
        let policy = Policy::new(name.0, channel.0, log, keys, self.publisher.threshold)?;
        if self.log.mirrors.is_empty() {
            return Err(Why::NoMirrors);
        }
        let Checked { limits, polling, ask_timeout, roll_timeout } = self.limits.check()?;
        Ok(Config {
            policy,
            platform: platform.map_or_else(this_platform, |platform| platform.0),
            peers,
            addresses,
            mirrors: self.log.mirrors.into_iter().map(|mirror| mirror.0).collect(),
            limits,
            ask_timeout,
            roll_timeout,
            polling,
            pinned,
            install_root: directory.join(self.install.root),
            state: directory.join(self.install.state),
        })
    }
}

struct Checked {
    limits: Limits,
    polling: Polling,
    ask_timeout: Duration,
    roll_timeout: Duration,
}

impl LimitsTable {
    fn check(self) -> Result<Checked, Why> {
        let or = |value: Option<Text<humantime::Duration>>, default: Duration| {
            value.map_or(default, |value| *value.0)
        };
        let defaults = (Limits::default(), Polling::default());
        let limits = Limits {
            settle: or(self.settle, defaults.0.settle),
            roll_ttl: or(self.roll_ttl, defaults.0.roll_ttl),
            view_ttl: or(self.view_ttl, defaults.0.view_ttl),
        };
        let polling = Polling {
            min: or(self.poll_min, defaults.1.min),
            max: or(self.poll_max, defaults.1.max),
            max_age: or(self.max_poll_age, defaults.1.max_age),
        };
        let ask_timeout = or(self.ask_timeout, Duration::from_secs(45));
        let roll_timeout = or(self.roll_timeout, Duration::from_secs(120));
        let day = Duration::from_secs(24 * 60 * 60);
        let second = Duration::from_secs(1);
        if limits.roll_ttl > day || limits.view_ttl > day || polling.max_age > day {
            return Err(Why::Limits(
                "roll_ttl, view_ttl and max_poll_age are at most one day: an older answer says nothing of now",
            ));
        }
        if !limits.settle.is_zero() && limits.settle < second {
            return Err(Why::Limits("settle is at least one second, or 0s for none"));
        }
        if limits.roll_ttl < second || limits.view_ttl < second || ask_timeout < second {
            return Err(Why::Limits("roll_ttl, view_ttl and ask_timeout are at least one second"));
        }
        if roll_timeout < ask_timeout {
            return Err(Why::Limits(
                "roll_timeout is not shorter than ask_timeout: a roll takes as long as one try at least",
            ));
        }
        // A view is judged when the roll closes, also one that was cosigned as it opened, by a
        // clock that is behind.
        let ttl = limits.view_ttl.min(limits.roll_ttl);
        if roll_timeout > ttl.saturating_sub(CLOCK_SKEW) {
            return Err(Why::Limits(
                "roll_timeout is at least one minute shorter than view_ttl and roll_ttl: the first answer has to count still when the last one is in",
            ));
        }
        if polling.min > polling.max || polling.max >= polling.max_age || polling.min < second {
            return Err(Why::Limits(
                "poll_min is at least one second, poll_max not smaller, and max_poll_age larger than both",
            ));
        }
        Ok(Checked { limits, polling, ask_timeout, roll_timeout })
    }
}
