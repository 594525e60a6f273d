//! Sweeps: shards, merging, resuming, and what they refuse.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use simnet::study::WorldId;
use simnet::sweep::{Job, ResultFile, Shard, SweepError, merge, sweep, write_merged};
use simnet::{Results, Scenario, Seed, Study};
use tempfile::{TempDir, tempdir};
use unanimity_storage::Storage;

use crate::studies::{GOOD, play, study};

const MASTER: u64 = 7;

fn job<'a>(study: &'a Study, out: &'a Path, disk: &'a Storage, shard: &str) -> Job<'a> {
    let shard: Shard = shard.parse().expect("a shard");
    Job { study, master: MASTER, shard, out, threads: 2, resume: false, storage: disk }
}

fn run(job: &Job<'_>) -> Result<PathBuf, SweepError> {
    sweep(job, play, |_| ())
}

fn shards(study: &Study, out: &Path, of: u32) {
    for index in 0..of {
        run(&job(study, out, &Storage::default(), &format!("{index}/{of}"))).expect("a shard");
    }
}

fn bytes(merged: &ResultFile) -> Vec<u8> {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("merged.jsonl");
    write_merged(&Storage::default(), &path, merged).expect("a merged file");
    fs::read(path).expect("its bytes")
}

fn merged(out: &Path) -> Vec<u8> {
    bytes(&merge(&[out.to_owned()], false).expect("a merge"))
}

fn sweep_whole(study: &Study) -> (TempDir, Vec<u8>) {
    let out = tempdir().expect("a directory");
    shards(study, out.path(), 1);
    let bytes = merged(out.path());
    (out, bytes)
}

fn error_text(result: Result<impl Sized, SweepError>) -> String {
    match result {
        Ok(_) => panic!("not refused"),
        Err(error) => error.to_string(),
    }
}

/// An error as a line of a snapshot, without what differs from run to run.
fn snapshot_line(out: &Path, error: &str) -> String {
    error.replace(&out.display().to_string(), "[DIR]") + "\n"
}

#[test]
fn one_shard_and_64_shards_merge_to_the_same_bytes() {
    let study = study(GOOD);
    let out = tempdir().expect("a directory");
    // 24 worlds: some shards have none.
    shards(&study, out.path(), 64);
    assert_eq!(merged(out.path()), sweep_whole(&study).1);
}

#[test]
fn merging_is_associative() {
    let study = study(GOOD);
    let out = tempdir().expect("a directory");
    shards(&study, out.path(), 3);
    let file = |n: u32| out.path().join(format!("shard-{n}-of-3.jsonl"));
    let two = |a: &Path, b: &Path, name: &str| {
        let path = out.path().join(name);
        let merged = merge(&[a.to_owned(), b.to_owned()], true).expect("a merge");
        write_merged(&Storage::default(), &path, &merged).expect("a file");
        path
    };
    let left = two(&two(&file(0), &file(1), "a"), &file(2), "left");
    let right = two(&file(2), &two(&file(1), &file(0), "b"), "right");
    assert_eq!(fs::read(left).expect("left"), fs::read(right).expect("right"));
}

#[test]
fn another_axis_value_changes_no_other_world() {
    let seeds = |study: &Study| -> BTreeSet<(u32, u64, u32, u64)> {
        let units = (0..study.worlds()).map(|n| study.world_id(n));
        let world = |unit: WorldId| {
            let cell = &study.cells[unit.cell as usize];
            (cell.peers, cell.settle, unit.replication, study.seed(MASTER, unit).0)
        };
        units.map(world).collect()
    };
    let few = seeds(&study(GOOD));
    let more = seeds(&study(&GOOD.replace("[3, 5]", "[2, 3, 5]")));
    assert_eq!((few.len(), more.len()), (24, 36));
    assert!(few.is_subset(&more));
    let all: BTreeSet<u64> = more.iter().map(|world| world.3).collect();
    assert_eq!(all.len(), 36, "two worlds have one seed");
}

#[test]
fn seed_depends_on_master_cell_and_replication() {
    let study = study(GOOD);
    let seeds: BTreeSet<u64> = [(1, 0), (2, 0), (1, 1), (1, 4)]
        .map(|(master, n)| study.seed(master, study.world_id(n)).0)
        .into_iter()
        .collect();
    assert_eq!(seeds.len(), 4);
}

#[test]
fn resume_after_any_failed_disk_step_gives_the_same_bytes() {
    let study = study(GOOD);
    let wanted = sweep_whole(&study).1;
    let mut failed = 0;
    for step in 0.. {
        let out = tempdir().expect("a directory");
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        // Once full, the disk stays full.
        let disk =
            Storage::with_hook(move |_| match counted.fetch_add(1, Ordering::Relaxed) >= step {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            });
        match run(&job(&study, out.path(), &disk, "0/1")) {
            Ok(_) => break,
            Err(SweepError::Disk(_)) => failed += 1,
            Err(other) => panic!("{other}"),
        }
        let resumed = count_resumed(&study, out.path());
        assert!(resumed <= 24);
        assert_eq!(merged(out.path()), wanted, "after step {step}");
    }
    assert!(failed > 8, "{failed} steps");
}

/// Resumes a sweep, and returns how many worlds it played.
fn count_resumed(study: &Study, out: &Path) -> usize {
    let played = AtomicUsize::new(0);
    let counting = |scenario: &Scenario, seed: Seed| {
        played.fetch_add(1, Ordering::Relaxed);
        play(scenario, seed)
    };
    let disk = Storage::default();
    let job = Job { resume: true, ..job(study, out, &disk, "0/1") };
    sweep(&job, counting, |_| ()).expect("resumed");
    played.into_inner()
}

#[test]
fn resume_plays_no_finished_world_again() {
    let study = study(GOOD);
    let out = tempdir().expect("a directory");
    let played = AtomicUsize::new(0);
    let dying = |scenario: &Scenario, seed: Seed| -> Results {
        // There is one thread, so all worlds before this one are finished.
        match played.fetch_add(1, Ordering::Relaxed) {
            10 => panic!("the simulator died"),
            _ => play(scenario, seed),
        }
    };
    let disk = Storage::default();
    let one_thread = Job { threads: 1, ..job(&study, out.path(), &disk, "0/1") };
    let error = error_text(sweep(&one_thread, dying, |_| ()));
    let seed = study.seed(MASTER, study.world_id(10)).0;
    let message = snapshot_line(out.path(), &error).replace(&seed.to_string(), "[SEED]");
    snapbox::assert_data_eq!(message, snapbox::file!["words/world_with_a_panic.txt"]);
    let done = count_finished(out.path());
    assert!(done >= 10, "{done} of the 10 worlds before are kept");
    assert_eq!(count_resumed(&study, out.path()), 24 - done);
    assert_eq!(merged(out.path()), sweep_whole(&study).1);
    assert_eq!(count_resumed(&study, out.path()), 0, "a finished world was played");
}

/// A text without the short digests of two studies, which change with the fields of scenarios.
fn without_digests(text: &str, [first, second]: [&Study; 2]) -> String {
    let (first, second) = (first.digest(), second.digest());
    text.replace(&first[..12], "[DIGEST]").replace(&second[..12], "[OTHER-DIGEST]")
}

fn count_finished(out: &Path) -> usize {
    merge(&[out.to_owned()], true).expect("a merge").rows.len()
}

#[test]
fn sweep_without_resume_overwrites_no_results() {
    let study = study(GOOD);
    let (out, _) = sweep_whole(&study);
    let error = error_text(run(&job(&study, out.path(), &Storage::default(), "0/1")));
    let message = snapshot_line(out.path(), &error);
    snapbox::assert_data_eq!(message, snapbox::file!["words/sweep_over_results.txt"]);
}

#[test]
fn resume_refuses_another_scenario_or_seed() {
    let (first, disk) = (study(GOOD), Storage::default());
    let (out, _) = sweep_whole(&first);
    let resume = Job { resume: true, ..job(&first, out.path(), &disk, "0/1") };
    let other_seed = error_text(run(&Job { master: 8, ..resume }));
    let other = study(&GOOD.replace("count = 20", "count = 21"));
    let other_scenario = error_text(run(&Job { study: &other, ..resume }));
    let messages: String = [("seed", other_seed), ("scenario", other_scenario)]
        .map(|(case, error)| format!("{case}: {}", snapshot_line(out.path(), &error)))
        .concat();
    let messages = without_digests(&messages, [&first, &other]);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/resume_of_other_results.txt"]);
}

#[test]
fn resume_refuses_the_file_of_another_shard() {
    let (out, study, disk) = (tempdir().unwrap(), study(GOOD), Storage::default());
    let [first, second] = ["0/2", "1/2"].map(|shard| run(&job(&study, out.path(), &disk, shard)));
    std::fs::copy(second.unwrap(), first.unwrap()).unwrap();
    let again = Job { resume: true, ..job(&study, out.path(), &disk, "0/2") };
    let message = snapshot_line(out.path(), &error_text(run(&again)));
    snapbox::assert_data_eq!(message, snapbox::file!["words/file_of_another_shard.txt"]);
}

#[test]
fn json_numbers_read_back_as_written() {
    // A reader that rounds twice reads a number that ends in 504.
    let text = "0.9424502837770503";
    let number: f64 = serde_json::from_str(text).unwrap();
    assert_eq!((number, number.to_string().as_str()), (0.9424502837770503, text));
}

#[test]
fn sweep_refuses_a_locked_shard() {
    let (study, disk) = (study(GOOD), Storage::default());
    let out = tempdir().expect("a directory");
    let lock = fs::File::create(out.path().join("shard-0-of-1.lock")).expect("a file");
    lock.lock().expect("a lock");
    let error = error_text(run(&job(&study, out.path(), &disk, "0/1")));
    let message = snapshot_line(out.path(), &error);
    snapbox::assert_data_eq!(message, snapbox::file!["words/locked_shard.txt"]);
}

#[test]
fn merge_ignores_parts_of_a_whole_shard() {
    let study = study(GOOD);
    let (out, wanted) = sweep_whole(&study);
    // The files of a sweep that was killed after it wrote the shard, before it removed the parts.
    let parts = out.path().join("shard-0-of-1.parts");
    fs::create_dir(&parts).expect("a directory");
    fs::copy(out.path().join("shard-0-of-1.jsonl"), parts.join("part.jsonl")).expect("a part");
    assert_eq!(merged(out.path()), wanted);
    assert_eq!(count_resumed(&study, out.path()), 0);
    assert!(!parts.exists());
}

#[test]
fn merge_names_missing_worlds_and_unfinished_shards() {
    let (study, disk) = (study(GOOD), Storage::default());
    let out = tempdir().expect("a directory");
    run(&job(&study, out.path(), &disk, "0/3")).expect("a shard");
    run(&job(&study, out.path(), &disk, "2/3")).expect("a shard");
    let error = error_text(merge(&[out.path().to_owned()], false));
    let message = snapshot_line(out.path(), &error);
    snapbox::assert_data_eq!(message, snapbox::file!["words/missing_worlds.txt"]);
}

#[test]
fn merge_refuses_a_duplicate_world() {
    let study = study(GOOD);
    let (out, _) = sweep_whole(&study);
    run(&job(&study, out.path(), &Storage::default(), "1/2")).expect("a shard");
    let error = error_text(merge(&[out.path().to_owned()], false));
    let message = snapshot_line(out.path(), &error);
    snapbox::assert_data_eq!(message, snapbox::file!["words/duplicate_world.txt"]);
}

#[test]
fn merge_refuses_mixed_scenarios_seeds_and_questions() {
    let first = study(GOOD);
    let disk = Storage::default();
    let other_text = study(&GOOD.replace("What happens?", "What else?"));
    let other_worlds = study(&GOOD.replace("count = 20", "count = 21"));
    let cases = [
        ("scenario", &other_worlds, MASTER),
        ("seed", &first, 8),
        ("question", &other_text, MASTER),
    ];
    let mut messages = String::new();
    for (case, study, master) in cases {
        let out = tempdir().expect("a directory");
        run(&job(&first, out.path(), &disk, "0/2")).expect("a shard");
        let other = job(study, out.path(), &disk, "1/2");
        run(&Job { master, ..other }).expect("a shard");
        let error = error_text(merge(&[out.path().to_owned()], false));
        messages += &format!("{case}: {}", snapshot_line(out.path(), &error));
    }
    let messages = without_digests(&messages, [&first, &other_worlds]);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/mixed_results.txt"]);
}

/// Replaces `from` by `to` in a result file, and corrects the file's digest.
fn forge(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file").replacen(from, to, 1);
    let end = text.trim_end().rfind('\n').expect("lines") + 1;
    let digest = unanimity_protocol::Hash::digest(&text.as_bytes()[..end]);
    let worlds = text[..end].lines().count() - 1;
    let last = format!("{{\"worlds\":{worlds},\"sha256\":\"{digest}\"}}\n");
    fs::write(path, text[..end].to_owned() + &last).expect("forged");
}

#[test]
fn merge_refuses_results_of_another_version() {
    let study = study(GOOD);
    let out = tempdir().expect("a directory");
    shards(&study, out.path(), 2);
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    forge(&out.path().join("shard-1-of-2.jsonl"), &version, "\"version\":\"9.9.9\"");
    let error = error_text(merge(&[out.path().to_owned()], false));
    let version = env!("CARGO_PKG_VERSION");
    let message = snapshot_line(out.path(), &error).replace(version, "[VERSION]");
    snapbox::assert_data_eq!(message, snapbox::file!["words/results_of_another_version.txt"]);
}

#[test]
fn merge_refuses_a_world_outside_the_scenario() {
    let study = study(GOOD);
    let (out, _) = sweep_whole(&study);
    let path = out.path().join("shard-0-of-1.jsonl");
    forge(&path, "{\"cell\":5,\"replication\":3,", "{\"cell\":6,\"replication\":3,");
    let error = error_text(merge(&[out.path().to_owned()], true));
    let message = snapshot_line(out.path(), &error);
    snapbox::assert_data_eq!(message, snapbox::file!["words/unknown_world.txt"]);
}

#[test]
fn merge_names_a_truncated_or_changed_file() {
    let study = study(&GOOD.replace("replications = 4", "replications = 1"));
    let (out, _) = sweep_whole(&study);
    let path = out.path().join("shard-0-of-1.jsonl");
    let bytes = fs::read(&path).expect("a file");
    let from = [out.path().to_owned()];
    let merge_damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a damaged file");
        let error = error_text(merge(&from, true));
        assert!(error.contains("shard-0-of-1.jsonl"), "{error}");
        snapshot_line(out.path(), &error)
    };
    let lengths = (0..bytes.len()).step_by(97).chain([bytes.len() - 1]);
    let messages: BTreeSet<String> =
        lengths.map(|length| merge_damaged(&bytes[..length])).collect();
    let messages: String = messages.into_iter().collect();
    snapbox::assert_data_eq!(messages, snapbox::file!["words/truncated_results.txt"]);
    for offset in (0..bytes.len()).step_by(101) {
        let mut changed = bytes.clone();
        changed[offset] ^= 1;
        merge_damaged(&changed);
    }
    fs::write(&path, &bytes).expect("the file as it was");
    merge(&from, false).expect("a merge");
}

#[test]
fn shard_is_read_from_slurm_or_kubernetes_variables() {
    let from = |variables: &[(&str, &str)]| {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Shard::from_environment(find).map(|shard| shard.map(|shard| shard.to_string()))
    };
    let shard = |text: &str| Ok(Some(text.to_owned()));
    let (task, first, count) =
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT");
    assert_eq!(from(&[]), Ok(None));
    assert_eq!(from(&[(task, "3"), (count, "64")]), shard("3/64"));
    assert_eq!(from(&[(task, "64"), (first, "1"), (count, "64")]), shard("63/64"));
    assert_eq!(from(&[("JOB_COMPLETION_INDEX", "5"), ("JOB_COMPLETIONS", "8")]), shard("5/8"));
    let mut messages = String::new();
    for (case, variables) in [
        ("task 64 of 64", &[(task, "64"), (count, "64")][..]),
        ("no count", &[(task, "0")]),
        ("no number", &[(task, "x"), (count, "64")]),
        ("no completions", &[("JOB_COMPLETION_INDEX", "5")]),
    ] {
        messages += &format!("{case}: {}\n", from(variables).expect_err("refused"));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/shard_variables.txt"]);
    assert!("64/64".parse::<Shard>().is_err() && "1".parse::<Shard>().is_err());
}
