//! The reader of configuration files: TOML in, checked types out.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{Hash, Log, Name, NoteVerifyingKey, Policy, Timestamp, TreeHead};

use crate::operator_file::{Parsed, parse_file};
use crate::sections::alert::AlertTable;
use crate::sections::install::InstallTable;
use crate::sections::limits::{CheckedLimits, LimitsTable};
use crate::sections::mirror::MirrorEntry;
use crate::sections::serve::ServeTable;
use crate::sections::tor::TorTable;
use crate::{
    ClientConfig, ConfigError, ConfigErrorKind, ConfigSource, CycleSettings, NodeConfig, PeerList,
    PinnedError,
};

/// The platform of this program, as manifests name it, such as `x86_64-linux`.
pub fn this_platform() -> Name {
    let platform = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    platform.parse().expect("a platform is a safe name")
}

/// Reads a node's configuration and its peers. Fails if the peers that count at `now` have fewer
/// than `min_peers` distinct operators. Relative paths start at the directory of the configuration.
pub fn load_client_config(path: &Path, now: Timestamp) -> Result<ClientConfig, ConfigError> {
    load_node_config(path)?.client_config(now)
}

/// Reads a node's configuration and its peers, which may be too few for a client. Relative paths
/// start at the directory of the configuration.
pub fn load_node_config(path: &Path) -> Result<NodeConfig, ConfigError> {
    let (file, digest) = parse_file(path, |text| {
        let file: NodeFile = toml::from_str(text)?;
        Ok((file, Hash::digest(text.as_bytes())))
    })?;
    let peers_path = unanimity_storage::parent(path).join(&file.peers);
    let peers = PeerList::load(&peers_path)?;
    let node = file.validate(ConfigSource { path: path.to_owned(), digest }, peers, peers_path);
    let node = node.map_err(|why| ConfigError { path: path.to_owned(), why })?;
    node.peers.entries().iter().try_for_each(|entry| node.check_peer_role(entry))?;
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
    alert: AlertTable,
    /// The path of the peers file, relative to the directory of this file.
    #[serde(default = "default_peers")]
    peers: PathBuf,
}

fn default_peers() -> PathBuf {
    "peers.toml".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductTable {
    name: Parsed<Name>,
    channel: Parsed<Name>,
    platform: Option<Parsed<Name>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherTable {
    threshold: usize,
    keys: Vec<Parsed<NoteVerifyingKey>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    origin: Parsed<unanimity_protocol::Origin>,
    key: Parsed<NoteVerifyingKey>,
    mirrors: Vec<MirrorEntry>,
    pinned: Option<PathBuf>,
}

impl NodeFile {
    fn validate(
        self,
        source: ConfigSource,
        peers: PeerList,
        peers_path: PathBuf,
    ) -> Result<NodeConfig, ConfigErrorKind> {
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
                Some(head.map_err(|why| ConfigErrorKind::Pinned { path, why })?)
            }
            None => None,
        };
        let freshness = self.install.freshness()?;
        let spool = self.install.spool(directory, freshness)?;
        let hooks = self.install.hook_settings()?;
        let keys = self.publisher.keys.into_iter().map(|key| key.0).collect();
        let ProductTable { name, channel, platform } = self.product;
        let policy = Policy::new(name.0, channel.0, log, keys, self.publisher.threshold)?;
        if self.log.mirrors.is_empty() {
            return Err(ConfigErrorKind::NoMirrors);
        }
        let CheckedLimits { limits, polling, ask_timeout, round_timeout, removal_delay } =
            self.limits.validate()?;
        let mirrors = self.log.mirrors.into_iter().map(|mirror| mirror.validate(directory));
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        let state = directory.join(self.install.state);
        let bootstrap_timeout = self.tor.bootstrap_timeout()?;
        let tor = self.tor.validate(directory, &state)?;
        let cycle = CycleSettings {
            policy,
            platform: platform.map_or_else(this_platform, |platform| platform.0),
            limits,
            ask_timeout,
            round_timeout,
            polling,
            pinned,
            install_root: directory.join(self.install.root),
            hooks,
            spool,
            freshness,
            state,
        };
        Ok(NodeConfig {
            source,
            cycle,
            peers,
            peers_path,
            config_files: files,
            mirrors,
            removal_delay,
            tor,
            bootstrap_timeout,
            serve: self.serve.map(ServeTable::validate).transpose()?,
            alert: self.alert.validate()?,
        })
    }
}
