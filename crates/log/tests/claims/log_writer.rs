//! Writing a log: the entries that it accepts, and that no crash makes it sign a fork.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use unanimity_log::{EntryError, LogWriter, WriteError};
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::{Checkpoint, Hash, Note};
use unanimity_storage::{Storage, WriteStep, parent, temporary_path};
use unanimity_testkit::power_cut::PowerCutModel;
use unanimity_testkit::rfc6962::root as naive_root;
use unanimity_testkit::sample_log::{
    ORIGIN, origin, read_verified, sample_note, sample_notes, signing_key,
};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::signed_heads::SignedHeads;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk, step_path};
use unanimity_testkit::{copy_tree, scratch_dir};

fn init(directory: &Path, disk: Storage) -> Result<LogWriter, WriteError> {
    LogWriter::init(directory, origin(), signing_key(1), disk)
}

fn open(directory: &Path, disk: Storage) -> Result<LogWriter, WriteError> {
    LogWriter::open(directory, signing_key(1), disk)
}

/// The text of an error, without the path of the scratch directory.
fn message(error: &WriteError, scratch: &Path) -> String {
    error.to_string().replace(scratch.to_str().unwrap(), "[DIR]")
}

#[test]
fn init_publishes_an_empty_log() {
    let scratch = scratch_dir();
    let directory = scratch.path().join("new/log");
    let writer = init(&directory, Storage::default()).unwrap();
    assert_eq!(writer.head().size(), 0);
    let (head, entries) = read_verified(&directory);
    assert_eq!((head.size(), *head.root(), entries.len()), (0, Hash::empty_root(), 0));
    assert_eq!(&head, writer.head());
}

#[test]
fn append_publishes_entries_that_verify() {
    let scratch = scratch_dir();
    let mut writer = init(scratch.path(), Storage::default()).unwrap();
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (batch, count) in [1, 2, 252, 1, 1, 255, 256, 300].into_iter().enumerate() {
        let new = sample_notes(&format!("batch {batch}"), count);
        let first = all.len() as u64;
        assert_eq!(writer.append(&new).unwrap(), first..first + count);
        all.extend(new);
        let (head, entries) = read_verified(scratch.path());
        assert_eq!(entries, all);
        assert_eq!(&head, writer.head());
    }
    assert_eq!(writer.append(&[]).unwrap(), 1068..1068);
    drop(writer);
    // A second writer continues after the last entry.
    let mut writer = open(scratch.path(), Storage::default()).unwrap();
    assert_eq!(writer.append(&sample_notes("later", 1)).unwrap(), 1068..1069);
    assert_eq!(read_verified(scratch.path()).1[1068], sample_note("later", 0));
}

#[test]
fn a_log_has_one_writer_at_a_time() {
    let scratch = scratch_dir();
    let writer = init(scratch.path(), Storage::default()).unwrap();
    let second = open(scratch.path(), Storage::default()).unwrap_err();
    assert!(matches!(second, WriteError::Busy(_)));
    assert!(matches!(init(scratch.path(), Storage::default()).unwrap_err(), WriteError::Busy(_)));
    drop(writer);
    open(scratch.path(), Storage::default()).unwrap();
}

#[test]
fn init_refuses_a_directory_with_a_log() {
    let scratch = scratch_dir();
    let mut writer = init(scratch.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("kept", 2)).unwrap();
    drop(writer);
    let error = init(scratch.path(), Storage::default()).unwrap_err();
    assert!(matches!(error, WriteError::Exists(_)));
    let message = message(&error, scratch.path());
    snapbox::assert_data_eq!(message, snapbox::file!["words/init_in_a_used_directory.txt"]);
    assert_eq!(read_verified(scratch.path()).1, sample_notes("kept", 2));
}

#[test]
fn open_refuses_another_key() {
    let scratch = scratch_dir();
    drop(init(scratch.path(), Storage::default()).unwrap());
    let before = fs::read(scratch.path().join("checkpoint")).unwrap();
    let error = LogWriter::open(scratch.path(), signing_key(2), Storage::default()).unwrap_err();
    assert!(matches!(&error, WriteError::Checkpoint { .. }), "{error}");
    let named = unanimity_protocol::NoteSigningKey::from_seed("key-1".parse().unwrap(), &[9; 32]);
    assert!(LogWriter::open(scratch.path(), named, Storage::default()).is_err());
    assert_eq!(fs::read(scratch.path().join("checkpoint")).unwrap(), before);
}

#[test]
fn append_refuses_notes_that_are_not_entries_of_the_log() {
    let scratch = scratch_dir();
    let mut writer = init(scratch.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("good", 3)).unwrap();
    let signature = "\n— writer AAAAAAAA\n";
    let text = |text: &str| format!("{text}{signature}").into_bytes();
    let long = |length: usize| {
        let rest = text(&format!("unanimity/example/v1\nlog {ORIGIN}\n")).len();
        text(&format!("unanimity/example/v1\nlog {ORIGIN}\n{}\n", "x".repeat(length - rest - 1)))
    };
    let manifest = |sequence: &str| {
        text(&format!(
            "unanimity/manifest/v1\nlog {ORIGIN}\nproduct hello\nchannel stable\nsequence {sequence}\n\
             version 1\nissued 1\nexpires 2\nartifact x y 0 {} file\n",
            Hash::empty_root()
        ))
    };
    type Expected = fn(&EntryError) -> bool;
    let refused: [(&str, Vec<u8>, Expected); 10] = [
        ("no note", b"no note".to_vec(), |why| matches!(why, EntryError::Note(_))),
        ("not UTF-8", b"unanimity/example/v1\n\xff\n".to_vec(), |why| {
            matches!(why, EntryError::Note(_))
        }),
        ("empty", Vec::new(), |why| matches!(why, EntryError::Note(_))),
        ("too long", long(65_536), |why| matches!(why, EntryError::TooLong(65_536))),
        ("a manifest with sequence 0", manifest("0"), |why| {
            matches!(why, EntryError::Statement(_))
        }),
        (
            "another log",
            text("unanimity/example/v1\nlog log.example/other\nx\n"),
            |why| matches!(why, EntryError::OtherLog(log) if log == "log.example/other"),
        ),
        ("no line with the log", text("unanimity/example/v1\nno log\n"), |why| {
            matches!(why, EntryError::OtherLog(_))
        }),
        ("a space after the log", text(&format!("unanimity/example/v1\nlog {ORIGIN} \n")), |why| {
            matches!(why, EntryError::OtherLog(_))
        }),
        ("another kind", text(&format!("example/v1\nlog {ORIGIN}\n")), |why| {
            matches!(why, EntryError::Kind)
        }),
        ("a checkpoint", text(&format!("{ORIGIN}\n0\n{}\n", Hash::empty_root().base64())), |why| {
            matches!(why, EntryError::Kind)
        }),
    ];
    let mut messages = String::new();
    for (case, bytes, is_expected) in refused {
        let error = writer.append(&[sample_note("fine", 0), bytes]).unwrap_err();
        let WriteError::Entry { number: 2, why } = &error else { panic!("{error}") };
        assert!(is_expected(why), "{why}");
        messages += &format!("{case}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_entries.txt"]);
    assert_eq!(read_verified(scratch.path()).1, sample_notes("good", 3));
    // The longest possible entry and a valid manifest are accepted.
    writer.append(&[long(65_535), manifest("1")]).unwrap();
    assert_eq!(read_verified(scratch.path()).1.len(), 5);
}

#[test]
fn check_mirror_refuses_heads_that_are_not_in_the_tree() {
    let scratch = scratch_dir();
    let (ours, theirs) = (scratch.path().join("ours"), scratch.path().join("theirs"));
    let mut writer = init(&ours, Storage::default()).unwrap();
    writer.append(&sample_notes("both", 3)).unwrap();
    let older = fs::read(ours.join("checkpoint")).unwrap();
    copy_tree(&ours, &theirs).unwrap();
    let mut ahead = open(&theirs, Storage::default()).unwrap();
    ahead.append(&sample_notes("theirs", 2)).unwrap();
    let newer = fs::read(theirs.join("checkpoint")).unwrap();

    // The mirror is ahead: our directory is a restored backup.
    let error = writer.check_mirror("mirror-1", &newer).unwrap_err();
    assert!(matches!(&error, WriteError::MirrorAhead { size: 5, held: 3, .. }));
    let mut messages = format!("ahead: {}\n", message(&error, scratch.path()));
    // The mirror is on another branch, with our size and with a smaller one.
    writer.append(&sample_notes("ours", 2)).unwrap();
    let error = writer.check_mirror("mirror-1", &newer).unwrap_err();
    assert!(matches!(error, WriteError::Forked { size: 5, held: 5, .. }));
    messages += &format!("forked: {}\n", message(&error, scratch.path()));
    writer.append(&sample_notes("ours again", 300)).unwrap();
    assert!(writer.check_mirror("mirror-1", &newer).is_err());
    // A mirror may be behind us or level with us.
    writer.check_mirror("mirror-1", &older).unwrap();
    writer.check_mirror("mirror-1", &fs::read(ours.join("checkpoint")).unwrap()).unwrap();
    let empty = Checkpoint { origin: origin(), size: 0, root: Hash::empty_root() };
    writer.check_mirror("mirror-1", empty.sign(&signing_key(1)).to_string().as_bytes()).unwrap();
    // A checkpoint under another key proves nothing about our log.
    let foreign = empty.sign(&signing_key(2)).to_string();
    let error = writer.check_mirror("mirror-1", foreign.as_bytes()).unwrap_err();
    assert!(matches!(error, WriteError::Checkpoint { .. }));
    messages += &format!("another key: {}\n", message(&error, scratch.path()));
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_mirrors.txt"]);
}

#[test]
fn add_artifact_stores_under_the_digest() {
    let scratch = scratch_dir();
    let writer = init(scratch.path(), Storage::default()).unwrap();
    let digest = writer.add_artifact(b"program").unwrap();
    assert_eq!(digest, Hash::digest(b"program"));
    let path = scratch.path().join(artifact_path(&digest));
    assert_eq!(fs::read(&path).unwrap(), b"program");
    assert_eq!(path, scratch.path().join(format!("artifact/{}", digest.hex())));
    // Adding an artifact twice is allowed.
    writer.add_artifact(b"program").unwrap();
}

#[test]
fn open_finds_damage_to_the_newest_entries() {
    let scratch = scratch_dir();
    let mut writer = init(scratch.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("good", 3)).unwrap();
    drop(writer);
    for file in ["tile/entries/000.p/3", "tile/0/000.p/3"] {
        let path = scratch.path().join(file);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let error = open(scratch.path(), Storage::default()).unwrap_err();
            assert!(matches!(error, WriteError::Disk(_)), "byte {at} of {file}: {error}");
        }
        fs::write(&path, whole).unwrap();
    }
    open(scratch.path(), Storage::default()).unwrap();
}

#[test]
fn append_makes_files_durable_before_the_head_is_recorded_and_signed() {
    let scratch = scratch_dir();
    let (disk, steps) = recording_disk();
    let directory = scratch.path().join("log");
    let mut writer = init(&directory, disk).unwrap();
    for count in [3, 250, 10, 600] {
        steps.lock().unwrap().clear();
        writer.append(&sample_notes("note", count)).unwrap();
        let steps = steps.lock().unwrap().clone();
        let at = |step: &WriteStep| {
            let at = steps.iter().position(|taken| taken == step);
            at.unwrap_or_else(|| panic!("step {step:?} is missing"))
        };
        let pending = directory.join(".pending");
        let checkpoint = directory.join("checkpoint");
        let written = |path: &Path| {
            let path = path.to_owned();
            let order = [
                at(&WriteStep::Create(path.clone())),
                at(&WriteStep::Write(path.clone())),
                at(&WriteStep::SyncFile(path.clone())),
                at(&WriteStep::Rename(path.clone())),
            ];
            assert!(order.is_sorted(), "{} at {order:?}", path.display());
            // The directory is synced after the rename, and before the next stage begins.
            let named = order[3];
            let synced =
                steps[named..].iter().position(|s| *s == WriteStep::SyncDir(parent(&path).into()));
            (order[0], named + synced.expect("its directory is synced"))
        };
        let (pending_begins, pending_durable) = written(&pending);
        let (checkpoint_begins, _) = written(&checkpoint);
        assert!(
            pending_durable < checkpoint_begins,
            "the head is signed only after it is recorded"
        );
        let files: BTreeSet<&Path> = (steps.iter())
            .filter(|step| matches!(step, WriteStep::Create(_)))
            .map(step_path)
            .filter(|path| **path != pending && **path != checkpoint)
            .collect();
        assert!(files.iter().any(|path| path.starts_with(directory.join("tile/entries"))));
        assert!(files.iter().any(|path| path.starts_with(directory.join("tile/0"))));
        for path in files {
            assert!(written(path).1 < pending_begins, "{} is written too late", path.display());
        }
        for (i, step) in steps.iter().enumerate() {
            if let WriteStep::MakeDir(path) = step {
                let above = WriteStep::SyncDir(parent(path).into());
                let synced = steps[i..pending_begins].contains(&above);
                assert!(synced, "the name of {} is not synced", path.display());
            }
        }
    }
}

/// Sizes of appends that begin a bundle, fill it exactly, and cross into the next bundle.
const BATCHES: [u64; 4] = [3, 253, 1, 257];

/// Creates a log and appends [`BATCHES`], until a write fails.
fn append_batches(directory: &Path, disk: Storage) -> Result<(), WriteError> {
    let mut writer = init(directory, disk)?;
    for (i, count) in BATCHES.into_iter().enumerate() {
        writer.append(&sample_notes(&format!("batch {i}"), count))?;
    }
    Ok(())
}

/// The entries that [`append_batches`] appends, and the sizes that it publishes.
fn expected_entries_and_sizes() -> (Vec<Vec<u8>>, Vec<usize>) {
    let (mut entries, mut sizes) = (Vec::new(), vec![0]);
    for (i, count) in BATCHES.into_iter().enumerate() {
        entries.extend(sample_notes(&format!("batch {i}"), count));
        sizes.push(entries.len());
    }
    (entries, sizes)
}

fn count_write_steps() -> usize {
    let scratch = scratch_dir();
    let (disk, steps) = recording_disk();
    append_batches(&scratch.path().join("log"), disk).unwrap();
    steps.lock().unwrap().len()
}

/// Opens the log that a crash left, or creates one if there is no checkpoint yet.
fn restart(directory: &Path, disk: Storage) -> Result<LogWriter, WriteError> {
    if directory.join("checkpoint").exists() {
        open(directory, disk)
    } else {
        init(directory, disk)
    }
}

/// Checks a log after a crash: it is complete and has a published size. More appends give no second
/// root for any size. Returns the size after recovery.
fn check_recovers(directory: &Path, seen: &SignedHeads) -> usize {
    seen.record(directory);
    let (all, sizes) = expected_entries_and_sizes();
    let shown = directory.join("checkpoint").exists().then(|| read_verified(directory).0.size());
    let mut writer = restart(directory, seen.disk(directory)).expect("restarted");
    let (head, entries) = read_verified(directory);
    assert_eq!(&head, writer.head());
    assert!(head.size() >= shown.unwrap_or(0), "a published entry stays published");
    assert!(
        sizes.contains(&entries.len()),
        "the log is neither the old one nor the new one: {head}"
    );
    assert_eq!(entries, all[..entries.len()]);
    let recovered = entries.len();
    // Append other entries, as many as were interrupted: a head of that size may be signed already.
    let next = BATCHES.get(sizes.iter().position(|size| *size == recovered).unwrap());
    let next = next.copied().unwrap_or(1);
    for (word, count) in [("other", next), ("another", 2)] {
        writer.append(&sample_notes(word, count)).expect("appended");
    }
    seen.record(directory);
    let (_, after) = read_verified(directory);
    assert_eq!(after[..recovered], all[..recovered]);
    assert_eq!(after.len(), recovered + next as usize + 2);
    recovered
}

#[test]
fn kill_at_any_step_leaves_the_old_or_new_log_without_fork() {
    let steps = count_write_steps();
    assert!(steps > 100, "{steps} steps");
    let mut reached = BTreeSet::new();
    for failing_step in 0..steps {
        let (scratch, seen) = (scratch_dir(), SignedHeads::default());
        let directory = scratch.path().join("log");
        append_batches(&directory, failing_disk(failing_step, None)).expect_err("the disk failed");
        reached.insert(check_recovers(&directory, &seen));
    }
    assert_eq!(
        reached.into_iter().collect::<Vec<_>>(),
        expected_entries_and_sizes().1,
        "the crashes leave every size"
    );
}

#[test]
fn second_kill_during_recovery_does_not_fork_the_log() {
    let steps = count_write_steps();
    // These steps are in the last append, so there is something to recover.
    for failing_step in steps - 20..steps {
        let (scratch, seen) = (scratch_dir(), SignedHeads::default());
        append_batches(&scratch.path().join("log"), failing_disk(failing_step, None))
            .expect_err("the disk failed");
        seen.record(&scratch.path().join("log"));
        for again in 0..8 {
            let (second, seen) = (scratch_dir::scratch_dir(), seen.snapshot());
            copy_tree(scratch.path(), second.path()).unwrap();
            let directory = second.path().join("log");
            let result = restart(&directory, failing_disk(again, None))
                .and_then(|mut writer| writer.append(&sample_notes("second run", 2)));
            result.expect_err("the disk failed");
            check_recovers(&directory, &seen);
        }
    }
}

#[test]
fn short_disk_failure_does_not_fork_the_log() {
    let base = scratch_dir();
    let mut writer = init(base.path(), Storage::default()).unwrap();
    let old = sample_notes("old", 250);
    writer.append(&old).unwrap();
    drop(writer);
    let (disk, steps) = recording_disk();
    let copy = scratch_dir();
    copy_tree(base.path(), copy.path()).unwrap();
    let failed = sample_notes("failed", 10);
    open(copy.path(), disk).unwrap().append(&failed).unwrap();
    let steps = steps.lock().unwrap().len();

    // Opening the log is step 0.
    for length in [1, 2, 3] {
        for from in 1..steps {
            let (scratch, seen) = (scratch_dir(), SignedHeads::default());
            copy_tree(base.path(), scratch.path()).unwrap();
            let mut writer = open(scratch.path(), failing_disk(from, Some(from + length))).unwrap();
            writer.append(&failed).expect_err("the disk had no space");
            seen.record(scratch.path());
            read_verified(scratch.path());
            // The same writer appends other entries: up to the size that failed, then beyond it.
            let mut appended: Vec<Vec<u8>> = Vec::new();
            for (word, count) in [("other", 10), ("next", 3), ("last", 300)] {
                let new = sample_notes(word, count);
                let result = writer.append(&new);
                seen.record(scratch.path());
                let (head, _) = read_verified(scratch.path());
                if let Ok(indexes) = result {
                    assert_eq!(indexes.end, head.size());
                    assert_eq!(&head, writer.head());
                    appended.extend(new);
                }
            }
            drop(writer);
            let writer = open(scratch.path(), seen.disk(scratch.path())).unwrap();
            let (head, entries) = read_verified(scratch.path());
            assert_eq!(&head, writer.head());
            assert_eq!(entries[..250], old);
            // The failed append is in the log completely or not at all. The others are in it.
            let mut rest = &entries[250..];
            rest = rest.strip_prefix(&failed[..]).unwrap_or(rest);
            assert!(rest.ends_with(&appended), "step {from} for {length}");
            assert!(appended.len() >= 300, "the writer does not recover within three appends");
        }
    }
}

#[test]
fn power_cut_at_any_step_leaves_the_old_or_new_log_without_fork() {
    let steps = count_write_steps();
    let mut outcomes = 0;
    for failing_step in 0..=steps {
        let (scratch, seen) = (scratch_dir(), SignedHeads::default());
        let power = PowerCutModel::new(scratch.path());
        let result =
            append_batches(&scratch.path().join("log"), power.disk(Some(failing_step), &seen));
        assert_eq!(result.is_ok(), failing_step == steps);
        for left in power.power_cut_states() {
            let directory = left.path().join("log");
            check_recovers(&directory, &seen.snapshot());
            outcomes += 1;
        }
    }
    assert!(outcomes > steps, "{outcomes} outcomes");
}

#[test]
fn kill_then_power_cut_in_the_next_run_does_not_fork_the_log() {
    let begin = |directory: &Path, disk: Storage| -> Result<(), WriteError> {
        let mut writer = restart(directory, disk)?;
        writer.append(&sample_notes("first run", 2)).map(drop)
    };
    let first = {
        let (scratch, (disk, steps)) = (scratch_dir(), recording_disk());
        begin(&scratch.path().join("log"), disk).unwrap();
        steps.lock().unwrap().len()
    };
    for failing_step in 0..first {
        let (scratch, seen) = (scratch_dir(), SignedHeads::default());
        let power = PowerCutModel::new(scratch.path());
        let directory = scratch.path().join("log");
        begin(&directory, power.disk(Some(failing_step), &seen)).expect_err("killed");
        seen.record(&directory);
        for cut in 0.. {
            let second = scratch_dir::scratch_dir();
            copy_tree(scratch.path(), second.path()).unwrap();
            let power = power.copy_to(second.path());
            let seen = seen.snapshot();
            let directory = second.path().join("log");
            let run_again = |disk| -> Result<(), WriteError> {
                restart(&directory, disk)?.append(&sample_notes("second run", 2)).map(drop)
            };
            let result = run_again(power.disk(Some(cut), &seen));
            let outcomes =
                if power.has_unsynced_names() { power.power_cut_states() } else { Vec::new() };
            for left in outcomes {
                let (directory, seen) = (left.path().join("log"), seen.snapshot());
                seen.record(&directory);
                let mut writer = restart(&directory, Storage::default()).expect("restarted");
                // Append beyond the sizes that the earlier runs could have signed.
                for _ in 0..3 {
                    seen.record(&directory);
                    writer.append(&sample_notes("third run", 2)).expect("appended");
                }
                read_verified(&directory);
                seen.record(&directory);
            }
            if result.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn append_without_a_signature_record_needs_a_mirror() {
    let scratch = scratch_dir();
    let mut writer = init(scratch.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("old", 2)).unwrap();
    let old = fs::read(scratch.path().join("checkpoint")).unwrap();
    writer.append(&sample_notes("new", 2)).unwrap();
    let new = fs::read(scratch.path().join("checkpoint")).unwrap();
    drop(writer);
    // A user with write access can put an old checkpoint back and remove the record.
    fs::write(scratch.path().join("checkpoint"), &old).unwrap();
    fs::remove_file(scratch.path().join(".pending")).unwrap();
    let mut writer = open(scratch.path(), Storage::default()).unwrap();
    let error = writer.append(&sample_notes("other", 2)).unwrap_err();
    assert!(matches!(error, WriteError::Unrecorded(_)), "{error}");
    let message = message(&error, scratch.path());
    snapbox::assert_data_eq!(message, snapbox::file!["words/unrecorded_signature.txt"]);
    assert!(matches!(writer.check_mirror("m", &new), Err(WriteError::MirrorAhead { .. })));
    writer.append(&sample_notes("other", 2)).unwrap_err();
    assert_eq!(fs::read(scratch.path().join("checkpoint")).unwrap(), old);
    // A log that is completely restored from its mirror continues.
    fs::write(scratch.path().join("checkpoint"), &new).unwrap();
    drop(writer);
    let mut writer = open(scratch.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("other", 2)).unwrap_err();
    // A mirror that is behind cannot show that nothing was signed since.
    writer.check_mirror("behind", &old).unwrap();
    let error = writer.append(&sample_notes("other", 2)).unwrap_err();
    assert!(matches!(error, WriteError::Unrecorded(_)), "{error}");
    writer.check_mirror("m", &new).unwrap();
    writer.append(&sample_notes("other", 2)).unwrap();
}

#[test]
fn open_signs_a_recorded_head_only_if_its_tiles_and_signature_verify() {
    let scratch = scratch_dir();
    let mut writer = init(scratch.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("old", 2)).unwrap();
    let old = fs::read(scratch.path().join("checkpoint")).unwrap();
    writer.append(&sample_notes("new", 2)).unwrap();
    drop(writer);
    // This is the state after a power cut before the signature.
    fs::write(scratch.path().join("checkpoint"), &old).unwrap();
    let tile = scratch.path().join("tile/0/000.p/4");
    let bytes = fs::read(&tile).unwrap();
    fs::write(&tile, &bytes[32..]).unwrap();
    open(scratch.path(), Storage::default()).expect_err("its tiles are damaged");
    assert_eq!(fs::read(scratch.path().join("checkpoint")).unwrap(), old);
    fs::write(&tile, &bytes).unwrap();
    fs::write(scratch.path().join(".pending"), "rubbish").unwrap();
    open(scratch.path(), Storage::default()).expect_err("the record is damaged");
    assert_eq!(fs::read(scratch.path().join("checkpoint")).unwrap(), old);
    let leaves: Vec<Hash> = [sample_notes("old", 2), sample_notes("new", 2)]
        .concat()
        .iter()
        .map(|note| Hash::leaf(note))
        .collect();
    let pending = Checkpoint { origin: origin(), size: 4, root: naive_root(&leaves) };
    let signed_record = |text: &str| {
        let mut note = Note::unsigned(&format!("unanimity/pending/v1\n{text}")).unwrap();
        note.sign(&signing_key(1));
        note.to_string()
    };
    // Another user may have written a record without the log's signature.
    let unsigned = signed_record(&pending.text()).split("\n\n").next().unwrap().to_owned() + "\n";
    let other = pending.sign(&signing_key(1)).to_string();
    for forged in [pending.text(), unsigned, other] {
        fs::write(scratch.path().join(".pending"), forged).unwrap();
        open(scratch.path(), Storage::default())
            .expect_err("the record has no signature of the log");
        assert_eq!(fs::read(scratch.path().join("checkpoint")).unwrap(), old);
    }
    fs::write(scratch.path().join(".pending"), signed_record(&pending.text())).unwrap();
    let writer = open(scratch.path(), Storage::default()).unwrap();
    assert_eq!(writer.head().size(), 4);
    assert_eq!(read_verified(scratch.path()).1.len(), 4);
    let note = Note::parse(&fs::read(scratch.path().join("checkpoint")).unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 1);
    assert!(!temporary_path(&scratch.path().join("checkpoint")).exists());
}
