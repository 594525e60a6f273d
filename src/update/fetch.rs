//! Fetching an artifact: from one mirror after the other, each going on where the last one stopped.
//!
//! Bytes are written in threads of their own: there may be many.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::panic::resume_unwind;

use rand::Rng;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Client, Failure, Report, UpdateError, install_failure};
use crate::clock::Clock;
use crate::install::{InstallError, Staged, Staging, target_of};
use crate::log::writer::artifact_path;
use crate::net::mirror::{FLOOR, Opened, Piece};
use crate::net::{Mirror, Transport};
use crate::verify::{Agreed, Refusal};

/// The least bytes a second, in each pass over the mirrors: a slow one is left while another may
/// be faster, and taken when none is.
const FLOORS: [u64; 3] = [16 * FLOOR, 4 * FLOOR, FLOOR];

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Fetches the artifact, unless it is here already. A mirror that sends what was not signed is
    /// named, and dropped; one that breaks off is taken over from by the next.
    pub(super) async fn fetch(
        &self,
        agreed: &Agreed,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<Staged, Failure> {
        let target = target_of(agreed.manifest(), &self.config.platform)?;
        let path = artifact_path(&target.sha256);
        let (root, platform) = (self.root.clone(), self.config.platform.clone());
        let agreed = agreed.clone();
        let begun = end(spawn_blocking(move || match root.staged(&agreed, &platform)? {
            Some(staged) => Ok(Ok(staged)),
            None => root.stage(&agreed, &platform).map(Err),
        }));
        let mut staging = match begun.await.map_err(install_failure)? {
            Ok(staged) => return Ok(staged),
            Err(staging) => staging,
        };
        // An earlier run may have got as far as that.
        if staging.is_whole() {
            if staging.check().is_ok() {
                return end(spawn_blocking(move || staging.finish()))
                    .await
                    .map_err(install_failure);
            }
            staging.restart().map_err(UpdateError::from)?;
        }
        let mirrors = self.mirrors_in_any_order(rng);
        let mut dropped = BTreeSet::new();
        let mut unread = Vec::new();
        let mut wrong: Option<Refusal> = None;
        // First together. If what they sent together is wrong, nobody can tell whose part of it is:
        // then each alone, from the beginning.
        'together: for alone in [false, true] {
            for floor in FLOORS {
                for (number, mirror) in mirrors.iter().enumerate() {
                    if dropped.contains(&number) {
                        continue;
                    }
                    if alone {
                        staging.restart().map_err(UpdateError::from)?;
                    }
                    let before = staging.length();
                    let (back, poured) = pour(mirror, &path, floor, staging).await;
                    staging = back;
                    let checked = match poured {
                        Ok(()) => staging.check(),
                        Err(InstallError::Source(error)) => {
                            unread.push(format!("{mirror}: {error}"));
                            continue;
                        }
                        Err(InstallError::Refused(refusal)) => Err(refusal),
                        Err(error) => return Err(install_failure(error)),
                    };
                    let Err(refusal) = checked else {
                        report.remarks.append(&mut unread);
                        let finished = end(spawn_blocking(move || staging.finish())).await;
                        return finished.map_err(install_failure);
                    };
                    report.remarks.push(format!("{mirror}: {refusal}"));
                    if staging.length() > before && !staging.is_whole() {
                        // Another may have the rest.
                        wrong = Some(refusal);
                        continue;
                    }
                    staging.restart().map_err(UpdateError::from)?;
                    if before > 0 {
                        continue 'together;
                    }
                    dropped.insert(number);
                    wrong = Some(refusal);
                }
            }
            // Nothing was wrong but that too little came: alone, they would send no more.
            break;
        }
        if staging.length() == 0 {
            staging.discard().map_err(UpdateError::from)?;
        }
        Err(wrong.map_or_else(|| UpdateError::Mirrors(unread).into(), Failure::Refused))
    }
}

/// The most bytes that wait to be written.
const BATCH: usize = 1 << 20;

/// Adds what one mirror sends. Only this task waits for the mirror: what it says after it was given
/// up is written nowhere. A thread writes while the next bytes come.
async fn pour(
    mirror: &Mirror,
    path: &str,
    floor: u64,
    staging: Staging,
) -> (Staging, Result<(), InstallError>) {
    let from = staging.length();
    let mut file = match mirror.open(path, from, floor).await {
        Ok(file) => file,
        Err(error) => return (staging, Err(InstallError::Source(error))),
    };
    let mut writing = spawn_blocking(|| (staging, Ok(())));
    loop {
        let (batch, ended) = batch(&mut file, from).await;
        let (mut staging, written) = end(writing).await;
        if written.is_err() {
            return (staging, written);
        }
        writing = spawn_blocking(move || {
            let written = batch.iter().try_for_each(|piece| staging.write(piece));
            (staging, written)
        });
        if let Some(ended) = ended {
            let (staging, written) = end(writing).await;
            return (staging, written.and(ended.map_err(InstallError::Source)));
        }
    }
}

/// The next pieces of a file, without those before a place in it; and how it ended, if it has.
async fn batch(file: &mut Opened, from: u64) -> (Vec<Piece>, Option<io::Result<()>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH {
        let at = file.at();
        match file.next().await {
            Err(error) => return (batch, Some(Err(error))),
            Ok(piece) if piece.is_empty() => return (batch, Some(Ok(()))),
            Ok(mut piece) => {
                let known = from.saturating_sub(at).min(piece.len() as u64);
                let piece = piece.split_off(known as usize);
                bytes += piece.len();
                batch.push(piece);
            }
        }
    }
    (batch, None)
}

/// Waits for what holds up a thread for long.
async fn end<T>(work: JoinHandle<T>) -> T {
    match work.await.map_err(|error| error.try_into_panic()) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // It never began, because the runtime ends.
        Err(Err(_)) => pending().await,
    }
}
