//! Edits on a disk that fails, beside other edits, and of files that are not ours to edit.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::{fs, io};

use unanimity_config::peers::edit::EditErrorKind;
use unanimity_config::peers::edit::{self};
use unanimity_config::{Membership, PeerEntry, PeerList};
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
fn an_edit_that_cannot_be_is_refused_by_name_and_changes_nothing() {
    let (place, path) = file(&peers_of_every_membership());
    let new = |change: fn(&mut PeerEntry)| {
        let mut member = joining_entry(9);
        change(&mut member);
        member
    };
    let mut said = Vec::new();
    for (member, says) in [
        (new(|member| member.peer.name = name("a")), "two peers are named a"),
        (new(|member| member.peer.key = joining_entry(5).peer.key), "same key"),
        (new(|member| member.address.key = [4; 32]), "joins and new-9 have the same onion address"),
        (new(|member| member.client_auth = joining_entry(6).client_auth), "same discovery key"),
    ] {
        // Keys are equal by their bytes: the names in them differ.
        let error = edit::add(&path, &member, &disk()).unwrap_err().to_string();
        assert!(error.contains("nothing was changed") && error.contains(says), "{error}");
        said.push(error);
    }
    let stranger = name("mallory");
    let unknown = edit::schedule_removal(&path, &stranger, LATER, &disk()).unwrap_err().to_string();
    assert!(unknown.contains("mallory; there is a, b, c, joins, leaves, both"), "{unknown}");
    said.push(unknown);
    let circle = parse(&peers_of_every_membership());
    let joins = circle.find(&name("joins")).unwrap();
    let mut other = joins.clone();
    other.membership = Membership::Joining { size: 43, root: Hash([7; 32]) };
    for (edited, says) in [
        (edit::cancel_removal(&path, &name("a"), &disk()), "a is not leaving"),
        (edit::cancel_removal(&path, &name("joins"), &disk()), "joins is not leaving"),
        (edit::activate(&path, &circle.entries()[0], &disk()), "a is not joining"),
        (edit::activate(&path, &other, &disk()), "no longer what it was"),
        (edit::remove(&path, &name("a"), LATER, &disk()), "a still has to confirm"),
        (
            edit::remove(&path, &name("leaves"), crate::peers_file::BEFORE, &disk()),
            "still has to confirm",
        ),
        (edit::remove(&path, &stranger, LATER, &disk()), "nobody there is named mallory"),
    ] {
        let error = edited.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        said.push(error);
    }
    let file = format!("{}: ", path.canonicalize().unwrap().display());
    assert!(said.iter().all(|error| error.starts_with(&file) && !error.contains(".onion")));
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
    // Not even another file's name is left beside it.
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_does_not_load_is_not_edited() {
    for text in ["peer = 1", "surprise = 1", "[[peer]]\nname = \"FILL IN\"\n", "min_peers = 0"] {
        let (_place, path) = file(text);
        let why = edit_error_kind(edit::add(&path, &joining_entry(9), &disk()));
        assert!(matches!(why, EditErrorKind::Config(_)), "{text}: {why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let (_place, path) = file(&peers_of_every_membership());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
    let why = edit_error_kind(edit::cancel_removal(&path, &name("leaves"), &disk()));
    assert!(why.to_string().contains("everybody may write to it"), "{why}");
}

#[test]
fn a_failure_at_any_step_leaves_the_old_file_whole() {
    for (what, edit) in EDITS {
        let (recording, steps) = recording_disk();
        let (_place, path) = file(&peers_of_every_membership());
        edit(&path, &recording).unwrap();
        let after = fs::read_to_string(&path).unwrap();
        let steps = steps.lock().unwrap().len();
        assert_eq!(steps, 5, "{what}");
        for dies in 0..steps {
            for until in [None, Some(dies + 1)] {
                let (place, path) = file(&peers_of_every_membership());
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                let why = edit_error_kind(edit(&path, &failing_disk(dies, until)));
                assert!(
                    matches!(&why, EditErrorKind::Io(e) if e.kind() == io::ErrorKind::StorageFull)
                );
                let found = fs::read_to_string(&path).unwrap();
                // Once it has its name, only the directory is left to be synced.
                assert_eq!(
                    found,
                    if dies < 4 { peers_of_every_membership() } else { after.clone() },
                    "{what}"
                );
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
                if until.is_some() {
                    // A full disk is not made fuller.
                    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "{what}");
                }
                // And the next one finds nothing in its way.
                edit::add(&path, &joining_entry(10), &disk()).unwrap();
                assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "{what}");
            }
        }
    }
}

#[test]
fn edits_at_the_same_time_are_all_made() {
    // The first of them makes the file.
    let place = scratch_dir();
    let path = place.path().join("peers.toml");
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
fn what_somebody_else_changed_while_a_peer_was_looked_at_is_not_counted() {
    let (_place, path) = file(&peers_of_every_membership());
    let seen = parse(&peers_of_every_membership()).find(&name("joins")).unwrap().clone();
    // Taken out, and put in again with another key under the same name.
    edit::schedule_removal(&path, &name("joins"), LATER, &disk()).unwrap();
    let other = parse(&peer("joins", 9, &joining())).entries()[0].clone();
    edit::add(&path, &other, &disk()).unwrap();
    let why = edit_error_kind(edit::activate(&path, &seen, &disk()));
    assert!(matches!(why, EditErrorKind::Changed(_)), "{why}");
    edit::activate(&path, &other, &disk()).unwrap();
}

#[test]
fn a_held_lock_is_waited_for() {
    let (place, path) = file(&peers_of_every_membership());
    let lock = unanimity_storage::lock(place.path()).unwrap().expect("free");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| edit::cancel_removal(&path, &name("leaves"), &disk()));
        assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
        drop(lock);
        waits.join().unwrap().unwrap();
    });
}

#[test]
fn a_file_keeps_its_rights_and_nobody_gains_any() {
    for mode in [0o600, 0o640, 0o644, 0o660, 0o200 | 0o400, 0o700] {
        let (_place, path) = file(&peers_of_every_membership());
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let looking = path.clone();
        let disk = Storage::with_hook(move |_| {
            if let Ok(found) = fs::metadata(unanimity_storage::temporary_path(&looking)) {
                assert_eq!(found.mode() & 0o777 & !mode, 0, "{mode:o}");
            }
            Ok(())
        });
        edit::cancel_removal(&path, &name("leaves"), &disk).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
    }
    let (_place, path) = file(&peers_of_every_membership());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let why = edit_error_kind(edit::cancel_removal(&path, &name("leaves"), &disk()));
    assert!(matches!(why, EditErrorKind::ReadOnly), "{why}");
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
}

#[test]
fn a_file_of_another_owner_or_group_does_not_change_hands() {
    let (_place, path) = file(&peers_of_every_membership());
    // Only root may give files away; for others there is nothing to be seen here.
    if chown(&path, None, Some(4242)).is_err() {
        return;
    }
    edit::cancel_removal(&path, &name("leaves"), &disk()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().gid(), 4242);
    chown(&path, Some(4242), None).unwrap();
    let why = edit_error_kind(edit::schedule_removal(&path, &name("leaves"), NOW, &disk()));
    assert!(why.to_string().contains("sudo -u '#4242'"), "{why}");
    assert_eq!(fs::metadata(&path).unwrap().uid(), 4242);
}

#[test]
fn an_edit_goes_through_a_link_to_the_file_it_points_at() {
    let (_place, target) = file(&peers_of_every_membership());
    let elsewhere = scratch_dir();
    let link = elsewhere.path().join("peers.toml");
    symlink(&target, &link).unwrap();
    edit::add(&link, &joining_entry(9), &disk()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(parse(&fs::read_to_string(&target).unwrap()).entries().len(), 7);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    // A link to nothing is not where a new file is made.
    fs::remove_file(&target).unwrap();
    edit::add(&link, &joining_entry(9), &disk()).unwrap_err();
    assert!(!target.exists());
}

#[test]
fn the_first_peer_makes_the_file_for_its_owner_only() {
    let place = scratch_dir();
    let path = place.path().join("peers.toml");
    edit::cancel_removal(&path, &name("a"), &disk()).unwrap_err();
    assert!(!path.exists());
    edit::add(&path, &joining_entry(9), &disk()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# ") && text.ends_with(&peer("new-9", 9, &joining())), "{text}");
    assert_eq!(names(parse(&text).entries().iter().map(|member| &member.peer.name)), "new-9");
    assert_eq!(parse(&text).min_peers(), 3);
}
