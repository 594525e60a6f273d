//! Spools of five releases and a client's configuration, made without a network: input for tests of
//! an installer.
//!
//! ```text
//! stage_releases DIRECTORY
//! DIRECTORY/1 to DIRECTORY/5    the spool after each of five releases
//! DIRECTORY/world/client        the client's configuration
//! ```
//!
//! A publisher, a log, five peers and a client run in this process. The simulated clock starts some
//! hours ago, so that every release has settled by now.

use std::path::PathBuf;
use std::time::Duration;

use unanimity_client::CycleOutcome;
use unanimity_config::SpoolSettings;
use unanimity_protocol::Timestamp;
use unanimity_storage::{Clock as _, SystemClock};
use unanimity_testkit::{ReleaseSpec, TestError, World, copy_tree};

const VERSIONS: [&str; 5] = ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"];
/// One second longer than the default `settle`.
const SETTLE: Duration = Duration::from_secs(3601);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), TestError> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("stage_releases DIRECTORY")?);
    let simulated = SETTLE * (VERSIONS.len() as u32 + 1);
    let start = Timestamp(SystemClock.now().0 - simulated.as_secs());
    let mut world = World::create(&directory.join("world"), rand::random(), start)?;
    let spool = directory.join("world/client/spool");
    std::fs::create_dir_all(&spool)?;
    world.config.cycle.spool = Some(SpoolSettings {
        directory: spool.clone(),
        freshness: SpoolSettings::DEFAULT_FRESHNESS,
    });
    world.write_config()?;
    for (sequence, version) in (1..).zip(VERSIONS) {
        world.publish(&ReleaseSpec::new(sequence, version, version.as_bytes()))?;
        world.poll_all().await?;
        // The wait begins when the client has seen the release. The spool still has the one before.
        let _settling = world.update().await;
        world.advance(SETTLE);
        world.poll_all().await?;
        match world.update().await.1? {
            CycleOutcome::Available(release) if release.manifest().sequence == sequence => {
                copy_tree(&spool, &directory.join(sequence.to_string()))?;
            }
            other => return Err(format!("release {version} was not downloaded: {other:?}").into()),
        }
    }
    Ok(())
}
