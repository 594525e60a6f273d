//! `rollback` and `mark-good`: where the operator knows better than the check.

use std::sync::Arc;

use clap::Args;
use unanimity_client::HookThreads;
use unanimity_config::NodeConfig;
use unanimity_install::permissions::check_install_inputs;
use unanimity_install::verbs::{self, ROLLBACK_INTERRUPTED};
use unanimity_install::{InstallRoot, root_from_config, root_with_withdrawn};
use unanimity_report::{CommandError, CommandOutput};

use super::interrupt::run_until_interrupted;

/// Go back to a version that proved good.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// Which, as SEQUENCE-VERSION [default: the older one that was installed last]
    release: Option<String>,
}

/// Say that a release is good.
#[derive(Debug, Args)]
pub(super) struct MarkGoodArgs {
    /// Which, as SEQUENCE-VERSION [default: the one that is on trial, or that failed]
    release: Option<String>,
}

/// The install root of a process with other tasks, where there is no way back to what is known to be
/// taken back.
pub(super) fn open_install_root(config: &NodeConfig) -> Result<InstallRoot, CommandError> {
    Ok(root_with_withdrawn(config)?.with_hook_runner(Arc::new(HookThreads)))
}

impl RollbackArgs {
    pub(super) fn run(self, config: &NodeConfig) -> Result<CommandOutput, CommandError> {
        check_install_inputs(config)?;
        let root = open_install_root(config)?;
        let going_back = verbs::roll_back(&root, self.release.as_deref());
        super::runtime::block_on(run_until_interrupted(going_back, || ROLLBACK_INTERRUPTED))?
    }
}

impl MarkGoodArgs {
    pub(super) fn run(self, config: &NodeConfig) -> Result<CommandOutput, CommandError> {
        check_install_inputs(config)?;
        let root = root_from_config(config);
        super::runtime::block_on(verbs::mark_good(config, &root, self.release.as_deref()))?
    }
}
