//! `init`, and where a node's files are.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use unanimity_config::ClientConfig;
use unanimity_config::default_path::{base_directory, config_directory, config_path};
use unanimity_report::{CommandError, CommandOutput, path_json};
use unanimity_storage::{Clock as _, Mode, PrivateFileError, Storage, StorageError, SystemClock};

use crate::advice;

const NODE_TEMPLATE: &str = include_str!("unanimity.example.toml");
const PEERS_TEMPLATE: &str = include_str!("../../peers.example.toml");
/// What the example says of itself that a node's own file need not.
const COPY_INSTRUCTION: &str = "# Copy this file to peers.toml beside the node's configuration and put your own circle in it.\n";

/// Where a node's files are unless somebody says otherwise: for root below / as the FHS has it,
/// for others as the XDG base directory specification has it.
struct DefaultPaths {
    config: PathBuf,
    state: PathBuf,
    root: PathBuf,
}

impl DefaultPaths {
    fn for_current_user() -> Result<DefaultPaths, CommandError> {
        if rustix::process::geteuid().is_root() {
            return Ok(DefaultPaths {
                config: config_directory()?,
                state: "/var/lib/unanimity/state".into(),
                root: "/var/lib/unanimity/installed".into(),
            });
        }
        let base = |variable: &str, below_home: &str| {
            base_directory(variable, below_home)
                .ok_or_else(|| CommandError::usage("HOME is not set: give --config FILE"))
        };
        Ok(DefaultPaths {
            config: config_directory()?,
            state: base("XDG_STATE_HOME", ".local/state")?.join("unanimity"),
            root: base("XDG_DATA_HOME", ".local/share")?.join("unanimity"),
        })
    }
}

/// Where what can be had again is kept, of this user's.
#[cfg(feature = "demo-tor")]
pub(super) fn cache_directory() -> Result<PathBuf, CommandError> {
    let cache = base_directory("XDG_CACHE_HOME", ".cache");
    let cache =
        cache.ok_or_else(|| CommandError::usage("HOME is not set, nor is XDG_CACHE_HOME"))?;
    Ok(cache.join("unanimity"))
}

/// Reads it, for who can do with a circle of any size.
pub(super) fn load_node(
    path: Option<PathBuf>,
) -> Result<unanimity_config::NodeConfig, CommandError> {
    load_node_file(&config_path(path)?)
}

/// Reads a node's configuration, and refuses what this build cannot do.
pub(super) fn load_node_file(path: &Path) -> Result<unanimity_config::NodeConfig, CommandError> {
    let config = unanimity_config::load_node_config(path).map_err(advice::command_error)?;
    config.check_proof_of_work(cfg!(feature = "pow"))?;
    Ok(config)
}

/// Reads it, for who needs a whole circle.
pub(super) fn load_client_config(path: Option<PathBuf>) -> Result<ClientConfig, CommandError> {
    load_node(path)?.client_config(SystemClock.now()).map_err(advice::command_error)
}

/// Write a commented configuration to fill in.
#[derive(Debug, Args)]
pub(super) struct InitArgs {}

impl InitArgs {
    pub(super) fn run(self, config: Option<PathBuf>) -> Result<CommandOutput, CommandError> {
        let places = DefaultPaths::for_current_user()?;
        let node = config.unwrap_or_else(|| places.config.join("unanimity.toml"));
        let peers = node.with_file_name("peers.toml");
        if node.exists() && peers.exists() {
            return Err(PrivateFileError::Exists(node).into());
        }
        let quoted = |path: &Path| Value::from(path.to_string_lossy()).to_string();
        let text = NODE_TEMPLATE
            .replace("\"@STATE@\"", &quoted(&places.state))
            .replace("\"@STATE@/tor\"", &quoted(&places.state.join("tor")))
            .replace("\"@STATE@/tor-cache\"", &quoted(&places.state.join("tor-cache")))
            .replace("\"@ROOT@\"", &quoted(&places.root))
            .replace("@PLATFORM@", unanimity_config::this_platform().as_str());
        let disk = Storage::default();
        let directory = unanimity_storage::parent(&node);
        disk.make_dir(directory, Mode::Public).map_err(StorageError::at(directory))?;
        // Nobody holds the example's keys: its peers are there to be replaced, not to be asked.
        let template = PEERS_TEMPLATE.replace(COPY_INSTRUCTION, "");
        let circle: String = match template.split_once("[[peer]]") {
            Some((head, example)) => {
                let example = format!("[[peer]]{example}");
                let commented = example.lines().map(|line| match line {
                    "" => "\n".to_owned(),
                    line => format!("#{line}\n"),
                });
                format!("{head}{}", commented.collect::<String>())
            }
            None => template,
        };
        let mut written: Vec<&PathBuf> = Vec::new();
        // Of the two, what is missing.
        for (path, text) in [(&peers, &circle), (&node, &text)] {
            if path.exists() {
                continue;
            }
            if let Err(error) =
                unanimity_storage::write_new(path, text.as_bytes(), Mode::Private, &disk)
            {
                // Half of the two would be in the way of the next try.
                written.iter().for_each(|path| drop(disk.remove(path)));
                return Err(error.into());
            }
            written.push(path);
        }
        let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        let said = format!(
            "Written: {}\nFill in {}; `unanimity status` names the lines that still want filling in, and refuses what makes no sense.\n`unanimity peers add` fills {}.\n",
            paths.join("\n         "),
            node.display(),
            peers.display()
        );
        Ok(CommandOutput::ok(
            said,
            json!({ "config": path_json(&node), "peers": path_json(&peers) }),
        ))
    }
}
