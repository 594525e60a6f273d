//! Ownership and permission checks: no part of a path may be controlled by another user.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use unanimity_storage::{UntrustedPath, check_trusted_path, check_trusted_tree};
use unanimity_testkit::scratch_dir::scratch_dir;

const OTHER: u32 = 54_321;

/// A tree with `a/b/file`, and three paths to it: directly, through a link to a link, and with
/// `..`.
fn tree() -> (tempfile::TempDir, [PathBuf; 3]) {
    let scratch = scratch_dir();
    let at = scratch.path();
    fs::create_dir_all(at.join("a/b")).unwrap();
    fs::create_dir_all(at.join("links")).unwrap();
    fs::write(at.join("a/b/file"), "content").unwrap();
    symlink("../a/b", at.join("links/relative")).unwrap();
    symlink(at.join("links/relative/file"), at.join("links/absolute")).unwrap();
    let paths = ["a/b/file", "links/absolute", "links/../links/relative/../b/file"];
    let paths = paths.map(|path| at.join(path));
    (scratch, paths)
}

/// The part of the path that another user controls.
fn untrusted_part(path: &Path) -> Option<PathBuf> {
    match check_trusted_path(path) {
        Ok(()) => None,
        Err(UntrustedPath::ControlledByOthers { path, .. }) => Some(path),
        Err(error) => panic!("{error}"),
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn check_trusted_path_refuses_any_part_writable_by_others() {
    let (scratch, paths) = tree();
    let at = scratch.path();
    for path in &paths {
        assert_eq!(untrusted_part(path), None);
    }
    for (part, whole, of) in [
        ("a", 0o755, &paths[..]),
        ("a/b", 0o755, &paths[..]),
        ("a/b/file", 0o644, &paths[..]),
        ("links", 0o755, &paths[1..]),
        ("", 0o755, &paths[..]),
    ] {
        for extra in [0o020, 0o002] {
            mode(&at.join(part), whole | extra);
            for path in of {
                let found = untrusted_part(path).unwrap();
                assert_eq!(found, at.join(part).components().collect::<PathBuf>());
            }
            mode(&at.join(part), whole);
        }
    }
    // The sticky bit protects entries of this user, so such a directory may be on the path.
    mode(&at.join("a"), 0o1777);
    assert_eq!(untrusted_part(&paths[0]), None);
    // It may not be the end of the path, because all users can add entries to it.
    assert_eq!(untrusted_part(&at.join("a")), Some(at.join("a")));
    mode(&paths[0], 0o1666);
    assert_eq!(untrusted_part(&paths[0]), Some(paths[0].clone()));
}

#[test]
fn check_trusted_tree_refuses_bad_entries_at_any_depth() {
    let (scratch, _) = tree();
    let at = scratch.path();
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
fn check_trusted_path_refuses_any_part_owned_by_others() {
    if !rustix::process::geteuid().is_root() {
        // Root owns /etc/passwd and every directory above it.
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
        let (scratch, paths) = tree();
        let part = scratch.path().join(part);
        lchown(&part, Some(OTHER), None).unwrap();
        for path in &paths[of] {
            assert_eq!(untrusted_part(path), Some(part.clone()), "{path:?}");
        }
    }
    let (scratch, paths) = tree();
    chown(scratch.path(), Some(OTHER), None).unwrap();
    assert_eq!(untrusted_part(&paths[0]), Some(scratch.path().to_owned()));
}

#[test]
fn check_trusted_path_fails_for_missing_files_and_link_loops() {
    let (scratch, paths) = tree();
    let at = scratch.path();
    symlink("loop", at.join("loop")).unwrap();
    symlink("none", at.join("dangling")).unwrap();
    for path in ["none", "a/none/file", "loop", "loop/file", "dangling", "a/b/file/more"] {
        let found = check_trusted_path(&at.join(path));
        assert!(matches!(found, Err(UntrustedPath::Disk(_))), "{path}: {found:?}");
    }
    assert_eq!(untrusted_part(&paths[0]), None);
}
