//! A node at work: what it was told, its peer role, its circle, and one cycle of its client.
//!
//! The circle is read anew for every cycle, so that a change of `peers.toml` counts at once; the
//! rest of the configuration is read once.

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

/// A node, its state open. One for each state directory.
#[derive(Debug)]
pub struct NodeRuntime<C> {
    /// What it was told when it started.
    pub config: unanimity_config::NodeConfig,
    /// If it is a peer to others.
    pub role: Option<WitnessRole<C>>,
    /// Who is told of the steps of its cycles.
    pub progress: ProgressSink,
    clock: C,
    disk: Storage,
    sharing: Sharing,
    uplink: Arc<DeferredConnector>,
    /// Where the log and the artifacts are read, over the uplink.
    mirrors: Vec<Mirror>,
}

/// What makes a node a peer.
#[derive(Debug)]
pub struct WitnessRole<C> {
    /// What it calls itself.
    pub name: Name,
    /// Follows the log, answers.
    pub witness: Arc<Witness<C>>,
    /// Its keys.
    pub identity: Identity,
    /// Where it is reached.
    pub address: OnionAddress,
    /// Where it serves artifacts, if it does.
    pub artifacts: Option<OnionAddress>,
}

/// Where a node's services are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddresses {
    /// What peers ask.
    pub peer: OnionAddress,
    /// What serves artifacts to anyone, if that was asked for.
    pub artifacts: Option<OnionAddress>,
}

/// What a node cannot do, and why.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// What it was told.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its own keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its peer role.
    #[error(transparent)]
    Peer(#[from] WitnessError),
    /// Its disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What it remembers.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `peers.toml`.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// `peers.toml` is for another user to edit.
    #[error("{error}. What belongs at its end:\n\n{block}")]
    PeersFileNotWritable {
        /// Why it cannot be.
        error: Box<EditError>,
        /// What they put there.
        block: String,
    },
    /// It has no name, no address and no key that it could give away.
    #[error("this node is no peer to anybody: give it a name under [serve] in {}", .0.display())]
    NoRole(PathBuf),
    /// What cannot be one more product of this node.
    #[error("{}: {why}", path.display())]
    InvalidExtraProduct {
        /// Its configuration.
        path: PathBuf,
        /// Why it cannot.
        why: &'static str,
    },
    /// It is there already.
    #[error("{name} is listed already, {}", if *.is_same { "with these very keys: there is nothing to do" } else { "with other keys: give this one another --name, or remove that one first" })]
    AlreadyListed {
        /// Who.
        name: Name,
        /// Whether it is the same peer.
        is_same: bool,
    },
    /// A ticket of its own.
    #[error("this is this node's own ticket: give it to the other side, and add theirs here")]
    OwnInvite,
    /// A ticket that is none, or of no use here.
    #[error(transparent)]
    Invite(#[from] InviteError),
}

/// What asking one member came to.
#[derive(Debug)]
pub struct PeerTest {
    /// Who.
    pub entry: PeerEntry,
    /// Its view, or why there is none.
    pub answer: Result<CosignedHead, PeerFailure>,
    /// How long that took.
    pub elapsed: Duration,
    /// Where its head stands beside ours; `None` if that cannot be told.
    pub relation: Option<HeadRelation>,
    /// It counts from now on.
    pub joined: bool,
    /// Why it does not count yet.
    pub waiting_for: Option<String>,
}

impl<C: Clock + Clone + 'static> NodeRuntime<C> {
    /// Opens what the node remembers; makes its keys at the first time. `addresses_of` tells where its
    /// services are reached.
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
                let follow = WitnessConfig {
                    log: config.cycle.policy.log.clone(),
                    signing_key: identity.cosigning_key.clone(),
                    mirrors: mirrors.clone(),
                    polling: config.cycle.polling,
                };
                let peer = Witness::open(follow, &config.cycle.state, disk.clone(), clock.clone());
                let peer = Arc::new(peer.map_err(NodeError::from)?);
                let ServiceAddresses { peer: address, artifacts } = addresses_of(&config, serve)?;
                Some(WitnessRole {
                    name: serve.name.clone(),
                    witness: peer,
                    identity,
                    address,
                    artifacts,
                })
            }
        };
        let (watcher, sharing) = (ProgressSink::default(), Sharing::Primary(Arc::default()));
        Ok(NodeRuntime { config, role, progress: watcher, clock, disk, sharing, uplink, mirrors })
    }

    /// One more product on this node, which goes by the answers that this one's peers gave lately. No
    /// peer role comes with it, and evidence that one of the two holds latches both.
    pub fn open_extra_product(
        &self,
        config: unanimity_config::NodeConfig,
    ) -> Result<NodeRuntime<C>, NodeError> {
        let wrong = |why| NodeError::InvalidExtraProduct { path: config.source.path.clone(), why };
        if config.serve.is_some() {
            return Err(wrong("[serve] belongs to the node, not to one more product"));
        }
        if !self.config.has_disjoint_paths(&config) {
            return Err(wrong(
                "its root, its state and its spool have to be apart from the node's own",
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

    /// Says over which network the mirrors are asked.
    pub fn connect(&self, web: Arc<dyn WebConnector>) {
        self.uplink.set_connector(web);
    }

    /// One cycle of the client.
    pub async fn run_cycle(
        &self,
        transport: &impl Transport,
        mode: CycleMode,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        let config = match self.check_can_start() {
            Ok(config) => config,
            // Whatever stands in the way of installing: what was interrupted is undone.
            Err(failure) => {
                let mut report = CycleReport::default();
                if matches!(mode, CycleMode::Update | CycleMode::InstallDownloaded) {
                    match self.recover().await {
                        Ok(undone) => report.remarks.extend(undone),
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
            // On the heap: a cycle is a large future, within ever larger ones.
            (Ok(mut client), errand) => Box::pin(client.run(errand, rng)).await,
        }
    }

    /// What a cycle goes by, if nothing speaks against one from the start.
    fn check_can_start(&self) -> Result<ClientConfig, CycleError> {
        // Whoever may not be able to confirm anything yet may well have found a fork.
        if let Some(id) = self.evidence_store().find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        Ok(self.config.reload()?.client_config(self.clock.now())?)
    }

    fn evidence_store(&self) -> EvidenceStore {
        let log = &self.config.cycle.policy.log;
        let evidence = EvidenceStore::new(&self.config.cycle.state, log, self.disk.clone());
        match self.sharing.primary_state() {
            Some(beside) => evidence.also_record_in(beside),
            None => evidence,
        }
    }

    /// Ends a trial that was interrupted, if it is this process that installs; see [`InstallRoot::recover`].
    pub async fn recover(&self) -> Result<Option<String>, InstallError> {
        if self.config.cycle.spool.is_some() {
            return Ok(None);
        }
        let (place, policy) = (self.config.cycle.state.join("client"), &self.config.cycle.policy);
        // Where that cannot be read, what was interrupted is undone all the same.
        let known = ClientStore::read_catalog(&place, policy, &self.disk).unwrap_or_default();
        let root = InstallRoot::new(&self.config.cycle.install_root, self.disk.clone());
        let root =
            root.with_hooks(self.config.cycle.hooks.clone()).with_withdrawn(known.withdrawn());
        let root = root.with_hook_runner(Arc::new(HookThreads));
        root.recover(self.clock.now()).await
    }

    /// Fetches what every peer confirmed, apart from any cycle, for [`CycleMode::InstallDownloaded`] to find.
    pub async fn download(
        &self,
        transport: &impl Transport,
        agreed: &ConfirmedRelease,
        rng: &mut impl Rng,
    ) -> Result<(), CycleError> {
        if let Some(id) = self.evidence_store().find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        let config =
            self.config.reload().and_then(|config| config.client_config(self.clock.now()))?;
        let fetcher = Downloader::new(&config, &self.mirrors, transport, self.disk.clone());
        let mut report = CycleReport::default();
        let fetched = Box::pin(fetcher.download(agreed, &mut report, rng)).await;
        fetched.map(|_| ())
    }

    /// What to give to somebody who shall become a peer.
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

    /// Lists somebody, who counts once both heads have been found to be of one log.
    pub fn add_peer(
        &self,
        ticket: &Invite,
        name: Option<Name>,
        operator: Option<Name>,
    ) -> Result<PeerEntry, NodeError> {
        let role = self.require_role()?;
        if ticket.key.raw() == role.identity.cosigning_key.public().raw()
            || ticket.address.key == role.address.key
        {
            return Err(NodeError::OwnInvite);
        }
        let mut member = ticket.to_peer_entry(&self.config.cycle.policy.log)?;
        member.peer.name = name.unwrap_or(member.peer.name);
        member.peer.operator = operator.unwrap_or_else(|| member.peer.name.clone());
        self.config.check_peer_role(&member)?;
        let circle = self.config.reload()?.peers;
        if let Some(known) = circle.find(&member.peer.name) {
            let same = known.peer.key == member.peer.key && known.address == member.address;
            return Err(NodeError::AlreadyListed { name: member.peer.name, is_same: same });
        }
        match edit::add(&self.config.peers_path, &member, &self.disk) {
            Ok(_) => Ok(member),
            Err(error) if error.why.is_permission_denied() => {
                Err(NodeError::PeersFileNotWritable {
                    error: error.into(),
                    block: edit::format_peer_table(&member),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes somebody out of the circle. Who counts still has to confirm until the time that is
    /// returned, unless `at_once`; for all others there is nothing to wait for.
    pub fn remove_peer(&self, name: &Name, at_once: bool) -> Result<Option<Timestamp>, NodeError> {
        let (config, now) = (self.config.reload()?, self.clock.now());
        let member = config.peers.find(name);
        let counts = member.is_some_and(|member| member.membership.must_confirm(now));
        if !counts || at_once {
            if counts {
                edit::schedule_removal(&config.peers_path, name, now, &self.disk)?;
            }
            edit::remove(&config.peers_path, name, now, &self.disk)?;
            return Ok(None);
        }
        // A clock that was put back must not make the wait shorter than it says.
        let agreed = match config.client_config(now) {
            Ok(config) => {
                let place = config.cycle.state.join("client");
                ClientStore::read(&place, &config.cycle.policy, &config.peers, &self.disk)?
                    .latest_verified_time
            }
            Err(_) => Timestamp(0),
        };
        let at = now.max(agreed).after(config.removal_delay);
        edit::schedule_removal(&config.peers_path, name, at, &self.disk)?;
        Ok(Some(at))
    }

    /// Asks every member for its view, all at once. Those that wait to be counted are counted if
    /// their heads and ours are of one log. Only `filter`, if it is given.
    pub async fn test_peers(
        &self,
        transport: &impl Transport,
        filter: impl Fn(&PeerEntry) -> bool,
    ) -> Result<Vec<PeerTest>, NodeError> {
        let (circle, now) = (self.config.reload()?.peers, self.clock.now());
        let present = circle.entries().iter().filter(|member| !member.membership.has_left(now));
        let members = present.filter(|member| filter(member));
        let asked = members.map(|member| async move {
            let began = Instant::now();
            let log = &self.config.cycle.policy.log;
            let asked = ask_once(transport, &member.address, log, &member.peer.key);
            let answer = timeout(self.config.cycle.ask_timeout, asked)
                .await
                .unwrap_or(Err(PeerFailure::TimedOut));
            (member, answer, began.elapsed())
        });
        let mut tested = Vec::new();
        for (member, answer, took) in join_all(asked).await {
            let place = match (&self.role, &answer) {
                (Some(role), Ok(view)) => Some(role.witness.compare_head(view.head())?),
                _ => None,
            };
            // An old one may be a replay: as good as none, but for what it proves of a fork.
            let answer =
                answer.and_then(|view| self.config.cycle.limits.admit(view, self.clock.now(), 0));
            let waits = match member.membership {
                Membership::Joining { size, root } => {
                    self.joining_obstacle(size, root, place.as_ref().filter(|_| answer.is_ok()))?
                }
                Membership::Counted | Membership::Leaving { .. } => None,
            };
            let joins = waits.is_none() && matches!(member.membership, Membership::Joining { .. });
            let counted =
                joins.then(|| edit::activate(&self.config.peers_path, member, &self.disk));
            // One who cannot be counted must not keep the others from it.
            let (joined, waits) = match counted {
                Some(Err(error)) => (false, Some(error.to_string())),
                counted => (counted.is_some(), waits),
            };
            let member = member.clone();
            tested.push(PeerTest {
                entry: member,
                answer,
                elapsed: took,
                relation: place,
                joined,
                waiting_for: waits,
            });
        }
        Ok(tested)
    }

    /// Why a member whose ticket named this head does not count yet.
    fn joining_obstacle(
        &self,
        size: u64,
        root: Hash,
        place: Option<&HeadRelation>,
    ) -> Result<Option<String>, NodeError> {
        let Some(role) = &self.role else {
            return Ok(Some(
                "this node has no [serve], and no head of its own to compare".to_owned(),
            ));
        };
        let ours = role.witness.root_at(size)?;
        Ok(match (place, ours) {
            (None, _) => Some("it has not answered with a view of now yet".to_owned()),
            (Some(HeadRelation::Fork(_)), _) => {
                Some("its head contradicts ours: the log has forked".to_owned())
            }
            (Some(HeadRelation::Ahead), _) | (_, None) => {
                Some("it has seen more of the log than our own mirrors have shown us".to_owned())
            }
            (Some(HeadRelation::Ancestor), Some(ours)) if ours != root => Some(format!(
                "its ticket names a head of size {size} that is none of this log's: ask for a new ticket, and how that one was made"
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
