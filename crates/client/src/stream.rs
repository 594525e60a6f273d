//! Streaming an artifact from one mirror to the disk.

use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use unanimity_install::{InstallError, PartialDownload};
use unanimity_net::{Mirror, MirrorFile, Piece};

/// The size from which a batch of received bytes is complete and is written: 1 MiB.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// The time after which a smaller batch is written as well, with the next bytes that arrive. A
/// process that is killed loses only the batches that were not written yet.
const MAX_BATCH_TIME: Duration = Duration::from_secs(1);

/// Appends the bytes that one mirror sends to a partial download. A thread writes while the next
/// bytes arrive.
///
/// When this function returns, no write is pending. `on_progress` receives how many bytes of the
/// artifact have arrived.
pub(crate) async fn stream_from(
    mirror: &Mirror,
    path: &str,
    floor: u64,
    partial: PartialDownload,
    on_progress: impl Fn(u64),
) -> (PartialDownload, Result<(), InstallError>) {
    let from = partial.length();
    on_progress(from);
    let mut file = match mirror.open(path, from, floor).await {
        Ok(file) => file,
        Err(error) => return (partial, Err(InstallError::Source(error))),
    };
    let mut writing = spawn_blocking(|| (partial, Ok(())));
    loop {
        let (batch, end) = read_batch(&mut file, from, &on_progress).await;
        let (mut partial, written) = join_blocking(writing).await;
        if written.is_err() {
            return (partial, written);
        }
        writing = spawn_blocking(move || {
            let written = partial.write(batch);
            (partial, written)
        });
        if let Some(end) = end {
            let (partial, written) = join_blocking(writing).await;
            return (partial, written.and(end.map_err(InstallError::Source)));
        }
    }
}

/// Reads the next pieces of a file, without the bytes before `from`. The second value says whether
/// the file ended well or with an error. It is `None` if the file has not ended.
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

/// Waits for blocking work. A panic of the work continues here.
pub(crate) async fn join_blocking<T>(work: JoinHandle<T>) -> T {
    match work.await.map_err(|error| error.try_into_panic()) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The work never began, because the runtime is shutting down.
        Err(Err(_)) => pending().await,
    }
}
