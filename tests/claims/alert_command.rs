//! The alert command: it runs for each change until it succeeds, and never for long.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::{fs, io};

use futures_util::FutureExt as _;
use rustix::fs::{CWD, FileType, Mode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;
use unanimity::daemon::{Alerts, COMMAND_TIMEOUT};
use unanimity_client::{ClientError, CycleError, CycleOutcome, MirrorProblem, status_of};
use unanimity_config::AlertSettings;
use unanimity_install::InstallRefusal;
use unanimity_protocol::Timestamp;
use unanimity_report::{Classify as _, Condition, MAX_UNDELIVERED};
use unanimity_state::LogForked;
use unanimity_storage::Storage;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::failing_disk;
use unanimity_testkit::test_world::{HOUR, MINUTE, NOW, SECOND};

use crate::messages::Messages;

type UpdateResult = Result<CycleOutcome, CycleError>;

fn healthy_cycle() -> UpdateResult {
    Ok(CycleOutcome::UpToDate)
}

fn stale_cycle() -> UpdateResult {
    Err(MirrorProblem::Stale { mirror: "file:/srv/log".into(), shown: 1, known: 2 }.into())
}

fn refused_cycle() -> UpdateResult {
    Err(InstallRefusal::TooManyEntries { release: "2-1.1.0".into() }.into())
}

fn forked_cycle() -> UpdateResult {
    Err(LogForked { id: "6c1f".into() }.into())
}

fn no_mirror_cycle() -> UpdateResult {
    Err(CycleError::Client(ClientError::Mirrors(Vec::new())))
}

/// A node's state directory beside an alert command, which is a script.
///
/// The script appends its input to the file `delivered`, and fails while there is a file `broken`.
struct AlertSandbox {
    directory: TempDir,
    command: Vec<String>,
}

impl AlertSandbox {
    fn new() -> AlertSandbox {
        AlertSandbox::with_script("[ ! -e broken ] || exit 7\ncat >> delivered\n")
    }

    /// With another script, which starts in the sandbox's directory.
    fn with_script(script: &str) -> AlertSandbox {
        let scratch = scratch_dir();
        let path = scratch.path().join("alert.sh");
        fs::write(&path, format!("cd \"$1\" || exit 9\n{script}")).unwrap();
        // The command names the interpreter: the kernel does not execute a new file while a child
        // of another test still has it open for writing.
        let words = ["/bin/sh", path.to_str().unwrap(), scratch.path().to_str().unwrap()];
        let command = words.map(str::to_owned).to_vec();
        AlertSandbox { directory: scratch, command }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn set_broken(&self, broken: bool) {
        match broken {
            true => fs::write(self.path("broken"), "").unwrap(),
            false => fs::remove_file(self.path("broken")).unwrap(),
        }
    }

    fn open(&self) -> Alerts {
        self.open_on_storage(Storage::default())
    }

    fn open_on_storage(&self, disk: Storage) -> Alerts {
        let settings = AlertSettings { command: self.command.clone(), ..AlertSettings::default() };
        Alerts::open(settings, &self.path("state"), disk)
    }

    /// The delivered lines, as JSON.
    fn delivered_lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("delivered")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The delivered conditions.
    fn delivered_conditions(&self) -> Vec<String> {
        self.delivered_lines()
            .iter()
            .map(|line| line["condition"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn deliver_end(alerts: &mut Alerts, result: &UpdateResult) {
    alerts.deliver(&status_of(result.as_ref()), NOW).await;
}

#[tokio::test]
async fn the_command_reads_one_line_of_json_and_end_of_file() {
    let sandbox = AlertSandbox::new();
    let mut alerts = sandbox.open();
    deliver_end(&mut alerts, &healthy_cycle()).await;
    assert!(sandbox.delivered_lines().is_empty());
    deliver_end(&mut alerts, &refused_cycle()).await;
    let message = refused_cycle().unwrap_err().to_string();
    let details = json!({ "outcome": "unsuitable", "release": "2-1.1.0", "unhealthy_since": NOW });
    let line = json!({
        "schema": "unanimity/v1",
        "event": "alert",
        "condition": "refused",
        "since": NOW,
        "message": message,
        "details": details,
    });
    assert_eq!(sandbox.delivered_lines(), [line]);
    assert_eq!(alerts.condition(), Some((Condition::Refused, NOW)));
}

#[tokio::test]
async fn the_command_gets_its_arguments_unchanged_and_a_minimal_environment() {
    let mut sandbox =
        AlertSandbox::with_script("shift; printf '%s\\n' \"$@\" > arguments; env > environment\n");
    let odd = ["", "two words", "$HOME", "`id`; rm -rf x", "\"'*"];
    sandbox.command.extend(odd.map(str::to_owned));
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    let arguments = fs::read_to_string(sandbox.path("arguments")).unwrap();
    assert_eq!(arguments.lines().collect::<Vec<_>>(), odd);
    // The shell adds some variables.
    let environment = fs::read_to_string(sandbox.path("environment")).unwrap();
    let names = environment.lines().map(|line| line.split('=').next().unwrap());
    for name in names {
        assert!(["PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{name}");
    }
    assert!(environment.contains(&format!("PATH={}\n", std::env::var("PATH").unwrap())));
}

#[tokio::test]
async fn a_change_is_delivered_once_despite_restarts() {
    let sandbox = AlertSandbox::new();
    let mut delivered = Vec::new();
    for result in [
        healthy_cycle(),
        stale_cycle(),
        stale_cycle(),
        forked_cycle(),
        no_mirror_cycle(),
        forked_cycle(),
        healthy_cycle(),
        healthy_cycle(),
    ] {
        for _ in 0..2 {
            deliver_end(&mut sandbox.open(), &result).await;
        }
        let condition = match &result {
            Ok(_) => "healthy",
            Err(CycleError::Client(_)) => continue,
            Err(failure) => failure.exit().word(),
        };
        let before = delivered.last().map_or("healthy", |last| *last);
        delivered.extend((condition != before).then_some(condition));
        assert_eq!(sandbox.delivered_conditions(), delivered);
    }
    assert_eq!(delivered, ["stale", "fork", "healthy"]);
}

#[tokio::test]
async fn a_restart_does_not_change_the_wait_of_an_incomplete_node() {
    let sandbox = AlertSandbox::new();
    for minutes in [0, 20 * 60, 24 * 60 - 1] {
        let now = NOW.after(minutes * MINUTE);
        sandbox.open().deliver(&status_of(no_mirror_cycle().as_ref()), now).await;
    }
    assert!(sandbox.delivered_conditions().is_empty());
    sandbox.open().deliver(&status_of(no_mirror_cycle().as_ref()), NOW.after(24 * HOUR)).await;
    assert_eq!(sandbox.delivered_conditions(), ["incomplete"]);
    assert_eq!(sandbox.delivered_lines()[0]["since"], NOW.0);
}

#[tokio::test]
async fn a_failed_command_runs_again_after_each_cycle_until_it_works() {
    for restarts in [false, true] {
        let sandbox = AlertSandbox::new();
        sandbox.set_broken(true);
        let mut alerts = sandbox.open();
        for result in
            [stale_cycle(), stale_cycle(), forked_cycle(), healthy_cycle(), healthy_cycle()]
        {
            deliver_end(&mut alerts, &result).await;
            if restarts {
                alerts = sandbox.open();
            }
        }
        assert!(sandbox.delivered_conditions().is_empty());
        sandbox.set_broken(false);
        deliver_end(&mut alerts, &healthy_cycle()).await;
        deliver_end(&mut alerts, &healthy_cycle()).await;
        assert_eq!(sandbox.delivered_conditions(), ["fork", "stale", "healthy"]);
    }
}

#[tokio::test]
async fn an_alert_that_the_command_refuses_does_not_block_the_others() {
    let sandbox = AlertSandbox::with_script("grep '\"condition\":\"fork\"' >> delivered\n");
    let mut alerts = sandbox.open();
    for result in [stale_cycle(), forked_cycle(), refused_cycle()] {
        deliver_end(&mut alerts, &result).await;
    }
    assert_eq!(sandbox.delivered_conditions(), ["fork"]);
    let sandbox =
        AlertSandbox::with_script("cat > line; ! grep '\"stale\"' line && cat line >> delivered\n");
    let mut alerts = sandbox.open();
    for result in [stale_cycle(), refused_cycle(), forked_cycle(), healthy_cycle()] {
        deliver_end(&mut alerts, &result).await;
    }
    assert_eq!(sandbox.delivered_conditions(), ["refused", "fork", "healthy"]);
}

#[tokio::test]
async fn a_cycle_tries_each_waiting_alert_once_and_a_fork_first() {
    let sandbox = AlertSandbox::with_script("cat >> delivered; exit 7\n");
    let mut alerts = sandbox.open();
    for _ in 0..MAX_UNDELIVERED {
        deliver_end(&mut alerts, &stale_cycle()).await;
        deliver_end(&mut alerts, &refused_cycle()).await;
    }
    deliver_end(&mut alerts, &forked_cycle()).await;
    let delivered = sandbox.delivered_conditions();
    let last = &delivered[delivered.len() - MAX_UNDELIVERED..];
    assert_eq!(last[0], "fork");
    assert!(last[1..].iter().all(|condition| condition != "fork"), "{last:?}");
    deliver_end(&mut alerts, &forked_cycle()).await;
    assert_eq!(sandbox.delivered_conditions().len(), delivered.len() + MAX_UNDELIVERED);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_command_costs_a_cycle_one_minute_and_each_alert_has_a_turn() {
    let sandbox = AlertSandbox::with_script("cat >> delivered; sleep 600 & wait\n");
    let mut alerts = sandbox.open();
    for (n, result) in (1..).zip([
        stale_cycle(),
        refused_cycle(),
        forked_cycle(),
        healthy_cycle(),
        healthy_cycle(),
        healthy_cycle(),
        healthy_cycle(),
    ]) {
        // The paused time advances only after the command has read its input.
        let delivered = sandbox.path("delivered");
        let read = tokio::task::spawn_blocking(move || {
            let lines = |text: String| text.lines().count();
            while fs::read_to_string(&delivered).map_or(0, lines) < n {
                std::thread::sleep(SECOND / 100);
            }
        });
        let begun = Instant::now();
        deliver_end(&mut alerts, &result).await;
        let took = begun.elapsed();
        assert!((COMMAND_TIMEOUT..COMMAND_TIMEOUT + 2 * SECOND).contains(&took), "{took:?}");
        read.await.unwrap();
    }
    assert_eq!(
        sandbox.delivered_conditions(),
        ["stale", "refused", "fork", "healthy", "stale", "refused", "fork"]
    );
}

#[tokio::test]
async fn a_command_that_cannot_start_counts_as_failed() {
    let sandbox = AlertSandbox::new();
    let missing = sandbox.path("missing").to_str().unwrap().to_owned();
    for command in [missing, String::new(), "/".to_owned()] {
        let settings = AlertSettings { command: vec![command], ..AlertSettings::default() };
        let mut alerts = Alerts::open(settings, &sandbox.path("state"), Storage::default());
        deliver_end(&mut alerts, &forked_cycle()).await;
        deliver_end(&mut alerts, &no_mirror_cycle()).await;
    }
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    assert_eq!(sandbox.delivered_conditions(), ["fork"]);
}

#[tokio::test]
async fn a_command_that_reads_nothing_or_prints_much_has_not_failed() {
    let silent = "exec < /dev/null\necho x >> ran\n";
    let noise = "head -c 1000000 /dev/zero >&2 && head -c 1000000 /dev/zero && echo x >> ran\n";
    // A child that remains holds every file descriptor of the command.
    let daemon = "sleep 20 &\necho x >> ran\n";
    for script in [silent, noise, daemon] {
        let sandbox = AlertSandbox::with_script(script);
        let mut alerts = sandbox.open();
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            deliver_end(&mut alerts, &forked_cycle()).await;
        }
        assert_eq!(fs::read_to_string(sandbox.path("ran")).unwrap(), "x\n", "{script}");
        assert!(begun.elapsed() < 15 * SECOND, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_command_is_killed_after_a_minute_with_its_children() {
    let sandbox = AlertSandbox::with_script("sleep 30 > alive & cat > /dev/null; wait\n");
    let alive = sandbox.path("alive");
    rustix::fs::mknodat(CWD, &alive, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // The paused time advances only after both have started.
    let child = tokio::task::spawn_blocking(move || fs::File::open(alive).unwrap());
    let (begun, mut alerts) = (Instant::now(), sandbox.open());
    deliver_end(&mut alerts, &forked_cycle()).await;
    let took = begun.elapsed();
    assert!((COMMAND_TIMEOUT..COMMAND_TIMEOUT + 2 * SECOND).contains(&took), "{took:?}");
    // The pipe ends when the last process that holds it is dead.
    let killed = std::time::Instant::now();
    io::read_to_string(child.await.unwrap()).unwrap();
    assert!(killed.elapsed() < 15 * SECOND);
    // The alert counts as undelivered.
    fs::write(sandbox.path("alert.sh"), "cat >> \"$1\"/delivered\n").unwrap();
    tokio::time::resume();
    deliver_end(&mut alerts, &forked_cycle()).await;
    assert_eq!(sandbox.delivered_conditions(), ["fork"]);
}

#[tokio::test]
async fn an_interrupted_delivery_is_repeated() {
    let sandbox = AlertSandbox::with_script(
        "cat > /dev/null; while [ ! -e go ]; do :; done; echo x >> ran\n",
    );
    let mut alerts = sandbox.open();
    assert!(alerts.deliver(&status_of(forked_cycle().as_ref()), NOW).now_or_never().is_none());
    drop(alerts);
    fs::write(sandbox.path("go"), "").unwrap();
    deliver_end(&mut sandbox.open(), &healthy_cycle()).await;
    deliver_end(&mut sandbox.open(), &healthy_cycle()).await;
    // One run for the fork, and one for the healthy condition.
    assert_eq!(fs::read_to_string(sandbox.path("ran")).unwrap(), "x\nx\n");
}

#[tokio::test]
async fn damaged_or_unreadable_state_repeats_an_alert_and_loses_none() {
    let sandbox = AlertSandbox::new();
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    let file = sandbox.path("state/alerts.json");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("fork", "stale")).unwrap();
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    assert_eq!(sandbox.delivered_conditions(), ["fork", "fork"]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let mut alerts = sandbox.open();
    deliver_end(&mut alerts, &no_mirror_cycle()).await;
    deliver_end(&mut alerts, &no_mirror_cycle()).await;
    assert_eq!(sandbox.delivered_conditions(), ["fork", "fork", "incomplete"]);
}

/// Delivers some changes on a disk that fails its steps from `n` until another one, or for ever.
/// Returns whether the disk holds no record of them.
async fn run_on_failing_disk(
    n: usize,
    until: Option<usize>,
    restarts: bool,
) -> (AlertSandbox, bool) {
    let sandbox = AlertSandbox::new();
    let disk = failing_disk(n, until);
    let mut alerts = sandbox.open_on_storage(disk.clone());
    for result in [
        healthy_cycle(),
        stale_cycle(),
        stale_cycle(),
        stale_cycle(),
        forked_cycle(),
        forked_cycle(),
        healthy_cycle(),
        healthy_cycle(),
    ] {
        deliver_end(&mut alerts, &result).await;
        if restarts {
            alerts = sandbox.open_on_storage(disk.clone());
        }
    }
    let failed = fs::read(sandbox.path("state/alerts.json")).is_err();
    (sandbox, failed)
}

#[tokio::test]
async fn a_failed_disk_step_loses_no_alert_and_repeats_at_most_one() {
    let expected = ["stale", "fork", "healthy"];
    for n in (0..60).step_by(5) {
        // The process continues: it has the delivered alerts in memory.
        let (sandbox, _) = run_on_failing_disk(n, None, false).await;
        assert_eq!(sandbox.delivered_conditions(), expected, "from step {n}");
        // The process restarts after every cycle: a failed record costs one repetition.
        let (sandbox, _) = run_on_failing_disk(n, Some(n + 1), true).await;
        let mut delivered = sandbox.delivered_conditions();
        assert!(delivered.len() <= expected.len() + 1, "step {n}: {delivered:?}");
        delivered.dedup();
        assert_eq!(delivered, expected, "step {n}");
    }
    let (_, failed) = run_on_failing_disk(0, None, false).await;
    assert!(failed, "the disk accepts no write");
}

/// The captured log of the calling thread.
#[derive(Clone, Default)]
struct LogCapture(Arc<Mutex<Vec<u8>>>);

impl io::Write for LogCapture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogCapture {
    type Writer = LogCapture;

    fn make_writer(&'a self) -> LogCapture {
        self.clone()
    }
}

impl LogCapture {
    fn install() -> (LogCapture, tracing::subscriber::DefaultGuard) {
        // With a single subscriber, tracing caches for each event whether it is of interest. The
        // first thread that reaches the event decides, also a thread without a subscriber.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        let sink = tracing_subscriber::fmt().with_writer(io::sink);
        ANOTHER.get_or_init(|| sink.with_max_level(tracing::Level::WARN).finish().into());
        let journal = LogCapture::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(journal.clone()).with_ansi(false).without_time();
        let subscriber = subscriber.with_max_level(tracing::Level::WARN).finish();
        (journal, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

#[tokio::test]
async fn a_change_is_logged_once_without_a_command() {
    let scratch = scratch_dir();
    let (journal, _guard) = LogCapture::install();
    let open = || Alerts::open(AlertSettings::default(), scratch.path(), Storage::default());
    let mut alerts = open();
    deliver_end(&mut alerts, &healthy_cycle()).await;
    assert_eq!(journal.take(), "");
    let mut messages = Messages::new(scratch.path());
    for (case, result) in
        [("fork", forked_cycle()), ("stale", stale_cycle()), ("healthy", healthy_cycle())]
    {
        deliver_end(&mut alerts, &result).await;
        messages.add(case, &journal.take());
        deliver_end(&mut alerts, &result).await;
        deliver_end(&mut open(), &result).await;
        assert_eq!(journal.take(), "");
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/logged_alerts.txt"]);
}

#[tokio::test]
async fn the_log_has_the_end_of_a_failing_commands_stderr() {
    let (journal, _guard) = LogCapture::install();
    let sandbox = AlertSandbox::with_script(
        "yes | head -c 1000000 >&2; echo the mail server is gone >&2; exit 7\n",
    );
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    let text = journal.take();
    assert!(text.len() < 100_000, "{}", text.len());
    let text = text.replace("\\n", " ");
    let without_noise: Vec<&str> = text.split_whitespace().filter(|word| *word != "y").collect();
    let mut messages = Messages::new(sandbox.directory.path());
    messages.add("exit status 7", &without_noise.join(" "));
    // The daemon does not wait for a child of the command that could still write.
    let begun = std::time::Instant::now();
    fs::write(sandbox.path("alert.sh"), "echo gone >&2; sleep 20 & exit 7\n").unwrap();
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    assert!(begun.elapsed() < 15 * SECOND);
    messages.add("child remains", &journal.take());
    fs::write(sandbox.path("alert.sh"), "kill -KILL $$\n").unwrap();
    deliver_end(&mut sandbox.open(), &forked_cycle()).await;
    messages.add("SIGKILL", &journal.take());
    snapbox::assert_data_eq!(
        messages.into_text(),
        snapbox::file!["words/failed_alert_command.txt"]
    );
}

#[tokio::test]
async fn the_state_of_alerts_is_private_and_written_only_on_changes() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = AlertSandbox::new();
    deliver_end(&mut sandbox.open(), &stale_cycle()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&sandbox.path("state")), 0o700);
    assert_eq!(mode(&sandbox.path("state/alerts.json")), 0o600);
    // A cycle without a change writes nothing.
    let before = fs::metadata(sandbox.path("state/alerts.json")).unwrap().modified().unwrap();
    let mut alerts = sandbox.open();
    alerts.deliver(&status_of(stale_cycle().as_ref()), Timestamp(NOW.0 + 1)).await;
    let after = fs::metadata(sandbox.path("state/alerts.json")).unwrap().modified().unwrap();
    assert_eq!(before, after);
}

#[cfg(feature = "tor")]
#[tokio::test(start_paused = true)]
async fn a_missing_end_of_a_cycle_makes_the_node_incomplete() {
    use unanimity::daemon::{forward_statuses, new_status_channel};
    use unanimity_storage::ManualClock;

    let sandbox = AlertSandbox::new();
    let (mut alerts, clock) = (sandbox.open(), ManualClock::at(NOW));
    let (sender, mut statuses) = new_status_channel();
    let condition = |alerts: &Alerts| alerts.condition().map(|(condition, _)| condition);
    sender.send((status_of(healthy_cycle().as_ref()), NOW)).await.unwrap();
    // Just before the bound, the node is still healthy.
    for (wait, expected) in [(HOUR - SECOND, Condition::Healthy), (HOUR, Condition::Incomplete)] {
        let forwarding = forward_statuses(&mut alerts, &mut statuses, HOUR, &clock);
        assert!(tokio::time::timeout(wait + SECOND / 2, forwarding).await.is_err());
        assert_eq!(condition(&alerts), Some(expected));
    }
    // A cycle that ends late makes the node healthy again.
    sender.send((status_of(healthy_cycle().as_ref()), NOW)).await.unwrap();
    drop(sender);
    forward_statuses(&mut alerts, &mut statuses, HOUR, &clock).await;
    assert_eq!(condition(&alerts), Some(Condition::Healthy));
}

#[cfg(feature = "tor")]
#[tokio::test(start_paused = true)]
async fn a_daemon_whose_cycles_never_end_announces_that_after_the_limit() {
    use unanimity::daemon::{forward_statuses, new_status_channel};
    use unanimity_storage::{Clock, ManualClock};

    /// A clock that follows the runtime's paused time.
    struct RuntimeClock(ManualClock, Instant);

    impl Clock for RuntimeClock {
        fn now(&self) -> Timestamp {
            self.0.now().after(self.1.elapsed())
        }
    }

    let scratch = scratch_dir();
    let mut alerts = Alerts::open(AlertSettings::default(), scratch.path(), Storage::default());
    let clock = RuntimeClock(ManualClock::at(NOW), Instant::now());
    let (_sender, mut statuses) = new_status_channel();
    let announced = || {
        let file = fs::read(scratch.path().join("alerts.json")).unwrap();
        serde_json::from_slice::<Value>(&file).unwrap()["changes"]["said"]["condition"].clone()
    };
    for (hours, expected) in [(20, "healthy"), (10, "incomplete"), (100, "incomplete")] {
        let forwarding = forward_statuses(&mut alerts, &mut statuses, HOUR, &clock);
        assert!(tokio::time::timeout(hours * HOUR, forwarding).await.is_err());
        assert_eq!(announced(), expected);
    }
}
