//! Ownership and permission checks on every file that a command trusts or modifies.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use unanimity_report::{CommandError, Exit};
use unanimity_storage::{StorageError, UntrustedPath, check_trusted_path, check_trusted_tree};

/// Refuses to write to a path that belongs to another user. That user could not use the written
/// files.
///
/// A path that does not exist passes.
pub fn check_owner(path: &Path) -> Result<(), CommandError> {
    let own_uid = rustix::process::geteuid();
    let found = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(StorageError::at(path))?,
    };
    if found.uid() == own_uid.as_raw() {
        return Ok(());
    }
    let (path, uid) = (path.display(), found.uid());
    let why = format!(
        "{path} belongs to the user with id {uid}: run this as that user, with the same --config, such as with `sudo -u '#{uid}'`"
    );
    Err(CommandError::new(Exit::Disk, why))
}

/// Refuses to install if another user may write to an input or to the target of the installation.
///
/// These are the configuration files, the programs of the hooks, and the install root with its
/// contents. Root may write to all of them.
pub fn check_install_inputs(config: &unanimity_config::NodeConfig) -> Result<(), CommandError> {
    let programs = config.cycle.hooks.programs().map(Path::new);
    let root = config.cycle.install_root.as_path();
    // A user who does not install has nothing to repair: the advice is to run this as the owner.
    if !rustix::process::geteuid().is_root() {
        check_owner(root)?;
    }
    check_all_trusted(
        config.config_files.iter().map(PathBuf::as_path).chain(programs).chain([root]),
        config,
    )
}

fn check_all_trusted<'a>(
    paths: impl Iterator<Item = &'a Path>,
    config: &unanimity_config::NodeConfig,
) -> Result<(), CommandError> {
    for path in paths {
        let found =
            check_trusted_path(path).and_then(|()| match path == config.cycle.install_root {
                true => check_trusted_tree(path),
                false => Ok(()),
            });
        match found {
            // A missing directory is created later, and a missing program is reported later.
            Err(UntrustedPath::Disk(StorageError::Io { source, .. }))
                if !config.config_files.iter().any(|file| file == path)
                    && source.kind() == io::ErrorKind::NotFound => {}
            Err(UntrustedPath::Disk(error)) => return Err(error.into()),
            Err(error @ UntrustedPath::ControlledByOthers { .. }) => {
                let path = path.display();
                let why = format!(
                    "{error}. The installation relies on {path}: only the installing user may write to it or redirect it"
                );
                return Err(CommandError::new(Exit::Configuration, why));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Runs the checks of [`check_install_inputs`] where root both downloads and installs. Also checks
/// the program of the alerts and the state directory.
///
/// Passes for every other user, and in a split installation.
pub fn check_root_inputs(config: &unanimity_config::NodeConfig) -> Result<(), CommandError> {
    if config.cycle.spool.is_some() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let alert = config.alert.command.first().map(Path::new);
    check_all_trusted(alert.into_iter().chain([&*config.cycle.state]), config)?;
    check_install_inputs(config)
}
