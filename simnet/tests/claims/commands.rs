//! The commands of `simnet`: what they print, write and refuse.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};

use crate::studies::GOOD;

/// A scratch directory with the file `good.toml`, in which commands run.
struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    fn new() -> Sandbox {
        let sandbox = Sandbox { directory: tempdir().expect("a directory") };
        sandbox.write("good.toml", GOOD);
        sandbox
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("a file");
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simnet"));
        command.current_dir(self.path()).args(arguments.split(' '));
        for variable in ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("it ran")
    }

    /// Runs a command that succeeds, and returns its standard output.
    fn run_ok(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that fails. Returns its exit code and its error, usually one line.
    fn run_err(&self, arguments: &str) -> (i32, String) {
        let output = self.run(arguments);
        let errors = stderr(&output);
        let last = errors.lines().rfind(|line| line.starts_with("simnet: "));
        (output.status.code().expect("a code"), last.unwrap_or(&errors).trim_end().to_owned())
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The lines of a page that say which worlds it covers.
    fn page_summary(&self, path: &str) -> String {
        let page = String::from_utf8(self.bytes(path)).expect("text");
        let lines = page.lines().skip_while(|line| !line.starts_with("<p>"));
        let lines = lines.take_while(|line| line.starts_with("<p"));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn answer_runs_sweep_merge_and_report() {
    let sandbox = Sandbox::new();
    let page = sandbox.run_ok("answer good.toml --seed 1 --out out");
    assert_eq!(page.trim(), "out/report/index.html");
    let summary = sandbox.page_summary("out/report/index.html");
    snapbox::assert_data_eq!(summary, snapbox::file!["words/summary_of_all_worlds.txt"]);
}

#[test]
fn sweep_merge_and_report_write_the_bytes_of_answer() {
    let sandbox = Sandbox::new();
    sandbox.run_ok("answer good.toml --seed 1 --out whole --threads 1");
    sandbox.run_ok("sweep good.toml --seed 1 --out shards --shard 0/2");
    let mut slurm = sandbox.command("sweep good.toml --seed 1 --out shards");
    slurm.envs([("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_COUNT", "2")]);
    assert!(slurm.status().expect("it ran").success());
    sandbox.run_ok("merge shards --out merged.jsonl");
    sandbox.run_ok("report merged.jsonl --out report");
    assert_eq!(sandbox.bytes("merged.jsonl"), sandbox.bytes("whole/results.jsonl"));
    for file in ["index.html", "plots.csv", "worlds.csv", "worlds.jsonl"] {
        let (a, b) = (format!("report/{file}"), format!("whole/report/{file}"));
        assert_eq!(sandbox.bytes(&a), sandbox.bytes(&b), "{file}");
    }
}

#[test]
fn run_repeats_one_world_of_a_sweep() {
    let sandbox = Sandbox::new();
    sandbox.run_ok("sweep good.toml --seed 1 --out out");
    let file = String::from_utf8(sandbox.bytes("out/shard-0-of-1.jsonl")).expect("text");
    let line = file.lines().nth(24).expect("the last world");
    let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let run = format!("run good.toml --seed {} --set peers=5 --set settle=2h --json", row["seed"]);
    let alone: serde_json::Value = serde_json::from_str(&sandbox.run_ok(&run)).expect("JSON");
    assert_eq!(alone, row["results"]);
    let table = sandbox.run_ok("run good.toml --seed 1");
    assert!(table.contains("worlds"), "{table}");
    let title: String = table.lines().take(2).map(|line| format!("{line}\n")).collect();
    snapbox::assert_data_eq!(title, snapbox::file!["words/title_of_one_world.txt"]);
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let sandbox = Sandbox::new();
    sandbox.run_ok("sweep good.toml --seed 1 --out done");
    sandbox.run_ok("sweep good.toml --seed 1 --out half --shard 0/2");
    sandbox.write("bad.toml", &GOOD.replace("0.9", "1.9"));
    sandbox.write("rubbish.jsonl", "rubbish\n");
    let mut messages = String::new();
    for (arguments, code) in [
        ("run good.toml", 2),
        ("sweep good.toml --seed 1 --out x --shard 2/2", 2),
        ("run bad.toml --seed 1", 2),
        ("run nothing.toml --seed 1", 6),
        ("sweep good.toml --seed 1 --out done", 2),
        ("sweep good.toml --seed 2 --out done --resume", 8),
        ("sweep good.toml --seed 1 --out good.toml", 6),
        ("merge half --out merged.jsonl", 8),
        ("merge nowhere --out merged.jsonl", 6),
        ("merge rubbish.jsonl --out merged.jsonl", 8),
        ("report half/shard-0-of-2.jsonl --out report", 8),
        ("run good.toml --seed 1 --set count=1000000000", 2),
    ] {
        let (found, error) = sandbox.run_err(arguments);
        assert_eq!(found, code, "{arguments}: {error}");
        messages += &format!("{arguments}: {}\n", without_free_memory(&error));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/failed_commands.txt"]);
    let empty = sandbox.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    assert_eq!(sandbox.run_err("merge empty --out merged.jsonl").0, 8);
}

/// An error without the amount of memory that is free on this machine.
fn without_free_memory(error: &str) -> String {
    let around = error.split_once("; ").and_then(|(before, after)| {
        let (_, advice) = after.split_once(" are free")?;
        Some(format!("{before}; [FREE] are free{advice}"))
    });
    around.unwrap_or_else(|| error.to_owned())
}

#[test]
fn book_has_every_exit_code_of_the_program() {
    let chapter = include_str!("../../../docs/src/researcher/start.md");
    for (exit, meaning) in simnet::cli::EXIT_CODES {
        let row = format!("| {} | {meaning} |", *exit as u8);
        assert!(chapter.contains(&row), "the chapter has no {row}");
    }
}

#[test]
fn report_takes_other_questions_and_refuses_other_worlds() {
    let sandbox = Sandbox::new();
    sandbox.run_ok("answer good.toml --seed 1 --out out");
    let other = GOOD.replace("How often late?", "How seldom on time?");
    sandbox.write("words.toml", &other);
    sandbox.run_ok("report out/results.jsonl --out again --scenario words.toml");
    let page = String::from_utf8(sandbox.bytes("again/index.html")).expect("text");
    assert!(page.contains("How seldom on time?") && !page.contains("How often late?"));
    sandbox.write("worlds.toml", &other.replace("count = 20", "count = 21"));
    let (code, error) =
        sandbox.run_err("report out/results.jsonl --out again --scenario worlds.toml");
    assert_eq!(code, 2, "{error}");
    snapbox::assert_data_eq!(error + "\n", snapbox::file!["words/report_with_other_worlds.txt"]);
}

#[test]
fn page_counts_missing_worlds() {
    let sandbox = Sandbox::new();
    sandbox.run_ok("sweep good.toml --seed 1 --out half --shard 0/2");
    sandbox.run_ok("merge half --out half.jsonl --partial");
    sandbox.run_ok("report half.jsonl --out report");
    let summary = sandbox.page_summary("report/index.html");
    snapbox::assert_data_eq!(summary, snapbox::file!["words/summary_of_half_the_worlds.txt"]);
}

#[test]
fn resume_after_kills_gives_the_same_bytes() {
    let sandbox = Sandbox::new();
    // Many small worlds give many moments for a kill.
    let many = GOOD.replace("replications = 4", "replications = 300");
    let many = many.replace("count = 20", "count = 7").replace("\"2d\"", "\"5h\"");
    sandbox.write("many.toml", &many);
    sandbox.run_ok("answer many.toml --seed 1 --out whole");
    let parts = sandbox.path().join("cut/shard-0-of-1.parts");
    for kills in 1..=3 {
        let mut sweep = sandbox.command("sweep many.toml --seed 1 --out cut --resume --threads 1");
        let mut sweep = sweep.spawn().expect("it started");
        let enough = || fs::read_dir(&parts).map_or(0, Iterator::count) > 3 * kills;
        let since = Instant::now();
        while !enough() && since.elapsed() < Duration::from_secs(20) {
            if sweep.try_wait().expect("a child").is_some() {
                break;
            }
            std::thread::yield_now();
        }
        sweep.kill().ok();
        sweep.wait().expect("it ended");
    }
    sandbox.run_ok("answer many.toml --seed 1 --out cut --resume");
    assert_eq!(sandbox.bytes("cut/results.jsonl"), sandbox.bytes("whole/results.jsonl"));
}

#[test]
fn sweep_on_a_full_disk_keeps_finished_worlds() {
    let sandbox = Sandbox::new();
    sandbox.run_ok("answer good.toml --seed 1 --out whole");
    // Files may not grow beyond 8 KiB: the parts are smaller, the whole shard is not.
    let program = env!("CARGO_BIN_EXE_simnet");
    let limited = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{program}' sweep good.toml --seed 1 --out cut --threads 1"
    );
    let output = Command::new("bash")
        .args(["-c", &limited])
        .current_dir(sandbox.path())
        .env_remove("SLURM_ARRAY_TASK_ID")
        .output()
        .expect("bash");
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(6), "{error}");
    // The sentences before name a file and the limit.
    let (_, advice) = error.rsplit_once(". ").expect("sentences");
    snapbox::assert_data_eq!(advice, snapbox::file!["words/advice_after_a_full_disk.txt"]);
    sandbox.run_ok("answer good.toml --seed 1 --out cut --resume");
    assert_eq!(sandbox.bytes("cut/results.jsonl"), sandbox.bytes("whole/results.jsonl"));
}

#[test]
fn cluster_job_files_call_simnet_sweep_with_resume() {
    let slurm = include_str!("../../cluster/slurm.sh");
    let kubernetes = include_str!("../../cluster/kubernetes.yaml");
    assert!(slurm.contains("simnet sweep") && slurm.contains("--resume"));
    assert!(kubernetes.contains("[simnet, sweep,") && kubernetes.contains("--resume"));
    assert!(kubernetes.contains("UNTRIED") && kubernetes.contains("completionMode: Indexed"));
}

#[test]
fn replay_of_one_seed_prints_one_digest_in_every_process() {
    let sandbox = Sandbox::new();
    let [once, again, other] =
        [3, 3, 4].map(|seed| sandbox.run_ok(&format!("replay --swarm {seed}")));
    assert!(once.contains(" events, digest "), "{once}");
    assert_eq!(once, again);
    assert_ne!(once, other);
}

#[test]
fn replay_reads_a_world_from_json() {
    let sandbox = Sandbox::new();
    let world = simnet::swarm::random_scenario(simnet::Seed(3));
    let text = serde_json::to_string(&world).expect("plain data");
    sandbox.write("world.json", &text);
    assert_eq!(sandbox.run_ok("replay world.json --seed 3"), sandbox.run_ok("replay --swarm 3"));
    let mut messages = String::new();
    for arguments in ["replay world.json", "replay", "shrink --swarm 3 --out small.json"] {
        let (code, error) = sandbox.run_err(arguments);
        assert_eq!(code, 2, "{arguments}: {error}");
        messages += &format!("{arguments}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_replays.txt"]);
    assert!(!sandbox.path().join("small.json").exists());
}

#[test]
fn swarm_counts_its_worlds() {
    let summary = Sandbox::new().run_ok("swarm --seed 5 --worlds 2");
    snapbox::assert_data_eq!(summary, snapbox::file!["words/summary_of_a_swarm.txt"]);
}

/// The scenario of a small world with one fault.
fn fault_scenario(kind: &str) -> String {
    format!(
        "question = \"?\"\nhorizon = \"4h\"\n[nodes]\ncount = 5\npeers = 3\n[release]\n\
         first = \"1h\"\n[[fault]]\nkind = \"{kind}\"\nshare = 0.5\n"
    )
}

#[test]
fn population_refuses_faults_of_the_full_tier() {
    let sandbox = Sandbox::new();
    sandbox.write("malformed.toml", &fault_scenario("malformed"));
    let mut messages = String::new();
    for arguments in [
        "run malformed.toml --seed 1",
        "sweep malformed.toml --seed 1 --out out",
        "answer malformed.toml --seed 1 --out out",
    ] {
        let (code, error) = sandbox.run_err(arguments);
        assert_eq!(code, 2, "{arguments}: {error}");
        messages += &format!("{arguments}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/fault_of_the_full_tier.txt"]);
    assert!(!sandbox.path().join("out").exists());
    let table = sandbox.run_ok("run malformed.toml --seed 1 --full");
    assert!(table.contains("rounds.incomplete"), "{table}");
}

#[test]
fn both_tiers_measure_the_same() {
    let sandbox = Sandbox::new();
    sandbox.write("off.toml", &fault_scenario("off"));
    let numbers = sandbox.run_ok("run off.toml --seed 1 --json");
    assert_eq!(sandbox.run_ok("run off.toml --seed 1 --json --full"), numbers);
    assert_ne!(sandbox.run_ok("run off.toml --seed 1 --json --set fault.share=0"), numbers);
}
