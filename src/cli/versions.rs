//! `rollback` and `mark-good`: where the operator knows better than the check.

use std::sync::Arc;

use clap::Args;
use unanimity_client::HookThreads;
use unanimity_config::NodeConfig;
use unanimity_install::permissions::check_install_inputs;
use unanimity_install::verbs::{self, ROLLBACK_INTERRUPTED};
use unanimity_install::{InstallRoot, root_from_config, root_with_withdrawn};
use unanimity_report::{CommandError, CommandOutput};

use super::interrupt::until_told_to_end;

/// Go back to a version that proved good.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Which, as SEQUENCE-VERSION [default: the older one that was installed last]
    release: Option<String>,
}

/// Say that a release is good.
#[derive(Debug, Args)]
pub(super) struct MarkGood {
    /// Which, as SEQUENCE-VERSION [default: the one that is on trial, or that failed]
    release: Option<String>,
}

/// The install root of a process with other tasks, where there is no way back to what is known to be
/// taken back.
pub(super) fn root_to_switch(told: &NodeConfig) -> Result<InstallRoot, CommandError> {
    Ok(root_with_withdrawn(told)?.with_hook_runner(Arc::new(HookThreads)))
}

impl Rollback {
    pub(super) fn run(self, told: &NodeConfig) -> Result<CommandOutput, CommandError> {
        check_install_inputs(told)?;
        let root = root_to_switch(told)?;
        let going_back = verbs::roll_back(&root, self.release.as_deref());
        super::runtime::wait_for(until_told_to_end(going_back, || ROLLBACK_INTERRUPTED))?
    }
}

impl MarkGood {
    pub(super) fn run(self, told: &NodeConfig) -> Result<CommandOutput, CommandError> {
        check_install_inputs(told)?;
        let root = root_from_config(told);
        super::runtime::wait_for(verbs::mark_good(told, &root, self.release.as_deref()))?
    }
}
