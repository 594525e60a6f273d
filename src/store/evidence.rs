//! Evidence, kept before anything else happens; it latches until somebody acknowledges it.

use std::path::{Path, PathBuf};

use super::StoreError;
use crate::durable::{Disk, DiskError, Mode};
use crate::verify::evidence::MAX_EVIDENCE_BYTES;
use crate::verify::{Evidence, Hash, Head, Log};

/// The evidence against one log, one file each: `ID.txt`, and `ID.acknowledged` beside it
/// once the operator has looked. Both roles of a node share it.
#[derive(Clone, Debug)]
pub struct EvidenceStore {
    directory: PathBuf,
    disk: Disk,
    log: Log,
}

impl EvidenceStore {
    /// The evidence against `log` below a node's state directory.
    pub fn new(state: &Path, log: &Log, disk: Disk) -> EvidenceStore {
        let id = Hash(log.id().0).hex();
        let directory = state.join("evidence").join(&id[..16]);
        EvidenceStore { directory, disk, log: log.clone() }
    }

    /// Stores evidence durably and returns its id. From now on the log is latched.
    pub fn add(&self, evidence: &Evidence) -> Result<String, DiskError> {
        let id = evidence.id();
        let path = self.file(&id);
        self.disk.make_dir(&self.directory, Mode::Private).map_err(DiskError::at(&path))?;
        let text = evidence.to_string();
        let written = match self.disk.write_new(&path, text.as_bytes(), Mode::Private) {
            // Whoever wrote it may not have come to make its name durable.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.disk.sync_dir(&self.directory)
            }
            written => written,
        };
        written.map_err(DiskError::at(&path))?;
        Ok(id)
    }

    /// Whether evidence of this id is stored, acknowledged or not.
    pub fn knows(&self, id: &str) -> bool {
        self.disk.exists(&self.file(id))
    }

    /// Every id, and whether it is acknowledged.
    pub fn list(&self) -> Result<Vec<(String, bool)>, DiskError> {
        let names = match self.disk.names(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(DiskError::at(&self.directory))?,
        };
        let mut ids = Vec::new();
        for name in names {
            if let Some(id) = name.to_string_lossy().strip_suffix(".txt") {
                ids.push((id.to_owned(), self.disk.exists(&self.mark(id))));
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Evidence that nobody has acknowledged: while there is some, nothing installs.
    pub fn latched(&self) -> Result<Option<String>, DiskError> {
        Ok(self.list()?.into_iter().find(|(_, acknowledged)| !acknowledged).map(|(id, _)| id))
    }

    /// Every head in evidence that the operator has looked at and decided to go on from.
    pub fn acknowledged_heads(&self) -> Result<Vec<Head>, StoreError> {
        let mut heads = Vec::new();
        for (id, _) in self.list()?.into_iter().filter(|(_, acknowledged)| *acknowledged) {
            if let Ok(evidence) = Evidence::open(&self.text(&id)?, &self.log) {
                heads.extend([evidence.smaller().clone(), evidence.larger().clone()]);
            }
        }
        Ok(heads)
    }

    /// The text of stored evidence.
    pub fn text(&self, id: &str) -> Result<String, StoreError> {
        let known = self.list()?.iter().any(|(stored, _)| stored == id);
        let bytes = if known { self.disk.read(&self.file(id), MAX_EVIDENCE_BYTES)? } else { None };
        let bytes = bytes.ok_or_else(|| StoreError::NoEvidence(id.to_owned()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The operator has looked: lifts this latch.
    pub fn acknowledge(&self, id: &str) -> Result<(), StoreError> {
        self.text(id)?;
        let mark = self.mark(id);
        self.disk.write(&mark, b"", Mode::Private).map_err(DiskError::at(&mark))?;
        Ok(())
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.txt"))
    }

    fn mark(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.acknowledged"))
    }
}
