//! `rollback` and `mark-good`: where the operator knows better than the check.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use unanimity_client::HookThreads;
use unanimity_install::{Installed, Root};
use unanimity_protocol::Manifest;
use unanimity_report::{Ended, Exit, Said, path_json};
use unanimity_storage::{Clock as _, Disk, SystemClock};

use super::interrupt::{GOING_BACK, until_told_to_end};
use super::memories::{known, memories};

/// Go back to a version that proved good.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Which, as SEQUENCE-VERSION [default: the one that was installed before]
    release: Option<String>,
}

/// Say that a release is good.
#[derive(Debug, Args)]
pub(super) struct MarkGood {
    /// Which, as SEQUENCE-VERSION [default: the one that is on trial, or that failed]
    release: Option<String>,
}

/// Who installs on this node.
pub(super) fn who(told: &unanimity_config::Node) -> &'static str {
    if told.spool.is_some() { "`install-staged`" } else { "`update`" }
}

pub(super) fn root_of(told: &unanimity_config::Node) -> Root {
    let root = Root::new(&told.install_root, Disk::default()).with(told.procedure.clone());
    root.hooks_run_by(Arc::new(HookThreads))
}

/// What is known here to have been taken back.
fn withdrawn(told: &unanimity_config::Node) -> Result<BTreeSet<u64>, Ended> {
    let all = memories(&told.install_root, &told.state, told.spool.as_ref());
    Ok(known(&all, &told.policy)?.withdrawn())
}

/// The install root, where there is no way back to what is known to be taken back.
pub(super) fn root_knowing(told: &unanimity_config::Node) -> Result<Root, Ended> {
    Ok(root_of(told).knowing(withdrawn(told)?))
}

impl Rollback {
    pub(super) fn run(self, told: &unanimity_config::Node) -> Result<Said, Ended> {
        super::ours::is_our_word(told)?;
        let (root, now) = (root_knowing(told)?, SystemClock.now());
        let going_back = async { Ok(root.roll_back(self.release.as_deref(), now).await?) };
        let done = super::runtime::wait_for(until_told_to_end(going_back, || GOING_BACK))??;
        let installed = match &done.installed {
            Some(Installed { release, directory, .. }) => {
                let again = if done.before.as_ref() == Some(release) { "" } else { " again" };
                format!("{release} is installed{again}, in {}", directory.display())
            }
            None => "nothing is installed, as before".to_owned(),
        };
        let sequence = |release: &str| Manifest::sequence_of(release);
        let left = done.before.iter().find(|before| {
            let now = done.installed.as_ref();
            now.is_none_or(|now| sequence(&now.release) < sequence(before))
        });
        let left = left.map_or(String::new(), |left| {
            format!(" {left} is not installed again by itself; something newer is.")
        });
        let ended: String = done.ended.iter().map(|ended| format!("{ended}\n")).collect();
        let text = format!("{ended}{installed}.{left}\n");
        let json = json!({
            "installed": done.installed.as_ref().map(|installed| &installed.release),
            "directory": done.installed.as_ref().map(|installed| path_json(&installed.directory)),
            "ended": done.ended,
            "trouble": done.trouble,
        });
        let Some(trouble) = done.trouble else { return Ok(Said::done(text, json)) };
        let text = format!("{text}It does not work as it should: {trouble}\n");
        Ok(Said { exit: Exit::Unhealthy, text, json, failed: true, data: false })
    }
}

impl MarkGood {
    pub(super) fn run(self, told: &unanimity_config::Node) -> Result<Said, Ended> {
        super::ours::is_our_word(told)?;
        let root = root_of(told);
        let marking = async { Ok::<_, Ended>(root.mark_good(self.release.as_deref()).await?) };
        let (release, passed) = super::runtime::wait_for(marking)??;
        let text = match passed {
            true => format!("{release} is good, and stays\n"),
            false => {
                format!("{release} is tried again at the next {}, without the check\n", who(told))
            }
        };
        Ok(Said::done(text, json!({ "release": release, "passed": passed })))
    }
}
