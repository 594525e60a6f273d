//! Writing a log: what it takes in, and that it never tells two stories, crash or not.

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

fn message(error: WriteError) -> String {
    error.to_string()
}

#[test]
fn a_new_log_is_empty_and_published() {
    let place = scratch_dir();
    let directory = place.path().join("new/log");
    let writer = init(&directory, Storage::default()).unwrap();
    assert_eq!(writer.head().size(), 0);
    let (head, entries) = read_verified(&directory);
    assert_eq!((head.size(), *head.root(), entries.len()), (0, Hash::empty_root(), 0));
    assert_eq!(&head, writer.head());
}

#[test]
fn what_is_appended_can_be_read_by_anybody() {
    let place = scratch_dir();
    let mut writer = init(place.path(), Storage::default()).unwrap();
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (batch, count) in [1, 2, 252, 1, 1, 255, 256, 300].into_iter().enumerate() {
        let new = sample_notes(&format!("batch {batch}"), count);
        let first = all.len() as u64;
        assert_eq!(writer.append(&new).unwrap(), first..first + count);
        all.extend(new);
        let (head, entries) = read_verified(place.path());
        assert_eq!(entries, all);
        assert_eq!(&head, writer.head());
    }
    assert_eq!(writer.append(&[]).unwrap(), 1068..1068);
    drop(writer);
    // Opened again it goes on from there.
    let mut writer = open(place.path(), Storage::default()).unwrap();
    assert_eq!(writer.append(&sample_notes("later", 1)).unwrap(), 1068..1069);
    assert_eq!(read_verified(place.path()).1[1068], sample_note("later", 0));
}

#[test]
fn a_log_has_one_writer_at_a_time() {
    let place = scratch_dir();
    let writer = init(place.path(), Storage::default()).unwrap();
    let second = open(place.path(), Storage::default()).unwrap_err();
    assert!(matches!(second, WriteError::Busy(_)));
    assert!(matches!(init(place.path(), Storage::default()).unwrap_err(), WriteError::Busy(_)));
    drop(writer);
    open(place.path(), Storage::default()).unwrap();
}

#[test]
fn a_directory_holds_one_log() {
    let place = scratch_dir();
    let mut writer = init(place.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("kept", 2)).unwrap();
    drop(writer);
    let error = init(place.path(), Storage::default()).unwrap_err();
    assert!(matches!(error, WriteError::Exists(_)));
    assert!(message(error).contains("is not empty"));
    assert_eq!(read_verified(place.path()).1, sample_notes("kept", 2));
}

#[test]
fn a_log_opens_with_its_own_key_only() {
    let place = scratch_dir();
    drop(init(place.path(), Storage::default()).unwrap());
    let before = fs::read(place.path().join("checkpoint")).unwrap();
    let error = LogWriter::open(place.path(), signing_key(2), Storage::default()).unwrap_err();
    assert!(matches!(&error, WriteError::Checkpoint { .. }), "{error}");
    let named = unanimity_protocol::NoteSigningKey::from_seed("key-1".parse().unwrap(), &[9; 32]);
    assert!(LogWriter::open(place.path(), named, Storage::default()).is_err());
    assert_eq!(fs::read(place.path().join("checkpoint")).unwrap(), before);
}

#[test]
fn what_does_not_belong_in_the_log_is_refused_and_nothing_is_appended() {
    let place = scratch_dir();
    let mut writer = init(place.path(), Storage::default()).unwrap();
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
             version 1\nissued 1\nexpires 2\ntarget x y 0 {} file\n",
            Hash::empty_root()
        ))
    };
    type Expected = fn(&EntryError) -> bool;
    let refused: [(Vec<u8>, Expected); 10] = [
        (b"no note".to_vec(), |why| matches!(why, EntryError::Note(_))),
        (b"unanimity/example/v1\n\xff\n".to_vec(), |why| matches!(why, EntryError::Note(_))),
        (Vec::new(), |why| matches!(why, EntryError::Note(_))),
        (long(65_536), |why| matches!(why, EntryError::TooLong(65_536))),
        (manifest("0"), |why| matches!(why, EntryError::Statement(_))),
        (
            text("unanimity/example/v1\nlog log.example/other\nx\n"),
            |why| matches!(why, EntryError::OtherLog(log) if log == "log.example/other"),
        ),
        (text("unanimity/example/v1\nno log\n"), |why| matches!(why, EntryError::OtherLog(_))),
        (text(&format!("unanimity/example/v1\nlog {ORIGIN} \n")), |why| {
            matches!(why, EntryError::OtherLog(_))
        }),
        (text(&format!("example/v1\nlog {ORIGIN}\n")), |why| matches!(why, EntryError::Kind)),
        (text(&format!("{ORIGIN}\n0\n{}\n", Hash::empty_root().base64())), |why| {
            matches!(why, EntryError::Kind)
        }),
    ];
    for (bytes, expected) in refused {
        let error = writer.append(&[sample_note("fine", 0), bytes]).unwrap_err();
        let WriteError::Entry { number: 2, why } = &error else { panic!("{error}") };
        assert!(expected(why), "{why}");
    }
    assert_eq!(read_verified(place.path()).1, sample_notes("good", 3));
    // The longest entry there is, and a manifest, go in.
    writer.append(&[long(65_535), manifest("1")]).unwrap();
    assert_eq!(read_verified(place.path()).1.len(), 5);
}

#[test]
fn nothing_is_signed_while_a_mirror_shows_a_head_that_is_not_ours() {
    let place = scratch_dir();
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    let mut writer = init(&ours, Storage::default()).unwrap();
    writer.append(&sample_notes("both", 3)).unwrap();
    let older = fs::read(ours.join("checkpoint")).unwrap();
    copy_tree(&ours, &theirs).unwrap();
    let mut ahead = open(&theirs, Storage::default()).unwrap();
    ahead.append(&sample_notes("theirs", 2)).unwrap();
    let newer = fs::read(theirs.join("checkpoint")).unwrap();

    // A restored backup: the mirror has more than we do.
    let error = writer.check_mirror("mirror-1", &newer).unwrap_err();
    assert!(matches!(&error, WriteError::MirrorAhead { size: 5, held: 3, .. }));
    assert!(message(error).contains("mirror-1"));
    // On another branch, of our size and smaller.
    writer.append(&sample_notes("ours", 2)).unwrap();
    let error = writer.check_mirror("mirror-1", &newer).unwrap_err();
    assert!(matches!(error, WriteError::Forked { size: 5, held: 5, .. }));
    writer.append(&sample_notes("ours again", 300)).unwrap();
    assert!(writer.check_mirror("mirror-1", &newer).is_err());
    // Behind, or level with us, is what mirrors are.
    writer.check_mirror("mirror-1", &older).unwrap();
    writer.check_mirror("mirror-1", &fs::read(ours.join("checkpoint")).unwrap()).unwrap();
    let empty = Checkpoint { origin: origin(), size: 0, root: Hash::empty_root() };
    writer.check_mirror("mirror-1", empty.sign(&signing_key(1)).to_string().as_bytes()).unwrap();
    // Somebody else's checkpoint says nothing of ours.
    let foreign = empty.sign(&signing_key(2)).to_string();
    let error = writer.check_mirror("mirror-1", foreign.as_bytes()).unwrap_err();
    assert!(matches!(error, WriteError::Checkpoint { .. }));
}

#[test]
fn an_artifact_lies_under_its_digest() {
    let place = scratch_dir();
    let writer = init(place.path(), Storage::default()).unwrap();
    let digest = writer.add_artifact(b"program").unwrap();
    assert_eq!(digest, Hash::digest(b"program"));
    let path = place.path().join(artifact_path(&digest));
    assert_eq!(fs::read(&path).unwrap(), b"program");
    assert_eq!(path, place.path().join(format!("artifact/{}", digest.hex())));
    // Once more is no harm.
    writer.add_artifact(b"program").unwrap();
}

#[test]
fn damage_to_the_newest_entries_is_found_before_anything_is_appended() {
    let place = scratch_dir();
    let mut writer = init(place.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("good", 3)).unwrap();
    drop(writer);
    for file in ["tile/entries/000.p/3", "tile/0/000.p/3"] {
        let path = place.path().join(file);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let error = open(place.path(), Storage::default()).unwrap_err();
            assert!(matches!(error, WriteError::Disk(_)), "byte {at} of {file}: {error}");
        }
        fs::write(&path, whole).unwrap();
    }
    open(place.path(), Storage::default()).unwrap();
}

#[test]
fn everything_is_durable_before_the_head_is_written_down_and_that_before_it_is_signed() {
    let place = scratch_dir();
    let (disk, steps) = recording_disk();
    let directory = place.path().join("log");
    let mut writer = init(&directory, disk).unwrap();
    for count in [3, 250, 10, 600] {
        steps.lock().unwrap().clear();
        writer.append(&sample_notes("note", count)).unwrap();
        let steps = steps.lock().unwrap().clone();
        let at = |step: &WriteStep| {
            let at = steps.iter().position(|taken| taken == step);
            at.unwrap_or_else(|| panic!("{step:?} is never taken"))
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
            // The directory is synced after the name, and before anything of the next stage.
            let named = order[3];
            let synced =
                steps[named..].iter().position(|s| *s == WriteStep::SyncDir(parent(&path).into()));
            (order[0], named + synced.expect("its directory is synced"))
        };
        let (pending_begins, pending_durable) = written(&pending);
        let (checkpoint_begins, _) = written(&checkpoint);
        assert!(pending_durable < checkpoint_begins, "no signature before the head is down");
        let files: BTreeSet<&Path> = (steps.iter())
            .filter(|step| matches!(step, WriteStep::Create(_)))
            .map(step_path)
            .filter(|path| **path != pending && **path != checkpoint)
            .collect();
        assert!(files.iter().any(|path| path.starts_with(directory.join("tile/entries"))));
        assert!(files.iter().any(|path| path.starts_with(directory.join("tile/0"))));
        for path in files {
            assert!(written(path).1 < pending_begins, "{} comes late", path.display());
        }
        for (i, step) in steps.iter().enumerate() {
            if let WriteStep::MakeDir(path) = step {
                let above = WriteStep::SyncDir(parent(path).into());
                let synced = steps[i..pending_begins].contains(&above);
                assert!(synced, "{} is made and its name not synced", path.display());
            }
        }
    }
}

/// Small appends that fill a bundle exactly, cross into the next, and do neither.
const BATCHES: [u64; 4] = [3, 253, 1, 257];

/// Makes a log and appends [`BATCHES`], as far as the disk lets it.
fn append_batches(directory: &Path, disk: Storage) -> Result<(), WriteError> {
    let mut writer = init(directory, disk)?;
    for (i, count) in BATCHES.into_iter().enumerate() {
        writer.append(&sample_notes(&format!("batch {i}"), count))?;
    }
    Ok(())
}

/// All that [`append_batches`] appends, and the sizes that it publishes.
fn expected_entries_and_sizes() -> (Vec<Vec<u8>>, Vec<usize>) {
    let (mut entries, mut sizes) = (Vec::new(), vec![0]);
    for (i, count) in BATCHES.into_iter().enumerate() {
        entries.extend(sample_notes(&format!("batch {i}"), count));
        sizes.push(entries.len());
    }
    (entries, sizes)
}

fn count_write_steps() -> usize {
    let place = scratch_dir();
    let (disk, steps) = recording_disk();
    append_batches(&place.path().join("log"), disk).unwrap();
    steps.lock().unwrap().len()
}

/// Opens what a crash left, or begins where there is no log yet.
fn restart(directory: &Path, disk: Storage) -> Result<LogWriter, WriteError> {
    if directory.join("checkpoint").exists() {
        open(directory, disk)
    } else {
        init(directory, disk)
    }
}

/// After a crash: the log is one of those published, whole; and goes on with other entries without
/// a second root for any size.
fn check_recovers(directory: &Path, seen: &SignedHeads) -> usize {
    seen.record(directory);
    let (all, sizes) = expected_entries_and_sizes();
    let shown = directory.join("checkpoint").exists().then(|| read_verified(directory).0.size());
    let mut writer = restart(directory, seen.disk(directory)).expect("starts again");
    let (head, entries) = read_verified(directory);
    assert_eq!(&head, writer.head());
    assert!(head.size() >= shown.unwrap_or(0), "what was published stays published");
    assert!(sizes.contains(&entries.len()), "old or new, and nothing between: {head}");
    assert_eq!(entries, all[..entries.len()]);
    let finished = entries.len();
    // Other entries, and as many as were interrupted: a head of that size may have been signed.
    let next = BATCHES.get(sizes.iter().position(|size| *size == finished).unwrap());
    let next = next.copied().unwrap_or(1);
    for (word, count) in [("other", next), ("another", 2)] {
        writer.append(&sample_notes(word, count)).expect("goes on");
    }
    seen.record(directory);
    let (_, after) = read_verified(directory);
    assert_eq!(after[..finished], all[..finished]);
    assert_eq!(after.len(), finished + next as usize + 2);
    finished
}

#[test]
fn a_writer_killed_at_any_step_leaves_the_old_log_or_the_new_and_never_forks_it() {
    let steps = count_write_steps();
    assert!(steps > 100, "{steps} steps");
    let mut reached = BTreeSet::new();
    for dies in 0..steps {
        let (place, seen) = (scratch_dir(), SignedHeads::default());
        let directory = place.path().join("log");
        append_batches(&directory, failing_disk(dies, None)).expect_err("the disk died");
        reached.insert(check_recovers(&directory, &seen));
    }
    assert_eq!(
        reached.into_iter().collect::<Vec<_>>(),
        expected_entries_and_sizes().1,
        "every size was met"
    );
}

#[test]
fn a_writer_killed_again_while_it_recovers_does_not_fork_either() {
    let steps = count_write_steps();
    // In the last append, where there is something to recover.
    for dies in steps - 20..steps {
        let (place, seen) = (scratch_dir(), SignedHeads::default());
        append_batches(&place.path().join("log"), failing_disk(dies, None))
            .expect_err("the disk died");
        seen.record(&place.path().join("log"));
        for again in 0..8 {
            let (second, seen) = (scratch_dir::scratch_dir(), seen.snapshot());
            copy_tree(place.path(), second.path()).unwrap();
            let directory = second.path().join("log");
            let died = restart(&directory, failing_disk(again, None))
                .and_then(|mut writer| writer.append(&sample_notes("second life", 2)));
            died.expect_err("the disk died");
            check_recovers(&directory, &seen);
        }
    }
}

#[test]
fn a_writer_whose_disk_fails_for_a_moment_goes_on_without_forking_or_refuses() {
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

    // Opening takes the first step.
    for length in [1, 2, 3] {
        for from in 1..steps {
            let (place, seen) = (scratch_dir(), SignedHeads::default());
            copy_tree(base.path(), place.path()).unwrap();
            let mut writer = open(place.path(), failing_disk(from, Some(from + length))).unwrap();
            writer.append(&failed).expect_err("the disk had no space");
            seen.record(place.path());
            read_verified(place.path());
            // The same writer, other entries: of the size that failed, and then past it.
            let mut appended: Vec<Vec<u8>> = Vec::new();
            for (word, count) in [("other", 10), ("next", 3), ("last", 300)] {
                let new = sample_notes(word, count);
                let tried = writer.append(&new);
                seen.record(place.path());
                let (head, _) = read_verified(place.path());
                if let Ok(indexes) = tried {
                    assert_eq!(indexes.end, head.size());
                    assert_eq!(&head, writer.head());
                    appended.extend(new);
                }
            }
            drop(writer);
            let writer = open(place.path(), seen.disk(place.path())).unwrap();
            let (head, entries) = read_verified(place.path());
            assert_eq!(&head, writer.head());
            assert_eq!(entries[..250], old);
            // What failed is in it whole or not at all, and what succeeded is.
            let mut rest = &entries[250..];
            rest = rest.strip_prefix(&failed[..]).unwrap_or(rest);
            assert!(rest.ends_with(&appended), "step {from} for {length}");
            assert!(appended.len() >= 300, "it recovers within three tries");
        }
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_log_or_the_new_and_never_forks_it() {
    let steps = count_write_steps();
    let mut outcomes = 0;
    for dies in 0..=steps {
        let (place, seen) = (scratch_dir(), SignedHeads::default());
        let power = PowerCutModel::new(place.path());
        let told = append_batches(&place.path().join("log"), power.disk(Some(dies), &seen));
        assert_eq!(told.is_ok(), dies == steps);
        for left in power.power_cut_states() {
            let directory = left.path().join("log");
            check_recovers(&directory, &seen.snapshot());
            outcomes += 1;
        }
    }
    assert!(outcomes > steps, "{outcomes} outcomes");
}

#[test]
fn a_kill_and_then_a_power_cut_in_the_next_run_do_not_fork_the_log() {
    let begin = |directory: &Path, disk: Storage| -> Result<(), WriteError> {
        let mut writer = restart(directory, disk)?;
        writer.append(&sample_notes("first life", 2)).map(drop)
    };
    let first = {
        let (place, (disk, steps)) = (scratch_dir(), recording_disk());
        begin(&place.path().join("log"), disk).unwrap();
        steps.lock().unwrap().len()
    };
    for dies in 0..first {
        let (place, seen) = (scratch_dir(), SignedHeads::default());
        let power = PowerCutModel::new(place.path());
        let directory = place.path().join("log");
        begin(&directory, power.disk(Some(dies), &seen)).expect_err("killed");
        seen.record(&directory);
        for cut in 0.. {
            let second = scratch_dir::scratch_dir();
            copy_tree(place.path(), second.path()).unwrap();
            let power = power.copy_to(second.path());
            let seen = seen.snapshot();
            let directory = second.path().join("log");
            let second_life = |disk| -> Result<(), WriteError> {
                restart(&directory, disk)?.append(&sample_notes("second life", 2)).map(drop)
            };
            let ended = second_life(power.disk(Some(cut), &seen));
            let outcomes =
                if power.has_unsynced_names() { power.power_cut_states() } else { Vec::new() };
            for left in outcomes {
                let (directory, seen) = (left.path().join("log"), seen.snapshot());
                seen.record(&directory);
                let mut writer = restart(&directory, Storage::default()).expect("starts again");
                // Over the sizes that the lives before could have signed.
                for _ in 0..3 {
                    seen.record(&directory);
                    writer.append(&sample_notes("third life", 2)).expect("goes on");
                }
                read_verified(&directory);
                seen.record(&directory);
            }
            if ended.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn a_log_whose_last_signature_is_not_on_record_signs_only_beside_a_mirror() {
    let place = scratch_dir();
    let mut writer = init(place.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("old", 2)).unwrap();
    let old = fs::read(place.path().join("checkpoint")).unwrap();
    writer.append(&sample_notes("new", 2)).unwrap();
    let new = fs::read(place.path().join("checkpoint")).unwrap();
    drop(writer);
    // Anybody who may write here can put an old checkpoint back, and take the record away.
    fs::write(place.path().join("checkpoint"), &old).unwrap();
    fs::remove_file(place.path().join(".pending")).unwrap();
    let mut writer = open(place.path(), Storage::default()).unwrap();
    let error = writer.append(&sample_notes("other", 2)).unwrap_err();
    assert!(matches!(error, WriteError::Unrecorded(_)), "{error}");
    assert!(matches!(writer.check_mirror("m", &new), Err(WriteError::MirrorAhead { .. })));
    writer.append(&sample_notes("other", 2)).unwrap_err();
    assert_eq!(fs::read(place.path().join("checkpoint")).unwrap(), old);
    // A log that was restored whole from its mirror goes on.
    fs::write(place.path().join("checkpoint"), &new).unwrap();
    drop(writer);
    let mut writer = open(place.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("other", 2)).unwrap_err();
    writer.check_mirror("m", &new).unwrap();
    writer.append(&sample_notes("other", 2)).unwrap();
}

#[test]
fn a_head_that_was_written_down_is_finished_and_one_whose_tiles_are_gone_is_not_signed() {
    let place = scratch_dir();
    let mut writer = init(place.path(), Storage::default()).unwrap();
    writer.append(&sample_notes("old", 2)).unwrap();
    let old = fs::read(place.path().join("checkpoint")).unwrap();
    writer.append(&sample_notes("new", 2)).unwrap();
    drop(writer);
    // As if the power had gone before the signature.
    fs::write(place.path().join("checkpoint"), &old).unwrap();
    let tile = place.path().join("tile/0/000.p/4");
    let bytes = fs::read(&tile).unwrap();
    fs::write(&tile, &bytes[32..]).unwrap();
    open(place.path(), Storage::default()).expect_err("its tiles are damaged");
    assert_eq!(fs::read(place.path().join("checkpoint")).unwrap(), old);
    fs::write(&tile, &bytes).unwrap();
    fs::write(place.path().join(".pending"), "rubbish").unwrap();
    open(place.path(), Storage::default()).expect_err("nobody knows what was signed");
    assert_eq!(fs::read(place.path().join("checkpoint")).unwrap(), old);
    let leaves: Vec<Hash> = [sample_notes("old", 2), sample_notes("new", 2)]
        .concat()
        .iter()
        .map(|note| Hash::leaf(note))
        .collect();
    let pending = Checkpoint { origin: origin(), size: 4, root: naive_root(&leaves) };
    let intent = |text: &str| {
        let mut note = Note::unsigned(&format!("unanimity/pending/v1\n{text}")).unwrap();
        note.sign(&signing_key(1));
        note.to_string()
    };
    // Without the log's own signature it is somebody else's wish.
    let unsigned = intent(&pending.text()).split("\n\n").next().unwrap().to_owned() + "\n";
    let other = pending.sign(&signing_key(1)).to_string();
    for forged in [pending.text(), unsigned, other] {
        fs::write(place.path().join(".pending"), forged).unwrap();
        open(place.path(), Storage::default()).expect_err("nobody signed that");
        assert_eq!(fs::read(place.path().join("checkpoint")).unwrap(), old);
    }
    fs::write(place.path().join(".pending"), intent(&pending.text())).unwrap();
    let writer = open(place.path(), Storage::default()).unwrap();
    assert_eq!(writer.head().size(), 4);
    assert_eq!(read_verified(place.path()).1.len(), 4);
    let note = Note::parse(&fs::read(place.path().join("checkpoint")).unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 1);
    assert!(!temporary_path(&place.path().join("checkpoint")).exists());
}
