//! Where programs come from that are not part of this one, such as `tor_command`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{
    fs,
    io::{self},
};

use unanimity_testkit::TestError;

/// A package of Debian's, and what of it is wanted.
#[derive(Clone, Copy, Debug)]
pub struct DebianPackage {
    /// Its name.
    pub name: &'static str,
    /// The programs in it that are wanted. At least one.
    pub programs: &'static [&'static str],
    /// What else to know about them, behind their names.
    pub remark: &'static str,
}

/// Where a package's programs are, and the libraries they need.
#[derive(Debug)]
pub struct ExternalPrograms {
    directory: PathBuf,
    libraries: Vec<PathBuf>,
}

/// Where system programs are that not everybody's `PATH` names.
const SYSTEM: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

impl ExternalPrograms {
    /// The machine's own programs, or those of Debian's package, unpacked in `node_directory`. It is never
    /// installed, so no service that comes with it ever starts.
    pub fn find(
        package: &DebianPackage,
        place: &Path,
        tell: &mut dyn FnMut(&str),
    ) -> Result<ExternalPrograms, TestError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from));
        let has_all = |at: &PathBuf| package.programs.iter().all(|p| at.join(p).is_file());
        if let Some(directory) = usual.into_iter().find(has_all) {
            return Ok(ExternalPrograms { directory, libraries: Vec::new() });
        }
        let unpacked =
            || ["usr/bin", "usr/sbin"].map(|at| place.join(at)).into_iter().find(has_all);
        if unpacked().is_none() {
            tell(&format!(
                "{} is not installed here: unpacking Debian's package of it in {}",
                package.name,
                place.display()
            ));
            unpack(package, place)?;
        }
        let directory = unpacked()
            .ok_or_else(|| format!("{} has no {:?}", place.display(), package.programs))?;
        let mut libraries = Vec::new();
        for below in ["usr/lib", "lib"].map(|below| place.join(below)) {
            let Ok(entries) = fs::read_dir(below) else { continue };
            libraries.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        // One for each kind of machine, such as `usr/lib/x86_64-linux-gnu`.
        libraries.retain(|path| path.is_dir());
        Ok(ExternalPrograms { directory, libraries })
    }

    /// One of the programs, to be given arguments.
    pub fn command(&self, name: &str) -> Result<Command, TestError> {
        let mut command = Command::new(self.directory.join(name));
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", std::env::join_paths(&self.libraries)?);
        }
        Ok(command)
    }
}

/// Downloads and unpacks a package of Debian's and the libraries it names, without installing.
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
            let why = "there is no apt-get to download Debian's package with";
            return Err(package.missing_message(why, "").into());
        }
        first => first?,
    };
    if !first.status.success() {
        // The lists of packages may be missing or old; only root can renew them.
        apt(&["update"])?;
        let second = download(name)?;
        if !second.status.success() {
            let said = String::from_utf8_lossy(&second.stderr).trim().to_owned();
            let why = "apt-get cannot download Debian's package of it";
            let missing = package.missing_message(why, ", or try again with a network");
            return Err(format!("{missing}\n  apt-get says: {said}").into());
        }
    }
    let wanted = list_packages(work.path())?.pop().ok_or("apt-get left no package behind")?;
    let mut deb = Command::new("dpkg-deb");
    deb.arg("-f").arg(wanted).arg("Depends");
    let depends = run_to_end(deb, b"")?;
    let libraries = depends.split(',').filter_map(|depend| depend.split_whitespace().next());
    let is_library = |name: &&str| name.starts_with("lib") || name.starts_with("zlib");
    for library in libraries.filter(is_library).filter(|name| *name != "libc6") {
        // One that cannot be had may be installed already.
        download(library)?;
    }
    for file in list_packages(work.path())? {
        let mut deb = Command::new("dpkg-deb");
        deb.arg("-x").arg(file).arg(&tree);
        run_to_end(deb, b"")?;
    }
    // Whole or not at all, also when two runs meet here.
    match fs::rename(&tree, to) {
        Err(error) if !to.join("usr").exists() => {
            Err(format!("cannot unpack {name} in {}: {error}", to.display()).into())
        }
        _ => Ok(()),
    }
}

impl DebianPackage {
    /// What to do where it is missing.
    fn missing_message(&self, why: &str, or: &str) -> String {
        let DebianPackage { name, programs, remark } = self;
        let programs: Vec<String> = programs.iter().map(|program| format!("`{program}`")).collect();
        format!(
            "{name} is not installed here, and {why}.\n  Install {name} ({}{remark}) the way this system does{or}",
            programs.join(" and ")
        )
    }
}

/// The packages in a directory.
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

/// Runs a program to its end and returns what it printed.
pub(crate) fn run_to_end(mut command: Command, input: &[u8]) -> Result<String, TestError> {
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
