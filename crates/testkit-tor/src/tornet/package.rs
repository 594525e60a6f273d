//! Programs of other projects, such as `tor`, from this machine or from a package of Debian.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use unanimity_testkit::TestError;

/// A package of Debian, and the names of the programs that are needed from it.
#[derive(Clone, Copy, Debug)]
pub struct DebianPackage {
    /// The package's name.
    pub name: &'static str,
    /// The names of the needed programs, at least one.
    pub programs: &'static [&'static str],
    /// A remark that follows the programs' names in an error, such as `; its service need not run`.
    pub remark: &'static str,
}

/// The directory of a package's programs, and the directories of the libraries that they need.
#[derive(Debug)]
pub struct ExternalPrograms {
    directory: PathBuf,
    libraries: Vec<PathBuf>,
}

/// The directories of system programs, which may be missing in a user's `PATH`.
const SYSTEM: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

impl ExternalPrograms {
    /// Finds the programs in `PATH` or the usual directories. Otherwise downloads Debian's package
    /// and unpacks it in `unpack_directory`, where the next call finds it.
    ///
    /// The package is never installed, so its services never start. `report` receives a line before
    /// the download. If the download fails, the error says what to install.
    pub fn find(
        package: &DebianPackage,
        unpack_directory: &Path,
        report: &mut dyn FnMut(&str),
    ) -> Result<ExternalPrograms, TestError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from));
        let has_all = |at: &PathBuf| package.programs.iter().all(|p| at.join(p).is_file());
        if let Some(directory) = usual.into_iter().find(has_all) {
            return Ok(ExternalPrograms { directory, libraries: Vec::new() });
        }
        let unpacked = || {
            ["usr/bin", "usr/sbin"].map(|at| unpack_directory.join(at)).into_iter().find(has_all)
        };
        if unpacked().is_none() {
            report(&format!(
                "{} is not installed: unpacking Debian's package in {}",
                package.name,
                unpack_directory.display()
            ));
            unpack(package, unpack_directory)?;
        }
        let directory = unpacked().ok_or_else(|| {
            format!("{} has no {:?}", unpack_directory.display(), package.programs)
        })?;
        let mut libraries = Vec::new();
        for below in ["usr/lib", "lib"].map(|below| unpack_directory.join(below)) {
            let Ok(entries) = fs::read_dir(below) else { continue };
            libraries.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        // The directories for one architecture, such as `usr/lib/x86_64-linux-gnu`.
        libraries.retain(|path| path.is_dir());
        Ok(ExternalPrograms { directory, libraries })
    }

    /// Returns the command of one of the programs, without arguments.
    pub fn command(&self, name: &str) -> Result<Command, TestError> {
        let mut command = Command::new(self.directory.join(name));
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", std::env::join_paths(&self.libraries)?);
        }
        Ok(command)
    }
}

/// Downloads and unpacks a package of Debian and the libraries on which it depends, without
/// installing them.
fn unpack(package: &DebianPackage, to: &Path) -> Result<(), TestError> {
    let above = unanimity_storage::parent(to);
    fs::create_dir_all(above)?;
    let work = tempfile::TempDir::new_in(above)?;
    let tree = work.path().join("tree");
    fs::create_dir(&tree)?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).current_dir(work.path()).stdin(Stdio::null()).output()
    };
    let download = |package: &str| apt(&["download", package]);
    let DebianPackage { name, .. } = package;
    let first = match download(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = "there is no apt-get to download Debian's package";
            return Err(package.missing_message(why, "").into());
        }
        first => first?,
    };
    if !first.status.success() {
        // The package lists may be missing or old. Only root can update them.
        apt(&["update"])?;
        let second = download(name)?;
        if !second.status.success() {
            let stderr = String::from_utf8_lossy(&second.stderr).trim().to_owned();
            let why = "apt-get cannot download Debian's package";
            let missing = package.missing_message(why, ", or try again with a network");
            return Err(format!("{missing}\n  apt-get printed: {stderr}").into());
        }
    }
    let main_package =
        list_packages(work.path())?.pop().ok_or("apt-get downloaded no package file")?;
    let mut deb = Command::new("dpkg-deb");
    deb.arg("-f").arg(main_package).arg("Depends");
    let depends = run_to_end(deb, b"")?;
    let libraries = depends.split(',').filter_map(|depend| depend.split_whitespace().next());
    let is_library = |name: &&str| name.starts_with("lib") || name.starts_with("zlib");
    for library in libraries.filter(is_library).filter(|name| *name != "libc6") {
        // A library that cannot be downloaded may be installed already.
        download(library)?;
    }
    for file in list_packages(work.path())? {
        let mut deb = Command::new("dpkg-deb");
        deb.arg("-x").arg(file).arg(&tree);
        run_to_end(deb, b"")?;
    }
    // The rename is atomic: if two runs unpack at once, one complete tree remains.
    match fs::rename(&tree, to) {
        Err(error) if !to.join("usr").exists() => {
            Err(format!("cannot unpack {name} in {}: {error}", to.display()).into())
        }
        _ => Ok(()),
    }
}

impl DebianPackage {
    /// Returns the error message for a missing package, with advice on what to install.
    fn missing_message(&self, why: &str, or: &str) -> String {
        let DebianPackage { name, programs, remark } = self;
        let programs: Vec<String> = programs.iter().map(|program| format!("`{program}`")).collect();
        format!(
            "{name} is not installed, and {why}.\n  Install {name} ({}{remark}) with this system's package manager{or}",
            programs.join(" and ")
        )
    }
}

/// Lists the package files in a directory.
fn list_packages(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Runs a program to its end with `input`, and returns its output. Fails unless it succeeds.
pub(crate) fn run_to_end(mut command: Command, input: &[u8]) -> Result<String, TestError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    match child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input)) {
        // The program may not read its input.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let output = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} ended with {}: {stdout}{stderr}", output.status).into());
    }
    Ok(stdout)
}
