//! Telling the operator: the command is run once for each change, for certain, and never for long.

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

/// A node's state directory, and an alarm command in a file of its own beside it. What it is told
/// it appends to `delivered_conditions`, unless there is a file `set_broken`.
struct AlertSandbox {
    directory: TempDir,
    command: Vec<String>,
}

impl AlertSandbox {
    fn new() -> AlertSandbox {
        AlertSandbox::with_script("[ ! -e broken ] || exit 7\ncat >> told\n")
    }

    /// What it does instead, beginning in the desk's directory.
    fn with_script(script: &str) -> AlertSandbox {
        let place = scratch_dir();
        let path = place.path().join("alarm.sh");
        fs::write(&path, format!("cd \"$1\" || exit 9\n{script}")).unwrap();
        // Named with its interpreter: a file that was just written cannot be run for as long as
        // some other test's child has it open.
        let words = ["/bin/sh", path.to_str().unwrap(), place.path().to_str().unwrap()];
        let command = words.map(str::to_owned).to_vec();
        AlertSandbox { directory: place, command }
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
        let alarm = AlertSettings { command: self.command.clone(), ..AlertSettings::default() };
        Alerts::open(alarm, &self.path("state"), disk)
    }

    /// The lines it was told, as JSON.
    fn delivered_lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("told")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The conditions it was told.
    fn delivered_conditions(&self) -> Vec<String> {
        self.delivered_lines()
            .iter()
            .map(|line| line["condition"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn deliver_end(alarms: &mut Alerts, ended: &UpdateResult) {
    alarms.deliver(&status_of(ended.as_ref()), NOW).await;
}

#[tokio::test]
async fn the_command_reads_one_line_of_json_and_then_the_end() {
    let desk = AlertSandbox::new();
    let mut alarms = desk.open();
    deliver_end(&mut alarms, &healthy_cycle()).await;
    assert!(desk.delivered_lines().is_empty());
    deliver_end(&mut alarms, &refused_cycle()).await;
    let message = refused_cycle().unwrap_err().to_string();
    let details = json!({ "outcome": "unsuitable", "release": "2-1.1.0", "unwell_since": NOW });
    let line = json!({
        "schema": "unanimity/v1",
        "event": "alarm",
        "condition": "refused",
        "since": NOW,
        "message": message,
        "details": details,
    });
    assert_eq!(desk.delivered_lines(), [line]);
    assert_eq!(alarms.condition(), Some((Condition::Refused, NOW)));
}

#[tokio::test]
async fn its_arguments_are_taken_as_they_are_and_its_environment_is_next_to_empty() {
    let mut desk =
        AlertSandbox::with_script("shift; printf '%s\\n' \"$@\" > arguments; env > environment\n");
    let odd = ["", "two words", "$HOME", "`id`; rm -rf x", "\"'*"];
    desk.command.extend(odd.map(str::to_owned));
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    let arguments = fs::read_to_string(desk.path("arguments")).unwrap();
    assert_eq!(arguments.lines().collect::<Vec<_>>(), odd);
    // The shell adds some of its own.
    let environment = fs::read_to_string(desk.path("environment")).unwrap();
    let names = environment.lines().map(|line| line.split('=').next().unwrap());
    for name in names {
        assert!(["PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{name}");
    }
    assert!(environment.contains(&format!("PATH={}\n", std::env::var("PATH").unwrap())));
}

#[tokio::test]
async fn a_change_is_told_once_also_through_restarts() {
    let desk = AlertSandbox::new();
    let mut told = Vec::new();
    for ended in [
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
            deliver_end(&mut desk.open(), &ended).await;
        }
        let condition = match &ended {
            Ok(_) => "healthy",
            Err(CycleError::Client(_)) => continue,
            Err(failure) => failure.exit().word(),
        };
        let before = told.last().map_or("healthy", |last| *last);
        told.extend((condition != before).then_some(condition));
        assert_eq!(desk.delivered_conditions(), told);
    }
    assert_eq!(told, ["stale", "fork", "healthy"]);
}

#[tokio::test]
async fn a_restart_does_not_shorten_or_lengthen_the_wait_of_an_incomplete_node() {
    let desk = AlertSandbox::new();
    for minutes in [0, 20 * 60, 24 * 60 - 1] {
        let now = NOW.after(minutes * MINUTE);
        desk.open().deliver(&status_of(no_mirror_cycle().as_ref()), now).await;
    }
    assert!(desk.delivered_conditions().is_empty());
    desk.open().deliver(&status_of(no_mirror_cycle().as_ref()), NOW.after(24 * HOUR)).await;
    assert_eq!(desk.delivered_conditions(), ["incomplete"]);
    assert_eq!(desk.delivered_lines()[0]["since"], NOW.0);
}

#[tokio::test]
async fn a_command_that_fails_is_run_again_after_the_next_cycle_until_it_works() {
    for restarts in [false, true] {
        let desk = AlertSandbox::new();
        desk.set_broken(true);
        let mut alarms = desk.open();
        for ended in
            [stale_cycle(), stale_cycle(), forked_cycle(), healthy_cycle(), healthy_cycle()]
        {
            deliver_end(&mut alarms, &ended).await;
            if restarts {
                alarms = desk.open();
            }
        }
        assert!(desk.delivered_conditions().is_empty());
        desk.set_broken(false);
        deliver_end(&mut alarms, &healthy_cycle()).await;
        deliver_end(&mut alarms, &healthy_cycle()).await;
        assert_eq!(desk.delivered_conditions(), ["fork", "stale", "healthy"]);
    }
}

#[tokio::test]
async fn what_a_command_does_not_want_to_hear_keeps_nothing_else_from_it() {
    let desk = AlertSandbox::with_script("grep '\"condition\":\"fork\"' >> told\n");
    let mut alarms = desk.open();
    for ended in [stale_cycle(), forked_cycle(), refused_cycle()] {
        deliver_end(&mut alarms, &ended).await;
    }
    assert_eq!(desk.delivered_conditions(), ["fork"]);
    let desk =
        AlertSandbox::with_script("cat > line; ! grep '\"stale\"' line && cat line >> told\n");
    let mut alarms = desk.open();
    for ended in [stale_cycle(), refused_cycle(), forked_cycle(), healthy_cycle()] {
        deliver_end(&mut alarms, &ended).await;
    }
    assert_eq!(desk.delivered_conditions(), ["refused", "fork", "healthy"]);
}

#[tokio::test]
async fn all_that_waits_is_tried_once_in_a_cycle_and_a_fork_before_the_rest() {
    let desk = AlertSandbox::with_script("cat >> told; exit 7\n");
    let mut alarms = desk.open();
    for _ in 0..MAX_UNDELIVERED {
        deliver_end(&mut alarms, &stale_cycle()).await;
        deliver_end(&mut alarms, &refused_cycle()).await;
    }
    deliver_end(&mut alarms, &forked_cycle()).await;
    let told = desk.delivered_conditions();
    let last = &told[told.len() - MAX_UNDELIVERED..];
    assert_eq!(last[0], "fork");
    assert!(last[1..].iter().all(|condition| condition != "fork"), "{last:?}");
    deliver_end(&mut alarms, &forked_cycle()).await;
    assert_eq!(desk.delivered_conditions().len(), told.len() + MAX_UNDELIVERED);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_costs_a_cycle_one_minute_and_everything_has_its_turn() {
    let desk = AlertSandbox::with_script("cat >> told; sleep 600 & wait\n");
    let mut alarms = desk.open();
    for (n, ended) in (1..).zip([
        stale_cycle(),
        refused_cycle(),
        forked_cycle(),
        healthy_cycle(),
        healthy_cycle(),
        healthy_cycle(),
        healthy_cycle(),
    ]) {
        // The time stands still until the command has heard.
        let told = desk.path("told");
        let heard = tokio::task::spawn_blocking(move || {
            let lines = |text: String| text.lines().count();
            while fs::read_to_string(&told).map_or(0, lines) < n {
                std::thread::sleep(SECOND / 100);
            }
        });
        let begun = Instant::now();
        deliver_end(&mut alarms, &ended).await;
        let took = begun.elapsed();
        assert!((COMMAND_TIMEOUT..COMMAND_TIMEOUT + 2 * SECOND).contains(&took), "{took:?}");
        heard.await.unwrap();
    }
    assert_eq!(
        desk.delivered_conditions(),
        ["stale", "refused", "fork", "healthy", "stale", "refused", "fork"]
    );
}

#[tokio::test]
async fn a_command_that_cannot_start_is_as_one_that_fails() {
    let desk = AlertSandbox::new();
    let missing = desk.path("missing").to_str().unwrap().to_owned();
    for command in [missing, String::new(), "/".to_owned()] {
        let alarm = AlertSettings { command: vec![command], ..AlertSettings::default() };
        let mut alarms = Alerts::open(alarm, &desk.path("state"), Storage::default());
        deliver_end(&mut alarms, &forked_cycle()).await;
        deliver_end(&mut alarms, &no_mirror_cycle()).await;
    }
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    assert_eq!(desk.delivered_conditions(), ["fork"]);
}

#[tokio::test]
async fn a_command_that_does_not_read_or_that_talks_without_end_has_not_failed() {
    let silent = "exec < /dev/null\necho x >> ran\n";
    let noise = "head -c 1000000 /dev/zero >&2 && head -c 1000000 /dev/zero && echo x >> ran\n";
    // It leaves somebody behind who holds on to all it was given.
    let daemon = "sleep 20 &\necho x >> ran\n";
    for script in [silent, noise, daemon] {
        let desk = AlertSandbox::with_script(script);
        let mut alarms = desk.open();
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            deliver_end(&mut alarms, &forked_cycle()).await;
        }
        assert_eq!(fs::read_to_string(desk.path("ran")).unwrap(), "x\n", "{script}");
        assert!(begun.elapsed() < 15 * SECOND, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_killed_after_a_minute_with_all_it_has_started() {
    let desk = AlertSandbox::with_script("sleep 30 > alive & cat > /dev/null; wait\n");
    let alive = desk.path("alive");
    rustix::fs::mknodat(CWD, &alive, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // The time stands still until both have begun.
    let child = tokio::task::spawn_blocking(move || fs::File::open(alive).unwrap());
    let (begun, mut alarms) = (Instant::now(), desk.open());
    deliver_end(&mut alarms, &forked_cycle()).await;
    let took = begun.elapsed();
    assert!((COMMAND_TIMEOUT..COMMAND_TIMEOUT + 2 * SECOND).contains(&took), "{took:?}");
    // The pipe ends when the last one who holds it is dead.
    let killed = std::time::Instant::now();
    io::read_to_string(child.await.unwrap()).unwrap();
    assert!(killed.elapsed() < 15 * SECOND);
    // It counts as not told.
    fs::write(desk.path("alarm.sh"), "cat >> \"$1\"/told\n").unwrap();
    tokio::time::resume();
    deliver_end(&mut alarms, &forked_cycle()).await;
    assert_eq!(desk.delivered_conditions(), ["fork"]);
}

#[tokio::test]
async fn a_cycle_that_is_broken_off_while_it_tells_is_told_again() {
    let desk = AlertSandbox::with_script(
        "cat > /dev/null; while [ ! -e go ]; do :; done; echo x >> ran\n",
    );
    let mut alarms = desk.open();
    assert!(alarms.deliver(&status_of(forked_cycle().as_ref()), NOW).now_or_never().is_none());
    drop(alarms);
    fs::write(desk.path("go"), "").unwrap();
    deliver_end(&mut desk.open(), &healthy_cycle()).await;
    deliver_end(&mut desk.open(), &healthy_cycle()).await;
    // The fork, and that all is well again.
    assert_eq!(fs::read_to_string(desk.path("ran")).unwrap(), "x\nx\n");
}

#[tokio::test]
async fn a_memory_that_is_damaged_or_unreadable_tells_again_and_never_keeps_silent() {
    let desk = AlertSandbox::new();
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    let file = desk.path("state/alarm.json");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("fork", "stale")).unwrap();
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    assert_eq!(desk.delivered_conditions(), ["fork", "fork"]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let mut alarms = desk.open();
    deliver_end(&mut alarms, &no_mirror_cycle()).await;
    deliver_end(&mut alarms, &no_mirror_cycle()).await;
    assert_eq!(desk.delivered_conditions(), ["fork", "fork", "incomplete"]);
}

/// Some changes on a disk that fails the steps from `n` until some other, or for ever; and whether it holds no note of them.
async fn run_on_failing_disk(
    n: usize,
    until: Option<usize>,
    restarts: bool,
) -> (AlertSandbox, bool) {
    let desk = AlertSandbox::new();
    let disk = failing_disk(n, until);
    let mut alarms = desk.open_on_storage(disk.clone());
    for ended in [
        healthy_cycle(),
        stale_cycle(),
        stale_cycle(),
        stale_cycle(),
        forked_cycle(),
        forked_cycle(),
        healthy_cycle(),
        healthy_cycle(),
    ] {
        deliver_end(&mut alarms, &ended).await;
        if restarts {
            alarms = desk.open_on_storage(disk.clone());
        }
    }
    let failed = fs::read(desk.path("state/alarm.json")).is_err();
    (desk, failed)
}

#[tokio::test]
async fn whatever_step_on_the_disk_fails_nothing_is_lost_and_nothing_is_repeated_for_ever() {
    let expected = ["stale", "fork", "healthy"];
    for n in (0..60).step_by(5) {
        // The process goes on: it knows what it said.
        let (desk, _) = run_on_failing_disk(n, None, false).await;
        assert_eq!(desk.delivered_conditions(), expected, "from step {n}");
        // It begins anew after every cycle: a note that failed is one repetition and no more.
        let (desk, _) = run_on_failing_disk(n, Some(n + 1), true).await;
        let mut told = desk.delivered_conditions();
        assert!(told.len() <= expected.len() + 1, "step {n}: {told:?}");
        told.dedup();
        assert_eq!(told, expected, "step {n}");
    }
    let (_, failed) = run_on_failing_disk(0, None, false).await;
    assert!(failed, "the disk takes nothing");
}

/// Everything that is logged.
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
        // While there is only one subscriber, whether it hears of an event is settled by the first
        // thread that has one to tell, also by a thread that has no subscriber.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        let sink = tracing_subscriber::fmt().with_writer(io::sink);
        ANOTHER.get_or_init(|| sink.with_max_level(tracing::Level::WARN).finish().into());
        let journal = LogCapture::default();
        let subscriber = tracing_subscriber::fmt().with_writer(journal.clone()).with_ansi(false);
        let subscriber = subscriber.with_max_level(tracing::Level::WARN).finish();
        (journal, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

#[tokio::test]
async fn without_a_command_a_change_is_logged_and_that_once() {
    let place = scratch_dir();
    let (journal, _guard) = LogCapture::install();
    let open = || Alerts::open(AlertSettings::default(), place.path(), Storage::default());
    let mut alarms = open();
    deliver_end(&mut alarms, &healthy_cycle()).await;
    assert_eq!(journal.take(), "");
    for (ended, level) in
        [(forked_cycle(), "ERROR"), (stale_cycle(), "WARN"), (healthy_cycle(), "WARN")]
    {
        deliver_end(&mut alarms, &ended).await;
        let said = journal.take();
        assert!(said.contains(level) && said.matches("condition=").count() == 1, "{said}");
        deliver_end(&mut alarms, &ended).await;
        deliver_end(&mut open(), &ended).await;
        assert_eq!(journal.take(), "");
    }
}

#[tokio::test]
async fn what_a_failing_command_says_is_in_the_log_as_far_as_there_is_room() {
    let (journal, _guard) = LogCapture::install();
    let desk = AlertSandbox::with_script(
        "yes | head -c 1000000 >&2; echo the mail server is gone >&2; exit 7\n",
    );
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    let said = journal.take();
    assert!(said.contains("the alarm command failed (exit status: 7): "));
    assert!(said.contains("the mail server is gone"));
    assert!(said.len() < 100_000, "{}", said.len());
    // Nobody waits for the end of what a child of it could still say.
    let begun = std::time::Instant::now();
    fs::write(desk.path("alarm.sh"), "echo gone >&2; sleep 20 & exit 7\n").unwrap();
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    assert!(journal.take().contains("gone") && begun.elapsed() < 15 * SECOND);
    fs::write(desk.path("alarm.sh"), "kill -KILL $$\n").unwrap();
    deliver_end(&mut desk.open(), &forked_cycle()).await;
    assert!(journal.take().contains("the alarm command failed (signal: 9 (SIGKILL))"));
}

#[tokio::test]
async fn what_is_remembered_of_it_is_not_for_others_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = AlertSandbox::new();
    deliver_end(&mut desk.open(), &stale_cycle()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.path("state")), 0o700);
    assert_eq!(mode(&desk.path("state/alarm.json")), 0o600);
    // Nothing new, nothing written.
    let before = fs::metadata(desk.path("state/alarm.json")).unwrap().modified().unwrap();
    let mut alarms = desk.open();
    alarms.deliver(&status_of(stale_cycle().as_ref()), Timestamp(NOW.0 + 1)).await;
    let after = fs::metadata(desk.path("state/alarm.json")).unwrap().modified().unwrap();
    assert_eq!(before, after);
}

#[cfg(feature = "tor")]
#[tokio::test(start_paused = true)]
async fn that_no_cycle_ends_is_heard_as_well() {
    use unanimity::daemon::{forward_statuses, new_status_channel};
    use unanimity_storage::ManualClock;

    let desk = AlertSandbox::new();
    let (mut alarms, clock) = (desk.open(), ManualClock::at(NOW));
    let (told, mut ends) = new_status_channel();
    let since = |alarms: &Alerts| alarms.condition().map(|(condition, _)| condition);
    told.send((status_of(healthy_cycle().as_ref()), NOW)).await.unwrap();
    // Up to just before it would be late, nothing is wrong.
    for (wait, heard) in [(HOUR - SECOND, Condition::Healthy), (HOUR, Condition::Incomplete)] {
        let hearing = forward_statuses(&mut alarms, &mut ends, HOUR, &clock);
        assert!(tokio::time::timeout(wait + SECOND / 2, hearing).await.is_err());
        assert_eq!(since(&alarms), Some(heard));
    }
    // A cycle that ends after all is what counts.
    told.send((status_of(healthy_cycle().as_ref()), NOW)).await.unwrap();
    drop(told);
    forward_statuses(&mut alarms, &mut ends, HOUR, &clock).await;
    assert_eq!(since(&alarms), Some(Condition::Healthy));
}

#[cfg(feature = "tor")]
#[tokio::test(start_paused = true)]
async fn a_daemon_whose_cycles_never_end_says_so_once_it_has_lasted_long_enough() {
    use unanimity::daemon::{forward_statuses, new_status_channel};
    use unanimity_storage::{Clock, ManualClock};

    /// Goes with the time that the runtime plays.
    struct RuntimeClock(ManualClock, Instant);

    impl Clock for RuntimeClock {
        fn now(&self) -> Timestamp {
            self.0.now().after(self.1.elapsed())
        }
    }

    let place = scratch_dir();
    let mut alarms = Alerts::open(AlertSettings::default(), place.path(), Storage::default());
    let clock = RuntimeClock(ManualClock::at(NOW), Instant::now());
    let (_told, mut ends) = new_status_channel();
    let said = || {
        let file = fs::read(place.path().join("alarm.json")).unwrap();
        serde_json::from_slice::<Value>(&file).unwrap()["changes"]["said"]["condition"].clone()
    };
    for (hours, is_said) in [(20, "healthy"), (10, "incomplete"), (100, "incomplete")] {
        let hearing = forward_statuses(&mut alarms, &mut ends, HOUR, &clock);
        assert!(tokio::time::timeout(hours * HOUR, hearing).await.is_err());
        assert_eq!(said(), is_said);
    }
}
