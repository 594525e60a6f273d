//! Crashes of a machine at a chosen disk step. Every later step fails, until the machine is started
//! again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use unanimity_storage::Storage;
use unanimity_testkit::power_loss_fs::PowerLossFs;

/// A countdown of a machine's disk steps. At zero, all further steps fail. `u64::MAX` stands for no
/// crash.
#[derive(Clone)]
pub(super) struct CrashInjector(Arc<AtomicU64>);

impl Default for CrashInjector {
    fn default() -> CrashInjector {
        CrashInjector(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl CrashInjector {
    /// Lets the machine crash after this number of further steps.
    pub(super) fn arm(&self, steps: u64) {
        self.0.store(steps, Ordering::Relaxed);
    }

    /// Cancels the crash, unless the machine has crashed already.
    pub(super) fn disarm(&self) {
        if !self.has_crashed() {
            self.arm(u64::MAX);
        }
    }

    pub(super) fn has_crashed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// The storage of a machine, with a hook that counts steps.
    pub(super) fn storage(&self, machine: &PowerLossFs) -> Storage {
        let left = self.0.clone();
        let count_step = move |_: &_| match left.load(Ordering::Relaxed) {
            u64::MAX => Ok(()),
            0 => Err(io::Error::other("the machine is dead")),
            steps => {
                left.store(steps - 1, Ordering::Relaxed);
                Ok(())
            }
        };
        Storage::with_hook(count_step).with_filesystem(machine.clone())
    }
}
