//! `install-staged` and `install --offline`: what whoever fetched has left, verified anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::exit::{Ended, Exit};
use super::{Said, path_json};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::durable::Disk;
use crate::install::spool::{Spool, SpoolError};
use crate::installer::{Installer, StagedError};

/// Install from a directory, such as one that was carried here.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// What a spool was on the machine that fetched
    #[arg(long, value_name = "DIRECTORY")]
    offline: PathBuf,
}

impl Install {
    pub(super) fn run(&self, config: &Config) -> Result<Said, Ended> {
        let Some(freshness) = config.freshness else {
            let why = "say in [install] freshness how old every peer's word may be when it gets here, such as \"7d\": for as long can whoever brings it hold a release back";
            return Err(Ended::new(Exit::Configuration, why));
        };
        install(config, &self.offline, freshness)
    }
}

pub(super) fn run(config: &Config) -> Result<Said, Ended> {
    let Some(told) = &config.spool else {
        let why = "there is no [install] spool in the configuration: `update` installs by itself";
        return Err(Ended::new(Exit::Configuration, why));
    };
    install(config, &told.directory, told.freshness)
}

fn install(config: &Config, spool: &Path, freshness: Duration) -> Result<Said, Ended> {
    let installed = super::wait_for(async {
        let mut installer = Installer::open(config, Disk::default())?;
        if let Some(undone) = installer.recover(SystemClock.now()).await? {
            tracing::warn!("{undone}");
        }
        let spool = Spool::open(spool)?;
        installer.install(&spool, freshness, &SystemClock).await
    })?;
    let installed = match installed {
        // That is how it is most of the time.
        Err(StagedError::Spool(error @ SpoolError::Empty(_))) => {
            return Ok(Said::done(format!("{error}\n"), json!({ "installed": null })));
        }
        installed => installed?,
    };
    let text = format!("installed {}\n", installed.directory.display());
    let json = json!({
        "installed": installed.release,
        "directory": path_json(&installed.directory),
    });
    Ok(Said::done(text, json))
}
