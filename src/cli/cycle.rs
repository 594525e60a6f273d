//! `check` and `update`: one cycle, of the node's own product and of others.

#[cfg(feature = "tor")]
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use clap::Args;
use unanimity_client::CycleMode;
use unanimity_report::{CommandError, CommandOutput};
#[cfg(not(feature = "tor"))]
use unanimity_storage::Storage;
#[cfg(not(feature = "tor"))]
use unanimity_storage::{Clock as _, SystemClock};

#[cfg(not(feature = "tor"))]
use super::render_cycle;

/// More products of the node.
#[derive(Debug, Args)]
pub(super) struct ExtraProducts {
    /// The same for one more product of this node, by its own configuration, with the same roll and
    /// the same connection to Tor; may be given more than once
    #[arg(long, value_name = "FILE")]
    product_config: Vec<PathBuf>,
}

impl ExtraProducts {
    /// The files, wherever they are asked for: a path's bytes need not be text.
    #[cfg(feature = "tor")]
    fn into_path_bytes(self) -> Vec<Vec<u8>> {
        let absolute = |path: PathBuf| path.canonicalize().unwrap_or(path);
        self.product_config
            .into_iter()
            .map(|path| absolute(path).into_os_string().into_vec())
            .collect()
    }
}

/// Runs a cycle of each product.
pub(super) fn run(
    config: Option<PathBuf>,
    mode: CycleMode,
    others: ExtraProducts,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    #[cfg(feature = "tor")]
    return super::daemon_client::run(
        config,
        super::request::Request::Cycle { mode, products: others.into_path_bytes() },
        json,
    );
    #[cfg(not(feature = "tor"))]
    {
        let mut said = vec![run_without_tor(config, mode, json)?];
        for other in others.product_config {
            let ended = run_without_tor(Some(other.clone()), mode, json);
            said.push(render_cycle::label(&other, ended));
        }
        Ok(render_cycle::merge(said))
    }
}

/// One cycle of a build that cannot reach anybody: every peer is silent.
#[cfg(not(feature = "tor"))]
fn run_without_tor(
    config: Option<PathBuf>,
    mode: CycleMode,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    use unanimity_client::Client;
    use unanimity_net::NoTransport;

    let node_config = super::node::load_node(config)?;
    unanimity_install::permissions::check_owner(&node_config.cycle.state)?;
    if mode == CycleMode::Update {
        unanimity_install::permissions::check_root_inputs(&node_config)?;
    }
    let config =
        &node_config.client_config(SystemClock.now()).map_err(crate::advice::command_error)?;
    let mirrors = crate::node::open_mirrors(&node_config, None)?;
    let shown = super::progress::ProgressDisplay::new(json);
    let (report, ended) = super::runtime::block_on(async {
        let disk = Storage::default();
        let client = Client::open(config, &mirrors, &NoTransport, &SystemClock, disk)?;
        let mut client = client.with_progress(shown.sink());
        let mut rng = rand::rng();
        Ok::<_, unanimity_client::ClientError>(client.run(mode, &mut rng).await)
    })??;
    Ok(render_cycle::render_outcome(&report, ended))
}
