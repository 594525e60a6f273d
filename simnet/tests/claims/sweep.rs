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
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
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
fn a_value_more_on_an_axis_changes_no_other_world() {
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
    assert_eq!(all.len(), 36, "no two worlds have one seed");
}

#[test]
fn a_seed_hangs_on_master_cell_and_replication() {
    let study = study(GOOD);
    let seeds: BTreeSet<u64> = [(1, 0), (2, 0), (1, 1), (1, 4)]
        .map(|(master, n)| study.seed(master, study.world_id(n)).0)
        .into_iter()
        .collect();
    assert_eq!(seeds.len(), 4);
}

#[test]
fn whichever_step_on_the_disk_fails_resuming_gives_the_same_bytes() {
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
        let kept = played_again(&study, out.path());
        assert!(kept <= 24);
        assert_eq!(merged(out.path()), wanted, "after step {step}");
    }
    assert!(failed > 8, "{failed} steps");
}

/// Resumes, and says how many worlds had to be played.
fn played_again(study: &Study, out: &Path) -> usize {
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
fn what_was_finished_is_not_played_again() {
    let study = study(GOOD);
    let out = tempdir().expect("a directory");
    let played = AtomicUsize::new(0);
    let dying = |scenario: &Scenario, seed: Seed| -> Results {
        // Alone, so that all before it are finished.
        match played.fetch_add(1, Ordering::Relaxed) {
            10 => panic!("the simulator died"),
            _ => play(scenario, seed),
        }
    };
    let disk = Storage::default();
    let alone = Job { threads: 1, ..job(&study, out.path(), &disk, "0/1") };
    let error = error_text(sweep(&alone, dying, |_| ()));
    assert!(
        error.contains("circle = 3, settle = 2h") && error.contains("the simulator died"),
        "{error}"
    );
    let done = count_finished(out.path());
    assert!(done >= 10, "{done} of the 10 worlds before are kept");
    assert_eq!(played_again(&study, out.path()), 24 - done);
    assert_eq!(merged(out.path()), sweep_whole(&study).1);
    assert_eq!(played_again(&study, out.path()), 0, "all is done");
}

fn count_finished(out: &Path) -> usize {
    merge(&[out.to_owned()], true).expect("what there is").rows.len()
}

#[test]
fn results_are_not_overwritten_unless_asked_to_go_on() {
    let study = study(GOOD);
    let (out, _) = sweep_whole(&study);
    let again = error_text(run(&job(&study, out.path(), &Storage::default(), "0/1")));
    assert!(again.contains("--resume"), "{again}");
}

#[test]
fn going_on_with_another_scenario_or_seed_is_refused() {
    let (first, disk) = (study(GOOD), Storage::default());
    let (out, _) = sweep_whole(&first);
    let resume = Job { resume: true, ..job(&first, out.path(), &disk, "0/1") };
    let other_seed = error_text(run(&Job { master: 8, ..resume }));
    assert!(
        other_seed.contains("shard-0-of-1.jsonl: of the seed 7, and the rest of 8"),
        "{other_seed}"
    );
    let other = study(&GOOD.replace("count = 20", "count = 21"));
    let other = error_text(run(&Job { study: &other, ..resume }));
    assert!(other.contains("another scenario"), "{other}");
}

#[test]
fn another_shard_s_file_is_not_taken_for_this_one_s() {
    let (out, study, disk) = (tempdir().unwrap(), study(GOOD), Storage::default());
    let [first, second] = ["0/2", "1/2"].map(|shard| run(&job(&study, out.path(), &disk, shard)));
    std::fs::copy(second.unwrap(), first.unwrap()).unwrap();
    let again = Job { resume: true, ..job(&study, out.path(), &disk, "0/2") };
    assert!(error_text(run(&again)).contains("not the shard that its name says"));
}

#[test]
fn a_number_that_was_read_back_is_the_one_that_was_written() {
    // Of which a reader that rounds twice makes ...504.
    let text = "0.9424502837770503";
    let number: f64 = serde_json::from_str(text).unwrap();
    assert_eq!((number, number.to_string().as_str()), (0.9424502837770503, text));
}

#[test]
fn two_sweeps_do_not_work_on_one_shard() {
    let (study, disk) = (study(GOOD), Storage::default());
    let out = tempdir().expect("a directory");
    let lock = fs::File::create(out.path().join("shard-0-of-1.lock")).expect("a file");
    lock.lock().expect("a lock");
    let error = error_text(run(&job(&study, out.path(), &disk, "0/1")));
    assert!(error.contains("another sweep works on this shard"), "{error}");
}

#[test]
fn parts_beside_a_whole_shard_are_not_there_twice() {
    let study = study(GOOD);
    let (out, wanted) = sweep_whole(&study);
    // As if it had ended between the whole file and the removal of its parts.
    let parts = out.path().join("shard-0-of-1.parts");
    fs::create_dir(&parts).expect("a directory");
    fs::copy(out.path().join("shard-0-of-1.jsonl"), parts.join("part.jsonl")).expect("a part");
    assert_eq!(merged(out.path()), wanted);
    assert_eq!(played_again(&study, out.path()), 0);
    assert!(!parts.exists());
}

#[test]
fn a_merge_names_what_is_missing() {
    let (study, disk) = (study(GOOD), Storage::default());
    let out = tempdir().expect("a directory");
    run(&job(&study, out.path(), &disk, "0/3")).expect("a shard");
    run(&job(&study, out.path(), &disk, "2/3")).expect("a shard");
    let error = error_text(merge(&[out.path().to_owned()], false));
    let says = "8 of 24 worlds are missing, the first: circle = 3, settle = 0s, replication 1; not \
                finished: shard-1-of-3";
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_merge_refuses_a_world_that_is_there_twice() {
    let study = study(GOOD);
    let (out, _) = sweep_whole(&study);
    run(&job(&study, out.path(), &Storage::default(), "1/2")).expect("a shard");
    let error = error_text(merge(&[out.path().to_owned()], false));
    assert!(
        error.contains("shard-0-of-1.jsonl") && error.contains("shard-1-of-2.jsonl"),
        "{error}"
    );
    assert!(
        error.contains("both hold one world (circle = 3, settle = 0s, replication 1)"),
        "{error}"
    );
}

#[test]
fn a_merge_refuses_what_does_not_belong_together() {
    let first = study(GOOD);
    let disk = Storage::default();
    let other_words = study(&GOOD.replace("What happens?", "What else?"));
    let other_worlds = study(&GOOD.replace("count = 20", "count = 21"));
    let cases = [
        (&other_worlds, MASTER, "another scenario"),
        (&first, 8, "of the seed 8, and the rest of 7"),
        (&other_words, MASTER, "asks other questions"),
    ];
    for (study, master, says) in cases {
        let out = tempdir().expect("a directory");
        run(&job(&first, out.path(), &disk, "0/2")).expect("a shard");
        let odd = job(study, out.path(), &disk, "1/2");
        let odd = run(&Job { master, ..odd }).expect("a shard");
        let error = error_text(merge(&[out.path().to_owned()], false));
        assert!(error.contains(says), "{error}\n  should say {says}");
        assert!(error.contains(&odd.display().to_string()), "{error}");
    }
}

/// Rewrites a file of results so that its digest is right.
fn forge(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file").replacen(from, to, 1);
    let end = text.trim_end().rfind('\n').expect("lines") + 1;
    let digest = unanimity_protocol::Hash::digest(&text.as_bytes()[..end]);
    let worlds = text[..end].lines().count() - 1;
    let last = format!("{{\"worlds\":{worlds},\"sha256\":\"{digest}\"}}\n");
    fs::write(path, text[..end].to_owned() + &last).expect("forged");
}

#[test]
fn a_merge_refuses_another_version_s_results() {
    let study = study(GOOD);
    let out = tempdir().expect("a directory");
    shards(&study, out.path(), 2);
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    forge(&out.path().join("shard-1-of-2.jsonl"), &version, "\"version\":\"9.9.9\"");
    let error = error_text(merge(&[out.path().to_owned()], false));
    assert!(error.contains("shard-1-of-2.jsonl: made by simnet 9.9.9"), "{error}");
}

#[test]
fn a_merge_refuses_a_world_that_the_scenario_does_not_have() {
    let study = study(GOOD);
    let (out, _) = sweep_whole(&study);
    let path = out.path().join("shard-0-of-1.jsonl");
    forge(&path, "{\"cell\":5,\"replication\":3,", "{\"cell\":6,\"replication\":3,");
    let error = error_text(merge(&[out.path().to_owned()], true));
    assert!(error.contains("a world that its scenario does not have"), "{error}");
}

#[test]
fn a_file_cut_short_or_changed_anywhere_is_refused_by_name() {
    let study = study(&GOOD.replace("replications = 4", "replications = 1"));
    let (out, _) = sweep_whole(&study);
    let path = out.path().join("shard-0-of-1.jsonl");
    let bytes = fs::read(&path).expect("a file");
    let from = [out.path().to_owned()];
    let spoil = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("spoilt");
        let error = error_text(merge(&from, true));
        assert!(error.contains("shard-0-of-1.jsonl"), "{error}");
        error
    };
    for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        let error = spoil(&bytes[..length]);
        assert!(error.contains("cut short"), "at {length}: {error}");
    }
    for place in (0..bytes.len()).step_by(101) {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        spoil(&changed);
    }
    fs::write(&path, &bytes).expect("mended");
    merge(&from, false).expect("whole again");
}

#[test]
fn a_shard_is_what_slurm_or_kubernetes_say() {
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
    for wrong in [
        &[(task, "64"), (count, "64")][..],
        &[(task, "0")],
        &[(task, "x"), (count, "64")],
        &[("JOB_COMPLETION_INDEX", "5")],
    ] {
        let error = from(wrong).expect_err("refused");
        assert!(error.contains("--shard i/n"), "{error}");
    }
    assert!("64/64".parse::<Shard>().is_err() && "1".parse::<Shard>().is_err());
}
