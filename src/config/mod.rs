//! A node's configuration: TOML in, checked types out.
//!
//! Unknown fields are errors that name the line. What contradicts itself is refused here,
//! so the rest of the program cannot meet a node without peers or a key in two roles.

mod daemon;
mod error;
mod install;
mod limits;
mod mirror;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use daemon::{AlarmTable, ServeTable, TorTable};
pub use daemon::{Serve, ServeArtifacts, ServePolicy};
pub use error::{ConfigError, PinnedError, Why};
pub use install::Spool;
use install::{InstallTable, are_apart};
use limits::{Checked, LimitsTable};
use mirror::MirrorEntry;

use crate::alarm::Alarm;
use crate::circle::{Circle, CircleError, Member};
use crate::install::Procedure;
use crate::net::mirror::{Site, Web};
use crate::net::{Mirror, OnionAddress, TorSettings};
use crate::peer::Polling;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{Hash, Head, Log, Name, NoteKey, PeerSet, Policy, RawKey, Timestamp};
use unanimity_protocol::{decision::admission::Limits, peers::PeerSetError};

/// The file that a configuration was read from, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    digest: Hash,
}

/// Everything a node was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read, if it was.
    pub source: Option<Source>,
    /// Whose releases of what, from which log.
    pub policy: Policy,
    /// Which of a release's artifacts is ours.
    pub platform: Name,
    /// Who has to confirm.
    pub peers: PeerSet,
    /// Where they are reached, by their key.
    pub addresses: BTreeMap<RawKey, OnionAddress>,
    /// Which of them serve artifacts to anyone, and where.
    pub artifacts: Vec<(Name, Site)>,
    /// Where the log and the artifacts are read, at least one.
    pub mirrors: Vec<Mirror>,
    /// How many bytes of artifacts this node keeps for others. `None`: it serves none.
    pub keeps: Option<u64>,
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
    /// What else belongs to installing one.
    pub procedure: Procedure,
    /// Where what is fetched is left for somebody else to install, if this process may not.
    pub spool: Option<Spool>,
    /// How old every peer's word may be for whoever installs without a network, if the operator says so.
    pub freshness: Option<Duration>,
    /// Where the node remembers.
    pub state: PathBuf,
}

/// Everything a node was told, its circle as it stands: perhaps still too small for a client.
#[derive(Clone, Debug)]
pub struct Node {
    /// The file that told it.
    pub source: Source,
    /// Whose releases of what, from which log.
    pub policy: Policy,
    /// Which of a release's artifacts is ours.
    pub platform: Name,
    /// Who the peers are, also those who do not count yet.
    pub circle: Circle,
    /// Where that is written; read it again, and it may say something else.
    pub peers_path: PathBuf,
    /// Every file that says what whoever installs goes by.
    pub files: Vec<PathBuf>,
    /// Where the log and the artifacts are read, at least one.
    pub mirrors: Vec<Mirror>,
    /// How long is long enough, and how old is too old.
    pub limits: Limits,
    /// How long one try at one peer may take.
    pub ask_timeout: Duration,
    /// How long the whole roll may take, with all tries at all peers.
    pub roll_timeout: Duration,
    /// How long a peer that was told to leave still has to confirm.
    pub removal_delay: Duration,
    /// When this node's own peer role polls.
    pub polling: Polling,
    /// A head of the log that the operator got some other way.
    pub pinned: Option<Head>,
    /// Where versions are installed.
    pub install_root: PathBuf,
    /// What else belongs to installing one.
    pub procedure: Procedure,
    /// Where what is fetched is left for somebody else to install, if this process may not.
    pub spool: Option<Spool>,
    /// How old every peer's word may be for whoever installs without a network, if the operator says so.
    pub freshness: Option<Duration>,
    /// Where the node remembers.
    pub state: PathBuf,
    /// How it takes part in Tor.
    pub tor: TorSettings,
    /// How long whoever wants something of Tor waits for it to be connected.
    pub bootstrap_timeout: Duration,
    /// If it is a peer to others.
    pub serve: Option<Serve>,
    /// How its operator wants to hear of what is wrong.
    pub alarm: Alarm,
}

impl Node {
    /// What a client goes by, if enough peers count at `now`.
    pub fn client(&self, now: Timestamp) -> Result<Config, ConfigError> {
        let peers = self.circle.counted(now).map_err(|error| {
            let why = match (error, self.circle.joining().count()) {
                (PeerSetError::TooFew { operators, min_peers }, joining @ 1..) => {
                    Why::Joining { operators, min_peers, joining }
                }
                (error, _) => CircleError::from(error).into(),
            };
            ConfigError { path: self.peers_path.clone(), why }
        })?;
        let node = self.clone();
        Ok(Config {
            source: Some(node.source),
            policy: node.policy,
            platform: node.platform,
            peers,
            addresses: node.circle.addresses(now),
            artifacts: node.circle.artifacts(now),
            mirrors: node.mirrors,
            keeps: node.serve.as_ref().and_then(|serve| serve.artifacts).map(|some| some.keep),
            limits: node.limits,
            ask_timeout: node.ask_timeout,
            roll_timeout: node.roll_timeout,
            polling: node.polling,
            pinned: node.pinned,
            install_root: node.install_root,
            procedure: node.procedure,
            spool: node.spool,
            freshness: node.freshness,
            state: node.state,
        })
    }

    /// The same, with the circle as its file has it now. Refuses to go on by anything else that
    /// was changed since it was read: a key struck out, a longer `settle`.
    pub fn read_again(&self) -> Result<Node, ConfigError> {
        let now = load_node(&self.source.path)?;
        if now.source == self.source && now.pinned == self.pinned {
            // The same mirrors, connected as these are.
            Ok(Node { mirrors: self.mirrors.clone(), ..now })
        } else {
            Err(self.source.changed())
        }
    }

    /// Says over which network the mirrors are asked, here and wherever this node is read again.
    pub fn connect(&self, web: &Arc<dyn Web>) {
        self.mirrors.iter().for_each(|mirror| mirror.connect(web));
    }

    /// Whether what two products keep is in places of its own.
    pub fn is_apart_from(&self, other: &Node) -> bool {
        let places = |node: &Node| {
            let spool = node.spool.as_ref().map(|spool| spool.directory.clone());
            [Some(node.install_root.clone()), Some(node.state.clone()), spool]
        };
        let theirs = places(other);
        places(self).iter().flatten().all(|a| theirs.iter().flatten().all(|b| are_apart(a, b)))
    }

    /// Refuses an alarm command that cannot be run.
    pub fn check_alarm(&self) -> Result<(), ConfigError> {
        let checked = self.alarm.check();
        checked.map_err(|error| ConfigError { path: self.source.path.clone(), why: error.into() })
    }

    /// Refuses a peer whose key is also a publisher's or the log's, or who is also a mirror of ours:
    /// we cosign what mirrors serve, and nobody is to be able to have their own fork cosigned.
    pub fn check_role(&self, member: &Member) -> Result<(), ConfigError> {
        let name = member.peer.name.clone();
        let wrong = |why| Err(ConfigError { path: self.peers_path.clone(), why });
        let key = member.peer.key.raw();
        let publishers = self.policy.publishers().iter().map(NoteKey::raw);
        if publishers.chain([self.policy.log.key.raw()]).any(|other| other == key) {
            return wrong(Why::TwoRoles(name));
        }
        match self.mirrors.iter().find(|mirror| mirror.service() == Some(member.address.key)) {
            Some(_) => wrong(Why::PeerIsMirror(name)),
            None => Ok(()),
        }
    }
}

impl Source {
    fn changed(&self) -> ConfigError {
        ConfigError { path: self.path.clone(), why: Why::Changed }
    }
}

impl Config {
    /// Refuses to go on if what it was read from says something else by now, or other peers have to
    /// confirm at `now`.
    pub fn check_unchanged(&self, now: Timestamp) -> Result<(), ConfigError> {
        let Some(source) = &self.source else { return Ok(()) };
        let node = load_node(&source.path)?;
        let same = node.source == *source && node.pinned == self.pinned;
        if same && node.client(now)?.peers == self.peers { Ok(()) } else { Err(source.changed()) }
    }
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
    #[serde(default)]
    tor: TorTable,
    serve: Option<ServeTable>,
    #[serde(default)]
    alarm: AlarmTable,
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
    origin: Text<unanimity_protocol::Origin>,
    key: Text<NoteKey>,
    mirrors: Vec<MirrorEntry>,
    pinned: Option<PathBuf>,
}

/// A value with a spelling of its own, parsed where it stands so that an error names its line.
pub(crate) struct Text<T>(pub(crate) T);

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

/// Reads a node's configuration and its peers, enough of whom have to count at `now`. Relative
/// paths in it start at its directory.
pub fn load(path: &Path, now: Timestamp) -> Result<Config, ConfigError> {
    load_node(path)?.client(now)
}

/// Reads a node's configuration like [`load`], with a circle of any size.
pub fn load_node(path: &Path) -> Result<Node, ConfigError> {
    let (file, digest) = in_file(path, |text| {
        let file: NodeFile = toml::from_str(text)?;
        Ok((file, Hash::of(text.as_bytes())))
    })?;
    let peers_path = unanimity_storage::parent(path).join(&file.peers);
    let circle = Circle::load(&peers_path)?;
    let node = file.check(Source { path: path.to_owned(), digest }, circle, peers_path);
    let node = node.map_err(|why| ConfigError { path: path.to_owned(), why })?;
    node.circle.members().iter().try_for_each(|member| node.check_role(member))?;
    Ok(node)
}

/// The most bytes of a configuration file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// What `init` leaves where only the operator knows what belongs there.
const FILL_IN: &str = "FILL IN";

pub(crate) fn in_file<T>(
    path: &Path,
    read: impl FnOnce(&str) -> Result<T, Why>,
) -> Result<T, ConfigError> {
    let text = read_file(path);
    text.and_then(|text| read(&text)).map_err(|why| ConfigError { path: path.to_owned(), why })
}

pub(crate) fn read_file(path: &Path) -> Result<String, Why> {
    let file = unanimity_storage::open_plain(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o002 != 0 {
        return Err(Why::Writable(mode));
    }
    let text = std::io::read_to_string(file.take(MAX_FILE_BYTES + 1))?;
    // What stands behind the bound may be a peer.
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Why::TooLong);
    }
    let open = |line: &str| !line.trim_start().starts_with('#') && line.contains(FILL_IN);
    let missing: Vec<usize> =
        (1..).zip(text.lines()).filter(|(_, line)| open(line)).map(|(number, _)| number).collect();
    if missing.is_empty() { Ok(text) } else { Err(Why::FillIn(missing)) }
}

impl NodeFile {
    fn check(self, source: Source, circle: Circle, peers_path: PathBuf) -> Result<Node, Why> {
        let directory = unanimity_storage::parent(&source.path);
        let log = Log { origin: self.log.origin.0, key: self.log.key.0 };
        let mut files = vec![source.path.clone(), peers_path.clone()];
        let pinned = match &self.log.pinned {
            Some(path) => {
                let path = directory.join(path);
                files.push(path.clone());
                let bytes = unanimity_storage::read_at_most(&path, MAX_NOTE_BYTES);
                let head = bytes.map_err(PinnedError::from);
                let head = head.and_then(|bytes| Ok(Head::open(&bytes, &log)?));
                Some(head.map_err(|why| Why::Pinned { path, why })?)
            }
            None => None,
        };
        let freshness = self.install.freshness()?;
        let spool = self.install.spool(directory, freshness)?;
        let procedure = self.install.procedure()?;
        let keys = self.publisher.keys.into_iter().map(|key| key.0).collect();
        let ProductTable { name, channel, platform } = self.product;
        let policy = Policy::new(name.0, channel.0, log, keys, self.publisher.threshold)?;
        if self.log.mirrors.is_empty() {
            return Err(Why::NoMirrors);
        }
        let Checked { limits, polling, ask_timeout, roll_timeout, removal_delay } =
            self.limits.check()?;
        let mirrors = self.log.mirrors.into_iter().map(|mirror| mirror.check(directory));
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        let state = directory.join(self.install.state);
        let bootstrap_timeout = self.tor.bootstrap_timeout()?;
        Ok(Node {
            policy,
            platform: platform.map_or_else(this_platform, |platform| platform.0),
            circle,
            peers_path,
            files,
            mirrors,
            limits,
            ask_timeout,
            roll_timeout,
            polling,
            removal_delay,
            pinned,
            install_root: directory.join(self.install.root),
            procedure,
            spool,
            freshness,
            tor: self.tor.check(directory, &state)?,
            bootstrap_timeout,
            source,
            state,
            serve: self.serve.map(ServeTable::check).transpose()?,
            alarm: self.alarm.check()?,
        })
    }
}
