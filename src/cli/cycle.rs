//! `check`, `update` and `download`: one cycle for the node's own product and for further products.

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

/// The argument for further products of the node.
#[derive(Debug, Args)]
pub(super) struct ExtraProducts {
    /// The configuration of one more product. All products share one round and one Tor connection.
    /// May be given more than once
    #[arg(long, value_name = "FILE")]
    product_config: Vec<PathBuf>,
}

impl ExtraProducts {
    /// Returns the absolute paths of the files, as bytes: a path need not be text.
    #[cfg(feature = "tor")]
    fn into_path_bytes(self) -> Vec<Vec<u8>> {
        let absolute = |path: PathBuf| path.canonicalize().unwrap_or(path);
        self.product_config
            .into_iter()
            .map(|path| absolute(path).into_os_string().into_vec())
            .collect()
    }
}

/// Runs one cycle for each product.
pub(super) fn run(
    config: Option<PathBuf>,
    mode: CycleMode,
    extra: ExtraProducts,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    #[cfg(feature = "tor")]
    return super::daemon_client::run(
        config,
        super::request::Request::Cycle { mode, products: extra.into_path_bytes() },
        json,
    );
    #[cfg(not(feature = "tor"))]
    {
        let mut outputs = vec![run_without_tor(config, mode, json)?];
        for path in extra.product_config {
            let result = run_without_tor(Some(path.clone()), mode, json);
            outputs.push(render_cycle::label(&path, result));
        }
        Ok(render_cycle::merge(outputs))
    }
}

/// Runs one cycle in a build without Tor: every peer is silent.
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
    let display = super::progress::ProgressDisplay::new(json);
    let (report, result) = super::runtime::block_on(async {
        let disk = Storage::default();
        let client = Client::open(config, &mirrors, &NoTransport, &SystemClock, disk)?;
        let mut client = client.with_progress(display.sink());
        let mut rng = rand::rng();
        Ok::<_, unanimity_client::ClientError>(client.run(mode, &mut rng).await)
    })??;
    Ok(render_cycle::render_outcome(&report, result))
}
