//! A running node: its configuration, its witness role, its peers, and the cycles of its client.
//!
//! Every cycle reads `peers.toml` again, so that a change takes effect at once. The rest of the
//! configuration takes effect at the start of the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::{CryptoRng, Rng};
use tokio::time::timeout;
use unanimity_config::peers::edit;
use unanimity_config::{
    ClientConfig, ConfigError, EditError, Invite, InviteError, Membership, MirrorUrl, OnionAddress,
    PeerEntry,
};
use unanimity_install::{InstallError, InstallRoot};
use unanimity_net::{DeferredConnector, Mirror, Transport, WebConnector, isolated_connector};
use unanimity_report::{Classify, Exit};
use unanimity_state::{ClientStore, EvidenceStore, Identity, IdentityError, LogForked, StoreError};
use unanimity_witness::{HeadRelation, Witness, WitnessConfig, WitnessError};

use crate::node::mirrors::open_mirrors;
pub(super) use unanimity_client::CycleMode;
use unanimity_client::{
    Client, CycleError, CycleOutcome, CycleReport, Downloader, HookThreads, ProgressSink, Sharing,
    ask_once,
};
use unanimity_protocol::key::KeyName;
use unanimity_protocol::{ConfirmedRelease, CosignedHead, Hash, Name, PeerFailure, Timestamp};
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
    clock: C,
    disk: Storage,
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

/// The result of asking one peer outside a round.
#[derive(Debug)]
pub struct PeerTest {
    /// The peer, as listed.
    pub entry: PeerEntry,
    /// The peer's recent cosigned head, or the reason why there is none.
    pub answer: Result<CosignedHead, PeerFailure>,
    /// The time from the question to the answer or failure.
    pub elapsed: Duration,
    /// How the head in the peer's answer, which may be old, relates to the node's own head. `None`
    /// without a verified head, or without a witness role.
    pub relation: Option<HeadRelation>,
    /// Whether this test made a joining peer count.
    pub joined: bool,
    /// Why a joining peer does not count yet.
    pub waiting_for: Option<String>,
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

    /// Makes this node's invite, for the operator of a future peer.
    ///
    /// # Errors
    ///
    /// [`NodeError::NoRole`] if this node has no witness role.
    pub fn create_invite(&self) -> Result<Invite, NodeError> {
        let role = self.require_role()?;
        let head = role.witness.head();
        let log = &self.config.cycle.policy.log;
        Ok(Invite {
            name: role.name.clone(),
            origin: log.origin.clone(),
            log: log.id(),
            address: role.address.clone(),
            key: role.identity.cosigning_key.public(),
            client_auth: role.identity.client_auth.public(),
            artifacts: role
                .artifacts
                .as_ref()
                .map(|address| MirrorUrl::from_onion_key(address.key)),
            size: head.as_ref().map_or(0, |head| head.size()),
            root: head.as_ref().map_or_else(Hash::empty_root, |head| *head.root()),
        })
    }

    fn require_role(&self) -> Result<&WitnessRole<C>, NodeError> {
        self.role.as_ref().ok_or_else(|| NodeError::NoRole(self.config.source.path.clone()))
    }

    /// Adds a peer to `peers.toml`. The peer counts once its head and this node's head are found to
    /// be from one log. `name` replaces the name in the invite. Without `operator`, the operator
    /// has the peer's name.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if this node has no witness role, if the invite is unusable, if the peer is
    /// already listed, or if `peers.toml` cannot be written.
    pub fn add_peer(
        &self,
        invite: &Invite,
        name: Option<Name>,
        operator: Option<Name>,
    ) -> Result<PeerEntry, NodeError> {
        let role = self.require_role()?;
        if invite.key.raw() == role.identity.cosigning_key.public().raw()
            || invite.address.key == role.address.key
        {
            return Err(NodeError::OwnInvite);
        }
        let mut entry = invite.to_peer_entry(&self.config.cycle.policy.log)?;
        entry.peer.name = name.unwrap_or(entry.peer.name);
        entry.peer.operator = operator.unwrap_or_else(|| entry.peer.name.clone());
        self.config.check_peer_role(&entry)?;
        let peers = self.config.reload()?.peers;
        if let Some(listed) = peers.find(&entry.peer.name) {
            let same = listed.peer.key == entry.peer.key && listed.address == entry.address;
            return Err(NodeError::AlreadyListed { name: entry.peer.name, is_same: same });
        }
        match edit::add(&self.config.peers_path, &entry, &self.disk) {
            Ok(_) => Ok(entry),
            Err(error) if error.why.is_permission_denied() => {
                Err(NodeError::PeersFileNotWritable {
                    error: error.into(),
                    block: edit::format_peer_table(&entry),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a peer from `peers.toml`.
    ///
    /// A counted peer stays until the returned time, and must confirm every update until then. With
    /// `at_once`, and for any other peer, the removal is immediate, and the result is `None`.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if the configuration or the state cannot be read, or `peers.toml` cannot be
    /// edited.
    pub fn remove_peer(&self, name: &Name, at_once: bool) -> Result<Option<Timestamp>, NodeError> {
        let (config, now) = (self.config.reload()?, self.clock.now());
        let entry = config.peers.find(name);
        let counts = entry.is_some_and(|entry| entry.membership.must_confirm(now));
        if !counts || at_once {
            if counts {
                edit::schedule_removal(&config.peers_path, name, now, &self.disk)?;
            }
            edit::remove(&config.peers_path, name, now, &self.disk)?;
            return Ok(None);
        }
        // A clock that was set back must not shorten the delay.
        let latest_verified = match config.client_config(now) {
            Ok(config) => {
                let client_dir = config.cycle.state.join("client");
                ClientStore::read(&client_dir, &config.cycle.policy, &config.peers, &self.disk)?
                    .latest_verified_time
            }
            Err(_) => Timestamp(0),
        };
        let at = now.max(latest_verified).after(config.removal_delay);
        edit::schedule_removal(&config.peers_path, name, at, &self.disk)?;
        Ok(Some(at))
    }

    /// Asks the peers that pass `filter` for their cosigned heads, all at once.
    ///
    /// A joining peer counts from now on if its head, the head in its invite, and this node's head
    /// are from one log.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if the configuration or the witness's own log cannot be read. A peer's failure
    /// is in its [`PeerTest`].
    pub async fn test_peers(
        &self,
        transport: &impl Transport,
        filter: impl Fn(&PeerEntry) -> bool,
    ) -> Result<Vec<PeerTest>, NodeError> {
        let (peers, now) = (self.config.reload()?.peers, self.clock.now());
        let present = peers.entries().iter().filter(|entry| !entry.membership.has_left(now));
        let listed = present.filter(|entry| filter(entry));
        let answers = listed.map(|entry| async move {
            let began = Instant::now();
            let log = &self.config.cycle.policy.log;
            let answer = ask_once(transport, &entry.address, log, &entry.peer.key);
            let answer = timeout(self.config.cycle.ask_timeout, answer)
                .await
                .unwrap_or(Err(PeerFailure::TimedOut));
            (entry, answer, began.elapsed())
        });
        let mut tested = Vec::new();
        for (entry, answer, elapsed) in join_all(answers).await {
            let relation = match (&self.role, &answer) {
                (Some(role), Ok(cosigned)) => Some(role.witness.compare_head(cosigned.head())?),
                _ => None,
            };
            // An old answer may be a replay, so it counts as a failure. Its head was still compared
            // above, because an old head can prove a fork, too.
            let answer = answer
                .and_then(|cosigned| self.config.cycle.limits.admit(cosigned, self.clock.now(), 0));
            let waiting_for = match entry.membership {
                Membership::Joining { size, root } => {
                    self.joining_obstacle(size, root, relation.as_ref().filter(|_| answer.is_ok()))?
                }
                Membership::Counted | Membership::Leaving { .. } => None,
            };
            let joins =
                waiting_for.is_none() && matches!(entry.membership, Membership::Joining { .. });
            let counted = joins.then(|| edit::activate(&self.config.peers_path, entry, &self.disk));
            // A failed edit for one peer must not keep the others from joining.
            let (joined, waiting_for) = match counted {
                Some(Err(error)) => (false, Some(error.to_string())),
                counted => (counted.is_some(), waiting_for),
            };
            let entry = entry.clone();
            tested.push(PeerTest { entry, answer, elapsed, relation, joined, waiting_for });
        }
        Ok(tested)
    }

    /// Returns why a joining peer does not count yet. `size` and `root` are the head in its invite.
    fn joining_obstacle(
        &self,
        size: u64,
        root: Hash,
        relation: Option<&HeadRelation>,
    ) -> Result<Option<String>, NodeError> {
        let Some(role) = &self.role else {
            return Ok(Some(
                "this node has no [serve], so it has no head of its own to compare".to_owned(),
            ));
        };
        let ours = role.witness.root_at(size)?;
        Ok(match (relation, ours) {
            (None, _) => Some("it has not answered with a recent cosigned head yet".to_owned()),
            (Some(HeadRelation::Fork(_)), _) => {
                Some("its head contradicts this node's head: the log has forked".to_owned())
            }
            (Some(HeadRelation::Ahead), _) | (_, None) => {
                Some("its head is larger than any that this node's mirrors have served".to_owned())
            }
            (Some(HeadRelation::Ancestor), Some(ours)) if ours != root => Some(format!(
                "the head in the peer's invite (size {size}) does not belong to this log. Ask the peer's operator for a new invite"
            )),
            (Some(HeadRelation::Ancestor), Some(_)) => None,
        })
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
