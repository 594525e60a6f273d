//! Archives that the reader accepts, and archives that it refuses without a file outside the tree.

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
        Err(ArchiveError::Refused(violation)) => violation,
        other => panic!("{other:?}"),
    }
}

/// The line `CASE: MESSAGE` for an archive that the reader must refuse.
///
/// The publisher's check and the installer's unpacking refuse it for the same reason. No file is
/// written outside the tree.
fn refusal(case: &str, format: ArchiveFormat, archive: &[u8]) -> String {
    let violation = refused(unanimity_archive::check(format, archive));
    let scratch = scratch_dir();
    let tree = scratch.path().join("tree");
    assert_eq!(refused(unpack_into(format, MAX_TOTALS, archive, &tree)), violation);
    for (name, entry) in list_tree(scratch.path()) {
        assert!(name == "tree" || name.starts_with("tree/"), "{name} was made by {violation}");
        if let ExtractedEntry::Directory(mode) | ExtractedEntry::File(mode, _) = entry {
            assert!([0o644, 0o755].contains(&mode), "{name} has mode {mode:o}");
        }
    }
    format!("{case}: {violation}\n")
}

fn refusals(rows: &[(&str, Vec<Vec<u8>>)]) -> String {
    rows.iter().map(|(case, entries)| refusal(case, Tar, &tar(entries))).collect()
}

#[test]
fn unpack_gives_the_packed_tree_with_installed_modes() {
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
        let scratch = scratch_dir();
        let tree = scratch.path().join("tree");
        // An existing tree is removed first.
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("old"), "").unwrap();
        unpack_into(format, totals, &packed[..], &tree).unwrap();
        assert_eq!(list_tree(&tree), expected);
    }
}

#[test]
fn archive_with_an_unsafe_name_is_refused() {
    let messages = refusals(&[
        ("absolute name", vec![file("/etc/motd")]),
        ("parent", vec![file("../motd")]),
        ("parent as a directory", vec![dir(".."), file("../motd")]),
        ("parent after a directory", vec![dir("a"), file("a/../motd")]),
        ("parent at the end", vec![dir("a/..")]),
        ("root of the tree", vec![dir("./")]),
        ("dot", vec![file("./motd")]),
        ("dot after a directory", vec![dir("a"), file("a/./motd")]),
        ("two slashes", vec![dir("a"), file("a//motd")]),
        ("slash after a file", vec![file("motd/")]),
        ("two slashes at the end", vec![dir("a//")]),
        ("slash alone", vec![dir("/")]),
        ("empty name", vec![file("")]),
        ("backslash", vec![file("..\\motd")]),
        ("escape", vec![file("\u{1b}[2Jmotd")]),
        ("newline", vec![file("a\nb")]),
        ("delete", vec![file("a\x7f")]),
        ("not UTF-8", vec![file(b"\xff\xfe")]),
        // Two encodings of one letter. Both are refused.
        ("composed letter", vec![file("\u{e9}")]),
        ("decomposed letter", vec![file("e\u{301}")]),
        ("long part", vec![long_file(&"n".repeat(256))]),
        ("long name", vec![long_file(&["n"; 513].join("/"))]),
        ("deep name", vec![long_file(&["n"; 65].join("/"))]),
        ("name field", vec![tampered_header(0..100, b"file\0/../x")]),
        ("prefix field", vec![tampered_header(PREFIX, b"a\0b")]),
        ("parent as prefix", vec![tampered_header(PREFIX, b"..")]),
        ("absolute prefix", vec![tampered_header(PREFIX, b"/")]),
    ]);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/unsafe_names.txt"].raw());
}

#[test]
fn longest_and_deepest_names_are_accepted() {
    let mut entries = vec![long_file(&"n".repeat(255))];
    entries.extend((1..MAX_DEPTH).map(|depth| long_dir(&vec!["d"; depth].join("/"))));
    entries.push(long_file(&vec!["d"; MAX_DEPTH].join("/")));
    let parts: Vec<String> = "abcd".chars().map(|c| c.to_string().repeat(255)).collect();
    entries.extend((1..4).map(|depth| long_dir(&parts[..depth].join("/"))));
    entries.push(long_file(&parts.join("/")));
    // A prefix field, and every character that a name may have.
    let all: Vec<u8> = (b' '..=b'~').filter(|byte| !b"\\/".contains(byte)).collect();
    let (one, other) = all.split_at(33);
    entries.extend([file(one), file(other)]);
    entries.push(dir("usr"));
    let mut below = header(b'0', b"file", 0o644, b"", 0);
    below[PREFIX][..3].copy_from_slice(b"usr");
    entries.push(with_checksum(below).to_vec());
    let scratch = scratch_dir();
    let archive = tar(&entries);
    unpack_into(Tar, compute_totals(&archive), &archive[..], &scratch.path().join("tree")).unwrap();
    assert!(scratch.path().join("tree/usr/file").is_file());
    assert!(scratch.path().join("tree").join(vec!["d"; MAX_DEPTH].join("/")).is_file());
}

#[test]
fn archive_with_conflicting_paths_is_refused() {
    let messages = refusals(&[
        ("file twice", vec![file("a"), file("a")]),
        ("directory twice", vec![dir("a"), dir("a/")]),
        ("file for a directory", vec![dir("a"), file("a")]),
        ("file for a link", vec![link("a", "b"), file("a")]),
        ("case of a file", vec![file("a"), file("A")]),
        ("case of a directory", vec![file("README"), dir("readme")]),
        ("case of the directory above", vec![dir("Lib"), file("lib/a")]),
        ("entry below a file", vec![file("a"), file("a/b")]),
        ("entry below a link", vec![dir("d"), link("l", "d"), file("l/x")]),
        ("entry below a dangling link", vec![link("l", "nowhere"), dir("l/x")]),
        ("no directory", vec![file("a/b")]),
        ("directory after its file", vec![file("a/b"), dir("a")]),
    ]);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/conflicting_paths.txt"].raw());
}

#[test]
fn archive_with_an_unsafe_link_is_refused() {
    let messages = refusals(&[
        ("parent of the root", vec![link("l", "..")]),
        ("name above the root", vec![link("l", "../x")]),
        ("name two levels up", vec![dir("d"), link("d/l", "../../x")]),
        ("two levels up", vec![dir("d"), link("d/l", "../..")]),
        ("absolute target", vec![link("l", "/etc")]),
        // As text these stay in the tree. Through another link they would leave it.
        ("parent through a link", vec![dir("d"), link("d/up", ".."), link("l", "d/up/..")]),
        ("parent after a name", vec![dir("d"), link("d/l", "x/../../..")]),
        ("dot alone", vec![link("l", ".")]),
        ("dot", vec![link("l", "./x")]),
        ("slash at the end", vec![link("l", "x/")]),
        ("slash after parent", vec![dir("d"), link("d/l", "../")]),
        ("two slashes", vec![dir("d"), link("d/l", "..//x")]),
        ("escape", vec![link("l", "\u{1b}[2J")]),
        ("empty target", vec![link("l", "")]),
        ("target of a file", vec![header(b'0', b"f", 0o644, b"x", 0).to_vec()]),
        ("hard link in the tree", vec![file("a"), header(b'1', b"b", 0o644, b"a", 0).to_vec()]),
        ("hard link out of the tree", vec![header(b'1', b"b", 0o644, b"/etc/motd", 0).to_vec()]),
    ]);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/unsafe_links.txt"].raw());
}

#[test]
fn archive_with_special_entries_or_modes_is_refused() {
    let of_mode = |kind, mode| vec![header(kind, b"file", mode, b"", 0).to_vec()];
    let messages = refusals(&[
        ("character device", vec![entry_of_kind(b'3')]),
        ("block device", vec![entry_of_kind(b'4')]),
        ("fifo", vec![entry_of_kind(b'6')]),
        ("sparse file", vec![entry_of_kind(b'S')]),
        ("contiguous file", vec![entry_of_kind(b'7')]),
        ("unknown kind", vec![entry_of_kind(b's')]),
        // Some readers take this for a file, and with a slash at the end for a directory.
        ("old file", vec![entry_of_kind(0)]),
        ("escape", vec![entry_of_kind(0x1b)]),
        ("setuid file", of_mode(b'0', 0o4755)),
        ("setgid file", of_mode(b'0', 0o2755)),
        ("setgid directory", of_mode(b'5', 0o2755)),
        ("sticky directory", of_mode(b'5', 0o1777)),
        ("mode with the file type", of_mode(b'0', 0o100_644)),
        ("major number of a file", vec![tampered_header(329..337, b"0000001")]),
        ("minor number of a file", vec![tampered_header(337..345, b"0000001")]),
    ]);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/special_entries.txt"].raw());
}

#[test]
fn archive_that_readers_interpret_differently_is_refused() {
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
    let messages = refusals(&[
        (
            "changed name",
            vec![{
                let mut block = file("file");
                block[0] = b'F';
                block
            }],
        ),
        ("signed checksum", vec![signed]),
        ("size in an extended header", vec![x(&[record("size", "7")])]),
        ("large size in an extended header", vec![x(&[record("size", "8000000000")])]),
        ("another path", vec![x(&[record("path", "other")])]),
        ("longer path", vec![x(&[record("path", "file2")])]),
        ("shorter path", vec![x(&[record("path", "fil")])]),
        ("empty path", vec![x(&[record("path", "")])]),
        (
            "path and prefix",
            vec![{
                let mut below = tampered_header(PREFIX, b"a");
                below.splice(..0, extended(b'x', &record("path", "file")));
                below
            }],
        ),
        (
            "another link target",
            vec![extended(b'x', &record("linkpath", "other")), link("l", "here")],
        ),
        ("link target of a file", vec![x(&[record("linkpath", "other")])]),
        ("key twice", vec![x(&[record("mtime", "1"), record("mtime", "1")])]),
        ("sparse file", vec![x(&[record("GNU.sparse.major", "1")])]),
        ("character set", vec![x(&[record("hdrcharset", "BINARY")])]),
        ("capability", vec![x(&[record("SCHILY.xattr.security.capability", "\u{1}")])]),
        ("escape in a key", vec![x(&[record("\u{1b}", "")])]),
        ("length too small", vec![bytes(b"9 path=file\n")]),
        ("length too large", vec![bytes(b"14 path=file\n")]),
        ("leading zero", vec![bytes(b"014 path=file\n")]),
        ("plus sign", vec![bytes(b"+13 mtime=12\n")]),
        ("no newline", vec![bytes(b"12 mtime=123")]),
        ("no equals sign", vec![bytes(b"7 mtime\n")]),
        ("no key", vec![bytes(b"5 =1\n")]),
        ("length of itself", vec![bytes(b"1 ")]),
        ("no space", vec![bytes(&[b'1'; 99])]),
        ("empty line", vec![bytes(b"10 mtime=1\n\n")]),
        ("empty extended header", vec![bytes(b"")]),
        ("long extended header", vec![bytes(&[b'x'; 8193])]),
        ("two extended headers", vec![extended(b'x', &record("mtime", "1")), x(&[])]),
        ("extended header at the end", vec![extended(b'x', &record("mtime", "1"))]),
        ("global extended header", vec![extended(b'g', &record("path", "file"))]),
        ("GNU long name", vec![extended(b'L', b"name\0")]),
        ("GNU long link target", vec![extended(b'K', b"name\0")]),
        ("GNU sparse header", vec![sparse]),
        ("no magic", vec![tampered_header(MAGIC, &[0; 8])]),
        ("another version", vec![tampered_header(MAGIC, b"ustar\x0001")]),
        ("size in base 256", vec![tampered_header(SIZE, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])]),
        ("negative size in base 256", vec![tampered_header(SIZE, &[0xff; 12])]),
        ("mode in base 256", vec![tampered_header(MODE, &[0x80, 0, 0, 0, 0, 0, 1, 0xa4])]),
        ("user id in base 256", vec![tampered_header(UID, &[0x80, 0, 0, 0, 0, 0, 0, 0])]),
        ("time in base 256", vec![tampered_header(TIME, &[0xff; 12])]),
        ("size without an end", vec![tampered_header(SIZE, b"777777777777")]),
        ("size after spaces", vec![tampered_header(SIZE, b"           7")]),
        ("letter in the size", vec![tampered_header(SIZE, b"0000000000x\0")]),
        ("decimal size", vec![tampered_header(SIZE, b"0000000009\0\0")]),
        ("two sizes", vec![tampered_header(SIZE, b"0000\x00000000\0")]),
        ("negative size", vec![tampered_header(SIZE, b"-0000000001\0")]),
        ("empty size", vec![tampered_header(SIZE, &[0; 12])]),
        ("user name field", vec![tampered_header(265..297, b"a\0b")]),
        ("end of the header", vec![tampered_header(500..512, b"x")]),
        ("content of a directory", vec![header(b'5', b"d", 0o755, b"", 7).to_vec()]),
        ("content of a link", vec![header(b'2', b"l", 0o777, b"d", 7).to_vec()]),
        (
            "padding of a file",
            vec![{
                let mut file = file("file");
                file[1023] = 1;
                file
            }],
        ),
        (
            "padding of an extended header",
            vec![{
                let mut extended = extended(b'x', &record("mtime", "1"));
                extended[1000] = 1;
                [extended, file("file")].concat()
            }],
        ),
    ]);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/ambiguous_archives.txt"].raw());
}

#[test]
fn archive_with_a_bad_end_or_trailing_bytes_is_refused() {
    let file = file("file");
    let blocks = |blocks: usize| [&file[..], &vec![0; 512 * blocks]].concat();
    for good in [2, 3, 20, 21] {
        unanimity_archive::check(Tar, &blocks(good)[..]).unwrap();
    }
    let rows: [(&str, Vec<u8>); 9] = [
        ("no bytes", vec![]),
        ("no block of zeros", file.clone()),
        ("end in the content", file[..700].to_vec()),
        ("end in the padding", file[..1000].to_vec()),
        ("end in the header", file[..300].to_vec()),
        ("one block of zeros", blocks(1)),
        ("end in the second block of zeros", blocks(2)[..file.len() + 1000].to_vec()),
        ("22 blocks of zeros", blocks(22)),
        ("an entry after one block of zeros", [&blocks(1)[..], &file, &END].concat()),
    ];
    let mut messages = String::new();
    for (case, archive) in rows {
        messages += &refusal(case, Tar, &archive);
    }
    let two_archives = [blocks(2), blocks(2)].concat();
    messages += &refusal("two archives", Tar, &two_archives);
    // Each of these is a complete archive and further bytes.
    let (archive, skippable) = (sample_archive(), [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'x']);
    let (gz, zst) = (gz(&archive), zst(&archive));
    for (case, after) in
        [("zero", &b"\0"[..]), ("garbage", &b"garbage"[..]), ("gzip member", &gz[..])]
    {
        messages += &refusal(&format!("{case} after gzip"), TarGz, &[&gz[..], after].concat());
    }
    for (case, after) in [
        ("zero", &b"\0"[..]),
        ("garbage", &b"garbage"[..]),
        ("zstd frame", &zst[..]),
        ("skippable frame", &skippable[..]),
    ] {
        messages += &refusal(&format!("{case} after zstd"), TarZst, &[&zst[..], after].concat());
    }
    for (format, case, packed) in [
        (TarGz, "zero for gzip", b"\0".to_vec()),
        (TarGz, "gzip without its first byte", gz[1..].to_vec()),
        (TarGz, "zstd for gzip", zst.clone()),
        (TarGz, "gzip without its last byte", gz[..gz.len() - 1].to_vec()),
        (TarGz, "half of gzip", gz[..gz.len() / 2].to_vec()),
        (TarZst, "zstd after a skippable frame", [&skippable[..], &zst].concat()),
        (TarZst, "zstd without its first byte", zst[1..].to_vec()),
        (TarZst, "gzip for zstd", gz.clone()),
        (TarZst, "zstd without its last byte", zst[..zst.len() - 1].to_vec()),
        (TarZst, "half of zstd", zst[..zst.len() / 2].to_vec()),
        (Tar, "gzip for tar", gz.iter().chain(&[b'x'; 512]).copied().collect()),
    ] {
        messages += &refusal(case, format, &packed);
    }
    // Two members that are one archive only together: readers differ on the second one.
    let (first, rest) = archive.split_at(512);
    let (two_gz, two_zst) =
        ([self::gz(first), self::gz(rest)].concat(), [self::zst(first), self::zst(rest)].concat());
    messages += &refusal("two gzip members", TarGz, &two_gz);
    messages += &refusal("two zstd frames", TarZst, &two_zst);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/bad_ends.txt"].raw());
}

#[test]
fn zstd_window_above_8_mib_is_refused() {
    let archive = sample_archive();
    unanimity_archive::check(TarZst, &zst_with_window(23, &archive)[..]).unwrap();
    let mut messages = String::new();
    for window in [24, 27, 31, 41] {
        let case = format!("window of 2^{window} bytes");
        messages += &refusal(&case, TarZst, &zst_with_window(window, &archive));
    }
    let mut dictionary = zst_with_window(20, &archive);
    dictionary[4] |= 1;
    dictionary.insert(6, 7);
    messages += &refusal("dictionary", TarZst, &dictionary);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/zstd_limits.txt"].raw());
}

#[test]
fn unpack_refuses_other_totals_and_writes_nothing_beyond_them() {
    let archive = sample_archive();
    let right = compute_totals(&archive);
    let Totals { unpacked: size, entries } = right;
    let mut messages = String::new();
    for (case, signed) in [
        ("one entry more", Totals { entries: entries + 1, ..right }),
        ("one byte more", Totals { unpacked: size + 1, ..right }),
        ("one entry less", Totals { entries: entries - 1, ..right }),
        ("one byte less", Totals { unpacked: size - 1, ..right }),
        ("nothing", Totals { entries: 0, unpacked: 0 }),
    ] {
        let scratch = scratch_dir();
        let tree = scratch.path().join("tree");
        let violation = refused(unpack_into(Tar, signed, &archive[..], &tree));
        messages += &format!("{case} signed: {violation}\n");
        let written = list_tree(&tree);
        let bytes = |entry: &ExtractedEntry| match entry {
            ExtractedEntry::File(_, bytes) => bytes.len() as u64,
            _ => 0,
        };
        assert!(written.len() as u64 <= signed.entries);
        assert!(written.values().map(bytes).sum::<u64>() <= signed.unpacked);
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/other_totals.txt"].raw());
    let file_of_size = |size: u64| file_with(b"f", 0o644, &vec![b'x'; size as usize]);
    let sizes = Totals { unpacked: 600, entries: 1 };
    for (size, fits) in [(599, false), (600, true), (601, false)] {
        let scratch = scratch_dir();
        let archive = tar(&[file_of_size(size)]);
        let result = unpack_into(Tar, sizes, &archive[..], &scratch.path().join("tree"));
        assert_eq!(result.is_ok(), fits, "{size}: {result:?}");
    }
}
