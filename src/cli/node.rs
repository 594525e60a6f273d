//! `init`, the default paths of a node's files, and loading a node's configuration.

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
/// The line of the example file that a node's own file does not need.
const COPY_INSTRUCTION: &str = "# Copy this file to peers.toml in the directory of the node's configuration, and list your own peers.\n";

/// The default paths of a node's files: those of the FHS for root, and those of the XDG base
/// directory specification for other users.
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
                .ok_or_else(|| CommandError::usage("HOME is not set. Give --config FILE"))
        };
        Ok(DefaultPaths {
            config: config_directory()?,
            state: base("XDG_STATE_HOME", ".local/state")?.join("unanimity"),
            root: base("XDG_DATA_HOME", ".local/share")?.join("unanimity"),
        })
    }
}

/// Returns this user's directory for files that can be fetched again.
#[cfg(feature = "demo-tor")]
pub(super) fn cache_directory() -> Result<PathBuf, CommandError> {
    let cache = base_directory("XDG_CACHE_HOME", ".cache");
    let cache =
        cache.ok_or_else(|| CommandError::usage("HOME and XDG_CACHE_HOME are not set. Set one"))?;
    Ok(cache.join("unanimity"))
}

/// Reads a node's configuration, for commands that work with a peer list of any size.
pub(super) fn load_node(
    path: Option<PathBuf>,
) -> Result<unanimity_config::NodeConfig, CommandError> {
    load_node_file(&config_path(path)?)
}

/// Reads a node's configuration, and refuses settings that this build does not support.
pub(super) fn load_node_file(path: &Path) -> Result<unanimity_config::NodeConfig, CommandError> {
    let config = unanimity_config::load_node_config(path).map_err(advice::command_error)?;
    config.check_proof_of_work(cfg!(feature = "pow"))?;
    Ok(config)
}

/// Reads a client's configuration, for commands that need enough counted peers.
pub(super) fn load_client_config(path: Option<PathBuf>) -> Result<ClientConfig, CommandError> {
    load_node(path)?.client_config(SystemClock.now()).map_err(advice::command_error)
}

/// Write a commented configuration to fill in.
#[derive(Debug, Args)]
pub(super) struct InitArgs {}

impl InitArgs {
    pub(super) fn run(self, config: Option<PathBuf>) -> Result<CommandOutput, CommandError> {
        let defaults = DefaultPaths::for_current_user()?;
        let node = config.unwrap_or_else(|| defaults.config.join("unanimity.toml"));
        let peers = node.with_file_name("peers.toml");
        if node.exists() && peers.exists() {
            return Err(PrivateFileError::Exists(node).into());
        }
        let quoted = |path: &Path| Value::from(path.to_string_lossy()).to_string();
        let text = NODE_TEMPLATE
            .replace("\"@STATE@\"", &quoted(&defaults.state))
            .replace("\"@STATE@/tor\"", &quoted(&defaults.state.join("tor")))
            .replace("\"@STATE@/tor-cache\"", &quoted(&defaults.state.join("tor-cache")))
            .replace("\"@ROOT@\"", &quoted(&defaults.root))
            .replace("@PLATFORM@", unanimity_config::this_platform().as_str());
        let disk = Storage::default();
        let directory = unanimity_storage::parent(&node);
        disk.make_dir(directory, Mode::Public).map_err(StorageError::at(directory))?;
        // The example's peers do not exist, so they are commented out.
        let template = PEERS_TEMPLATE.replace(COPY_INSTRUCTION, "");
        let peers_text: String = match template.split_once("[[peer]]") {
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
        for (path, text) in [(&peers, &peers_text), (&node, &text)] {
            if path.exists() {
                continue;
            }
            if let Err(error) =
                unanimity_storage::write_new(path, text.as_bytes(), Mode::Private, &disk)
            {
                // A leftover file would block the next try.
                written.iter().for_each(|path| drop(disk.remove(path)));
                return Err(error.into());
            }
            written.push(path);
        }
        let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        let text = format!(
            "Written: {}\nFill in {}: `unanimity status` names the lines that are still to be filled in, and checks the others.\n`unanimity peers add` fills {}.\n",
            paths.join("\n         "),
            node.display(),
            peers.display()
        );
        Ok(CommandOutput::ok(
            text,
            json!({ "config": path_json(&node), "peers": path_json(&peers) }),
        ))
    }
}
