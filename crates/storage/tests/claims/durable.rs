//! Durable writes: their order, their modes, and links that an attacker plants.

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
fn write_syncs_content_then_renames_then_syncs_directory() {
    let scratch = scratch_dir();
    let (disk, steps) = recording_disk();
    let path = scratch.path().join("file");
    disk.write(&path, b"bytes", Mode::Private).unwrap();
    let expected = [
        WriteStep::Create(path.clone()),
        WriteStep::Write(path.clone()),
        WriteStep::SyncFile(path.clone()),
        WriteStep::Rename(path.clone()),
        WriteStep::SyncDir(scratch.path().into()),
    ];
    assert_eq!(*steps.lock().unwrap(), expected);
    assert_eq!(fs::read(&path).unwrap(), b"bytes");
    assert!(!temporary_path(&path).exists());
}

#[test]
fn write_stopped_at_any_step_leaves_old_or_new_content() {
    let mut contents = Vec::new();
    for dies in 0..5 {
        let scratch = scratch_dir();
        let path = scratch.path().join("file");
        fs::write(&path, "old").unwrap();
        let disk = failing_disk(dies, None);
        let error = disk.write(&path, b"new bytes", Mode::Public).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        contents.push(fs::read_to_string(&path).unwrap());
        // A leftover temporary file does not disturb the next write.
        Storage::default().write(&path, b"next", Mode::Public).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"next");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
    assert_eq!(contents, ["old", "old", "old", "old", "new bytes"]);
}

#[test]
fn write_all_syncs_every_file_before_the_first_rename() {
    let scratch = scratch_dir();
    let (disk, steps) = recording_disk();
    let files = ["a/1", "a/2", "b/3"].map(|name| scratch.path().join(name));
    disk.make_dir(&scratch.path().join("a"), Mode::Public).unwrap();
    disk.make_dir(&scratch.path().join("b"), Mode::Public).unwrap();
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
    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    assert_eq!(directories, [&WriteStep::SyncDir(a), &WriteStep::SyncDir(b)]);
}

#[test]
fn power_cut_leaves_no_name_without_its_content() {
    for dies in 0..=12 {
        let scratch = scratch_dir();
        let power = PowerCutModel::new(scratch.path());
        let disk = power.disk(Some(dies), &SignedHeads::default());
        let paths = ["1", "2"].map(|name| scratch.path().join(name));
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
fn mode_limits_access_to_new_files_and_directories() {
    let scratch = scratch_dir();
    let disk = Storage::default();
    let at = |name: &str| scratch.path().join(name);
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
    // Writing a file in private mode removes the access of other users.
    fs::write(at("open"), "").unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o666)).unwrap();
    disk.write(&at("open"), b"secret", Mode::Private).unwrap();
    assert_eq!(mode(&at("open")), 0o600);
}

#[test]
fn write_does_not_follow_a_planted_link() {
    let scratch = scratch_dir();
    let (path, victim) = (scratch.path().join("file"), scratch.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, temporary_path(&path)).unwrap();
    Storage::default().write(&path, b"new", Mode::Public).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    // A hard link to another file is removed, too. The other name keeps its content.
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
fn create_does_not_follow_a_link_planted_in_a_race() {
    let scratch = scratch_dir();
    let (path, victim) = (scratch.path().join("file"), scratch.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = symlink(&victim, temporary_path(&path));
            }
        });
        for _ in 0..20_000 {
            // The call fails if the link was planted after the removal.
            let _ =
                Storage::default().create(&path, Mode::Public).map(|mut file| file.write_all(b"x"));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn make_dir_makes_every_ancestor_durable() {
    let scratch = scratch_dir();
    let (disk, steps) = recording_disk();
    let (a, b) = (scratch.path().join("a"), scratch.path().join("a/b"));
    disk.make_dir(&b, Mode::Private).unwrap();
    let taken = std::mem::take(&mut *steps.lock().unwrap());
    let expected = [
        WriteStep::SyncDir(scratch.path().parent().unwrap().into()),
        WriteStep::MakeDir(a.clone()),
        WriteStep::SyncDir(scratch.path().into()),
        WriteStep::MakeDir(b.clone()),
        WriteStep::SyncDir(a.clone()),
    ];
    assert_eq!(taken, expected);
    // For an existing directory, an interrupted run may have skipped the sync of its name.
    disk.make_dir(&b, Mode::Private).unwrap();
    assert_eq!(*steps.lock().unwrap(), [WriteStep::SyncDir(a)]);
    // A file in the way is an error.
    fs::write(scratch.path().join("file"), "").unwrap();
    Storage::default().make_dir(&scratch.path().join("file/c"), Mode::Private).unwrap_err();
    Storage::default().make_dir(Path::new(""), Mode::Private).unwrap();
}

#[test]
fn lock_excludes_others_until_it_is_dropped() {
    let scratch = scratch_dir();
    let lock = unanimity_storage::lock(scratch.path()).unwrap().expect("free");
    assert!(unanimity_storage::lock(scratch.path()).unwrap().is_none());
    drop(lock);
    drop(unanimity_storage::lock(scratch.path()).unwrap().expect("free again"));
    if rustix::process::geteuid().is_root() {
        // A new lock file gets the owner of the directory. An existing file keeps its own.
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        let lock = scratch.path().join(".lock");
        chown(scratch.path(), Some(54_321), None).unwrap();
        unanimity_storage::lock(scratch.path()).unwrap().expect("free");
        assert_eq!(owner(&lock), 0);
        fs::remove_file(&lock).unwrap();
        unanimity_storage::lock(scratch.path()).unwrap().expect("free");
        assert_eq!(owner(&lock), 54_321);
    }
    unanimity_storage::lock(&scratch.path().join("nowhere")).unwrap_err();
}

#[test]
fn replace_symlink_stopped_at_any_step_leaves_old_or_new_target() {
    let ((disk, steps), mut targets) = (recording_disk(), Vec::new());
    let target = |link: &Path| fs::read_link(link).unwrap();
    {
        let scratch = scratch_dir();
        let link = scratch.path().join("current");
        symlink("old", &link).unwrap();
        disk.replace_symlink(&link, Path::new("new")).unwrap();
        assert_eq!(target(&link), PathBuf::from("new"));
    }
    let steps = steps.lock().unwrap().len();
    for dies in 0..steps {
        let scratch = scratch_dir();
        let link = scratch.path().join("current");
        symlink("old", &link).unwrap();
        failing_disk(dies, None).replace_symlink(&link, Path::new("new")).unwrap_err();
        targets.push(target(&link).to_str().unwrap().to_owned());
        Storage::default().replace_symlink(&link, Path::new("next")).unwrap();
        assert_eq!(target(&link), PathBuf::from("next"));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
    assert_eq!(targets, ["old", "old", "new"]);
}

#[test]
fn remove_keeps_the_target_of_a_link() {
    let scratch = scratch_dir();
    let (kept, link) = (scratch.path().join("kept"), scratch.path().join("link"));
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
fn write_new_never_replaces_a_file() {
    let scratch = scratch_dir();
    let path = scratch.path().join("key");
    let disk = Storage::default();
    disk.write_new(&path, b"first", Mode::Private).unwrap();
    let error = disk.write_new(&path, b"second", Mode::Private).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    // A file that was created during the write is kept, too.
    let late = scratch.path().join("late");
    let made = late.clone();
    let racing = Storage::with_hook(move |step| match step {
        WriteStep::Rename(_) => fs::write(&made, b"precious"),
        _ => Ok(()),
    });
    racing.write_new(&late, b"second", Mode::Private).unwrap_err();
    assert_eq!(fs::read(&late).unwrap(), b"precious");
    // No temporary file is left.
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
}

#[test]
fn lock_neither_follows_a_link_nor_waits_at_a_pipe() {
    let scratch = scratch_dir();
    let elsewhere = scratch.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, scratch.path().join(".lock")).unwrap();
    unanimity_storage::lock(scratch.path()).unwrap_err();
    assert!(!elsewhere.exists());
    // An open for writing waits for a reader of the pipe, unless it is nonblocking.
    fs::remove_file(scratch.path().join(".lock")).unwrap();
    let mkfifo = std::process::Command::new("mkfifo").arg(scratch.path().join(".lock")).status();
    assert!(mkfifo.unwrap().success());
    unanimity_storage::lock(scratch.path()).unwrap_err();
}

#[test]
fn read_error_names_the_path() {
    let scratch = scratch_dir();
    assert_eq!(unanimity_storage::read(&scratch.path().join("nothing"), 10).unwrap(), None);
    let error = unanimity_storage::read(scratch.path(), 10).unwrap_err();
    assert!(matches!(&error, StorageError::Io { path, .. } if path == scratch.path()));
    assert!(error.to_string().contains(scratch.path().to_str().unwrap()), "{error}");
}

#[test]
fn lock_is_released_while_child_processes_start() {
    let scratch = scratch_dir();
    let running = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // A child process has copies of all open descriptors until `exec`.
                for _ in 0..300 {
                    assert!(std::process::Command::new("true").status().unwrap().success());
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut outlived = 0;
        while running.load(Ordering::SeqCst) > 0 {
            outlived += usize::from(unanimity_storage::lock(scratch.path()).unwrap().is_none());
        }
        assert_eq!(outlived, 0, "locks outlived their holder");
    });
}
