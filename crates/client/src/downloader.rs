//! Fetching an artifact: from one mirror after the other, each going on where the last one stopped.
//!
//! Bytes are written in threads of their own: there may be many.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use unanimity_config::ClientConfig;
use unanimity_install::{
    InstallError, InstallRefusal, InstallRoot, PartialDownload, PreparedVersion, VerifiedArtifact,
    artifact_for,
};
use unanimity_net::{MIN_RATE, Mirror, RATE_WINDOW, Transport};
use unanimity_protocol::ConfirmedRelease;
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::manifest::Artifact;
use unanimity_storage::Storage;

use crate::sources::Sources;
use crate::stream::{join_blocking, stream_from};
use crate::{ArtifactCache, ClientError, CycleError, CycleProgress, CycleReport, ProgressSink};

/// The least bytes a second, in each pass over the mirrors: a slow one is left while another may
/// be faster, and taken when none is.
const MIN_RATES: [u64; 3] = [16 * MIN_RATE, 4 * MIN_RATE, MIN_RATE];

/// A host that breaks off is asked again at once for the rest if it has sent so many bytes.
const MIN_BYTES_TO_RECONNECT: u64 = 16 * 1024;

/// How long a download waits for another of the same node to end, and when it looks again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(600);
const BUSY_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What fetching artifacts takes: nothing that a cycle remembers.
pub struct Downloader<'a> {
    config: &'a ClientConfig,
    pub(crate) sources: Sources,
    /// Where artifacts are fetched to, and, unless that is a spool, installed.
    pub(crate) root: InstallRoot,
    /// What is kept for others, if anything is.
    artifact_cache: Option<ArtifactCache>,
    /// Who is told how far it has come.
    pub(crate) progress: ProgressSink,
    /// How mirrors did, for whoever remembers that.
    results: Mutex<Vec<(String, bool)>>,
}

impl<'a> Downloader<'a> {
    /// From these mirrors, and from peers if `transport` reaches what they serve.
    pub fn new(
        config: &'a ClientConfig,
        mirrors: &[Mirror],
        transport: &impl Transport,
        disk: Storage,
    ) -> Downloader<'a> {
        let sources = Sources::new(config, mirrors, transport.web_connector());
        let artifact_cache = config
            .artifact_cache_bytes
            .map(|most| ArtifactCache::new(&config.cycle.state, most, disk.clone()));
        let place = config
            .cycle
            .spool
            .as_ref()
            .map_or(&config.cycle.install_root, |spool| &spool.directory);
        let root = InstallRoot::new(place, disk);
        let (progress, results) = (ProgressSink::default(), Mutex::default());
        Downloader { config, sources, root, artifact_cache, progress, results }
    }

    /// Fetches the artifact, unless it is here already. A mirror that sends what was not signed is
    /// named, and dropped; one that breaks off is asked for the rest, and then the next is.
    pub async fn download(
        &self,
        agreed: &ConfirmedRelease,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<VerifiedArtifact, CycleError> {
        let artifact = artifact_for(agreed.manifest(), &self.config.cycle.platform)?;
        let mut staging = match self.find_or_begin(agreed).await? {
            Ok(staged) => return Ok(staged),
            Err(staging) => staging,
        };
        // An earlier run may have got as far as that.
        if staging.is_complete() {
            if staging.check().is_ok() {
                return self.finish(staging).await;
            }
            staging.restart().map_err(ClientError::from)?;
        }
        let mirrors = self.sources.artifact_sources(rng);
        let host_numbers = 0..mirrors.len();
        let together =
            MIN_RATES.iter().flat_map(|floor| host_numbers.clone().map(|host| (*floor, host)));
        let alone = host_numbers.clone().flat_map(|host| MIN_RATES.map(|floor| (floor, host)));
        // First together. If several had a part in what is wrong, or in what did not become whole,
        // nobody can tell whose part of it is bad: then each alone, from the beginning.
        let mut provenance = Provenance::from_partial(&staging);
        let mut dropped = BTreeSet::new();
        let (mut unread, mut wrong) = (Vec::new(), None);
        for (is_alone, turns) in [(false, together.collect::<Vec<_>>()), (true, alone.collect())] {
            if is_alone && !provenance.was_mixed {
                break;
            }
            for (floor, host) in turns {
                let mirror = &mirrors[host];
                if dropped.contains(&host) {
                    continue;
                }
                if is_alone && !provenance.is_only_from(host) {
                    staging.restart().map_err(ClientError::from)?;
                    provenance.clear();
                }
                let before = staging.length();
                let (back, poured) = self.download_from(mirror, artifact, floor, staging).await;
                staging = back;
                if staging.length() > before {
                    provenance.add_host(host);
                }
                let is_short = poured.is_ok() && !staging.is_complete();
                let checked = match poured {
                    Ok(()) => staging.check(),
                    Err(InstallError::Source(error)) => {
                        self.record(mirror, false);
                        unread.push(format!("{mirror}: {error}"));
                        continue;
                    }
                    Err(InstallError::Install(InstallRefusal::Artifact(mismatch))) => Err(mismatch),
                    Err(error) => return Err(error.into()),
                };
                let Err(mismatch) = checked else {
                    self.record(mirror, true);
                    report.remarks.append(&mut unread);
                    return self.finish(staging).await;
                };
                if is_short {
                    // Another may have the rest.
                    self.record(mirror, false);
                    report.remarks.push(format!("{mirror}: {mismatch}"));
                    wrong = Some(mismatch);
                    continue;
                }
                staging.restart().map_err(ClientError::from)?;
                if provenance.is_mixed() {
                    report
                        .remarks
                        .push(format!("what {mirror} and others sent together: {mismatch}"));
                    provenance.clear();
                    break;
                }
                self.record(mirror, false);
                report.remarks.push(format!("{mirror}: {mismatch}"));
                dropped.insert(host);
                wrong = Some(mismatch);
                provenance.clear();
            }
        }
        if staging.length() == 0 {
            staging.discard().map_err(ClientError::from)?;
        }
        let unread = || ClientError::Mirrors(unread).into();
        Err(wrong.map_or_else(unread, |mismatch| InstallRefusal::from(mismatch).into()))
    }

    /// Takes down how a mirror did.
    fn record(&self, mirror: &Mirror, did_well: bool) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push((mirror.to_string(), did_well));
    }

    /// How mirrors did since this was last asked.
    pub(crate) fn take_results(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what one mirror sends, however often it breaks off, as long as each connection is worth it
    /// and all of them together are not slower than the floor.
    async fn download_from(
        &self,
        mirror: &Mirror,
        artifact: &Artifact,
        floor: u64,
        mut staging: PartialDownload,
    ) -> (PartialDownload, Result<(), InstallError>) {
        let (started, first) = (Instant::now(), staging.length());
        loop {
            let before = staging.length();
            let on_progress = |bytes: u64| {
                self.progress.report(|| CycleProgress::Download {
                    file: artifact.file.to_string(),
                    // Who sends too much is refused for it, not counted.
                    bytes: bytes.min(artifact.length),
                    of: artifact.length,
                    mirror: mirror.to_string(),
                    resumed: before,
                });
            };
            let path = artifact_path(&artifact.sha256);
            let (back, poured) = stream_from(mirror, &path, floor, staging, on_progress).await;
            staging = back;
            let (added, so_far) = (staging.length() - before, staging.length() - first);
            let is_slow = started.elapsed() > RATE_WINDOW
                && so_far < floor.saturating_mul(started.elapsed().as_secs());
            match poured {
                Err(InstallError::Source(_)) if added >= MIN_BYTES_TO_RECONNECT && !is_slow => {}
                poured => return (staging, poured),
            }
        }
    }

    /// What was fetched before, if all of it is here.
    pub(crate) async fn find_downloaded(
        &self,
        agreed: &ConfirmedRelease,
    ) -> Result<Option<VerifiedArtifact>, InstallError> {
        let (root, platform) = (self.root.clone(), self.config.cycle.platform.clone());
        let agreed = agreed.clone();
        join_blocking(spawn_blocking(move || root.find_download(&agreed, &platform))).await
    }

    /// What is here of it: all, or what was fetched so far.
    async fn find_or_begin(
        &self,
        agreed: &ConfirmedRelease,
    ) -> Result<Result<VerifiedArtifact, PartialDownload>, CycleError> {
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            if let Some(staged) = self.find_downloaded(agreed).await? {
                return Ok(Ok(staged));
            }
            let (root, platform) = (self.root.clone(), self.config.cycle.platform.clone());
            let agreed = agreed.clone();
            let begun = spawn_blocking(move || root.open_download(&agreed, &platform).map(Err));
            match join_blocking(begun).await {
                // The same download, most likely.
                Err(InstallError::Busy(_)) if Instant::now() < until => {
                    sleep(BUSY_POLL_INTERVAL).await
                }
                begun => return begun.map_err(CycleError::from),
            }
        }
    }

    /// Gives what is whole its name. A copy is kept for others first, if there is to be one.
    async fn finish(&self, staging: PartialDownload) -> Result<VerifiedArtifact, CycleError> {
        let artifacts = self.artifact_cache.clone();
        let finished = spawn_blocking(move || {
            if let Some(artifacts) = artifacts
                && let Err(error) = cache_artifact(&artifacts, &staging)
            {
                tracing::warn!("an artifact is not kept for others: {error}");
            }
            staging.finish()
        });
        Ok(join_blocking(finished).await?)
    }
}

/// Unpacks an archive; anything else is ready as it is.
pub(crate) async fn unpack(staged: VerifiedArtifact) -> Result<PreparedVersion, CycleError> {
    Ok(join_blocking(spawn_blocking(move || staged.unpack())).await?)
}

/// Who had a part in the bytes that are here.
struct Provenance {
    /// Hosts by number; `None` for whoever an earlier run had them from.
    from: BTreeSet<Option<usize>>,
    /// Whether more than one ever had.
    was_mixed: bool,
}

impl Provenance {
    fn from_partial(staging: &PartialDownload) -> Provenance {
        let from = if staging.length() > 0 { BTreeSet::from([None]) } else { BTreeSet::new() };
        Provenance { from, was_mixed: false }
    }

    fn clear(&mut self) {
        self.from.clear();
    }

    fn add_host(&mut self, host: usize) {
        self.from.insert(Some(host));
        self.was_mixed |= self.is_mixed();
    }

    fn is_mixed(&self) -> bool {
        self.from.len() > 1
    }

    fn is_only_from(&self, host: usize) -> bool {
        self.from.iter().all(|from| *from == Some(host))
    }
}

/// Keeps what came for others as well.
fn cache_artifact(
    artifacts: &ArtifactCache,
    staging: &PartialDownload,
) -> Result<(), InstallError> {
    artifacts.insert(staging.artifact(), staging.open_reader()?)
}
