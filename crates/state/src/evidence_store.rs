//! The stored evidence of forks. A fork latches until the operator acknowledges the evidence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use unanimity_protocol::evidence::MAX_EVIDENCE_BYTES;
use unanimity_protocol::{Evidence, Hash, Log, TreeHead};
use unanimity_storage::{Mode, Storage, StorageError};

use crate::StoreError;

/// The stored evidence against one log.
///
/// Each piece of evidence is a file `ID.txt`. The operator's acknowledgement adds an empty file
/// `ID.acknowledged`. The client and the witness of a node share the store.
#[derive(Clone, Debug)]
pub struct EvidenceStore {
    /// The directories of this store, at least one. New evidence is written to each of them.
    directories: Vec<PathBuf>,
    disk: Storage,
    log: Log,
}

impl EvidenceStore {
    /// Makes the store of the evidence against `log`, below the state directory `state` of a node.
    /// Writes nothing.
    pub fn new(state: &Path, log: &Log, disk: Storage) -> EvidenceStore {
        EvidenceStore { directories: Vec::new(), disk, log: log.clone() }.also_record_in(state)
    }

    /// Adds another state directory. New evidence is stored there, too, and evidence that another
    /// process stored there latches, too.
    pub fn also_record_in(mut self, state: &Path) -> EvidenceStore {
        let id = Hash(self.log.id().0).hex();
        self.directories.push(state.join("evidence").join(&id[..16]));
        self
    }

    /// Stores evidence durably and returns its id. The fork then latches, unless this evidence is
    /// already acknowledged.
    pub fn add(&self, evidence: &Evidence) -> Result<String, StorageError> {
        let id = evidence.id();
        for directory in &self.directories {
            self.add_to(directory, &id, evidence)?;
        }
        Ok(id)
    }

    fn add_to(&self, directory: &Path, id: &str, evidence: &Evidence) -> Result<(), StorageError> {
        let path = evidence_path(directory, id);
        self.disk.make_dir(directory, Mode::Private).map_err(StorageError::at(&path))?;
        let text = evidence.to_string();
        let written = match self.disk.write_new(&path, text.as_bytes(), Mode::Private) {
            // The process that wrote the file may have ended before it synced the directory.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.disk.sync_dir(directory)
            }
            written => written,
        };
        written.map_err(StorageError::at(&path))
    }

    /// Whether evidence with this id is stored, acknowledged or not.
    pub fn contains(&self, id: &str) -> bool {
        self.directories.iter().any(|directory| self.disk.exists(&evidence_path(directory, id)))
    }

    /// Lists the ids of all stored evidence. Each has a flag: whether the evidence is acknowledged
    /// in every directory that has it.
    pub fn list(&self) -> Result<Vec<(String, bool)>, StorageError> {
        let mut ids: BTreeMap<String, bool> = BTreeMap::new();
        for directory in &self.directories {
            let names = match self.disk.list_dir(directory) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                names => names.map_err(StorageError::at(directory))?,
            };
            for name in names {
                if let Some(id) = name.to_string_lossy().strip_suffix(".txt") {
                    let acknowledged = self.disk.exists(&acknowledgement_path(directory, id));
                    *ids.entry(id.to_owned()).or_insert(true) &= acknowledged;
                }
            }
        }
        Ok(ids.into_iter().collect())
    }

    /// Finds the id of evidence that the operator has not acknowledged. While there is one, nothing
    /// installs.
    pub fn find_unacknowledged(&self) -> Result<Option<String>, StorageError> {
        Ok(self.list()?.into_iter().find(|(_, acknowledged)| !acknowledged).map(|(id, _)| id))
    }

    /// Returns the tree heads of all acknowledged evidence, two for each piece of evidence. The
    /// client goes on without these heads.
    pub fn acknowledged_heads(&self) -> Result<Vec<TreeHead>, StoreError> {
        let mut heads = Vec::new();
        for (id, _) in self.list()?.into_iter().filter(|(_, acknowledged)| *acknowledged) {
            if let Ok(evidence) = Evidence::verify(&self.text(&id)?, &self.log) {
                heads.extend([evidence.smaller().clone(), evidence.larger().clone()]);
            }
        }
        Ok(heads)
    }

    /// Reads the text of stored evidence. Fails with [`StoreError::NoEvidence`] if there is none
    /// with this id.
    pub fn text(&self, id: &str) -> Result<String, StoreError> {
        if self.list()?.iter().any(|(stored, _)| stored == id) {
            for directory in &self.directories {
                if let Some(bytes) =
                    self.disk.read(&evidence_path(directory, id), MAX_EVIDENCE_BYTES)?
                {
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
            }
        }
        Err(StoreError::NoEvidence(id.to_owned()))
    }

    /// Records durably that the operator acknowledges the evidence. The evidence then no longer
    /// latches.
    pub fn acknowledge(&self, id: &str) -> Result<(), StoreError> {
        self.text(id)?;
        for directory in &self.directories {
            if self.disk.exists(&evidence_path(directory, id)) {
                let mark = acknowledgement_path(directory, id);
                self.disk.write(&mark, b"", Mode::Private).map_err(StorageError::at(&mark))?;
            }
        }
        Ok(())
    }
}

fn evidence_path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}.txt"))
}

fn acknowledgement_path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}.acknowledged"))
}
