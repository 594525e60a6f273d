use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};

use crate::studies::GOOD;

struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { directory: tempdir().expect("a directory") };
        fs::write(desk.path().join("good.toml"), GOOD).expect("a scenario");
        desk
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

    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// What it complains of, in one line, and its exit code.
    fn fails(&self, arguments: &str) -> (i32, String) {
        let output = self.run(arguments);
        let errors = said(&output);
        let last = errors.lines().rfind(|line| line.starts_with("simnet: "));
        (output.status.code().expect("a code"), last.unwrap_or(&errors).to_owned())
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn one_command_answers() {
    let desk = Desk::new();
    let page = desk.done("answer good.toml --seed 1 --out out");
    assert_eq!(page.trim(), "out/report/index.html");
    let page = String::from_utf8(desk.bytes("out/report/index.html")).expect("text");
    assert!(page.contains("24 simulated worlds"));
}

#[test]
fn a_sweep_in_shards_and_by_hand_answers_the_same() {
    let desk = Desk::new();
    desk.done("answer good.toml --seed 1 --out whole --threads 1");
    desk.done("sweep good.toml --seed 1 --out shards --shard 0/2");
    let mut slurm = desk.command("sweep good.toml --seed 1 --out shards");
    slurm.envs([("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_COUNT", "2")]);
    assert!(slurm.status().expect("it ran").success());
    desk.done("merge shards --out merged.jsonl");
    desk.done("report merged.jsonl --out report");
    assert_eq!(desk.bytes("merged.jsonl"), desk.bytes("whole/results.jsonl"));
    for file in ["index.html", "plots.csv", "worlds.csv", "worlds.jsonl"] {
        let (a, b) = (format!("report/{file}"), format!("whole/report/{file}"));
        assert_eq!(desk.bytes(&a), desk.bytes(&b), "{file}");
    }
}

#[test]
fn a_world_of_a_sweep_can_be_run_alone() {
    let desk = Desk::new();
    desk.done("sweep good.toml --seed 1 --out out");
    let file = String::from_utf8(desk.bytes("out/shard-0-of-1.jsonl")).expect("text");
    let line = file.lines().nth(24).expect("the last world");
    let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let run = format!("run good.toml --seed {} --set circle=5 --set settle=2h --json", row["seed"]);
    let alone: serde_json::Value = serde_json::from_str(&desk.done(&run)).expect("JSON");
    assert_eq!(alone, row["results"]);
    let table = desk.done("run good.toml --seed 1");
    assert!(table.contains("circle = 3, settle = 0s") && table.contains("worlds"), "{table}");
}

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let desk = Desk::new();
    desk.done("sweep good.toml --seed 1 --out done");
    desk.done("sweep good.toml --seed 1 --out half --shard 0/2");
    fs::write(desk.path().join("bad.toml"), GOOD.replace("0.9", "1.9")).expect("a scenario");
    fs::write(desk.path().join("rubbish.jsonl"), "rubbish\n").expect("rubbish");
    for (arguments, code, says) in [
        ("run good.toml", 2, "--seed"),
        ("sweep good.toml --seed 1 --out x --shard 2/2", 2, "i from 0 to n-1"),
        ("run bad.toml --seed 1", 2, "bad.toml, line 7 (`availability = 1.9`): 1.9 is no fraction"),
        ("run nothing.toml --seed 1", 6, "cannot use nothing.toml"),
        ("sweep good.toml --seed 1 --out done", 2, "--resume goes on"),
        ("sweep good.toml --seed 2 --out done --resume", 8, "results of two seeds do not mix"),
        ("sweep good.toml --seed 1 --out good.toml", 6, "good.toml"),
        ("merge half --out merged.jsonl", 8, "12 of 24 worlds are missing"),
        ("merge nowhere --out merged.jsonl", 6, "nowhere"),
        ("merge rubbish.jsonl --out merged.jsonl", 8, "rubbish.jsonl: no results of simnet"),
        ("report half/shard-0-of-2.jsonl --out report", 8, "merge all of them first"),
        (
            "run good.toml --seed 1 --set count=1000000000",
            2,
            "a world of 1000000000 nodes takes about",
        ),
    ] {
        let (found, error) = desk.fails(arguments);
        assert!(error.contains(says), "{arguments}: {error}");
        assert_eq!(found, code, "{arguments}: {error}");
    }
    let empty = desk.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    assert_eq!(desk.fails("merge empty --out merged.jsonl").0, 8);
}

#[test]
fn the_codes_of_the_readme_are_the_ones_of_the_program() {
    let readme = include_str!("../../README.md");
    for (exit, meaning) in simnet::cli::EXIT_CODES {
        let row = format!("| {} | {meaning} |", *exit as u8);
        assert!(readme.contains(&row), "README has no {row}");
    }
}

#[test]
fn other_words_and_plots_for_results_that_are_there() {
    let desk = Desk::new();
    desk.done("answer good.toml --seed 1 --out out");
    let other = GOOD.replace("How often late?", "How seldom on time?");
    fs::write(desk.path().join("words.toml"), &other).expect("a scenario");
    desk.done("report out/results.jsonl --out again --scenario words.toml");
    let page = String::from_utf8(desk.bytes("again/index.html")).expect("text");
    assert!(page.contains("How seldom on time?") && !page.contains("How often late?"));
    fs::write(desk.path().join("worlds.toml"), other.replace("count = 20", "count = 21"))
        .expect("one");
    let (code, error) = desk.fails("report out/results.jsonl --out again --scenario worlds.toml");
    assert!(code == 2 && error.contains("only words and plots may differ"), "{error}");
}

#[test]
fn what_is_missing_is_said_on_the_page() {
    let desk = Desk::new();
    desk.done("sweep good.toml --seed 1 --out half --shard 0/2");
    desk.done("merge half --out half.jsonl --partial");
    desk.done("report half.jsonl --out report");
    let page = String::from_utf8(desk.bytes("report/index.html")).expect("text");
    assert!(page.contains("12 of 24 worlds are missing"));
}

#[test]
fn a_sweep_killed_at_any_moment_goes_on_to_the_same_bytes() {
    let desk = Desk::new();
    // Many small worlds, so that there are many moments.
    let many = GOOD.replace("replications = 4", "replications = 300");
    let many = many.replace("count = 20", "count = 7").replace("\"2d\"", "\"5h\"");
    fs::write(desk.path().join("many.toml"), many).expect("a scenario");
    desk.done("answer many.toml --seed 1 --out whole");
    let parts = desk.path().join("cut/shard-0-of-1.parts");
    for kills in 1..=3 {
        let mut sweep = desk.command("sweep many.toml --seed 1 --out cut --resume --threads 1");
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
    desk.done("answer many.toml --seed 1 --out cut --resume");
    assert_eq!(desk.bytes("cut/results.jsonl"), desk.bytes("whole/results.jsonl"));
}

#[test]
fn a_full_disk_ends_a_sweep_and_loses_nothing() {
    let desk = Desk::new();
    desk.done("answer good.toml --seed 1 --out whole");
    // Files may not grow beyond 8 KiB: the parts are smaller, the whole shard is not.
    let program = env!("CARGO_BIN_EXE_simnet");
    let limited = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{program}' sweep good.toml --seed 1 --out cut --threads 1"
    );
    let output = Command::new("bash")
        .args(["-c", &limited])
        .current_dir(desk.path())
        .env_remove("SLURM_ARRAY_TASK_ID")
        .output()
        .expect("bash");
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("--resume goes on from there"), "{}", said(&output));
    desk.done("answer good.toml --seed 1 --out cut --resume");
    assert_eq!(desk.bytes("cut/results.jsonl"), desk.bytes("whole/results.jsonl"));
}

#[test]
fn the_cluster_s_job_files_call_the_program_as_it_is() {
    let slurm = include_str!("../../cluster/slurm.sh");
    let kubernetes = include_str!("../../cluster/kubernetes.yaml");
    assert!(slurm.contains("simnet sweep") && slurm.contains("--resume"));
    assert!(kubernetes.contains("UNTRIED") && kubernetes.contains("completionMode: Indexed"));
}

#[test]
fn one_seed_is_one_world_in_every_process() {
    let desk = Desk::new();
    let [once, again, other] = [3, 3, 4].map(|seed| desk.done(&format!("replay --swarm {seed}")));
    assert!(once.contains(" events, digest "), "{once}");
    assert_eq!(once, again);
    assert_ne!(once, other);
}

#[test]
fn a_world_that_was_written_down_is_played_again() {
    let desk = Desk::new();
    let world = simnet::swarm::random_scenario(simnet::Seed(3));
    let text = serde_json::to_string(&world).expect("plain data");
    fs::write(desk.path().join("world.json"), &text).expect("a world");
    assert_eq!(desk.done("replay world.json --seed 3"), desk.done("replay --swarm 3"));
    for (arguments, words) in [
        ("replay world.json", "--seed"),
        ("replay", "--swarm"),
        ("shrink --swarm 3 --out small.json", "nothing to shrink"),
    ] {
        let output = desk.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(said(&output).contains(words), "{arguments}: {}", said(&output));
    }
    assert!(!desk.path().join("small.json").exists());
}

#[test]
fn a_swarm_says_how_many_worlds_it_played() {
    let told = Desk::new().done("swarm --seed 5 --worlds 2");
    assert_eq!(told, "2 worlds, and no rule broke\n");
}

/// A small world with a fault.
fn fault(kind: &str) -> String {
    format!(
        "question = \"?\"\nhorizon = \"4h\"\n[nodes]\ncount = 5\ncircle = 3\n[release]\n\
         first = \"1h\"\n[[fault]]\nkind = \"{kind}\"\nshare = 0.5\n"
    )
}

#[test]
fn a_fault_made_of_bytes_is_refused_by_numbers_and_played_by_the_code_that_ships() {
    let desk = Desk::new();
    fs::write(desk.path().join("garble.toml"), fault("garble")).expect("a scenario");
    for command in ["run garble.toml --seed 1", "sweep garble.toml --seed 1 --out out"] {
        let (code, error) = desk.fails(command);
        let says = "garble.toml: a population of numbers has no bytes and no disks, so it cannot play \
                    the fault `garble`; tier 1, the code that ships, plays it: simnet run --real";
        assert!(code == 2 && error.contains(says), "{code} {error}");
    }
    assert_eq!(desk.fails("answer garble.toml --seed 1 --out out").0, 2);
    assert!(!desk.path().join("out").exists());
    let table = desk.done("run garble.toml --seed 1 --real");
    assert!(table.contains("rolls.incomplete"), "{table}");
}

#[test]
fn both_tiers_measure_the_same() {
    let desk = Desk::new();
    fs::write(desk.path().join("off.toml"), fault("off")).expect("a scenario");
    let numbers = desk.done("run off.toml --seed 1 --json");
    assert_eq!(desk.done("run off.toml --seed 1 --json --real"), numbers);
    assert_ne!(desk.done("run off.toml --seed 1 --json --set fault.share=0"), numbers);
}
