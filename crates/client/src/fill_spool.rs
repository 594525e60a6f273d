//! Filling the spool: the proof bundle, and every log entry since the installer's head.
//!
//! From the proof bundle and the entries, the installer repeats all checks.

use std::io::Write as _;
use std::io::{self};
use std::path::Path;

use rand::Rng;
use unanimity_install::installer_head_path;
use unanimity_install::spool::{ENTRIES_FILE, PROOF_FILE};
use unanimity_log::{EntryReadError, EntryReader};
use unanimity_net::{Mirror, Transport};
use unanimity_protocol::TreeHead;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_storage::{Clock, Mode, StorageError};

use crate::decide::InstallPlan;
use crate::tile_sources::TileSources;
use crate::{Client, ClientError, CycleError};

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Writes the log's entries to the spool, and after them the proof bundle.
    pub(crate) async fn fill_spool(
        &self,
        spool: &Path,
        plan: &InstallPlan,
        rng: &mut impl Rng,
    ) -> Result<(), CycleError> {
        let (config, disk) = (self.config, &self.disk);
        // The installer's head is not trusted. It only decides which entry is written first.
        let path = installer_head_path(&config.cycle.install_root);
        let known = disk.read(&path, MAX_NOTE_BYTES).map_err(ClientError::from)?;
        let known = known.and_then(|bytes| TreeHead::verify(&bytes, &config.cycle.policy.log).ok());
        let head = plan.release.head();
        let from = known.map_or(0, |known| known.size()).min(head.size());
        let mirrors = self.downloader.sources.log_sources(rng);
        let mirrors: Vec<&Mirror> = mirrors.iter().collect();
        let path = spool.join(ENTRIES_FILE);
        let at = |error| ClientError::from(StorageError::at(&path)(error));
        let mut file = disk.create(&path, Mode::Public).map_err(at)?;
        disk.announce_write(&path)
            .and_then(|()| file.write_all(&from.to_be_bytes()))
            .map_err(at)?;
        if from < head.size() {
            let sources = TileSources::new(config, self.transport, &mirrors);
            let entry_reader = match sources.find_host(head).await {
                Some(source) => EntryReader::from_tiles(source, head, from).await,
                None => Err(io::ErrorKind::NotFound.into()),
            };
            let unread = |why: String| ClientError::Mirrors(vec![why]);
            let entry_reader = entry_reader.map_err(|error| unread(format!("tiles: {error}")))?;
            let mut written = Ok(());
            let read = entry_reader.read(&mirrors, |_, entry| {
                let entry = [&(entry.len() as u16).to_be_bytes(), entry].concat();
                if written.is_ok() {
                    written = file.write_all(&entry);
                }
            });
            let why = |unread: &EntryReadError| unread.describe(&mirrors);
            read.await.map_err(|all| ClientError::Mirrors(all.iter().map(why).collect()))?;
            written.map_err(at)?;
        }
        disk.finish(&*file, &path).map_err(at)?;
        let path = spool.join(PROOF_FILE);
        let written = disk.write(&path, plan.proof.to_string().as_bytes(), Mode::Public);
        Ok(written.map_err(StorageError::at(&path)).map_err(ClientError::from)?)
    }
}
