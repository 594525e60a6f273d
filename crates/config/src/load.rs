//! Reading a configuration: TOML in, checked types out.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{Hash, Log, Name, NoteVerifyingKey, Policy, Timestamp, TreeHead};

use crate::operator_file::{Text, in_file};
use crate::sections::alert::AlarmTable;
use crate::sections::install::InstallTable;
use crate::sections::limits::{Checked, LimitsTable};
use crate::sections::mirror::MirrorEntry;
use crate::sections::serve::ServeTable;
use crate::sections::tor::TorTable;
use crate::{Circle, Config, ConfigError, CycleSettings, Node, PinnedError, Source, Why};

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
        Ok((file, Hash::digest(text.as_bytes())))
    })?;
    let peers_path = unanimity_storage::parent(path).join(&file.peers);
    let circle = Circle::load(&peers_path)?;
    let node = file.check(Source { path: path.to_owned(), digest }, circle, peers_path);
    let node = node.map_err(|why| ConfigError { path: path.to_owned(), why })?;
    node.circle.members().iter().try_for_each(|member| node.check_role(member))?;
    Ok(node)
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
    keys: Vec<Text<NoteVerifyingKey>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    origin: Text<unanimity_protocol::Origin>,
    key: Text<NoteVerifyingKey>,
    mirrors: Vec<MirrorEntry>,
    pinned: Option<PathBuf>,
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
                let head = head.and_then(|bytes| Ok(TreeHead::verify(&bytes, &log)?));
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
        let tor = self.tor.check(directory, &state)?;
        let cycle = CycleSettings {
            policy,
            platform: platform.map_or_else(this_platform, |platform| platform.0),
            limits,
            ask_timeout,
            roll_timeout,
            polling,
            pinned,
            install_root: directory.join(self.install.root),
            procedure,
            spool,
            freshness,
            state,
        };
        Ok(Node {
            source,
            cycle,
            circle,
            peers_path,
            files,
            mirrors,
            removal_delay,
            tor,
            bootstrap_timeout,
            serve: self.serve.map(ServeTable::check).transpose()?,
            alarm: self.alarm.check()?,
        })
    }
}
