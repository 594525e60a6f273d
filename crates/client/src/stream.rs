//! One mirror's bytes, on their way to the disk.

use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use unanimity_install::{InstallError, PartialDownload};
use unanimity_net::{Mirror, MirrorFile, Piece};

/// The most bytes that wait to be written.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// How long they do while more come: whoever is killed has lost no more than that.
const MAX_BATCH_TIME: Duration = Duration::from_secs(1);

/// Adds what one mirror sends. Only this task waits for the mirror: what it says after it was given
/// up is written nowhere. A thread writes while the next bytes come; `refused_before` hears how many are here.
pub(crate) async fn stream_from(
    mirror: &Mirror,
    path: &str,
    floor: u64,
    staging: PartialDownload,
    on_progress: impl Fn(u64),
) -> (PartialDownload, Result<(), InstallError>) {
    let from = staging.length();
    on_progress(from);
    let mut file = match mirror.open(path, from, floor).await {
        Ok(file) => file,
        Err(error) => return (staging, Err(InstallError::Source(error))),
    };
    let mut writing = spawn_blocking(|| (staging, Ok(())));
    loop {
        let (batch, ended) = read_batch(&mut file, from, &on_progress).await;
        let (mut staging, written) = join_blocking(writing).await;
        if written.is_err() {
            return (staging, written);
        }
        writing = spawn_blocking(move || {
            let written = staging.write(batch);
            (staging, written)
        });
        if let Some(ended) = ended {
            let (staging, written) = join_blocking(writing).await;
            return (staging, written.and(ended.map_err(InstallError::Source)));
        }
    }
}

/// The next pieces of a file, without those before a place in it; and how it ended, if it has.
async fn read_batch(
    file: &mut MirrorFile,
    from: u64,
    on_progress: &impl Fn(u64),
) -> (Vec<Piece>, Option<io::Result<()>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let began = Instant::now();
    while bytes < MAX_BATCH_BYTES && began.elapsed() < MAX_BATCH_TIME {
        let at = file.position();
        match file.next().await {
            Err(error) => return (batch, Some(Err(error))),
            Ok(piece) if piece.is_empty() => return (batch, Some(Ok(()))),
            Ok(mut piece) => {
                let known = from.saturating_sub(at).min(piece.len() as u64);
                let piece = piece.split_off(known as usize);
                if !piece.is_empty() {
                    on_progress(file.position());
                }
                bytes += piece.len();
                batch.push(piece);
            }
        }
    }
    (batch, None)
}

/// Waits for what holds up a thread for long.
pub(crate) async fn join_blocking<T>(work: JoinHandle<T>) -> T {
    match work.await.map_err(|error| error.try_into_panic()) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // It never began, because the runtime ends.
        Err(Err(_)) => pending().await,
    }
}
