//! Edits on a failing disk, concurrent edits, and edits of files with other owners or permissions.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::{fs, io};

use unanimity_config::peers::edit::{self, EditErrorKind};
use unanimity_config::{ConfigErrorKind, Membership, PeerEntry, PeerList};
use unanimity_protocol::Hash;
use unanimity_storage::Storage;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk};
use unanimity_testkit::test_world::NOW;

use crate::peers_file::{
    EDITS, LATER, disk, edit_error_kind, file, joining, joining_entry, name, names, parse, peer,
    peers_of_every_membership,
};

#[test]
fn refused_edit_names_the_reason_and_changes_nothing() {
    let (scratch, path) = file(&peers_of_every_membership());
    let new = |change: fn(&mut PeerEntry)| {
        let mut entry = joining_entry(9);
        change(&mut entry);
        edit::add(&path, &entry, &disk())
    };
    let stranger = name("mallory");
    let list = parse(&peers_of_every_membership());
    let joins = list.find(&name("joins")).unwrap();
    let mut changed = joins.clone();
    changed.membership = Membership::Joining { size: 43, root: Hash([7; 32]) };
    let mut messages = String::new();
    for (case, edited) in [
        ("add: same name", new(|entry| entry.peer.name = name("a"))),
        // Keys are equal by their bytes, whatever their names are.
        ("add: same key", new(|entry| entry.peer.key = joining_entry(5).peer.key)),
        ("add: same address", new(|entry| entry.address.key = [4; 32])),
        (
            "add: same client_auth key",
            new(|entry| entry.client_auth = joining_entry(6).client_auth),
        ),
        ("schedule removal: stranger", edit::schedule_removal(&path, &stranger, LATER, &disk())),
        ("cancel removal: counted", edit::cancel_removal(&path, &name("a"), &disk())),
        ("cancel removal: joining", edit::cancel_removal(&path, &name("joins"), &disk())),
        ("activate: counted", edit::activate(&path, &list.entries()[0], &disk())),
        ("activate: changed", edit::activate(&path, &changed, &disk())),
        ("remove: counted", edit::remove(&path, &name("a"), LATER, &disk())),
        (
            "remove: leaving",
            edit::remove(&path, &name("leaves"), crate::peers_file::BEFORE, &disk()),
        ),
        ("remove: stranger", edit::remove(&path, &stranger, LATER, &disk())),
    ] {
        let error = edited.unwrap_err().to_string();
        let file = format!("{}: ", path.canonicalize().unwrap().display());
        let message = error.strip_prefix(&file).expect("the error begins with the file");
        messages += &format!("{case}: {message}\n");
    }
    assert!(!messages.contains(".onion"), "{messages}");
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_edits.txt"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
    // The directory has the file and its lock, and no temporary file.
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
}

#[test]
fn file_that_does_not_load_is_not_edited() {
    for text in ["peer = 1", "surprise = 1", "[[peer]]\nname = \"FILL IN\"\n", "min_peers = 0"] {
        let (_scratch, path) = file(text);
        let why = edit_error_kind(edit::add(&path, &joining_entry(9), &disk()));
        assert!(matches!(why, EditErrorKind::Config(_)), "{text}: {why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let (_scratch, path) = file(&peers_of_every_membership());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
    let why = edit_error_kind(edit::cancel_removal(&path, &name("leaves"), &disk()));
    assert!(matches!(why, EditErrorKind::Config(ConfigErrorKind::Writable(0o646))), "{why}");
    assert!(why.to_string().contains("every user may write to it (mode 646)"), "{why}");
}

#[test]
fn failure_at_any_step_leaves_a_whole_file() {
    for (what, edit) in EDITS {
        let (recording, steps) = recording_disk();
        let (_scratch, path) = file(&peers_of_every_membership());
        edit(&path, &recording).unwrap();
        let after = fs::read_to_string(&path).unwrap();
        let steps = steps.lock().unwrap().len();
        assert_eq!(steps, 5, "{what}");
        for dies in 0..steps {
            for until in [None, Some(dies + 1)] {
                let (scratch, path) = file(&peers_of_every_membership());
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                let why = edit_error_kind(edit(&path, &failing_disk(dies, until)));
                assert!(
                    matches!(&why, EditErrorKind::Io(e) if e.kind() == io::ErrorKind::StorageFull)
                );
                let found = fs::read_to_string(&path).unwrap();
                // After the rename, only the sync of the directory can fail.
                assert_eq!(
                    found,
                    if dies < 4 { peers_of_every_membership() } else { after.clone() },
                    "{what}"
                );
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
                if until.is_some() {
                    // No temporary file stays on a full disk.
                    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "{what}");
                }
                // The next edit succeeds.
                edit::add(&path, &joining_entry(10), &disk()).unwrap();
                assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "{what}");
            }
        }
    }
}

#[test]
fn concurrent_edits_are_all_made() {
    // The first edit creates the file.
    let scratch = scratch_dir();
    let path = scratch.path().join("peers.toml");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for i in 0..8 {
                    let new = joining_entry(100 + 8 * thread + i);
                    edit::add(path, &new, &disk()).unwrap();
                    edit::activate(path, &new, &disk()).unwrap();
                }
            });
        }
    });
    assert_eq!(PeerList::load(&path).unwrap().counted_peers(NOW).unwrap().iter().count(), 32);
    assert_eq!(fs::read_to_string(&path).unwrap().matches("[[peer]]").count(), 32);
}

#[test]
fn entry_changed_since_it_was_read_is_not_activated() {
    let (_scratch, path) = file(&peers_of_every_membership());
    let seen = parse(&peers_of_every_membership()).find(&name("joins")).unwrap().clone();
    // The peer is removed, and added again under its name with another key.
    edit::schedule_removal(&path, &name("joins"), LATER, &disk()).unwrap();
    let other = parse(&peer("joins", 9, &joining())).entries()[0].clone();
    edit::add(&path, &other, &disk()).unwrap();
    let why = edit_error_kind(edit::activate(&path, &seen, &disk()));
    assert!(matches!(why, EditErrorKind::Changed(_)), "{why}");
    edit::activate(&path, &other, &disk()).unwrap();
}

#[test]
fn edit_waits_for_a_held_lock() {
    let (scratch, path) = file(&peers_of_every_membership());
    let lock = unanimity_storage::lock(scratch.path()).unwrap().expect("free");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| edit::cancel_removal(&path, &name("leaves"), &disk()));
        assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
        drop(lock);
        waits.join().unwrap().unwrap();
    });
}

#[test]
fn edit_keeps_permissions_at_every_step() {
    for mode in [0o600, 0o640, 0o644, 0o660, 0o200 | 0o400, 0o700] {
        let (_scratch, path) = file(&peers_of_every_membership());
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let target = path.clone();
        let disk = Storage::with_hook(move |_| {
            if let Ok(found) = fs::metadata(unanimity_storage::temporary_path(&target)) {
                assert_eq!(found.mode() & 0o777 & !mode, 0, "{mode:o}");
            }
            Ok(())
        });
        edit::cancel_removal(&path, &name("leaves"), &disk).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
    }
    let (_scratch, path) = file(&peers_of_every_membership());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let why = edit_error_kind(edit::cancel_removal(&path, &name("leaves"), &disk()));
    assert!(matches!(why, EditErrorKind::ReadOnly), "{why}");
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
}

#[test]
fn edit_keeps_the_group_and_refuses_another_owner() {
    let (_scratch, path) = file(&peers_of_every_membership());
    // Only root may change owners, so this test ends here for other users.
    if chown(&path, None, Some(4242)).is_err() {
        return;
    }
    edit::cancel_removal(&path, &name("leaves"), &disk()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().gid(), 4242);
    chown(&path, Some(4242), None).unwrap();
    let why = edit_error_kind(edit::schedule_removal(&path, &name("leaves"), NOW, &disk()));
    assert!(matches!(why, EditErrorKind::OtherOwner { owner: 4242 }), "{why}");
    assert!(why.to_string().contains("sudo -u '#4242'"), "{why}");
    assert_eq!(fs::metadata(&path).unwrap().uid(), 4242);
}

#[test]
fn edit_follows_a_link_to_an_existing_file_only() {
    let (_scratch, target) = file(&peers_of_every_membership());
    let elsewhere = scratch_dir();
    let link = elsewhere.path().join("peers.toml");
    symlink(&target, &link).unwrap();
    edit::add(&link, &joining_entry(9), &disk()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(parse(&fs::read_to_string(&target).unwrap()).entries().len(), 7);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    // A link to a missing file does not get a new file.
    fs::remove_file(&target).unwrap();
    edit::add(&link, &joining_entry(9), &disk()).unwrap_err();
    assert!(!target.exists());
}

#[test]
fn first_peer_creates_the_file_for_its_owner_only() {
    let scratch = scratch_dir();
    let path = scratch.path().join("peers.toml");
    edit::cancel_removal(&path, &name("a"), &disk()).unwrap_err();
    assert!(!path.exists());
    edit::add(&path, &joining_entry(9), &disk()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# ") && text.ends_with(&peer("new-9", 9, &joining())), "{text}");
    assert_eq!(names(parse(&text).entries().iter().map(|entry| &entry.peer.name)), "new-9");
    assert_eq!(parse(&text).min_peers(), 3);
}
