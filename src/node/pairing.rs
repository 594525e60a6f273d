//! Pairing: this node's invite, changes of `peers.toml`, and the test that lets a peer count.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;
use unanimity_client::ask_once;
use unanimity_config::peers::edit;
use unanimity_config::{Invite, Membership, MirrorUrl, PeerEntry};
use unanimity_net::Transport;
use unanimity_protocol::{CosignedHead, Hash, Name, PeerFailure, Timestamp};
use unanimity_state::ClientStore;
use unanimity_storage::Clock;
use unanimity_witness::HeadRelation;

use crate::node::{NodeError, NodeRuntime, WitnessRole};

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
