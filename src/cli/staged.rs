//! `install-staged` and `install --offline`: what whoever fetched has left, verified anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use unanimity_client::HookThreads;
use unanimity_install::spool::{PROOF, Spool, SpoolError};
use unanimity_install::{Installer, StagedError};
use unanimity_protocol::Refusal;
use unanimity_report::{Ended, Exit, Said, path_json};
use unanimity_storage::{Clock as _, Disk, DiskError, SystemClock};

use super::interrupt::{INSTALLING, undo, until_told_to_end};
use crate::advice;

/// Install from a directory, such as one that was carried here.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// What a spool was on the machine that fetched
    #[arg(long, value_name = "DIRECTORY")]
    offline: PathBuf,
}

impl Install {
    pub(super) fn run(&self, told: &unanimity_config::Node) -> Result<Said, Ended> {
        super::ours::is_our_word(told)?;
        let Some(freshness) = told.freshness else {
            let why = "say in [install] freshness how old every peer's word may be when it gets here, such as \"7d\": for as long can whoever brings it hold a release back";
            return Err(Ended::new(Exit::Configuration, why));
        };
        let proof = self.offline.join(PROOF);
        if let Err(error) = std::fs::metadata(&proof) {
            let why = "is this what a spool was? It is named in [install] spool of the machine that fetched";
            return Err(Ended::new(Exit::Disk, format!("{}: {error}; {why}", proof.display())));
        }
        install(told, &self.offline, freshness)
    }
}

pub(super) fn run(told: &unanimity_config::Node) -> Result<Said, Ended> {
    super::ours::is_our_word(told)?;
    let Some(spool) = &told.spool else {
        let why = "there is no [install] spool in the configuration: `update` installs by itself";
        return Err(Ended::new(Exit::Configuration, why));
    };
    install(told, &spool.directory, spool.freshness)
}

fn install(
    told: &unanimity_config::Node,
    spool: &Path,
    freshness: Duration,
) -> Result<Said, Ended> {
    let root = super::versions::root_knowing(told)?;
    let installing = async {
        // Whatever else stands in the way of installing.
        if let Some(undone) = root.recover(SystemClock.now()).await? {
            tracing::warn!("{undone}");
        }
        let config = told.client(SystemClock.now()).map_err(advice::ended)?;
        let spool = match spool.canonicalize() {
            // Nobody has ever staged anything.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(SpoolError::Empty(spool.to_owned()).into()));
            }
            found => found.map_err(DiskError::at(spool))?,
        };
        let mut installer =
            Installer::open(&config, Disk::default())?.hooks_run_by(Arc::new(HookThreads));
        Ok(match Spool::open(&spool) {
            Ok(spool) => installer.install(&spool, freshness, &SystemClock).await,
            Err(error) => Err(error.into()),
        })
    };
    let installed = super::runtime::wait_for(async {
        match until_told_to_end(installing, || INSTALLING).await {
            Err(ended) if ended.exit == Exit::Interrupted => {
                Err(undo(std::slice::from_ref(&root), ended).await)
            }
            installed => installed,
        }
    })??;
    let nothing = |why: String| Ok(Said::done(format!("{why}\n"), json!({ "installed": null })));
    let installed = match installed {
        // That is how it is most of the time.
        Err(StagedError::Spool(error @ SpoolError::Empty(_))) => return nothing(error.to_string()),
        Err(StagedError::Refused(Refusal::Rollback { offered, floor })) if offered == floor => {
            return nothing(format!(
                "nothing new is staged: sequence {offered} was installed before"
            ));
        }
        // By now it is in the installer's own memory.
        Err(error @ (StagedError::Refused(Refusal::Fork(_)) | StagedError::Latched(_))) => {
            let mut ended = advice::ended(error);
            ended.message += " (with --installer)";
            return Err(ended);
        }
        installed => installed.map_err(advice::ended)?,
    };
    let text = format!("installed {}\n", installed.directory.display());
    let json = json!({
        "installed": installed.release,
        "directory": path_json(&installed.directory),
    });
    Ok(Said::done(text, json))
}
