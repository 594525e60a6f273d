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
use unanimity_testkit::circle::{HOUR, MINUTE, NOW, SECOND};
use unanimity_testkit::scratch_dir::place;
use unanimity_testkit::watched_disk::failing_disk;

type Ended = Result<CycleOutcome, CycleError>;

fn well() -> Ended {
    Ok(CycleOutcome::UpToDate)
}

fn stale() -> Ended {
    Err(MirrorProblem::Stale { mirror: "file:/srv/log".into(), shown: 1, known: 2 }.into())
}

fn refused() -> Ended {
    Err(InstallRefusal::TooManyEntries { release: "2-1.1.0".into() }.into())
}

fn fork() -> Ended {
    Err(LogForked { id: "6c1f".into() }.into())
}

fn lost() -> Ended {
    Err(CycleError::Client(ClientError::Mirrors(Vec::new())))
}

/// A node's state directory, and an alarm command in a file of its own beside it. What it is told
/// it appends to `told`, unless there is a file `broken`.
struct Desk {
    place: TempDir,
    command: Vec<String>,
}

impl Desk {
    fn new() -> Desk {
        Desk::with("[ ! -e broken ] || exit 7\ncat >> told\n")
    }

    /// What it does instead, beginning in the desk's directory.
    fn with(script: &str) -> Desk {
        let place = place();
        let path = place.path().join("alarm.sh");
        fs::write(&path, format!("cd \"$1\" || exit 9\n{script}")).unwrap();
        // Named with its interpreter: a file that was just written cannot be run for as long as
        // some other test's child has it open.
        let words = ["/bin/sh", path.to_str().unwrap(), place.path().to_str().unwrap()];
        let command = words.map(str::to_owned).to_vec();
        Desk { place, command }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn broken(&self, broken: bool) {
        match broken {
            true => fs::write(self.path("broken"), "").unwrap(),
            false => fs::remove_file(self.path("broken")).unwrap(),
        }
    }

    fn open(&self) -> Alerts {
        self.open_on(Storage::default())
    }

    fn open_on(&self, disk: Storage) -> Alerts {
        let alarm = AlertSettings { command: self.command.clone(), ..AlertSettings::default() };
        Alerts::open(alarm, &self.path("state"), disk)
    }

    /// The lines it was told, as JSON.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("told")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The conditions it was told.
    fn told(&self) -> Vec<String> {
        self.lines().iter().map(|line| line["condition"].as_str().unwrap().to_owned()).collect()
    }
}

async fn end(alarms: &mut Alerts, ended: &Ended) {
    alarms.deliver(&status_of(ended.as_ref()), NOW).await;
}

#[tokio::test]
async fn the_command_reads_one_line_of_json_and_then_the_end() {
    let desk = Desk::new();
    let mut alarms = desk.open();
    end(&mut alarms, &well()).await;
    assert!(desk.lines().is_empty());
    end(&mut alarms, &refused()).await;
    let message = refused().unwrap_err().to_string();
    let details = json!({ "outcome": "unsuitable", "release": "2-1.1.0", "unwell_since": NOW });
    let line = json!({
        "schema": "unanimity/v1",
        "event": "alarm",
        "condition": "refused",
        "since": NOW,
        "message": message,
        "details": details,
    });
    assert_eq!(desk.lines(), [line]);
    assert_eq!(alarms.condition(), Some((Condition::Refused, NOW)));
}

#[tokio::test]
async fn its_arguments_are_taken_as_they_are_and_its_environment_is_next_to_empty() {
    let mut desk = Desk::with("shift; printf '%s\\n' \"$@\" > arguments; env > environment\n");
    let odd = ["", "two words", "$HOME", "`id`; rm -rf x", "\"'*"];
    desk.command.extend(odd.map(str::to_owned));
    end(&mut desk.open(), &fork()).await;
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
    let desk = Desk::new();
    let mut told = Vec::new();
    for ended in [well(), stale(), stale(), fork(), lost(), fork(), well(), well()] {
        for _ in 0..2 {
            end(&mut desk.open(), &ended).await;
        }
        let condition = match &ended {
            Ok(_) => "healthy",
            Err(CycleError::Client(_)) => continue,
            Err(failure) => failure.exit().word(),
        };
        let before = told.last().map_or("healthy", |last| *last);
        told.extend((condition != before).then_some(condition));
        assert_eq!(desk.told(), told);
    }
    assert_eq!(told, ["stale", "fork", "healthy"]);
}

#[tokio::test]
async fn a_restart_does_not_shorten_or_lengthen_the_wait_of_an_incomplete_node() {
    let desk = Desk::new();
    for minutes in [0, 20 * 60, 24 * 60 - 1] {
        let now = NOW.after(minutes * MINUTE);
        desk.open().deliver(&status_of(lost().as_ref()), now).await;
    }
    assert!(desk.told().is_empty());
    desk.open().deliver(&status_of(lost().as_ref()), NOW.after(24 * HOUR)).await;
    assert_eq!(desk.told(), ["incomplete"]);
    assert_eq!(desk.lines()[0]["since"], NOW.0);
}

#[tokio::test]
async fn a_command_that_fails_is_run_again_after_the_next_cycle_until_it_works() {
    for restarts in [false, true] {
        let desk = Desk::new();
        desk.broken(true);
        let mut alarms = desk.open();
        for ended in [stale(), stale(), fork(), well(), well()] {
            end(&mut alarms, &ended).await;
            if restarts {
                alarms = desk.open();
            }
        }
        assert!(desk.told().is_empty());
        desk.broken(false);
        end(&mut alarms, &well()).await;
        end(&mut alarms, &well()).await;
        assert_eq!(desk.told(), ["fork", "stale", "healthy"]);
    }
}

#[tokio::test]
async fn what_a_command_does_not_want_to_hear_keeps_nothing_else_from_it() {
    let desk = Desk::with("grep '\"condition\":\"fork\"' >> told\n");
    let mut alarms = desk.open();
    for ended in [stale(), fork(), refused()] {
        end(&mut alarms, &ended).await;
    }
    assert_eq!(desk.told(), ["fork"]);
    let desk = Desk::with("cat > line; ! grep '\"stale\"' line && cat line >> told\n");
    let mut alarms = desk.open();
    for ended in [stale(), refused(), fork(), well()] {
        end(&mut alarms, &ended).await;
    }
    assert_eq!(desk.told(), ["refused", "fork", "healthy"]);
}

#[tokio::test]
async fn all_that_waits_is_tried_once_in_a_cycle_and_a_fork_before_the_rest() {
    let desk = Desk::with("cat >> told; exit 7\n");
    let mut alarms = desk.open();
    for _ in 0..MAX_UNDELIVERED {
        end(&mut alarms, &stale()).await;
        end(&mut alarms, &refused()).await;
    }
    end(&mut alarms, &fork()).await;
    let told = desk.told();
    let last = &told[told.len() - MAX_UNDELIVERED..];
    assert_eq!(last[0], "fork");
    assert!(last[1..].iter().all(|condition| condition != "fork"), "{last:?}");
    end(&mut alarms, &fork()).await;
    assert_eq!(desk.told().len(), told.len() + MAX_UNDELIVERED);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_costs_a_cycle_one_minute_and_everything_has_its_turn() {
    let desk = Desk::with("cat >> told; sleep 600 & wait\n");
    let mut alarms = desk.open();
    for (n, ended) in (1..).zip([stale(), refused(), fork(), well(), well(), well(), well()]) {
        // The time stands still until the command has heard.
        let told = desk.path("told");
        let heard = tokio::task::spawn_blocking(move || {
            let lines = |text: String| text.lines().count();
            while fs::read_to_string(&told).map_or(0, lines) < n {
                std::thread::sleep(SECOND / 100);
            }
        });
        let begun = Instant::now();
        end(&mut alarms, &ended).await;
        let took = begun.elapsed();
        assert!((COMMAND_TIMEOUT..COMMAND_TIMEOUT + 2 * SECOND).contains(&took), "{took:?}");
        heard.await.unwrap();
    }
    assert_eq!(desk.told(), ["stale", "refused", "fork", "healthy", "stale", "refused", "fork"]);
}

#[tokio::test]
async fn a_command_that_cannot_start_is_as_one_that_fails() {
    let desk = Desk::new();
    let missing = desk.path("missing").to_str().unwrap().to_owned();
    for command in [missing, String::new(), "/".to_owned()] {
        let alarm = AlertSettings { command: vec![command], ..AlertSettings::default() };
        let mut alarms = Alerts::open(alarm, &desk.path("state"), Storage::default());
        end(&mut alarms, &fork()).await;
        end(&mut alarms, &lost()).await;
    }
    end(&mut desk.open(), &fork()).await;
    assert_eq!(desk.told(), ["fork"]);
}

#[tokio::test]
async fn a_command_that_does_not_read_or_that_talks_without_end_has_not_failed() {
    let silent = "exec < /dev/null\necho x >> ran\n";
    let noise = "head -c 1000000 /dev/zero >&2 && head -c 1000000 /dev/zero && echo x >> ran\n";
    // It leaves somebody behind who holds on to all it was given.
    let daemon = "sleep 20 &\necho x >> ran\n";
    for script in [silent, noise, daemon] {
        let desk = Desk::with(script);
        let mut alarms = desk.open();
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            end(&mut alarms, &fork()).await;
        }
        assert_eq!(fs::read_to_string(desk.path("ran")).unwrap(), "x\n", "{script}");
        assert!(begun.elapsed() < 15 * SECOND, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_killed_after_a_minute_with_all_it_has_started() {
    let desk = Desk::with("sleep 30 > alive & cat > /dev/null; wait\n");
    let alive = desk.path("alive");
    rustix::fs::mknodat(CWD, &alive, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // The time stands still until both have begun.
    let child = tokio::task::spawn_blocking(move || fs::File::open(alive).unwrap());
    let (begun, mut alarms) = (Instant::now(), desk.open());
    end(&mut alarms, &fork()).await;
    let took = begun.elapsed();
    assert!((COMMAND_TIMEOUT..COMMAND_TIMEOUT + 2 * SECOND).contains(&took), "{took:?}");
    // The pipe ends when the last one who holds it is dead.
    let killed = std::time::Instant::now();
    io::read_to_string(child.await.unwrap()).unwrap();
    assert!(killed.elapsed() < 15 * SECOND);
    // It counts as not told.
    fs::write(desk.path("alarm.sh"), "cat >> \"$1\"/told\n").unwrap();
    tokio::time::resume();
    end(&mut alarms, &fork()).await;
    assert_eq!(desk.told(), ["fork"]);
}

#[tokio::test]
async fn a_cycle_that_is_broken_off_while_it_tells_is_told_again() {
    let desk = Desk::with("cat > /dev/null; while [ ! -e go ]; do :; done; echo x >> ran\n");
    let mut alarms = desk.open();
    assert!(alarms.deliver(&status_of(fork().as_ref()), NOW).now_or_never().is_none());
    drop(alarms);
    fs::write(desk.path("go"), "").unwrap();
    end(&mut desk.open(), &well()).await;
    end(&mut desk.open(), &well()).await;
    // The fork, and that all is well again.
    assert_eq!(fs::read_to_string(desk.path("ran")).unwrap(), "x\nx\n");
}

#[tokio::test]
async fn a_memory_that_is_damaged_or_unreadable_tells_again_and_never_keeps_silent() {
    let desk = Desk::new();
    end(&mut desk.open(), &fork()).await;
    let file = desk.path("state/alarm.json");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("fork", "stale")).unwrap();
    end(&mut desk.open(), &fork()).await;
    end(&mut desk.open(), &fork()).await;
    assert_eq!(desk.told(), ["fork", "fork"]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let mut alarms = desk.open();
    end(&mut alarms, &lost()).await;
    end(&mut alarms, &lost()).await;
    assert_eq!(desk.told(), ["fork", "fork", "incomplete"]);
}

/// Some changes on a disk that fails the steps from `n` until some other, or for ever; and whether it holds no note of them.
async fn on_a_bad_disk(n: usize, until: Option<usize>, restarts: bool) -> (Desk, bool) {
    let desk = Desk::new();
    let disk = failing_disk(n, until);
    let mut alarms = desk.open_on(disk.clone());
    for ended in [well(), stale(), stale(), stale(), fork(), fork(), well(), well()] {
        end(&mut alarms, &ended).await;
        if restarts {
            alarms = desk.open_on(disk.clone());
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
        let (desk, _) = on_a_bad_disk(n, None, false).await;
        assert_eq!(desk.told(), expected, "from step {n}");
        // It begins anew after every cycle: a note that failed is one repetition and no more.
        let (desk, _) = on_a_bad_disk(n, Some(n + 1), true).await;
        let mut told = desk.told();
        assert!(told.len() <= expected.len() + 1, "step {n}: {told:?}");
        told.dedup();
        assert_eq!(told, expected, "step {n}");
    }
    let (_, failed) = on_a_bad_disk(0, None, false).await;
    assert!(failed, "the disk takes nothing");
}

/// Everything that is logged.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<u8>>>);

impl io::Write for Journal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Journal;

    fn make_writer(&'a self) -> Journal {
        self.clone()
    }
}

impl Journal {
    fn begin() -> (Journal, tracing::subscriber::DefaultGuard) {
        // While there is only one subscriber, whether it hears of an event is settled by the first
        // thread that has one to tell, also by a thread that has no subscriber.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        let sink = tracing_subscriber::fmt().with_writer(io::sink);
        ANOTHER.get_or_init(|| sink.with_max_level(tracing::Level::WARN).finish().into());
        let journal = Journal::default();
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
    let place = place();
    let (journal, _guard) = Journal::begin();
    let open = || Alerts::open(AlertSettings::default(), place.path(), Storage::default());
    let mut alarms = open();
    end(&mut alarms, &well()).await;
    assert_eq!(journal.take(), "");
    for (ended, level) in [(fork(), "ERROR"), (stale(), "WARN"), (well(), "WARN")] {
        end(&mut alarms, &ended).await;
        let said = journal.take();
        assert!(said.contains(level) && said.matches("condition=").count() == 1, "{said}");
        end(&mut alarms, &ended).await;
        end(&mut open(), &ended).await;
        assert_eq!(journal.take(), "");
    }
}

#[tokio::test]
async fn what_a_failing_command_says_is_in_the_log_as_far_as_there_is_room() {
    let (journal, _guard) = Journal::begin();
    let desk = Desk::with("yes | head -c 1000000 >&2; echo the mail server is gone >&2; exit 7\n");
    end(&mut desk.open(), &fork()).await;
    let said = journal.take();
    assert!(said.contains("the alarm command failed (exit status: 7): "));
    assert!(said.contains("the mail server is gone"));
    assert!(said.len() < 100_000, "{}", said.len());
    // Nobody waits for the end of what a child of it could still say.
    let begun = std::time::Instant::now();
    fs::write(desk.path("alarm.sh"), "echo gone >&2; sleep 20 & exit 7\n").unwrap();
    end(&mut desk.open(), &fork()).await;
    assert!(journal.take().contains("gone") && begun.elapsed() < 15 * SECOND);
    fs::write(desk.path("alarm.sh"), "kill -KILL $$\n").unwrap();
    end(&mut desk.open(), &fork()).await;
    assert!(journal.take().contains("the alarm command failed (signal: 9 (SIGKILL))"));
}

#[tokio::test]
async fn what_is_remembered_of_it_is_not_for_others_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    end(&mut desk.open(), &stale()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.path("state")), 0o700);
    assert_eq!(mode(&desk.path("state/alarm.json")), 0o600);
    // Nothing new, nothing written.
    let before = fs::metadata(desk.path("state/alarm.json")).unwrap().modified().unwrap();
    let mut alarms = desk.open();
    alarms.deliver(&status_of(stale().as_ref()), Timestamp(NOW.0 + 1)).await;
    let after = fs::metadata(desk.path("state/alarm.json")).unwrap().modified().unwrap();
    assert_eq!(before, after);
}

#[cfg(feature = "tor")]
#[tokio::test(start_paused = true)]
async fn that_no_cycle_ends_is_heard_as_well() {
    use unanimity::daemon::{forward_statuses, new_status_channel};
    use unanimity_storage::ManualClock;

    let desk = Desk::new();
    let (mut alarms, clock) = (desk.open(), ManualClock::at(NOW));
    let (told, mut ends) = new_status_channel();
    let since = |alarms: &Alerts| alarms.condition().map(|(condition, _)| condition);
    told.send((status_of(well().as_ref()), NOW)).await.unwrap();
    // Up to just before it would be late, nothing is wrong.
    for (wait, heard) in [(HOUR - SECOND, Condition::Healthy), (HOUR, Condition::Incomplete)] {
        let hearing = forward_statuses(&mut alarms, &mut ends, HOUR, &clock);
        assert!(tokio::time::timeout(wait + SECOND / 2, hearing).await.is_err());
        assert_eq!(since(&alarms), Some(heard));
    }
    // A cycle that ends after all is what counts.
    told.send((status_of(well().as_ref()), NOW)).await.unwrap();
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
    struct Playing(ManualClock, Instant);

    impl Clock for Playing {
        fn now(&self) -> Timestamp {
            self.0.now().after(self.1.elapsed())
        }
    }

    let place = place();
    let mut alarms = Alerts::open(AlertSettings::default(), place.path(), Storage::default());
    let clock = Playing(ManualClock::at(NOW), Instant::now());
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
