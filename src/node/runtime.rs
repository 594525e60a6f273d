//! A running node: its configuration, its witness role, its peers, and the cycles of its client.
//!
//! Every cycle reads `peers.toml` again, so that a change takes effect at once. The rest of the
//! configuration takes effect at the start of the process.

use std::path::PathBuf;
use std::sync::Arc;

use rand::{CryptoRng, Rng};
use unanimity_config::{ClientConfig, ConfigError, EditError, InviteError, OnionAddress};
use unanimity_install::{InstallError, InstallRoot};
use unanimity_net::{DeferredConnector, Mirror, Transport, WebConnector, isolated_connector};
use unanimity_report::{Classify, Exit};
use unanimity_state::{ClientStore, EvidenceStore, Identity, IdentityError, LogForked, StoreError};
use unanimity_witness::{Witness, WitnessConfig, WitnessError};

use crate::node::mirrors::open_mirrors;
pub(super) use unanimity_client::CycleMode;
use unanimity_client::{
    Client, CycleError, CycleOutcome, CycleReport, Downloader, HookThreads, ProgressSink, Sharing,
};
use unanimity_protocol::key::KeyName;
use unanimity_protocol::{ConfirmedRelease, Name};
use unanimity_storage::Clock;
use unanimity_storage::{Storage, StorageError};

/// A node with its state open. There is one for each state directory.
#[derive(Debug)]
pub struct NodeRuntime<C> {
    /// The configuration, as read at the start.
    pub config: unanimity_config::NodeConfig,
    /// The witness role, if the configuration has `[serve]`.
    pub role: Option<WitnessRole<C>>,
    /// Receives the progress of the node's cycles.
    pub progress: ProgressSink,
    pub(super) clock: C,
    pub(super) disk: Storage,
    sharing: Sharing,
    uplink: Arc<DeferredConnector>,
    /// The mirrors with the log and the artifacts, reached over the uplink.
    mirrors: Vec<Mirror>,
}

/// The witness role of a node: its witness, its keys, and its onion services.
#[derive(Debug)]
pub struct WitnessRole<C> {
    /// The node's name, from `[serve] name`.
    pub name: Name,
    /// The witness, which follows the log and answers peers.
    pub witness: Arc<Witness<C>>,
    /// The node's own keys.
    pub identity: Identity,
    /// The address of the onion service that peers ask.
    pub address: OnionAddress,
    /// The address of the onion service with artifacts, if the configuration has
    /// `[serve.artifacts]`.
    pub artifacts: Option<OnionAddress>,
}

/// The addresses of a node's onion services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddresses {
    /// The address of the service that peers ask.
    pub peer: OnionAddress,
    /// The address of the service with artifacts for anyone, if the configuration has
    /// `[serve.artifacts]`.
    pub artifacts: Option<OnionAddress>,
}

/// An error of a node outside a cycle: at the start, in a change of the peer list, or in a test of
/// peers.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node's own keys cannot be opened.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The witness failed.
    #[error(transparent)]
    Peer(#[from] WitnessError),
    /// A file or directory cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The stored state of the node cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `peers.toml` cannot be edited.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Only another user may write `peers.toml`. That user has to add the peer.
    #[error("{error}. What belongs at its end:\n\n{block}")]
    PeersFileNotWritable {
        /// The failed edit.
        error: Box<EditError>,
        /// The table for that user to add at the end of the file.
        block: String,
    },
    /// The node has no witness role, so it has no name, address or key for an invite.
    #[error("this node is not set up as a peer. Give it a name under [serve] in {}", .0.display())]
    NoRole(PathBuf),
    /// A configuration cannot be used as one more product of this node.
    #[error("{}: {why}", path.display())]
    InvalidExtraProduct {
        /// The configuration of the product.
        path: PathBuf,
        /// The reason.
        why: &'static str,
    },
    /// The peer list has an entry of this name.
    #[error("{name} is listed already, {}", if *.is_same { "with the same keys: there is nothing to do" } else { "with other keys. Give the new peer another --name, or remove the listed one first" })]
    AlreadyListed {
        /// The name of the listed peer.
        name: Name,
        /// Whether the listed key and address are the same as in the invite.
        is_same: bool,
    },
    /// The invite is this node's own.
    #[error("this is the node's own invite. Give it to the other operator, and add theirs here")]
    OwnInvite,
    /// The invite cannot be read, or is for another log.
    #[error(transparent)]
    Invite(#[from] InviteError),
}

impl<C: Clock + Clone + 'static> NodeRuntime<C> {
    /// Opens a node's mirrors and, with `[serve]`, its keys and its witness. The first call makes
    /// the keys. `addresses_of` returns the addresses of the node's onion services.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if the mirrors, the keys or the witness cannot be opened. Errors of
    /// `addresses_of` are passed on.
    pub fn open<E: From<NodeError>>(
        config: unanimity_config::NodeConfig,
        addresses_of: impl FnOnce(
            &unanimity_config::NodeConfig,
            &unanimity_config::ServeSettings,
        ) -> Result<ServiceAddresses, E>,
        clock: C,
        disk: Storage,
        rng: &mut impl CryptoRng,
    ) -> Result<NodeRuntime<C>, E> {
        let uplink = Arc::<DeferredConnector>::default();
        let mirrors =
            open_mirrors(&config, Some(&isolated_connector(&uplink))).map_err(NodeError::from)?;
        let role = match &config.serve {
            None => None,
            Some(serve) => {
                let name =
                    serve.name.as_str().parse::<KeyName>().expect("checked with the configuration");
                let identity = Identity::open(&config.cycle.state, &name, rng, &disk)
                    .map_err(NodeError::from)?;
                let witness_config = WitnessConfig {
                    log: config.cycle.policy.log.clone(),
                    signing_key: identity.cosigning_key.clone(),
                    mirrors: mirrors.clone(),
                    polling: config.cycle.polling,
                };
                let witness =
                    Witness::open(witness_config, &config.cycle.state, disk.clone(), clock.clone());
                let witness = Arc::new(witness.map_err(NodeError::from)?);
                let ServiceAddresses { peer: address, artifacts } = addresses_of(&config, serve)?;
                Some(WitnessRole {
                    name: serve.name.clone(),
                    witness,
                    identity,
                    address,
                    artifacts,
                })
            }
        };
        let (progress, sharing) = (ProgressSink::default(), Sharing::Primary(Arc::default()));
        Ok(NodeRuntime { config, role, progress, clock, disk, sharing, uplink, mirrors })
    }

    /// Opens one more product of this node. The product has no witness role, and reuses recent
    /// answers of this node's peers. A fork of a log that both products follow latches both.
    ///
    /// # Errors
    ///
    /// [`NodeError::InvalidExtraProduct`] if `config` has `[serve]`, or if its paths overlap this
    /// node's. [`NodeError::Config`] if a mirror cannot be opened.
    pub fn open_extra_product(
        &self,
        config: unanimity_config::NodeConfig,
    ) -> Result<NodeRuntime<C>, NodeError> {
        let refuse = |why| NodeError::InvalidExtraProduct { path: config.source.path.clone(), why };
        if config.serve.is_some() {
            return Err(refuse(
                "[serve] belongs to the node, and not to one more product: remove that section",
            ));
        }
        if !self.config.has_disjoint_paths(&config) {
            return Err(refuse(
                "its root, its state and its spool must not overlap those of the node",
            ));
        }
        let sharing = match &self.sharing {
            Sharing::Primary(answers) | Sharing::Secondary { answers, .. } => Sharing::Secondary {
                answers: answers.clone(),
                primary_state: self.config.cycle.state.clone(),
            },
            Sharing::Nothing => Sharing::Nothing,
        };
        let uplink = Arc::<DeferredConnector>::default();
        let mirrors = open_mirrors(&config, Some(&isolated_connector(&uplink)))?;
        Ok(NodeRuntime {
            uplink,
            mirrors,
            config,
            role: None,
            progress: self.progress.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            sharing,
        })
    }

    /// Sets the connector through which the node reaches its mirrors.
    pub fn connect(&self, web: Arc<dyn WebConnector>) {
        self.uplink.set_connector(web);
    }

    /// Runs one cycle of the client.
    ///
    /// If no cycle can start, and `mode` may install, this still ends a trial that was interrupted.
    ///
    /// # Errors
    ///
    /// [`CycleError::LogForked`] if evidence is not acknowledged, and an error if the configuration
    /// is not valid. Otherwise the errors of [`Client::open`] and [`Client::run`].
    pub async fn run_cycle(
        &self,
        transport: &impl Transport,
        mode: CycleMode,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        let config = match self.check_can_start() {
            Ok(config) => config,
            // An interrupted trial must end even if nothing can be installed.
            Err(failure) => {
                let mut report = CycleReport::default();
                if matches!(mode, CycleMode::Update | CycleMode::InstallDownloaded) {
                    match self.recover().await {
                        Ok(remark) => report.remarks.extend(remark),
                        Err(error) => report.remarks.push(error.to_string()),
                    }
                }
                return (report, Err(failure));
            }
        };
        let client =
            Client::open(&config, &self.mirrors, transport, &self.clock, self.disk.clone()).map(
                |client| {
                    client.with_progress(self.progress.clone()).with_sharing(self.sharing.clone())
                },
            );
        match (client, mode) {
            (Err(error), _) => (CycleReport::default(), Err(error.into())),
            // On the heap: a cycle is a large future inside still larger ones.
            (Ok(mut client), mode) => Box::pin(client.run(mode, rng)).await,
        }
    }

    /// Returns the configuration for a cycle, or the reason why no cycle may start.
    fn check_can_start(&self) -> Result<ClientConfig, CycleError> {
        // Evidence comes first: a node with too few peers may have found a fork.
        if let Some(id) = self.evidence_store().find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        Ok(self.config.reload()?.client_config(self.clock.now())?)
    }

    fn evidence_store(&self) -> EvidenceStore {
        let log = &self.config.cycle.policy.log;
        let evidence = EvidenceStore::new(&self.config.cycle.state, log, self.disk.clone());
        match self.sharing.primary_state() {
            Some(primary_state) => evidence.also_record_in(primary_state),
            None => evidence,
        }
    }

    /// Ends a trial that was interrupted, unless another process installs; see
    /// [`InstallRoot::recover`]. Returns a line for the operator if there was such a trial. With a
    /// spool, this does nothing, because the installer ends interrupted trials.
    ///
    /// # Errors
    ///
    /// [`InstallError`] if the install root cannot be read, or the return to the earlier version
    /// fails.
    pub async fn recover(&self) -> Result<Option<String>, InstallError> {
        if self.config.cycle.spool.is_some() {
            return Ok(None);
        }
        let (client_dir, policy) =
            (self.config.cycle.state.join("client"), &self.config.cycle.policy);
        // An unreadable catalog must not keep an interrupted trial from ending.
        let catalog =
            ClientStore::read_catalog(&client_dir, policy, &self.disk).unwrap_or_default();
        let root = InstallRoot::new(&self.config.cycle.install_root, self.disk.clone());
        let root =
            root.with_hooks(self.config.cycle.hooks.clone()).with_withdrawn(catalog.withdrawn());
        let root = root.with_hook_runner(Arc::new(HookThreads));
        root.recover(self.clock.now()).await
    }

    /// Downloads a confirmed release outside any cycle. A later cycle in the mode
    /// [`CycleMode::InstallDownloaded`] finds and installs it.
    ///
    /// # Errors
    ///
    /// [`CycleError::LogForked`] if evidence is not acknowledged. Otherwise an error of the
    /// configuration or of the download.
    pub async fn download(
        &self,
        transport: &impl Transport,
        release: &ConfirmedRelease,
        rng: &mut impl Rng,
    ) -> Result<(), CycleError> {
        if let Some(id) = self.evidence_store().find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        let config =
            self.config.reload().and_then(|config| config.client_config(self.clock.now()))?;
        let downloader = Downloader::new(&config, &self.mirrors, transport, self.disk.clone());
        let mut report = CycleReport::default();
        let result = Box::pin(downloader.download(release, &mut report, rng)).await;
        result.map(|_| ())
    }
}

impl Classify for NodeError {
    fn exit(&self) -> Exit {
        match self {
            NodeError::Config(_) | NodeError::NoRole(_) | NodeError::InvalidExtraProduct { .. } => {
                Exit::Configuration
            }
            NodeError::Identity(IdentityError::Storage(_))
            | NodeError::Peer(_)
            | NodeError::Storage(_) => Exit::Disk,
            NodeError::Store(error) => error.exit(),
            NodeError::Identity(_) => Exit::Key,
            NodeError::Edit(error) => error.exit(),
            NodeError::PeersFileNotWritable { error, .. } => error.exit(),
            NodeError::OwnInvite | NodeError::Invite(_) => Exit::BadInput,
            NodeError::AlreadyListed { .. } => Exit::Usage,
        }
    }
}
