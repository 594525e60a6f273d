//! The default path of the configuration file.

use std::io::ErrorKind;
use std::path::PathBuf;

use unanimity_report::{CommandError, Exit};

/// A base directory of the XDG specification: the absolute path in `variable`, or `below_home`
/// below `HOME`. `None` if neither is set.
pub fn base_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below_home)))
}

/// The default directory of the configuration: `/etc/unanimity` for root, as in the FHS, and
/// `unanimity` in the XDG configuration directory for other users.
pub fn config_directory() -> Result<PathBuf, CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok("/etc/unanimity".into());
    }
    let base = base_directory("XDG_CONFIG_HOME", ".config");
    let base = base.ok_or_else(|| CommandError::usage("HOME is not set: give --config FILE"))?;
    Ok(base.join("unanimity"))
}

/// The path of the configuration: `named`, or else the default path. Fails if no file exists at
/// that path.
pub fn config_path(named: Option<PathBuf>) -> Result<PathBuf, CommandError> {
    let path = match named {
        Some(path) => path,
        None => config_directory()?.join("unanimity.toml"),
    };
    // Any other error is reported when the file is read.
    if std::fs::metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let message = format!(
            "{}: there is no configuration yet; `unanimity init` writes one to fill in",
            path.display()
        );
        return Err(CommandError::new(Exit::Configuration, message));
    }
    Ok(path)
}
