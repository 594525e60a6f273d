//! Whose is what a command goes by, or writes to.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use unanimity_report::{CommandError, Exit};
use unanimity_storage::{StorageError, UntrustedPath, check_trusted_path, check_trusted_tree};

/// Refuses to write to what is another user's: they could not use it any more.
pub fn check_owner(path: &Path) -> Result<(), CommandError> {
    let us = rustix::process::geteuid();
    let found = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(StorageError::at(path))?,
    };
    if found.uid() == us.as_raw() {
        return Ok(());
    }
    let (path, uid) = (path.display(), found.uid());
    let why = format!(
        "{path} belongs to the user with id {uid}: run this as them, with the same --config, such as `sudo -u '#{uid}' unanimity --config ...`"
    );
    Err(CommandError::new(Exit::Disk, why))
}

/// Refuses to install by what others than the installing user may write, or to where they may: the
/// configuration, the programs that it names, the install root and what is in it.
pub fn check_install_inputs(config: &unanimity_config::NodeConfig) -> Result<(), CommandError> {
    let programs = config.cycle.hooks.programs().map(Path::new);
    let root = config.cycle.install_root.as_path();
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
            // Nothing was installed yet; a program that is not there is said to be missing later.
            Err(UntrustedPath::Disk(StorageError::Io { source, .. }))
                if !config.config_files.iter().any(|file| file == path)
                    && source.kind() == io::ErrorKind::NotFound => {}
            Err(UntrustedPath::Disk(error)) => return Err(error.into()),
            Err(error @ UntrustedPath::ControlledByOthers { .. }) => {
                let path = path.display();
                let why = format!(
                    "{error}: whoever installs goes by {path}, and nobody else may write to it or lead it elsewhere"
                );
                return Err(CommandError::new(Exit::Configuration, why));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The same where root fetches as well. For anybody else, what they may read is theirs to judge.
pub fn check_root_inputs(config: &unanimity_config::NodeConfig) -> Result<(), CommandError> {
    if config.cycle.spool.is_some() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let alarm = config.alert.command.first().map(Path::new);
    check_all_trusted(alarm.into_iter().chain([&*config.cycle.state]), config)?;
    check_install_inputs(config)
}
