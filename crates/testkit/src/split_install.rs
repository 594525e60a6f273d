//! The demo's split installation: downloading and installing as two processes, with a release that
//! fails its health check.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use unanimity_client::CycleOutcome;
use unanimity_config::SpoolSettings;
use unanimity_protocol::Timestamp;
use unanimity_report::Exit;

use crate::attacks::SECOND;
use crate::{MirrorAccess, ReleaseSpec, TestError, World};

/// The operator's health check, which fails for the second release.
const CHECK: &str =
    "case $UNANIMITY_RELEASE in 2-*) echo the service does not answer >&2; exit 1;; esac";

/// Runs the split installation in `directory`, with the program `installer`. Returns whether each
/// step ended as expected.
///
/// The simulated time of the peers and the client begins at `start`. It must end before the present
/// time, because the installer uses this machine's clock.
pub async fn run_split_install(
    directory: &Path,
    start: Timestamp,
    artifact: &[u8],
    installer: &Path,
    out: &mut impl Write,
) -> Result<bool, TestError> {
    let mut world =
        World::create_with_access(directory, rand::random(), start, MirrorAccess::Http)?;
    let spool = world.directory.join("client/spool");
    fs::create_dir_all(&spool)?;
    world.config.cycle.spool =
        Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
    world.config.cycle.hooks.check = ["/bin/sh", "-c", CHECK].map(str::to_owned).into();
    world.write_config()?;
    writeln!(
        out,
        "\nDownloading and installing as two processes: this process downloads. `unanimity-install`, a program without\n\
         network code, verifies again and installs. The operator's health check fails for release 2.\n"
    )?;
    let first = ReleaseSpec::new(1, "1.0.0", artifact);
    let second = ReleaseSpec::new(2, "1.1.0", &[artifact, b"\nit does not work\n"].concat());
    let mut is_good = true;
    for (spec, expected) in [(&first, Exit::Done), (&second, Exit::Unhealthy)] {
        download_release(&mut world, spec).await?;
        writeln!(out, "  downloaded release {}-{}, with its proof", spec.sequence, spec.version)?;
        let config = world.directory.join("client/unanimity.toml");
        let output = Command::new(installer).arg("--config").arg(config).arg("--json").output()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let installed = report["installed"].as_str().map(|release| format!("installed {release}"));
        let message = report["message"].as_str().unwrap_or_default().to_owned();
        writeln!(out, "  installer  {}", installed.unwrap_or(message))?;
        is_good &= output.status.code().and_then(Exit::of) == Some(expected);
    }
    let current = fs::read(world.install_root().join("current/hello"))?;
    is_good &= current == artifact;
    writeln!(out, "\n`current/hello` is byte for byte the first release: {}", current == artifact)?;
    Ok(is_good)
}

/// Publishes a release, lets it settle, and downloads it into the spool.
async fn download_release(world: &mut World, spec: &ReleaseSpec) -> Result<(), TestError> {
    world.publish(spec)?;
    world.poll_all().await?;
    world.update().await.1.err().ok_or("a release was not refused as settling")?;
    world.advance(world.config.cycle.limits.settle + SECOND);
    world.poll_all().await?;
    match world.update().await.1? {
        CycleOutcome::Available(_) => Ok(()),
        other => Err(format!("the cycle did not download the release: {other:?}").into()),
    }
}
