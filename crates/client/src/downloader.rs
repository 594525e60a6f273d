//! Downloading an artifact from one host after the other. Each download continues where the
//! previous host stopped.
//!
//! Threads write the bytes, because an artifact may be large.

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

/// The minimum rates of a host, in bytes a second, for three tries. The first tries leave a slow
/// host, because another host may be faster. The last try uses every host that reaches `MIN_RATE`.
const MIN_RATES: [u64; 3] = [16 * MIN_RATE, 4 * MIN_RATE, MIN_RATE];

/// The bytes that a broken connection must have brought, so that the same host is asked for the
/// rest at once: 16 KiB.
const MIN_BYTES_TO_RECONNECT: u64 = 16 * 1024;

/// The longest time that a download waits for another download of this node to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(600);
/// The time between two tries of a download that waits.
const BUSY_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The part of a client that downloads artifacts. It needs no state, so it can run outside a cycle.
pub struct Downloader<'a> {
    config: &'a ClientConfig,
    pub(crate) sources: Sources,
    /// The directory for downloads: the spool, or else the install root.
    pub(crate) root: InstallRoot,
    /// The artifacts that this node serves to other nodes, if it serves any.
    artifact_cache: Option<ArtifactCache>,
    /// The receiver of the download's progress.
    pub(crate) progress: ProgressSink,
    /// The name of each host that was used, and whether that host succeeded.
    results: Mutex<Vec<(String, bool)>>,
}

impl<'a> Downloader<'a> {
    /// Makes a downloader that reads from `mirrors`, and from peers if `transport` has a web
    /// connector.
    pub fn new(
        config: &'a ClientConfig,
        mirrors: &[Mirror],
        transport: &impl Transport,
        disk: Storage,
    ) -> Downloader<'a> {
        let sources = Sources::new(config, mirrors, transport.web_connector());
        let artifact_cache = config
            .artifact_cache_bytes
            .map(|max_bytes| ArtifactCache::new(&config.cycle.state, max_bytes, disk.clone()));
        let directory = config
            .cycle
            .spool
            .as_ref()
            .map_or(&config.cycle.install_root, |spool| &spool.directory);
        let root = InstallRoot::new(directory, disk);
        let (progress, results) = (ProgressSink::default(), Mutex::default());
        Downloader { config, sources, root, artifact_cache, progress, results }
    }

    /// Downloads the artifact of a release, unless it was downloaded before.
    ///
    /// 1. The hosts take turns. Each host continues where the previous one stopped.
    /// 2. If the bytes of several hosts together are not the artifact, each host is tried alone.
    ///
    /// If a host alone sent all bytes and they differ from the signed artifact, `report` names the
    /// host, and the host is not asked again.
    ///
    /// # Errors
    /// If no host serves the artifact, if the bytes are wrong, or if a file cannot be written. If
    /// connections failed, the bytes that have arrived stay for the next run.
    pub async fn download(
        &self,
        release: &ConfirmedRelease,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<VerifiedArtifact, CycleError> {
        let artifact = artifact_for(release.manifest(), &self.config.cycle.platform)?;
        let mut partial = match self.find_or_begin(release).await? {
            Ok(verified) => return Ok(verified),
            Err(partial) => partial,
        };
        // An earlier run may have received all bytes.
        if partial.is_complete() {
            if partial.check().is_ok() {
                return self.finish(partial).await;
            }
            partial.restart().map_err(ClientError::from)?;
        }
        let mirrors = self.sources.artifact_sources(rng);
        let host_numbers = 0..mirrors.len();
        let together =
            MIN_RATES.iter().flat_map(|floor| host_numbers.clone().map(|host| (*floor, host)));
        let alone = host_numbers.clone().flat_map(|host| MIN_RATES.map(|floor| (floor, host)));
        // First, all hosts together. If several hosts sent parts of a wrong or incomplete artifact,
        // it is unknown which part is bad, so each host is then tried alone, from the beginning.
        let mut provenance = Provenance::from_partial(&partial);
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
                    partial.restart().map_err(ClientError::from)?;
                    provenance.clear();
                }
                let before = partial.length();
                let (returned, received) =
                    self.download_from(mirror, artifact, floor, partial).await;
                partial = returned;
                if partial.length() > before {
                    provenance.add_host(host);
                }
                let is_short = received.is_ok() && !partial.is_complete();
                let checked = match received {
                    Ok(()) => partial.check(),
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
                    return self.finish(partial).await;
                };
                if is_short {
                    // Another host may have the rest.
                    self.record(mirror, false);
                    report.remarks.push(format!("{mirror}: {mismatch}"));
                    wrong = Some(mismatch);
                    continue;
                }
                partial.restart().map_err(ClientError::from)?;
                if provenance.is_mixed() {
                    report.remarks.push(format!(
                        "the bytes of {mirror} and other hosts together: {mismatch}"
                    ));
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
        if partial.length() == 0 {
            partial.discard().map_err(ClientError::from)?;
        }
        let unread = || ClientError::Mirrors(unread).into();
        Err(wrong.map_or_else(unread, |mismatch| InstallRefusal::from(mismatch).into()))
    }

    /// Records whether a host succeeded.
    fn record(&self, mirror: &Mirror, succeeded: bool) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push((mirror.to_string(), succeeded));
    }

    /// Takes the results of hosts that were recorded since the last call.
    pub(crate) fn take_results(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Appends the bytes that one host sends to a partial download. A broken connection is replaced
    /// if it brought at least [`MIN_BYTES_TO_RECONNECT`], and if all connections together are not
    /// slower than `floor` bytes a second.
    async fn download_from(
        &self,
        mirror: &Mirror,
        artifact: &Artifact,
        floor: u64,
        mut partial: PartialDownload,
    ) -> (PartialDownload, Result<(), InstallError>) {
        let (started, first) = (Instant::now(), partial.length());
        loop {
            let before = partial.length();
            let on_progress = |bytes: u64| {
                self.progress.report(|| CycleProgress::Download {
                    file: artifact.file.to_string(),
                    // A host that sends too many bytes is refused. Until then, the progress must
                    // not exceed the artifact's length.
                    bytes: bytes.min(artifact.length),
                    of: artifact.length,
                    mirror: mirror.to_string(),
                    resumed: before,
                });
            };
            let path = artifact_path(&artifact.sha256);
            let (returned, received) =
                stream_from(mirror, &path, floor, partial, on_progress).await;
            partial = returned;
            let (added, so_far) = (partial.length() - before, partial.length() - first);
            let is_slow = started.elapsed() > RATE_WINDOW
                && so_far < floor.saturating_mul(started.elapsed().as_secs());
            match received {
                Err(InstallError::Source(_)) if added >= MIN_BYTES_TO_RECONNECT && !is_slow => {}
                received => return (partial, received),
            }
        }
    }

    /// Finds the artifact of a release, if it was downloaded completely before.
    pub(crate) async fn find_downloaded(
        &self,
        release: &ConfirmedRelease,
    ) -> Result<Option<VerifiedArtifact>, InstallError> {
        let (root, platform) = (self.root.clone(), self.config.cycle.platform.clone());
        let release = release.clone();
        join_blocking(spawn_blocking(move || root.find_download(&release, &platform))).await
    }

    /// Finds the complete artifact of a release, or opens its partial download, which may be empty.
    /// Waits up to [`BUSY_TIMEOUT`] while another download uses the directory.
    async fn find_or_begin(
        &self,
        release: &ConfirmedRelease,
    ) -> Result<Result<VerifiedArtifact, PartialDownload>, CycleError> {
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            if let Some(verified) = self.find_downloaded(release).await? {
                return Ok(Ok(verified));
            }
            let (root, platform) = (self.root.clone(), self.config.cycle.platform.clone());
            let release = release.clone();
            let opened = spawn_blocking(move || root.open_download(&release, &platform).map(Err));
            match join_blocking(opened).await {
                // The other download is most likely for the same artifact.
                Err(InstallError::Busy(_)) if Instant::now() < until => {
                    sleep(BUSY_POLL_INTERVAL).await
                }
                opened => return opened.map_err(CycleError::from),
            }
        }
    }

    /// Copies the complete artifact to the cache, if there is one, and gives the artifact its final
    /// name.
    async fn finish(&self, partial: PartialDownload) -> Result<VerifiedArtifact, CycleError> {
        let cache = self.artifact_cache.clone();
        let finished = spawn_blocking(move || {
            if let Some(cache) = cache
                && let Err(error) = cache_artifact(&cache, &partial)
            {
                tracing::warn!("cannot cache the artifact for other nodes: {error}");
            }
            partial.finish()
        });
        Ok(join_blocking(finished).await?)
    }
}

/// Unpacks an archive. Any other artifact is ready as it is.
pub(crate) async fn unpack(verified: VerifiedArtifact) -> Result<PreparedVersion, CycleError> {
    Ok(join_blocking(spawn_blocking(move || verified.unpack())).await?)
}

/// The hosts that sent the bytes of a partial download.
struct Provenance {
    /// Hosts by number. `None` stands for the hosts of an earlier run.
    from: BTreeSet<Option<usize>>,
    /// Whether the partial download has ever had bytes of several hosts.
    was_mixed: bool,
}

impl Provenance {
    fn from_partial(partial: &PartialDownload) -> Provenance {
        let from = if partial.length() > 0 { BTreeSet::from([None]) } else { BTreeSet::new() };
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

/// Copies a complete download into the cache.
fn cache_artifact(cache: &ArtifactCache, partial: &PartialDownload) -> Result<(), InstallError> {
    cache.insert(partial.artifact(), partial.open_reader()?)
}
