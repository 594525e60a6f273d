//! Where the programs `tor` and `tor-gencert` come from.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Broken;

/// Where `tor` and `tor-gencert` are, and the libraries they need.
pub(super) struct Programs {
    directory: PathBuf,
    libraries: Vec<PathBuf>,
}

/// Where system programs are that not everybody's `PATH` names.
const SYSTEM: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

impl Programs {
    /// The machine's own programs, or those of Debian's package, unpacked in `package`. It is never
    /// installed, so the service that comes with it never starts.
    pub(super) fn find(package: &Path, tell: &mut dyn FnMut(&str)) -> Result<Programs, Broken> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from));
        let has_both = |at: &PathBuf| ["tor", "tor-gencert"].iter().all(|p| at.join(p).is_file());
        if let Some(directory) = usual.into_iter().find(has_both) {
            return Ok(Programs { directory, libraries: Vec::new() });
        }
        let directory = package.join("usr/bin");
        if !has_both(&directory) {
            tell(&format!(
                "tor is not installed here: unpacking Debian's package of it in {}",
                package.display()
            ));
            unpack(package)?;
        }
        let mut libraries = Vec::new();
        for place in ["usr/lib", "lib"].map(|place| package.join(place)) {
            let Ok(entries) = fs::read_dir(place) else { continue };
            libraries.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        // One for each kind of machine, such as `usr/lib/x86_64-linux-gnu`.
        libraries.retain(|path| path.is_dir());
        Ok(Programs { directory, libraries })
    }

    /// One of the programs, to be given arguments.
    pub(super) fn command(&self, name: &str) -> Result<Command, Broken> {
        let mut command = Command::new(self.directory.join(name));
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", std::env::join_paths(&self.libraries)?);
        }
        Ok(command)
    }
}

/// Downloads and unpacks Debian's package of tor and the libraries it names, without installing.
fn unpack(to: &Path) -> Result<(), Broken> {
    let above = crate::durable::parent(to);
    fs::create_dir_all(above)?;
    let work = tempfile::TempDir::new_in(above)?;
    let tree = work.path().join("tree");
    fs::create_dir(&tree)?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).current_dir(work.path()).stdin(Stdio::null()).output()
    };
    let download = |package: &str| apt(&["download", package]);
    let first = match download("tor") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NO_TOR.into()),
        first => first?,
    };
    if !first.status.success() {
        // The lists of packages may be missing or old; only root can renew them.
        apt(&["update"])?;
        let second = download("tor")?;
        if !second.status.success() {
            let said = String::from_utf8_lossy(&second.stderr).trim().to_owned();
            return Err(format!("{CANNOT_DOWNLOAD}\n  apt-get says: {said}").into());
        }
    }
    let tor = packages(work.path())?.pop().ok_or("apt-get left no package behind")?;
    let mut deb = Command::new("dpkg-deb");
    deb.arg("-f").arg(tor).arg("Depends");
    let depends = run(deb, b"")?;
    let libraries = depends.split(',').filter_map(|depend| depend.split_whitespace().next());
    for name in libraries.filter(|name| name.starts_with("lib") || name.starts_with("zlib")) {
        if name != "libc6" {
            // One that cannot be had may be installed already.
            download(name)?;
        }
    }
    for package in packages(work.path())? {
        let mut deb = Command::new("dpkg-deb");
        deb.arg("-x").arg(package).arg(&tree);
        run(deb, b"")?;
    }
    // Whole or not at all, also when two runs meet here.
    match fs::rename(&tree, to) {
        Err(error) if !to.join("usr/bin/tor").exists() => {
            Err(format!("cannot unpack tor in {}: {error}", to.display()).into())
        }
        _ => Ok(()),
    }
}

const NO_TOR: &str = "tor is not installed here, and there is no apt-get to download Debian's package with.\n  \
    Install tor (the programs `tor` and `tor-gencert`) the way this system does; its service need not run";
const CANNOT_DOWNLOAD: &str = "tor is not installed here, and apt-get cannot download Debian's package of it.\n  \
    Install tor (the programs `tor` and `tor-gencert`; its service need not run), or try again with a network";

/// The packages in a directory.
fn packages(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Runs a program to its end and returns what it printed.
pub(super) fn run(mut command: Command, input: &[u8]) -> Result<String, Broken> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    match child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input)) {
        // It may have no use for it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} ended with {}: {said}{complaint}", output.status).into());
    }
    Ok(said)
}
