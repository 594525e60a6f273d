//! `install-staged`: what whoever fetches has left, verified anew.

use serde_json::json;

use super::exit::{Ended, Exit};
use super::{Said, path_json};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::durable::Disk;
use crate::install::spool::{Spool, SpoolError};
use crate::installer::{Installer, StagedError};

pub(super) fn run(config: &Config) -> Result<Said, Ended> {
    let Some(told) = &config.spool else {
        let why = "there is no [install] spool in the configuration: `update` installs by itself";
        return Err(Ended::new(Exit::Configuration, why));
    };
    let installed = super::wait_for(async {
        let mut installer = Installer::open(config, Disk::default())?;
        if let Some(undone) = installer.recover(SystemClock.now()).await? {
            tracing::warn!("{undone}");
        }
        let spool = Spool::open(&told.directory)?;
        installer.install(&spool, told.freshness, &SystemClock).await
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
