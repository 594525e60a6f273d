//! Fetching and installing as two processes, and a release that does not work.

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

/// What the operator's check says of the second release.
const CHECK: &str =
    "case $UNANIMITY_RELEASE in 2-*) echo the service does not answer >&2; exit 1;; esac";

/// Plays it in `from_directory`, from `start` on, with `installer`, the program. It must be over by now:
/// the installer goes by this machine's clock. Returns whether all went as it should.
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
        "\nFetching and installing apart: this process fetches, and `unanimity-install`, a program of its own\n\
         that asks nobody, installs what it verifies anew. The operator's check finds that release 2 does not work.\n"
    )?;
    let first = ReleaseSpec::new(1, "1.0.0", artifact);
    let second = ReleaseSpec::new(2, "1.1.0", &[artifact, b"\nit does not work\n"].concat());
    let mut is_good = true;
    for (draft, expected) in [(&first, Exit::Done), (&second, Exit::Unhealthy)] {
        download_release(&mut world, draft).await?;
        writeln!(out, "  staged     release {}-{}, with its proof", draft.sequence, draft.version)?;
        let config = world.directory.join("client/unanimity.toml");
        let ended = Command::new(installer).arg("--config").arg(config).arg("--json").output()?;
        let said: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
        let installed = said["installed"].as_str().map(|release| format!("installed {release}"));
        let why = said["message"].as_str().unwrap_or_default().to_owned();
        writeln!(out, "  installer  {}", installed.unwrap_or(why))?;
        is_good &= ended.status.code().and_then(Exit::of) == Some(expected);
    }
    let current = fs::read(world.install_root().join("current/hello"))?;
    is_good &= current == artifact;
    writeln!(out, "\n`current/hello` is byte for byte the first release: {}", current == artifact)?;
    Ok(is_good)
}

/// Publishes a release, and fetches it when it has settled.
async fn download_release(world: &mut World, draft: &ReleaseSpec) -> Result<(), TestError> {
    world.publish(draft)?;
    world.poll_all().await?;
    world.update().await.1.err().ok_or("a release did not wait for `settle`")?;
    world.advance(world.config.cycle.limits.settle + SECOND);
    world.poll_all().await?;
    match world.update().await.1? {
        CycleOutcome::Available(_) => Ok(()),
        other => Err(format!("expected it to be staged: {other:?}").into()),
    }
}
