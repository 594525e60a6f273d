//! Fetching an artifact: from one mirror after the other, each going on where the last one stopped.
//!
//! Bytes are written in threads of their own: there may be many.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use unanimity_config::Config;
use unanimity_install::{
    InstallError, InstallRefusal, InstallRoot, PartialDownload, PreparedVersion, VerifiedArtifact,
    artifact_for,
};
use unanimity_net::{FLOOR, FLOOR_WINDOW, Mirror, Transport};
use unanimity_protocol::ConfirmedRelease;
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::manifest::Artifact;
use unanimity_storage::Storage;

use crate::sources::Hosts;
use crate::stream::{end, pour};
use crate::{Artifacts, Failure, Report, Step, UpdateError, Watcher};

/// The least bytes a second, in each pass over the mirrors: a slow one is left while another may
/// be faster, and taken when none is.
const FLOORS: [u64; 3] = [16 * FLOOR, 4 * FLOOR, FLOOR];

/// A host that breaks off is asked again at once for the rest if it has sent so many bytes.
const WORTH_A_CONNECTION: u64 = 16 * 1024;

/// How long a download waits for another of the same node to end, and when it looks again.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(1);

/// What fetching artifacts takes: nothing that a cycle remembers.
pub struct Fetcher<'a> {
    config: &'a Config,
    pub(crate) hosts: Hosts,
    /// Where artifacts are fetched to, and, unless that is a spool, installed.
    pub(crate) root: InstallRoot,
    /// What is kept for others, if anything is.
    artifacts: Option<Artifacts>,
    /// Who is told how far it has come.
    pub(crate) watcher: Watcher,
    /// How mirrors did, for whoever remembers that.
    judged: Mutex<Vec<(String, bool)>>,
}

impl<'a> Fetcher<'a> {
    /// From these mirrors, and from peers if `transport` reaches what they serve.
    pub fn new(
        config: &'a Config,
        mirrors: &[Mirror],
        transport: &impl Transport,
        disk: Storage,
    ) -> Fetcher<'a> {
        let hosts = Hosts::new(config, mirrors, transport.web());
        let artifacts =
            config.keeps.map(|most| Artifacts::new(&config.cycle.state, most, disk.clone()));
        let place = config
            .cycle
            .spool
            .as_ref()
            .map_or(&config.cycle.install_root, |spool| &spool.directory);
        let root = InstallRoot::new(place, disk);
        let (watcher, judged) = (Watcher::default(), Mutex::default());
        Fetcher { config, hosts, root, artifacts, watcher, judged }
    }

    /// Fetches the artifact, unless it is here already. A mirror that sends what was not signed is
    /// named, and dropped; one that breaks off is asked for the rest, and then the next is.
    pub async fn fetch(
        &self,
        agreed: &ConfirmedRelease,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<VerifiedArtifact, Failure> {
        let target = artifact_for(agreed.manifest(), &self.config.cycle.platform)?;
        let mut staging = match self.begin(agreed).await? {
            Ok(staged) => return Ok(staged),
            Err(staging) => staging,
        };
        // An earlier run may have got as far as that.
        if staging.is_complete() {
            if staging.check().is_ok() {
                return self.finish(staging).await;
            }
            staging.restart().map_err(UpdateError::from)?;
        }
        let mirrors = self.hosts.of_artifacts(rng);
        let hosts = 0..mirrors.len();
        let together = FLOORS.iter().flat_map(|floor| hosts.clone().map(|host| (*floor, host)));
        let alone = hosts.clone().flat_map(|host| FLOORS.map(|floor| (floor, host)));
        // First together. If several had a part in what is wrong, or in what did not become whole,
        // nobody can tell whose part of it is bad: then each alone, from the beginning.
        let mut parts = Parts::of(&staging);
        let mut dropped = BTreeSet::new();
        let (mut unread, mut wrong) = (Vec::new(), None);
        for (is_alone, turns) in [(false, together.collect::<Vec<_>>()), (true, alone.collect())] {
            if is_alone && !parts.were_mixed {
                break;
            }
            for (floor, host) in turns {
                let mirror = &mirrors[host];
                if dropped.contains(&host) {
                    continue;
                }
                if is_alone && !parts.are_only(host) {
                    staging.restart().map_err(UpdateError::from)?;
                    parts.begin();
                }
                let before = staging.length();
                let (back, poured) = self.pour_all(mirror, target, floor, staging).await;
                staging = back;
                if staging.length() > before {
                    parts.add(host);
                }
                let is_short = poured.is_ok() && !staging.is_complete();
                let checked = match poured {
                    Ok(()) => staging.check(),
                    Err(InstallError::Source(error)) => {
                        self.judge(mirror, false);
                        unread.push(format!("{mirror}: {error}"));
                        continue;
                    }
                    Err(InstallError::Install(InstallRefusal::Artifact(mismatch))) => Err(mismatch),
                    Err(error) => return Err(error.into()),
                };
                let Err(mismatch) = checked else {
                    self.judge(mirror, true);
                    report.remarks.append(&mut unread);
                    return self.finish(staging).await;
                };
                if is_short {
                    // Another may have the rest.
                    self.judge(mirror, false);
                    report.remarks.push(format!("{mirror}: {mismatch}"));
                    wrong = Some(mismatch);
                    continue;
                }
                staging.restart().map_err(UpdateError::from)?;
                if parts.are_mixed() {
                    report
                        .remarks
                        .push(format!("what {mirror} and others sent together: {mismatch}"));
                    parts.begin();
                    break;
                }
                self.judge(mirror, false);
                report.remarks.push(format!("{mirror}: {mismatch}"));
                dropped.insert(host);
                wrong = Some(mismatch);
                parts.begin();
            }
        }
        if staging.length() == 0 {
            staging.discard().map_err(UpdateError::from)?;
        }
        let unread = || UpdateError::Mirrors(unread).into();
        Err(wrong.map_or_else(unread, |mismatch| InstallRefusal::from(mismatch).into()))
    }

    /// Takes down how a mirror did.
    fn judge(&self, mirror: &Mirror, did_well: bool) {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.push((mirror.to_string(), did_well));
    }

    /// How mirrors did since this was last asked.
    pub(crate) fn judged(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut *self.judged.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what one mirror sends, however often it breaks off, as long as each connection is worth it
    /// and all of them together are not slower than the floor.
    async fn pour_all(
        &self,
        mirror: &Mirror,
        target: &Artifact,
        floor: u64,
        mut staging: PartialDownload,
    ) -> (PartialDownload, Result<(), InstallError>) {
        let (began, first) = (Instant::now(), staging.length());
        loop {
            let before = staging.length();
            let told = |bytes: u64| {
                self.watcher.tell(|| Step::Download {
                    file: target.file.to_string(),
                    // Who sends too much is refused for it, not counted.
                    bytes: bytes.min(target.length),
                    of: target.length,
                    mirror: mirror.to_string(),
                    resumed: before,
                });
            };
            let path = artifact_path(&target.sha256);
            let (back, poured) = pour(mirror, &path, floor, staging, told).await;
            staging = back;
            let (added, so_far) = (staging.length() - before, staging.length() - first);
            let is_slow = began.elapsed() > FLOOR_WINDOW
                && so_far < floor.saturating_mul(began.elapsed().as_secs());
            match poured {
                Err(InstallError::Source(_)) if added >= WORTH_A_CONNECTION && !is_slow => {}
                poured => return (staging, poured),
            }
        }
    }

    /// What was fetched before, if all of it is here.
    pub(crate) async fn fetched(
        &self,
        agreed: &ConfirmedRelease,
    ) -> Result<Option<VerifiedArtifact>, InstallError> {
        let (root, platform) = (self.root.clone(), self.config.cycle.platform.clone());
        let agreed = agreed.clone();
        end(spawn_blocking(move || root.find_download(&agreed, &platform))).await
    }

    /// What is here of it: all, or what was fetched so far.
    async fn begin(
        &self,
        agreed: &ConfirmedRelease,
    ) -> Result<Result<VerifiedArtifact, PartialDownload>, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(staged) = self.fetched(agreed).await? {
                return Ok(Ok(staged));
            }
            let (root, platform) = (self.root.clone(), self.config.cycle.platform.clone());
            let agreed = agreed.clone();
            let begun = spawn_blocking(move || root.open_download(&agreed, &platform).map(Err));
            match end(begun).await {
                // The same download, most likely.
                Err(InstallError::Busy(_)) if Instant::now() < until => sleep(PAUSE).await,
                begun => return begun.map_err(Failure::from),
            }
        }
    }

    /// Gives what is whole its name. A copy is kept for others first, if there is to be one.
    async fn finish(&self, staging: PartialDownload) -> Result<VerifiedArtifact, Failure> {
        let artifacts = self.artifacts.clone();
        let finished = spawn_blocking(move || {
            if let Some(artifacts) = artifacts
                && let Err(error) = keep(&artifacts, &staging)
            {
                tracing::warn!("an artifact is not kept for others: {error}");
            }
            staging.finish()
        });
        Ok(end(finished).await?)
    }
}

/// Unpacks an archive; anything else is ready as it is.
pub(crate) async fn unpack(staged: VerifiedArtifact) -> Result<PreparedVersion, Failure> {
    Ok(end(spawn_blocking(move || staged.unpack())).await?)
}

/// Who had a part in the bytes that are here.
struct Parts {
    /// Hosts by number; `None` for whoever an earlier run had them from.
    from: BTreeSet<Option<usize>>,
    /// Whether more than one ever had.
    were_mixed: bool,
}

impl Parts {
    fn of(staging: &PartialDownload) -> Parts {
        let from = if staging.length() > 0 { BTreeSet::from([None]) } else { BTreeSet::new() };
        Parts { from, were_mixed: false }
    }

    fn begin(&mut self) {
        self.from.clear();
    }

    fn add(&mut self, host: usize) {
        self.from.insert(Some(host));
        self.were_mixed |= self.are_mixed();
    }

    fn are_mixed(&self) -> bool {
        self.from.len() > 1
    }

    fn are_only(&self, host: usize) -> bool {
        self.from.iter().all(|from| *from == Some(host))
    }
}

/// Keeps what came for others as well.
fn keep(artifacts: &Artifacts, staging: &PartialDownload) -> Result<(), InstallError> {
    artifacts.keep(staging.artifact(), staging.open_reader()?)
}
