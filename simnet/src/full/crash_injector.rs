//! A machine that dies at a step on its disk. Then every later step fails, until it is started again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use unanimity_storage::Storage;
use unanimity_testkit::power_loss_fs::PowerLossFs;

/// How many steps are left.
#[derive(Clone)]
pub(super) struct CrashInjector(Arc<AtomicU64>);

impl Default for CrashInjector {
    fn default() -> CrashInjector {
        CrashInjector(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl CrashInjector {
    pub(super) fn arm(&self, steps: u64) {
        self.0.store(steps, Ordering::Relaxed);
    }

    /// The machine survived, if it did.
    pub(super) fn disarm(&self) {
        if !self.has_crashed() {
            self.arm(u64::MAX);
        }
    }

    pub(super) fn has_crashed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// The disk of that machine.
    pub(super) fn storage(&self, machine: &PowerLossFs) -> Storage {
        let left = self.0.clone();
        let burn = move |_: &_| match left.load(Ordering::Relaxed) {
            u64::MAX => Ok(()),
            0 => Err(io::Error::other("the machine is dead")),
            steps => {
                left.store(steps - 1, Ordering::Relaxed);
                Ok(())
            }
        };
        Storage::with_hook(burn).with_filesystem(machine.clone())
    }
}
