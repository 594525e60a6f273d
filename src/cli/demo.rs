//! `demo`: a whole group of peers in one process, or over a private Tor network.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tokio::runtime::Builder;
use unanimity_protocol::Timestamp;
use unanimity_report::{CommandError, CommandOutput, Exit, error_chain, path_json};
use unanimity_storage::{Clock as _, Mode, Storage, StorageError, SystemClock};
use unanimity_testkit::script::DemoSummary;
use unanimity_testkit::{
    MirrorAccess, TestError, World,
    script::{self},
    split_install,
};

use super::input::{MAX_FILE_BYTES, read_file};
use super::runtime::block_on_runtime;
use crate::advice::Advice as _;

/// Run a whole group of peers: two honest updates, then every attack.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Run every peer as a process of its own, with real onion services in a private Tor network on
    /// this machine; only the attackers are simulated. Takes about three minutes
    #[cfg(feature = "demo-tor")]
    #[arg(long)]
    tor: bool,
    /// The file of the first release; the second release adds a line to it [default: this program;
    /// with --tor its first MiB]
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,
    /// Run in this directory (new or empty), and keep all files for inspection
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

impl DemoArgs {
    pub(super) fn run(self, json: bool) -> Result<CommandOutput, CommandError> {
        let artifact = match &self.artifact {
            Some(path) => path.clone(),
            None => std::env::current_exe()
                .map_err(|e| CommandError::new(Exit::Failed, e.to_string()))?,
        };
        #[cfg_attr(not(feature = "demo-tor"), expect(unused_mut))]
        let mut artifact = read_file(&artifact, MAX_FILE_BYTES)?;
        #[cfg(feature = "demo-tor")]
        if self.tor && self.artifact.is_none() {
            artifact.truncate(TOR_DEMO_ARTIFACT_BYTES);
        }
        let temporary = tempfile::tempdir().map_err(StorageError::at(&std::env::temp_dir()))?;
        let directory = match &self.keep {
            None => temporary.path().to_owned(),
            Some(keep) => {
                Storage::default().make_dir(keep, Mode::Private).map_err(StorageError::at(keep))?;
                let entries = std::fs::read_dir(keep).map_err(StorageError::at(keep))?.count();
                if entries > 0 {
                    return Err(CommandError::usage(format!(
                        "--keep {}: the directory is not empty. Give an empty or a new one",
                        keep.display()
                    )));
                }
                keep.canonicalize().map_err(StorageError::at(keep))?
            }
        };
        let (mut quiet, mut screen) = (std::io::sink(), std::io::stdout());
        let mut out: &mut dyn Write = if json { &mut quiet } else { &mut screen };
        let summary = match self.play(&directory, &artifact, &mut out)? {
            Err(error) if is_broken_pipe(&*error) => return Ok(CommandOutput::ok("", json!({}))),
            Err(error) => {
                return Err(CommandError::new(Exit::Failed, format!("the demo failed: {error}")));
            }
            Ok(summary) => summary,
        };
        let attacks: Vec<_> = (summary.attacks.iter())
            .map(|attack| json!({ "title": attack.title, "refused": attack.resisted, "message": attack.message }))
            .collect();
        let json = json!({ "installed": summary.installed, "attacks": attacks, "split_install": summary.split_install, "kept": self.keep.as_ref().map(|_| path_json(&directory)) });
        let text = match &self.keep {
            Some(_) => {
                let program = std::env::args().next().unwrap_or_else(|| "unanimity".to_owned());
                script::inspection_commands(&program, &directory) + self.process_logs_note()
            }
            None => String::new(),
        };
        let exit = if summary.is_good() { Exit::Done } else { Exit::Failed };
        let text = if summary.is_good() {
            text
        } else {
            "the demo did not end as expected: see the output above".to_owned()
        };
        Ok(CommandOutput { exit, text, json, failed: exit != Exit::Done, data: false })
    }

    fn play(
        &self,
        directory: &Path,
        artifact: &[u8],
        out: &mut impl Write,
    ) -> Result<Result<DemoSummary, TestError>, CommandError> {
        #[cfg(feature = "demo-tor")]
        if self.tor {
            return run_over_tor(directory, artifact, out);
        }
        run_in_process(directory, artifact, out)
    }

    /// Returns a note on the daemons' logs, for the end of the demo. Empty without `--tor`.
    fn process_logs_note(&self) -> &'static str {
        #[cfg(feature = "demo-tor")]
        if self.tor {
            return "The log of each daemon is the file `log` in its directory. All daemons and their Tor network\n\
                    have ended.\n";
        }
        ""
    }
}

/// The size of the default artifact over Tor: enough to show the progress of a download.
#[cfg(feature = "demo-tor")]
const TOR_DEMO_ARTIFACT_BYTES: usize = 1 << 20;

/// Runs the demo in this process, with a simulated clock. Only the split installation starts
/// another program.
fn run_in_process(
    directory: &Path,
    artifact: &[u8],
    out: &mut impl Write,
) -> Result<Result<DemoSummary, TestError>, CommandError> {
    // The demo simulates two hours, twice, from three hours ago, so all its times are in the past.
    let start = Timestamp(SystemClock.now().0.saturating_sub(3 * 3600));
    let program = std::env::current_exe()
        .map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
    let installer = program.with_file_name("unanimity-install");
    // In paused time a deadline passes at once if all tasks wait, such as for a dead host.
    block_on_runtime(Builder::new_current_thread().enable_all().start_paused(true), async {
        let mut world = World::create_with_access(
            &directory.join("base"),
            rand::random(),
            start,
            MirrorAccess::Http,
        )?;
        world.render_error = |failure| failure.add_to(error_chain(failure));
        let summary = script::run_script(world, directory, artifact, out).await?;
        if !installer.exists() {
            writeln!(out, "{}", split_install_skipped(&installer))?;
            return Ok(summary);
        }
        let split_directory = directory.join("split-install");
        let result =
            split_install::run_split_install(&split_directory, start, artifact, &installer, out)
                .await?;
        Ok(DemoSummary { split_install: Some(result), ..summary })
    })
}

/// Returns the note for a build without `unanimity-install`.
fn split_install_skipped(installer: &Path) -> String {
    format!(
        "\nThe split installation is left out: there is no {}.\n\
         `cargo build -p unanimity-install` builds it.",
        installer.display()
    )
}

/// Runs the demo over a private Tor network. All processes that it starts end with it, also after a
/// signal.
#[cfg(feature = "demo-tor")]
fn run_over_tor(
    directory: &Path,
    artifact: &[u8],
    out: &mut impl Write,
) -> Result<Result<DemoSummary, TestError>, CommandError> {
    let package = super::node::cache_directory()?.join("tor-package");
    let program = std::env::current_exe()
        .map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
    let runtime = super::runtime::new_runtime()?;
    let result = runtime.block_on(async {
        let signal = wait_for_signal();
        tokio::pin!(signal);
        let result = tokio::select! {
            biased;
            signal = &mut signal => return Err(interrupted_error(signal)),
            result = unanimity_testkit_tor::run_onion_demo(directory, &package, &program, artifact, out) => result,
        };
        match result {
            // A terminal signals all processes at once. This process may notice the end of another
            // process before it notices its own signal.
            Err(error) => match tokio::time::timeout(SIGNAL_DELAY, &mut signal).await {
                Ok(signal) => Err(interrupted_error(signal)),
                Err(_) => Err(error),
            },
            result => result,
        }
    });
    // arti's tasks may outlive their client for a moment.
    runtime.shutdown_timeout(super::runtime::SHUTDOWN_TIMEOUT);
    Ok(result)
}

/// The longest time until this process notices a signal.
#[cfg(feature = "demo-tor")]
const SIGNAL_DELAY: std::time::Duration = std::time::Duration::from_millis(100);

#[cfg(feature = "demo-tor")]
fn interrupted_error(signal: std::io::Result<()>) -> TestError {
    let message = "interrupted by a signal; all processes that it started were stopped";
    signal.map_or_else(TestError::from, |()| message.into())
}

/// Completes at SIGTERM, SIGINT or SIGHUP.
#[cfg(feature = "demo-tor")]
async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term, mut hup) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
    Ok(())
}

/// Whether the reader of standard output has closed it, which ends the demo without an error.
fn is_broken_pipe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
