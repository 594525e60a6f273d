//! A mirror that can be made to stall.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};
use unanimity_net::{BoxedReader, Mirror};

/// A mirror of a directory. While a test holds the guard of [`StallingMirror::stall`], reads wait.
pub struct StallingMirror {
    /// The mirror that a client reads.
    pub mirror: Mirror,
    gate: Arc<Mutex<()>>,
    begun: Arc<AtomicUsize>,
}

impl StallingMirror {
    /// Makes a mirror of `directory`. Only reads of files whose paths begin with `prefix` are
    /// stalled and counted.
    pub fn from_directory(directory: impl Into<PathBuf>, prefix: &'static str) -> StallingMirror {
        let directory = directory.into();
        let (gate, begun) = (Arc::new(Mutex::default()), Arc::new(AtomicUsize::new(0)));
        let (at, count) = (gate.clone(), begun.clone());
        let mirror = Mirror::from_blocking_fn("stalling", move |path| {
            let file = File::open(directory.join(path))?;
            if !path.starts_with(prefix) {
                return Ok(Box::new(file) as BoxedReader);
            }
            Ok(Box::new(GatedFile { file, gate: at.clone(), begun: count.clone() }))
        });
        StallingMirror { mirror, gate, begun }
    }

    /// Stalls the mirror until the returned guard is dropped.
    pub async fn stall(&self) -> OwnedMutexGuard<()> {
        self.gate.clone().lock_owned().await
    }

    /// Returns the number of reads that have begun, both stalled and complete.
    pub fn reads_begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Yields to other tasks until `begun` reads have begun.
    pub async fn wait_for_reads(&self, begun: usize) {
        while self.reads_begun() < begun {
            tokio::task::yield_now().await;
        }
    }
}

struct GatedFile {
    file: File,
    gate: Arc<Mutex<()>>,
    begun: Arc<AtomicUsize>,
}

impl io::Read for GatedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _gate = self.gate.blocking_lock();
        self.file.read(buffer)
    }
}
