//! `demo`: the whole circle in one process.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::runtime::Builder;

use super::exit::{Ended, Exit};
use super::{MAX_FILE_BYTES, Said, path_json, read, run_on};
use crate::clock::{Clock as _, SystemClock};
use crate::demo::{World, story};
use crate::durable::{Disk, DiskError, Mode};
use crate::verify::Timestamp;

/// Play a whole circle in one process: two honest updates, then every attack.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The file to release, in two versions [default: this program]
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,
    /// Play in this directory (new or empty) and leave everything there to look at
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

impl Demo {
    pub(super) fn run(self, json: bool) -> Result<Said, Ended> {
        let artifact = match &self.artifact {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(|e| Ended::new(Exit::Failed, e.to_string()))?,
        };
        let artifact = read(&artifact, MAX_FILE_BYTES)?;
        let temporary = tempfile::tempdir().map_err(DiskError::at(&std::env::temp_dir()))?;
        let directory = match &self.keep {
            None => temporary.path().to_owned(),
            Some(keep) => {
                Disk::default().make_dir(keep, Mode::Private).map_err(DiskError::at(keep))?;
                let entries = std::fs::read_dir(keep).map_err(DiskError::at(keep))?.count();
                if entries > 0 {
                    return Err(Ended::usage(format!(
                        "--keep {}: not empty, and nothing in it is overwritten",
                        keep.display()
                    )));
                }
                keep.canonicalize().map_err(DiskError::at(keep))?
            }
        };
        let (mut quiet, mut screen) = (std::io::sink(), std::io::stdout());
        let mut out: &mut dyn Write = if json { &mut quiet } else { &mut screen };
        // It plays two hours; so that they are over, they began three hours ago.
        let start = Timestamp(SystemClock.now().0.saturating_sub(3 * 3600));
        // Where all wait for somebody who is dead, the time goes on by itself.
        let told = run_on(Builder::new_current_thread().enable_all().start_paused(true), async {
            let world = World::create(&directory.join("base"), rand::random(), start)?;
            story::tell(world, &directory, &artifact, &mut out).await
        })?;
        let told = match told {
            Err(error) if is_broken_pipe(&*error) => return Ok(Said::done("", json!({}))),
            Err(error) => {
                return Err(Ended::new(Exit::Failed, format!("the demo broke off: {error}")));
            }
            Ok(told) => told,
        };
        let attacks: Vec<_> = (told.attacks.iter())
            .map(|attack| json!({ "title": attack.title, "refused": attack.held, "said": attack.said }))
            .collect();
        let json = json!({ "installed": told.installed, "attacks": attacks, "kept": self.keep.as_ref().map(|_| path_json(&directory)) });
        let text = match &self.keep {
            Some(_) => {
                let program = std::env::args().next().unwrap_or_else(|| "unanimity".to_owned());
                story::what_is_kept(&program, &directory)
            }
            None => String::new(),
        };
        let exit = if told.is_good() { Exit::Done } else { Exit::Failed };
        let text = if told.is_good() {
            text
        } else {
            "the demo did not end as it should: see above".to_owned()
        };
        Ok(Said { exit, text, json, failed: exit != Exit::Done, data: false })
    }
}

/// Whoever read the story has read enough.
fn is_broken_pipe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
