//! `rollback` and `mark-good`: the operator overrides the health check.

use std::sync::Arc;

use clap::Args;
use unanimity_client::HookThreads;
use unanimity_config::NodeConfig;
use unanimity_install::permissions::check_install_inputs;
use unanimity_install::verbs::{self, ROLLBACK_INTERRUPTED};
use unanimity_install::{InstallRoot, root_from_config, root_with_withdrawn};
use unanimity_report::{CommandError, CommandOutput};

use super::interrupt::run_until_interrupted;

/// Go back to an earlier good version.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The version, as SEQUENCE-VERSION [default: of the older good versions, the one installed
    /// last]
    release: Option<String>,
}

/// Accept the release on trial, or a failed one.
#[derive(Debug, Args)]
pub(super) struct MarkGoodArgs {
    /// The release, as SEQUENCE-VERSION [default: the one that is on trial or has failed]
    release: Option<String>,
}

/// Opens the install root of a node, with hooks that run on threads. The root never goes back to a
/// withdrawn release.
pub(super) fn open_install_root(config: &NodeConfig) -> Result<InstallRoot, CommandError> {
    Ok(root_with_withdrawn(config)?.with_hook_runner(Arc::new(HookThreads)))
}

impl RollbackArgs {
    pub(super) fn run(self, config: &NodeConfig) -> Result<CommandOutput, CommandError> {
        check_install_inputs(config)?;
        let root = open_install_root(config)?;
        let rollback = verbs::roll_back(&root, self.release.as_deref());
        super::runtime::block_on(run_until_interrupted(rollback, || ROLLBACK_INTERRUPTED))?
    }
}

impl MarkGoodArgs {
    pub(super) fn run(self, config: &NodeConfig) -> Result<CommandOutput, CommandError> {
        check_install_inputs(config)?;
        let root = root_from_config(config);
        super::runtime::block_on(verbs::mark_good(config, &root, self.release.as_deref()))?
    }
}
