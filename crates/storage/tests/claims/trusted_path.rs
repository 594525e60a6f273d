//! What whoever installs goes by is in nobody else's hands, at no place on the way there.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use unanimity_storage::{UntrustedPath, check_trusted_path, check_trusted_tree};
use unanimity_testkit::scratch_dir::scratch_dir;

const OTHER: u32 = 54_321;

/// `a/b/file`, a way there by a link to a link, and a way by `..`.
fn tree() -> (tempfile::TempDir, [PathBuf; 3]) {
    let home = scratch_dir();
    let at = home.path();
    fs::create_dir_all(at.join("a/b")).unwrap();
    fs::create_dir_all(at.join("links")).unwrap();
    fs::write(at.join("a/b/file"), "told").unwrap();
    symlink("../a/b", at.join("links/relative")).unwrap();
    symlink(at.join("links/relative/file"), at.join("links/absolute")).unwrap();
    let ways = ["a/b/file", "links/absolute", "links/../links/relative/../b/file"];
    let ways = ways.map(|way| at.join(way));
    (home, ways)
}

/// Which part of the way is in others' hands.
fn untrusted_part(way: &Path) -> Option<PathBuf> {
    match check_trusted_path(way) {
        Ok(()) => None,
        Err(UntrustedPath::ControlledByOthers { path, .. }) => Some(path),
        Err(error) => panic!("{error}"),
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn whoever_can_write_to_any_directory_on_the_way_could_lead_it_elsewhere() {
    let (home, ways) = tree();
    let at = home.path();
    for way in &ways {
        assert_eq!(untrusted_part(way), None);
    }
    for (part, whole, of) in [
        ("a", 0o755, &ways[..]),
        ("a/b", 0o755, &ways[..]),
        ("a/b/file", 0o644, &ways[..]),
        ("links", 0o755, &ways[1..]),
        ("", 0o755, &ways[..]),
    ] {
        for extra in [0o020, 0o002] {
            mode(&at.join(part), whole | extra);
            for way in of {
                let found = untrusted_part(way).unwrap();
                assert_eq!(found, at.join(part).components().collect::<PathBuf>());
            }
            mode(&at.join(part), whole);
        }
    }
    // What is ours in such a directory stays where it is; a file that all may write does not.
    mode(&at.join("a"), 0o1777);
    assert_eq!(untrusted_part(&ways[0]), None);
    // But anybody may put something in there.
    assert_eq!(untrusted_part(&at.join("a")), Some(at.join("a")));
    mode(&ways[0], 0o1666);
    assert_eq!(untrusted_part(&ways[0]), Some(ways[0].clone()));
}

#[test]
fn what_is_in_a_directory_and_in_those_in_it_is_looked_at_as_well() {
    let (home, _) = tree();
    let at = home.path();
    let below = || match check_trusted_tree(at) {
        Ok(()) => None,
        Err(UntrustedPath::ControlledByOthers { path, .. }) => Some(path),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(below(), None);
    for part in ["a", "a/b", "links"] {
        mode(&at.join(part), 0o1777);
        assert_eq!(below(), Some(at.join(part)));
        mode(&at.join(part), 0o755);
    }
    fs::write(at.join("a/file"), "").unwrap();
    mode(&at.join("a/file"), 0o664);
    assert_eq!(below(), Some(at.join("a/file")));
    mode(&at.join("a/file"), 0o644);
    if rustix::process::geteuid().is_root() {
        for part in ["links/relative", "a/file", "links"] {
            lchown(at.join(part), Some(OTHER), None).unwrap();
            assert_eq!(below(), Some(at.join(part)));
            lchown(at.join(part), Some(0), None).unwrap();
        }
    }
    assert_eq!(below(), None);
}

#[test]
fn what_belongs_to_somebody_else_is_in_their_hands() {
    if !rustix::process::geteuid().is_root() {
        // /proc/1 is root's, and so is all on the way there: fine for everybody.
        assert_eq!(untrusted_part(Path::new("/etc/passwd")), None);
        return;
    }
    for (part, of) in [
        ("a", 0..3),
        ("a/b", 0..3),
        ("a/b/file", 0..3),
        ("links", 1..3),
        ("links/absolute", 1..2),
        ("links/relative", 1..3),
    ] {
        let (home, ways) = tree();
        let part = home.path().join(part);
        lchown(&part, Some(OTHER), None).unwrap();
        for way in &ways[of] {
            assert_eq!(untrusted_part(way), Some(part.clone()), "{way:?}");
        }
    }
    let (home, ways) = tree();
    chown(home.path(), Some(OTHER), None).unwrap();
    assert_eq!(untrusted_part(&ways[0]), Some(home.path().to_owned()));
}

#[test]
fn what_is_not_there_or_leads_nowhere_is_an_error() {
    let (home, ways) = tree();
    let at = home.path();
    symlink("loop", at.join("loop")).unwrap();
    symlink("none", at.join("dangling")).unwrap();
    for path in ["none", "a/none/file", "loop", "loop/file", "dangling", "a/b/file/more"] {
        let found = check_trusted_path(&at.join(path));
        assert!(matches!(found, Err(UntrustedPath::Disk(_))), "{path}: {found:?}");
    }
    assert_eq!(untrusted_part(&ways[0]), None);
}
