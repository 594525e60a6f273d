//! Durable writes: whole or not at all, for the right readers, and through nobody's trap.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, io};

use unanimity_storage::{Mode, Storage, StorageError, WriteStep, temporary_path};
use unanimity_testkit::power_cut::PowerCutModel;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::signed_heads::SignedHeads;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_write_syncs_the_bytes_then_names_them_then_syncs_the_name() {
    let place = scratch_dir();
    let (disk, steps) = recording_disk();
    let path = place.path().join("file");
    disk.write(&path, b"bytes", Mode::Private).unwrap();
    let expected = [
        WriteStep::Create(path.clone()),
        WriteStep::Write(path.clone()),
        WriteStep::SyncFile(path.clone()),
        WriteStep::Rename(path.clone()),
        WriteStep::SyncDir(place.path().into()),
    ];
    assert_eq!(*steps.lock().unwrap(), expected);
    assert_eq!(fs::read(&path).unwrap(), b"bytes");
    assert!(!temporary_path(&path).exists());
}

#[test]
fn a_file_killed_at_any_step_of_its_writing_is_the_old_one_or_the_new_one() {
    let mut contents = Vec::new();
    for dies in 0..5 {
        let place = scratch_dir();
        let path = place.path().join("file");
        fs::write(&path, "old").unwrap();
        let disk = failing_disk(dies, None);
        let error = disk.write(&path, b"new bytes", Mode::Public).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        contents.push(fs::read_to_string(&path).unwrap());
        // What was left lying there is in nobody's way.
        Storage::default().write(&path, b"next", Mode::Public).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"next");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
    assert_eq!(contents, ["old", "old", "old", "old", "new bytes"]);
}

#[test]
fn several_files_are_all_synced_before_the_first_is_named() {
    let place = scratch_dir();
    let (disk, steps) = recording_disk();
    let files = ["a/1", "a/2", "b/3"].map(|name| place.path().join(name));
    disk.make_dir(&place.path().join("a"), Mode::Public).unwrap();
    disk.make_dir(&place.path().join("b"), Mode::Public).unwrap();
    steps.lock().unwrap().clear();
    disk.write_all(files.iter().map(|path| (path.clone(), &b"x"[..])), Mode::Public).unwrap();
    let steps = steps.lock().unwrap();
    let last = |is: fn(&WriteStep) -> bool| steps.iter().rposition(is).unwrap();
    let first = |is: fn(&WriteStep) -> bool| steps.iter().position(is).unwrap();
    let (synced, named) = (
        |s: &WriteStep| matches!(s, WriteStep::SyncFile(_)),
        |s: &WriteStep| matches!(s, WriteStep::Rename(_)),
    );
    assert!(last(synced) < first(named));
    assert!(last(named) < first(|step| matches!(step, WriteStep::SyncDir(_))));
    let directories: Vec<&WriteStep> =
        steps.iter().filter(|s| matches!(s, WriteStep::SyncDir(_))).collect();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    assert_eq!(directories, [&WriteStep::SyncDir(a), &WriteStep::SyncDir(b)]);
}

#[test]
fn a_power_cut_leaves_no_name_without_its_bytes() {
    for dies in 0..=12 {
        let place = scratch_dir();
        let power = PowerCutModel::new(place.path());
        let disk = power.disk(Some(dies), &SignedHeads::default());
        let paths = ["1", "2"].map(|name| place.path().join(name));
        let _ = disk
            .write_all(paths.iter().map(|path| (path.clone(), &b"old"[..])), Mode::Public)
            .and_then(|()| disk.write(&paths[0], b"new", Mode::Public));
        for left in power.power_cut_states() {
            for name in ["1", "2"] {
                let found = unanimity_storage::read(&left.path().join(name), 1 << 20).unwrap();
                assert!([None, Some(&b"old"[..]), Some(b"new")].contains(&found.as_deref()));
            }
        }
    }
}

#[test]
fn private_is_for_the_owner_and_public_for_everybody_to_read() {
    let place = scratch_dir();
    let disk = Storage::default();
    let at = |name: &str| place.path().join(name);
    // The umask may take rights away and never adds any.
    for (name, mode_of, file, directory) in [
        ("private", Mode::Private, 0o600, 0o700),
        ("public", Mode::Public, 0o644, 0o755),
        ("program", Mode::Program, 0o755, 0o755),
    ] {
        disk.write(&at(name), b"", mode_of).unwrap();
        assert_eq!(mode(&at(name)) & !file, 0, "{name}");
        assert_eq!(mode(&at(name)) & 0o700, file & 0o700, "{name}");
        let made = at(&format!("{name}-directory"));
        disk.make_dir(&made, mode_of).unwrap();
        assert_eq!(mode(&made) & !directory, 0, "{name}");
        assert_eq!(mode(&made) & 0o700, 0o700, "{name}");
    }
    // A file that was open to all is not after it is written anew.
    fs::write(at("open"), "").unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o666)).unwrap();
    disk.write(&at("open"), b"secret", Mode::Private).unwrap();
    assert_eq!(mode(&at("open")), 0o600);
}

#[test]
fn a_link_planted_where_a_file_will_be_made_is_not_followed() {
    let place = scratch_dir();
    let (path, victim) = (place.path().join("file"), place.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, temporary_path(&path)).unwrap();
    Storage::default().write(&path, b"new", Mode::Public).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    // A hard link to something else is cleared away too, and the other name keeps its bytes.
    fs::remove_file(&path).unwrap();
    fs::hard_link(&victim, temporary_path(&path)).unwrap();
    Storage::default().write(&path, b"new", Mode::Public).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    // A link at the name itself is replaced, not written through.
    fs::remove_file(&path).unwrap();
    symlink(&victim, &path).unwrap();
    Storage::default().write(&path, b"new", Mode::Public).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn a_link_planted_again_and_again_is_never_followed() {
    let place = scratch_dir();
    let (path, victim) = (place.path().join("file"), place.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = symlink(&victim, temporary_path(&path));
            }
        });
        for _ in 0..20_000 {
            // Refused if the link got there in between.
            let _ =
                Storage::default().create(&path, Mode::Public).map(|mut file| file.write_all(b"x"));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn a_directory_is_durable_in_every_directory_above_it() {
    let place = scratch_dir();
    let (disk, steps) = recording_disk();
    let (a, b) = (place.path().join("a"), place.path().join("a/b"));
    disk.make_dir(&b, Mode::Private).unwrap();
    let taken = std::mem::take(&mut *steps.lock().unwrap());
    let expected = [
        WriteStep::SyncDir(place.path().parent().unwrap().into()),
        WriteStep::MakeDir(a.clone()),
        WriteStep::SyncDir(place.path().into()),
        WriteStep::MakeDir(b.clone()),
        WriteStep::SyncDir(a.clone()),
    ];
    assert_eq!(taken, expected);
    // Found there, it may be what an interrupted run made and did not sync.
    disk.make_dir(&b, Mode::Private).unwrap();
    assert_eq!(*steps.lock().unwrap(), [WriteStep::SyncDir(a)]);
    // A file in the way is an error.
    fs::write(place.path().join("file"), "").unwrap();
    Storage::default().make_dir(&place.path().join("file/c"), Mode::Private).unwrap_err();
    Storage::default().make_dir(Path::new(""), Mode::Private).unwrap();
}

#[test]
fn a_lock_keeps_others_out_until_it_is_dropped() {
    let place = scratch_dir();
    let lock = unanimity_storage::lock(place.path()).unwrap().expect("free");
    assert!(unanimity_storage::lock(place.path()).unwrap().is_none());
    drop(lock);
    drop(unanimity_storage::lock(place.path()).unwrap().expect("free again"));
    if rustix::process::geteuid().is_root() {
        // Whose directory it is can lock it, and is given no file that was there.
        let of = |path: &Path| fs::metadata(path).unwrap().uid();
        let lock = place.path().join(".lock");
        chown(place.path(), Some(54_321), None).unwrap();
        unanimity_storage::lock(place.path()).unwrap().expect("free");
        assert_eq!(of(&lock), 0);
        fs::remove_file(&lock).unwrap();
        unanimity_storage::lock(place.path()).unwrap().expect("free");
        assert_eq!(of(&lock), 54_321);
    }
    unanimity_storage::lock(&place.path().join("nowhere")).unwrap_err();
}

#[test]
fn a_link_points_at_the_old_target_or_the_new_at_every_step() {
    let (steps_of, mut pointed) = (recording_disk(), Vec::new());
    let target = |link: &Path| fs::read_link(link).unwrap();
    {
        let place = scratch_dir();
        let link = place.path().join("current");
        symlink("old", &link).unwrap();
        steps_of.0.replace_symlink(&link, Path::new("new")).unwrap();
        assert_eq!(target(&link), PathBuf::from("new"));
    }
    let steps = steps_of.1.lock().unwrap().len();
    for dies in 0..steps {
        let place = scratch_dir();
        let link = place.path().join("current");
        symlink("old", &link).unwrap();
        failing_disk(dies, None).replace_symlink(&link, Path::new("new")).unwrap_err();
        pointed.push(target(&link).to_str().unwrap().to_owned());
        Storage::default().replace_symlink(&link, Path::new("next")).unwrap();
        assert_eq!(target(&link), PathBuf::from("next"));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
    assert_eq!(pointed, ["old", "old", "new"]);
}

#[test]
fn removing_a_link_leaves_what_it_points_at() {
    let place = scratch_dir();
    let (kept, link) = (place.path().join("kept"), place.path().join("link"));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "").unwrap();
    symlink(&kept, &link).unwrap();
    let disk = Storage::default();
    disk.remove(&link).unwrap();
    assert!(kept.join("file").exists() && !link.exists());
    disk.remove(&kept).unwrap();
    disk.remove(&kept).unwrap();
    assert!(!kept.exists());
}

#[test]
fn a_new_file_never_takes_the_place_of_another() {
    let place = scratch_dir();
    let path = place.path().join("key");
    let disk = Storage::default();
    disk.write_new(&path, b"first", Mode::Private).unwrap();
    let error = disk.write_new(&path, b"second", Mode::Private).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    // Also not of one that was made while this one was being written.
    let late = place.path().join("late");
    let made = late.clone();
    let racing = Storage::with_hook(move |step| match step {
        WriteStep::Rename(_) => fs::write(&made, b"precious"),
        _ => Ok(()),
    });
    racing.write_new(&late, b"second", Mode::Private).unwrap_err();
    assert_eq!(fs::read(&late).unwrap(), b"precious");
    // And nothing is left of what did not become a file.
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn a_lock_is_not_taken_through_a_link_or_at_a_pipe() {
    let place = scratch_dir();
    let elsewhere = place.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, place.path().join(".lock")).unwrap();
    unanimity_storage::lock(place.path()).unwrap_err();
    assert!(!elsewhere.exists());
}

#[test]
fn an_error_names_the_path_it_happened_at() {
    let place = scratch_dir();
    assert_eq!(unanimity_storage::read(&place.path().join("nothing"), 10).unwrap(), None);
    let error = unanimity_storage::read(place.path(), 10).unwrap_err();
    assert!(matches!(&error, StorageError::Io { path, .. } if path == place.path()));
    assert!(error.to_string().contains(place.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_lock_ends_with_its_holder_also_while_other_processes_are_started() {
    let place = scratch_dir();
    let running = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Each holds copies of every open file between its start and its program's.
                for _ in 0..300 {
                    assert!(std::process::Command::new("true").status().unwrap().success());
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut outlived = 0;
        while running.load(Ordering::SeqCst) > 0 {
            outlived += usize::from(unanimity_storage::lock(place.path()).unwrap().is_none());
        }
        assert_eq!(outlived, 0, "locks outlived their holder");
    });
}
