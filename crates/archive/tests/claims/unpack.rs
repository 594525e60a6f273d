//! Archives: what is taken, what is refused, and that nothing is written where it should not be.

use std::collections::BTreeMap;
use std::fs;

use ArchiveFormat::{Tar, TarGz, TarZst};
use unanimity_archive::{ArchiveError, ArchiveViolation, MAX_DEPTH, Totals};
use unanimity_protocol::manifest::ArchiveFormat;
use unanimity_testkit::archives::*;
use unanimity_testkit::scratch_dir::scratch_dir;

pub(crate) fn refused<T: std::fmt::Debug, E: std::fmt::Debug>(
    read: Result<T, ArchiveError<E>>,
) -> ArchiveViolation {
    match read {
        Err(ArchiveError::Refused(broken)) => broken,
        other => panic!("{other:?}"),
    }
}

/// A publisher is told why, a node refuses it for the same reason, and writes nothing elsewhere.
fn assert_refuses(format: ArchiveFormat, archive: &[u8], why: &str) {
    let violation = refused(unanimity_archive::check(format, archive));
    assert!(violation.to_string().contains(why), "{violation}, and not {why:?}");
    let place = scratch_dir();
    let tree = place.path().join("tree");
    assert_eq!(refused(unpack_into(format, MAX_TOTALS, archive, &tree)), violation);
    for (name, thing) in list_tree(place.path()) {
        assert!(name == "tree" || name.starts_with("tree/"), "{name} was made by {violation}");
        if let ExtractedEntry::Directory(mode) | ExtractedEntry::File(mode, _) = thing {
            assert!([0o644, 0o755].contains(&mode), "{name} has mode {mode:o}");
        }
    }
}

fn assert_refused(rows: &[(&str, Vec<Vec<u8>>)]) {
    for (why, entries) in rows {
        assert_refuses(Tar, &tar(entries), why);
    }
}

#[test]
fn a_tree_comes_out_as_it_went_in_with_the_rights_of_an_installed_one() {
    let archive = sample_archive();
    let totals = Totals { unpacked: 21 + 7 + 7 + 700, entries: 10 };
    let deep = format!("lib/{}", "long".repeat(30));
    let file = |mode, bytes: &[u8]| ExtractedEntry::File(mode, bytes.to_vec());
    let expected: BTreeMap<String, ExtractedEntry> = [
        ("bin".to_owned(), ExtractedEntry::Directory(0o755)),
        ("bin/hello".to_owned(), file(0o755, b"#!/bin/sh\necho hello\n")),
        ("run".to_owned(), ExtractedEntry::Link("bin/hello".to_owned())),
        ("lib".to_owned(), ExtractedEntry::Directory(0o755)),
        ("lib/up".to_owned(), ExtractedEntry::Link("../bin".to_owned())),
        (deep.clone(), ExtractedEntry::Directory(0o755)),
        (format!("{deep}/file"), file(0o644, b"content")),
        ("data".to_owned(), file(0o644, b"content")),
        ("lib/big".to_owned(), file(0o644, &[b'x'; 700])),
        ("lib/empty".to_owned(), file(0o644, b"")),
    ]
    .into();
    let packed = [(Tar, archive.clone()), (TarGz, gz(&archive)), (TarZst, zst(&archive))];
    for (format, packed) in packed {
        assert_eq!(unanimity_archive::check(format, &packed[..]).unwrap(), totals);
        let place = scratch_dir();
        let tree = place.path().join("tree");
        // Whatever was there before is not there afterwards.
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("old"), "").unwrap();
        unpack_into(format, totals, &packed[..], &tree).unwrap();
        assert_eq!(list_tree(&tree), expected);
    }
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    assert_refused(&[
        ("an absolute name", vec![file("/etc/motd")]),
        ("'..' in a name", vec![file("../motd")]),
        ("'..' in a name", vec![dir(".."), file("../motd")]),
        ("'..' in a name", vec![dir("a"), file("a/../motd")]),
        ("'..' in a name", vec![dir("a/..")]),
        ("'.' in a name", vec![dir("./")]),
        ("'.' in a name", vec![file("./motd")]),
        ("'.' in a name", vec![dir("a"), file("a/./motd")]),
        ("an empty part", vec![dir("a"), file("a//motd")]),
        ("an empty part", vec![file("motd/")]),
        ("an empty part", vec![dir("a//")]),
        ("an absolute name", vec![dir("/")]),
        ("no name", vec![file("")]),
        ("'\\\\' in a name", vec![file("..\\motd")]),
        ("'\\x1b' in a name", vec![file("\u{1b}[2Jmotd")]),
        ("'\\n' in a name", vec![file("a\nb")]),
        ("'\\x7f' in a name", vec![file("a\x7f")]),
        ("'\\xff' in a name", vec![file(b"\xff\xfe")]),
        // One letter, two spellings: neither is taken.
        ("'\\xc3' in a name", vec![file("\u{e9}")]),
        ("'\\xcc' in a name", vec![file("e\u{301}")]),
        ("a part of 256 bytes", vec![long_file(&"n".repeat(256))]),
        ("a name of 1025 bytes", vec![long_file(&["n"; 513].join("/"))]),
        ("65 names deep", vec![long_file(&["n"; 65].join("/"))]),
        ("bytes after the end of the name", vec![tampered_header(0..100, b"file\0/../x")]),
        ("bytes after the end of the prefix", vec![tampered_header(PREFIX, b"a\0b")]),
        ("'..' in a name", vec![tampered_header(PREFIX, b"..")]),
        ("an absolute name", vec![tampered_header(PREFIX, b"/")]),
    ]);
}

#[test]
fn the_longest_and_deepest_names_are_taken() {
    let mut entries = vec![long_file(&"n".repeat(255))];
    entries.extend((1..MAX_DEPTH).map(|depth| long_dir(&vec!["d"; depth].join("/"))));
    entries.push(long_file(&vec!["d"; MAX_DEPTH].join("/")));
    let parts: Vec<String> = "abcd".chars().map(|c| c.to_string().repeat(255)).collect();
    entries.extend((1..4).map(|depth| long_dir(&parts[..depth].join("/"))));
    entries.push(long_file(&parts.join("/")));
    // A prefix, and every character that a name may have.
    let all: Vec<u8> = (b' '..=b'~').filter(|byte| !b"\\/".contains(byte)).collect();
    let (one, other) = all.split_at(33);
    entries.extend([file(one), file(other)]);
    entries.push(dir("usr"));
    let mut below = header(b'0', b"file", 0o644, b"", 0);
    below[PREFIX][..3].copy_from_slice(b"usr");
    entries.push(with_checksum(below).to_vec());
    let place = scratch_dir();
    let archive = tar(&entries);
    unpack_into(Tar, compute_totals(&archive), &archive[..], &place.path().join("tree")).unwrap();
    assert!(place.path().join("tree/usr/file").is_file());
    assert!(place.path().join("tree").join(vec!["d"; MAX_DEPTH].join("/")).is_file());
}

#[test]
fn two_entries_for_one_place_are_refused() {
    assert_refused(&[
        ("entry of this name before it", vec![file("a"), file("a")]),
        ("entry of this name before it", vec![dir("a"), dir("a/")]),
        ("entry of this name before it", vec![dir("a"), file("a")]),
        ("entry of this name before it", vec![link("a", "b"), file("a")]),
        ("only the case of letters tells it from \"a\"", vec![file("a"), file("A")]),
        ("only the case of letters tells it from \"README\"", vec![file("README"), dir("readme")]),
        ("only the case of letters tells it from \"Lib\"", vec![dir("Lib"), file("lib/a")]),
        ("\"a\" is no directory", vec![file("a"), file("a/b")]),
        ("\"l\" is no directory", vec![dir("d"), link("l", "d"), file("l/x")]),
        ("\"l\" is no directory", vec![link("l", "nowhere"), dir("l/x")]),
        ("its directory has no entry before it", vec![file("a/b")]),
        ("its directory has no entry before it", vec![file("a/b"), dir("a")]),
    ]);
}

#[test]
fn a_link_that_leads_out_of_the_tree_is_refused() {
    assert_refused(&[
        ("a link out of the tree, to \"..\"", vec![link("l", "..")]),
        ("a link out of the tree", vec![link("l", "../x")]),
        ("a link out of the tree", vec![dir("d"), link("d/l", "../../x")]),
        ("a link out of the tree", vec![dir("d"), link("d/l", "../..")]),
        ("the absolute name \"/etc\"", vec![link("l", "/etc")]),
        // Seen as text these stay inside; another link on the way makes them leave.
        ("'..' in a name", vec![dir("d"), link("d/up", ".."), link("l", "d/up/..")]),
        ("'..' in a name", vec![dir("d"), link("d/l", "x/../../..")]),
        ("'.' in a name", vec![link("l", ".")]),
        ("'.' in a name", vec![link("l", "./x")]),
        ("an empty part", vec![link("l", "x/")]),
        ("an empty part", vec![dir("d"), link("d/l", "../")]),
        ("an empty part", vec![dir("d"), link("d/l", "..//x")]),
        ("'\\x1b' in a link target", vec![link("l", "\u{1b}[2J")]),
        ("a link to nowhere", vec![link("l", "")]),
        ("a link target on no link", vec![header(b'0', b"f", 0o644, b"x", 0).to_vec()]),
        ("a hard link", vec![file("a"), header(b'1', b"b", 0o644, b"a", 0).to_vec()]),
        ("a hard link", vec![header(b'1', b"b", 0o644, b"/etc/motd", 0).to_vec()]),
    ]);
}

#[test]
fn what_is_no_file_directory_or_link_is_refused_and_so_are_special_rights() {
    let of_mode = |kind, mode| vec![header(kind, b"file", mode, b"", 0).to_vec()];
    assert_refused(&[
        ("a device", vec![entry_of_kind(b'3')]),
        ("a device", vec![entry_of_kind(b'4')]),
        ("a fifo", vec![entry_of_kind(b'6')]),
        ("a sparse file", vec![entry_of_kind(b'S')]),
        ("kind \"7\"", vec![entry_of_kind(b'7')]),
        ("kind \"s\"", vec![entry_of_kind(b's')]),
        // What some take for a file, and with a slash at its end for a directory.
        ("kind \"\\x00\"", vec![entry_of_kind(0)]),
        ("kind \"\\x1b\"", vec![entry_of_kind(0x1b)]),
        ("a setuid, setgid or sticky bit (mode 4755)", of_mode(b'0', 0o4755)),
        ("a setuid, setgid or sticky bit (mode 2755)", of_mode(b'0', 0o2755)),
        ("a setuid, setgid or sticky bit (mode 2755)", of_mode(b'5', 0o2755)),
        ("a setuid, setgid or sticky bit (mode 1777)", of_mode(b'5', 0o1777)),
        ("mode 100644 is none", of_mode(b'0', 0o100_644)),
        ("device number on what is no device", vec![tampered_header(329..337, b"0000001")]),
        ("device number on what is no device", vec![tampered_header(337..345, b"0000001")]),
    ]);
}

#[test]
fn what_one_reader_takes_otherwise_than_another_is_refused() {
    let x = |records: &[Vec<u8>]| [extended(b'x', &records.concat()), file("file")].concat();
    let bytes = |bytes: &[u8]| [extended(b'x', bytes), file("file")].concat();
    let signed = {
        let mut block = header(b'0', b"file", 0o644, b"", 0);
        block[265] = 0xff;
        let sum: i64 = block.iter().map(|&byte| i64::from(byte as i8)).sum();
        let sum = sum - block[CHECKSUM].iter().map(|&b| i64::from(b)).sum::<i64>() + 8 * 32;
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.to_vec()
    };
    let sparse = {
        let mut block = header(b'0', b"file", 0o644, b"", 0);
        block[MAGIC].copy_from_slice(b"ustar  \0");
        block[PREFIX][41] = b'1';
        with_checksum(block).to_vec()
    };
    assert_refused(&[
        (
            "checksum is wrong",
            vec![{
                let mut block = file("file");
                block[0] = b'F';
                block
            }],
        ),
        ("checksum is wrong", vec![signed]),
        ("a size in an extended header", vec![x(&[record("size", "7")])]),
        ("a size in an extended header", vec![x(&[record("size", "8000000000")])]),
        (
            "named \"other\" in its extended header, and \"file\"",
            vec![x(&[record("path", "other")])],
        ),
        ("named \"file2\" in its", vec![x(&[record("path", "file2")])]),
        ("named \"fil\" in its", vec![x(&[record("path", "fil")])]),
        ("named \"\" in its", vec![x(&[record("path", "")])]),
        (
            "and \"a/file\" in its own",
            vec![{
                let mut below = tampered_header(PREFIX, b"a");
                below.splice(..0, extended(b'x', &record("path", "file")));
                below
            }],
        ),
        (
            "a link to \"other\" in its extended header, and to \"here\"",
            vec![extended(b'x', &record("linkpath", "other")), link("l", "here")],
        ),
        (
            "a link to \"other\" in its extended header, and to \"\"",
            vec![x(&[record("linkpath", "other")])],
        ),
        ("says \"mtime\" twice", vec![x(&[record("mtime", "1"), record("mtime", "1")])]),
        ("a sparse file", vec![x(&[record("GNU.sparse.major", "1")])]),
        ("with \"hdrcharset\"", vec![x(&[record("hdrcharset", "BINARY")])]),
        (
            "with \"SCHILY.xattr.security.capability\"",
            vec![x(&[record("SCHILY.xattr.security.capability", "\u{1}")])],
        ),
        ("with \"\\x1b\"", vec![x(&[record("\u{1b}", "")])]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"9 path=file\n")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"14 path=file\n")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"014 path=file\n")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"+13 mtime=12\n")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"12 mtime=123")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"7 mtime\n")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"5 =1\n")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"1 ")]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(&[b'1'; 99])]),
        ("not lines of LENGTH KEY=VALUE", vec![bytes(b"10 mtime=1\n\n")]),
        ("an extended header of 0 bytes", vec![bytes(b"")]),
        ("an extended header of 8193 bytes", vec![bytes(&[b'x'; 8193])]),
        ("a second extended header", vec![extended(b'x', &record("mtime", "1")), x(&[])]),
        ("an extended header without its entry", vec![extended(b'x', &record("mtime", "1"))]),
        ("a global extended header", vec![extended(b'g', &record("path", "file"))]),
        ("a GNU long name", vec![extended(b'L', b"name\0")]),
        ("a GNU long name", vec![extended(b'K', b"name\0")]),
        ("a GNU header with extensions", vec![sparse]),
        ("neither a POSIX header (ustar) nor GNU's", vec![tampered_header(MAGIC, &[0; 8])]),
        ("neither a POSIX header (ustar) nor GNU's", vec![tampered_header(MAGIC, b"ustar\x0001")]),
        (
            "the size is in base 256",
            vec![tampered_header(SIZE, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])],
        ),
        ("the size is in base 256", vec![tampered_header(SIZE, &[0xff; 12])]),
        ("the mode is in base 256", vec![tampered_header(MODE, &[0x80, 0, 0, 0, 0, 0, 1, 0xa4])]),
        ("the user id is in base 256", vec![tampered_header(UID, &[0x80, 0, 0, 0, 0, 0, 0, 0])]),
        ("the time is in base 256", vec![tampered_header(TIME, &[0xff; 12])]),
        ("the size is not an octal number", vec![tampered_header(SIZE, b"777777777777")]),
        ("the size is not an octal number", vec![tampered_header(SIZE, b"           7")]),
        ("the size is not an octal number", vec![tampered_header(SIZE, b"0000000000x\0")]),
        ("the size is not an octal number", vec![tampered_header(SIZE, b"0000000009\0\0")]),
        ("the size is not an octal number", vec![tampered_header(SIZE, b"0000\x00000000\0")]),
        ("the size is not an octal number", vec![tampered_header(SIZE, b"-0000000001\0")]),
        ("the size is not an octal number", vec![tampered_header(SIZE, &[0; 12])]),
        ("bytes after the end of the user name", vec![tampered_header(265..297, b"a\0b")]),
        ("the header does not end in zeros", vec![tampered_header(500..512, b"x")]),
        ("7 bytes of content on what has none", vec![header(b'5', b"d", 0o755, b"", 7).to_vec()]),
        ("7 bytes of content on what has none", vec![header(b'2', b"l", 0o777, b"d", 7).to_vec()]),
        (
            "not filled up with zeros",
            vec![{
                let mut file = file("file");
                file[1023] = 1;
                file
            }],
        ),
        (
            "not filled up with zeros",
            vec![{
                let mut extended = extended(b'x', &record("mtime", "1"));
                extended[1000] = 1;
                [extended, file("file")].concat()
            }],
        ),
    ]);
}

#[test]
fn after_the_end_there_is_nothing() {
    let file = file("file");
    let blocks = |blocks: usize| [&file[..], &vec![0; 512 * blocks]].concat();
    for good in [2, 3, 20, 21] {
        unanimity_archive::check(Tar, &blocks(good)[..]).unwrap();
    }
    let rows: [(&str, Vec<u8>); 9] = [
        ("breaks off", vec![]),
        ("breaks off", file.clone()),
        ("breaks off", file[..700].to_vec()),
        ("breaks off", file[..1000].to_vec()),
        ("breaks off", file[..300].to_vec()),
        ("after one block of zeros", blocks(1)),
        ("breaks off", blocks(2)[..file.len() + 1000].to_vec()),
        ("more zeros at the end than fill a record", blocks(22)),
        ("bytes after the block of zeros", [&blocks(1)[..], &file, &END].concat()),
    ];
    for (why, archive) in rows {
        assert_refuses(Tar, &archive, why);
    }
    let second = [blocks(2), blocks(2)].concat();
    assert_refuses(Tar, &second, "bytes after the block of zeros");
    // Each of these is an archive and something else.
    let (archive, skippable) = (sample_archive(), [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'x']);
    let (gz, zst) = (gz(&archive), zst(&archive));
    for after in [&b"\0"[..], b"garbage", &gz] {
        assert_refuses(TarGz, &[&gz[..], after].concat(), "bytes after the end of the gzip member");
    }
    for after in [&b"\0"[..], b"garbage", &zst, &skippable] {
        assert_refuses(
            TarZst,
            &[&zst[..], after].concat(),
            "bytes after the end of the zstd frame",
        );
    }
    for (format, why, packed) in [
        (TarGz, "not gzip", b"\0".to_vec()),
        (TarGz, "not gzip", gz[1..].to_vec()),
        (TarGz, "not gzip", zst.clone()),
        (TarGz, "not gzip", gz[..gz.len() - 1].to_vec()),
        (TarGz, "not gzip", gz[..gz.len() / 2].to_vec()),
        (TarZst, "breaks off", [&skippable[..], &zst].concat()),
        (TarZst, "not zstd", zst[1..].to_vec()),
        (TarZst, "not zstd", gz.clone()),
        (TarZst, "not zstd", zst[..zst.len() - 1].to_vec()),
        (TarZst, "not zstd", zst[..zst.len() / 2].to_vec()),
        (Tar, "checksum", gz.iter().chain(&[b'x'; 512]).copied().collect()),
    ] {
        assert_refuses(format, &packed, why);
    }
    // Two members that are one archive together are two readings of it.
    let (first, rest) = archive.split_at(512);
    assert_refuses(TarGz, &[self::gz(first), self::gz(rest)].concat(), "breaks off");
    assert_refuses(TarZst, &[self::zst(first), self::zst(rest)].concat(), "breaks off");
}

#[test]
fn a_window_of_8_mib_is_taken_and_no_larger_one() {
    let archive = sample_archive();
    unanimity_archive::check(TarZst, &zst_with_window(23, &archive)[..]).unwrap();
    for window in [24, 27, 31, 41] {
        assert_refuses(TarZst, &zst_with_window(window, &archive), "not zstd as it is taken");
    }
    let mut dictionary = zst_with_window(20, &archive);
    dictionary[4] |= 1;
    dictionary.insert(6, 7);
    assert_refuses(TarZst, &dictionary, "not zstd as it is taken");
}

#[test]
fn the_signed_totals_are_exact_and_nothing_beyond_them_is_written() {
    let archive = sample_archive();
    let right = compute_totals(&archive);
    let Totals { unpacked: size, entries } = right;
    for (signed, why) in [
        (Totals { entries: entries + 1, ..right }, "10 entries in all, and 11 were signed"),
        (Totals { unpacked: size + 1, ..right }, "735 bytes unpacked in all, and 736 were signed"),
        (Totals { entries: 9, ..right }, "entry 10, \"lib/empty\": more than the 9 entries"),
        (Totals { unpacked: size - 1, ..right }, "\"lib/big\": more than the 734 bytes unpacked"),
        (Totals { entries: 0, unpacked: 0 }, "entry 1, \"bin/\": more than the 0 entries"),
    ] {
        let place = scratch_dir();
        let tree = place.path().join("tree");
        let broken = refused(unpack_into(Tar, signed, &archive[..], &tree));
        assert!(broken.to_string().contains(why), "{broken}");
        let written = list_tree(&tree);
        let bytes = |thing: &ExtractedEntry| match thing {
            ExtractedEntry::File(_, bytes) => bytes.len() as u64,
            _ => 0,
        };
        assert!(written.len() as u64 <= signed.entries);
        assert!(written.values().map(bytes).sum::<u64>() <= signed.unpacked);
    }
    let most = |size: u64| file_with(b"f", 0o644, &vec![b'x'; size as usize]);
    let sizes = Totals { unpacked: 600, entries: 1 };
    for (size, fits) in [(599, false), (600, true), (601, false)] {
        let place = scratch_dir();
        let archive = tar(&[most(size)]);
        let ended = unpack_into(Tar, sizes, &archive[..], &place.path().join("tree"));
        assert_eq!(ended.is_ok(), fits, "{size}: {ended:?}");
    }
}
