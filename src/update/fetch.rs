//! Fetching an artifact, in threads of their own: it may be large, and a mirror may stall.

use std::future::pending;
use std::io::{self, Cursor, Read};
use std::panic::resume_unwind;

use rand::Rng;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{Client, Failure, Report, UpdateError, install_failure};
use crate::clock::Clock;
use crate::install::{InstallError, Staged, target_of};
use crate::log::writer::artifact_path;
use crate::net::{Mirror, Transport};
use crate::verify::{Agreed, Refusal};

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Fetches the artifact from the first mirror that serves exactly what was signed, unless it
    /// is here already.
    pub(super) async fn fetch(
        &self,
        agreed: &Agreed,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<Staged, Failure> {
        let target = target_of(agreed.manifest(), &self.config.platform)?;
        let (root, platform) = (self.root.clone(), self.config.platform.clone());
        let agreed_too = agreed.clone();
        if let Some(staged) = aside(move || root.staged(&agreed_too, &platform)).await? {
            return Ok(staged);
        }
        let path = artifact_path(&target.sha256);
        let mut wrong = None;
        let mut unread = Vec::new();
        for mirror in self.mirrors_in_any_order(rng) {
            match self.stage_from(mirror, &path, agreed).await {
                Ok(staged) => return Ok(staged),
                Err(InstallError::Refused(refusal @ Refusal::Artifact(_))) => {
                    report.remarks.push(format!("{mirror}: {refusal}"));
                    wrong = Some(refusal);
                }
                Err(InstallError::Source(error)) => unread.push(format!("{mirror}: {error}")),
                Err(error) => return Err(install_failure(error)),
            }
        }
        Err(wrong.map_or_else(|| UpdateError::Mirrors(unread).into(), Failure::Refused))
    }

    /// Only one thread waits for the mirror, and another has our own directory: what a mirror
    /// says after it was given up is written nowhere.
    async fn stage_from(
        &self,
        mirror: &Mirror,
        path: &str,
        agreed: &Agreed,
    ) -> Result<Staged, InstallError> {
        let mut file = mirror.open(path).await.map_err(InstallError::Source)?;
        let (sender, pieces) = mpsc::channel(1);
        let source = Pieces { pieces, piece: Cursor::default() };
        let (root, platform) = (self.root.clone(), self.config.platform.clone());
        let agreed = agreed.clone();
        let staging = aside(move || root.stage(&agreed, &platform, source));
        let reading = async move {
            loop {
                let piece = file.next().await;
                let is_last = piece.as_ref().map_or(true, Vec::is_empty);
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        };
        tokio::join!(staging, reading).0
    }
}

/// Does what holds up a thread for long.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await.map_err(|error| error.try_into_panic()) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // It never began, because the runtime ends.
        Err(Err(_)) => pending().await,
    }
}

/// What was read piece by piece. An empty piece is the end; nothing more to come is a break.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.position() == self.piece.get_ref().len() as u64 {
            let next = self.pieces.blocking_recv().ok_or(io::ErrorKind::BrokenPipe)?;
            self.piece = Cursor::new(next?);
        }
        self.piece.read(buffer)
    }
}
