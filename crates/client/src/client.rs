//! The client of one product, with its state open.

use std::sync::Arc;

use unanimity_config::ClientConfig;
use unanimity_install::InstallRoot;
use unanimity_net::{Mirror, Transport};
use unanimity_state::{ClientState, ClientStore, EvidenceStore};
use unanimity_storage::{Clock, Storage};

use crate::answer_cache::Sharing;
use crate::downloader::Downloader;
use crate::error::ClientError;
use crate::hook_threads::HookThreads;
use crate::mirror_scores::MirrorScores;
use crate::progress::ProgressSink;

/// The client of one product, with its state open. No other client can open that state meanwhile.
pub struct Client<'a, T, C> {
    pub(crate) config: &'a ClientConfig,
    pub(crate) downloader: Downloader<'a>,
    pub(crate) transport: &'a T,
    pub(crate) clock: &'a C,
    pub(crate) disk: Storage,
    /// The install root: the directory of the installed versions.
    pub(crate) root: InstallRoot,
    pub(crate) store: ClientStore,
    pub(crate) state: ClientState,
    /// Whether `state` may have changes that are not stored yet.
    pub(crate) unsaved: bool,
    pub(crate) scores: MirrorScores,
    pub(crate) evidence: EvidenceStore,
    pub(crate) sharing: Sharing,
}

impl<'a, T: Transport, C: Clock> Client<'a, T, C> {
    /// Opens the client's state, for this client alone. The cycles of this client read the log and
    /// the artifacts from `mirrors`.
    ///
    /// # Errors
    /// [`StoreError::Busy`](unanimity_state::StoreError::Busy) if another client uses the state.
    /// Other errors if the state or the install root cannot be read.
    pub fn open(
        config: &'a ClientConfig,
        mirrors: &[Mirror],
        transport: &'a T,
        clock: &'a C,
        disk: Storage,
    ) -> Result<Self, ClientError> {
        let directory = config.cycle.state.join("client");
        let (store, mut state) =
            ClientStore::open(&directory, &config.cycle.policy, &config.peers, disk.clone())?;
        let evidence =
            EvidenceStore::new(&config.cycle.state, &config.cycle.policy.log, disk.clone());
        let downloader = Downloader::new(config, mirrors, transport, disk.clone());
        // An earlier process may have been killed after a switch, before it stored the new floor.
        let root = InstallRoot::new(&config.cycle.install_root, disk.clone())
            .with_hooks(config.cycle.hooks.clone())
            .with_hook_runner(Arc::new(HookThreads));
        state.highest_installed = state.highest_installed.max(root.floor()?);
        let (unsaved, scores) = (true, MirrorScores::default());
        Ok(Client {
            config,
            downloader,
            transport,
            clock,
            disk,
            root,
            store,
            state,
            unsaved,
            scores,
            evidence,
            sharing: Sharing::default(),
        })
    }

    /// Sets the sink that receives every step of a cycle.
    pub fn with_progress(mut self, progress: ProgressSink) -> Self {
        self.downloader.progress = progress;
        self
    }

    /// Sets how this client shares the peers' answers and the evidence of forks with the clients of
    /// the node's other products.
    pub fn with_sharing(self, sharing: Sharing) -> Self {
        let evidence = match sharing.primary_state() {
            Some(state) => self.evidence.also_record_in(state),
            None => self.evidence,
        };
        Client { sharing, evidence, ..self }
    }
}
