//! A record of every checkpoint that a log has signed, for tests with crashes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use unanimity_protocol::{Checkpoint, Hash, Note};
use unanimity_storage::{Storage, temporary_path};

/// A record of every checkpoint that was ever in a log's directory. Two roots for one size are a
/// fork. Clones share the record.
#[derive(Clone, Default)]
pub struct SignedHeads(Arc<Mutex<SignedHeadsState>>);

#[derive(Clone, Default)]
struct SignedHeadsState {
    roots: BTreeMap<u64, Hash>,
    /// The last bytes of the temporary file and of the checkpoint, so that unchanged files are not
    /// parsed again.
    last: [Vec<u8>; 2],
}

impl SignedHeads {
    /// Records the checkpoint in a log's directory. Also records the checkpoint in the temporary
    /// file, which is signed and not yet published. Panics at a fork.
    pub fn record(&self, directory: &Path) {
        let path = directory.join("checkpoint");
        let mut seen = self.0.lock().unwrap();
        for (i, path) in [temporary_path(&path), path].into_iter().enumerate() {
            let Ok(bytes) = fs::read(&path) else { continue };
            if seen.last[i] == bytes {
                continue;
            }
            seen.last[i].clone_from(&bytes);
            let Ok(note) = Note::parse(&bytes) else { continue };
            let checkpoint = Checkpoint::parse(note.text()).expect("a signed checkpoint");
            let first = *seen.roots.entry(checkpoint.size).or_insert(checkpoint.root);
            assert_eq!(first, checkpoint.root, "two roots for size {}", checkpoint.size);
        }
    }

    /// Copies the record. The copy and the original are then independent.
    pub fn snapshot(&self) -> SignedHeads {
        SignedHeads(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    /// Returns storage that calls [`SignedHeads::record`] before every write step.
    pub fn disk(&self, directory: &Path) -> Storage {
        let (seen, directory) = (self.clone(), directory.to_owned());
        Storage::with_hook(move |_| {
            seen.record(&directory);
            Ok(())
        })
    }
}
