//! The client: its state, and the errands that one cycle can have.

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

/// A client with its state open.
pub struct Client<'a, T, C> {
    pub(crate) config: &'a ClientConfig,
    pub(crate) downloader: Downloader<'a>,
    pub(crate) transport: &'a T,
    pub(crate) clock: &'a C,
    pub(crate) disk: Storage,
    /// Where versions are installed.
    pub(crate) root: InstallRoot,
    pub(crate) store: ClientStore,
    pub(crate) state: ClientState,
    /// Whether there may be more in `state` than is stored.
    pub(crate) unsaved: bool,
    pub(crate) scores: MirrorScores,
    pub(crate) evidence: EvidenceStore,
    pub(crate) sharing: Sharing,
}

impl<'a, T: Transport, C: Clock> Client<'a, T, C> {
    /// Opens the node's state, as its only user. The log and the artifacts are read from `mirrors`.
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
        // A switch that was not followed by its bookkeeping still counts.
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

    /// The same, with somebody who is told of every step.
    pub fn with_progress(mut self, progress: ProgressSink) -> Self {
        self.downloader.progress = progress;
        self
    }

    /// The same, beside the clients of other products.
    pub fn with_sharing(self, sharing: Sharing) -> Self {
        let evidence = match sharing.primary_state() {
            Some(beside) => self.evidence.also_record_in(beside),
            None => self.evidence,
        };
        Client { sharing, evidence, ..self }
    }
}
