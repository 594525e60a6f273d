//! Endless archives, slow and failing sources, and random archives.

use std::collections::BTreeMap;
use std::io::Read;
use std::io::{self};

use ArchiveFormat::{Tar, TarGz, TarZst};
use proptest::prelude::*;
use unanimity_archive::{ArchiveError, MAX_ENTRIES, MAX_NAMES_BYTES, Totals};
use unanimity_protocol::manifest::ArchiveFormat;
use unanimity_testkit::archives::*;
use unanimity_testkit::scratch_dir::scratch_dir;

use crate::unpack::refused;

/// A reader without an end. It makes bytes on demand and counts those that were read.
struct EndlessReader<F> {
    next: F,
    made: Vec<u8>,
    taken: u64,
}

impl<F: FnMut() -> Vec<u8>> Read for EndlessReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.made.len() < buffer.len() {
            self.made.extend((self.next)());
        }
        buffer.copy_from_slice(&self.made[..buffer.len()]);
        self.made.drain(..buffer.len());
        self.taken += buffer.len() as u64;
        Ok(buffer.len())
    }
}

fn endless<F: FnMut() -> Vec<u8>>(next: F) -> EndlessReader<F> {
    EndlessReader { next, made: Vec::new(), taken: 0 }
}

#[test]
fn endless_archive_stops_at_every_limit() {
    let mut zeros = endless(|| vec![0; 1 << 16]);
    let violation = refused(unanimity_archive::check(Tar, &mut zeros));
    let mut messages = format!("endless zeros: {violation}\n");
    assert!(zeros.taken <= 1 << 18, "{}", zeros.taken);
    // One file of the largest possible size.
    let mut huge = Vec::from(header(b'0', b"file", 0o644, b"", 0o77777777777));
    let mut huge = endless(move || std::mem::replace(&mut huge, vec![b'x'; 512]));
    let scratch = scratch_dir();
    let tree = scratch.path().join("tree");
    let signed = Totals { unpacked: 1 << 30, entries: 5 };
    let violation = refused(unpack_into(Tar, signed, &mut huge, &tree));
    messages += &format!("huge file: {violation}\n");
    assert!(huge.taken <= 1 << 18 && list_tree(&tree).is_empty());
    let mut number = 0;
    let mut many = endless(move || {
        number += 1;
        dir(format!("{number}"))
    });
    let violation = refused(unanimity_archive::check(Tar, &mut many));
    messages += &format!("endless entries: {violation}\n");
    assert_eq!(violation.entry.unwrap().0, MAX_ENTRIES + 1);
    let signed = Totals { unpacked: 0, entries: u64::MAX };
    let archive = tar(&[dir("d"), file("d/f")]);
    let violation = refused(unpack_into(Tar, signed, &archive[..], &tree));
    messages += &format!("no signed bytes: {violation}\n");
    snapbox::assert_data_eq!(messages, snapbox::file!["words/endless_archives.txt"].raw());
}

#[test]
fn names_use_a_bounded_amount_of_memory() {
    let parts: Vec<String> = "abc".chars().map(|c| c.to_string().repeat(255)).collect();
    let above = parts.join("/");
    let mut entries: Vec<Vec<u8>> = (1..4).rev().map(|n| long_dir(&parts[..n].join("/"))).collect();
    let mut number = 0;
    let mut long = endless(|| {
        entries.pop().unwrap_or_else(|| {
            number += 1;
            long_dir(&format!("{above}/{number:0200}"))
        })
    });
    let violation = refused(unanimity_archive::check(Tar, &mut long));
    assert_eq!(violation.why, format!("names of more than {MAX_NAMES_BYTES} bytes in all"));
}

#[test]
fn failing_source_is_an_error_and_not_a_refusal() {
    struct ResettingReader;
    impl Read for ResettingReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
    let archive = sample_archive();
    for (format, packed) in [(Tar, archive.clone()), (TarGz, gz(&archive)), (TarZst, zst(&archive))]
    {
        for length in [0, 5, 30, packed.len() - 1, packed.len()] {
            let result = unanimity_archive::check(format, packed[..length].chain(ResettingReader));
            let Err(ArchiveError::Source(error)) = result else { panic!("{length}: {result:?}") };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn source_of_single_bytes_and_interruptions_is_read() {
    struct OneByteReader<'a>(&'a [u8], bool);
    impl Read for OneByteReader<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }
    let archive = sample_archive();
    for (format, packed) in [(Tar, archive.clone()), (TarGz, gz(&archive)), (TarZst, zst(&archive))]
    {
        assert_eq!(
            unanimity_archive::check(format, OneByteReader(&packed, false)).unwrap(),
            compute_totals(&archive)
        );
    }
}

/// For each byte of the sample archive, whether no checksum covers it: contents and extended
/// headers.
fn bytes_without_checksum(archive: &[u8]) -> Vec<bool> {
    let mut uncovered = vec![false; archive.len()];
    let mut at = 0;
    while archive[at] != 0 {
        let size = std::str::from_utf8(&archive[at + 124..at + 135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        uncovered[at + 512..at + 512 + size].fill(true);
        at += 512 + size.next_multiple_of(512);
    }
    uncovered
}

#[test]
fn archive_with_a_changed_byte_is_refused_or_gives_the_same_tree() {
    let archive = sample_archive();
    let scratch = scratch_dir();
    let tree = scratch.path().join("tree");
    unpack_into(Tar, compute_totals(&archive), &archive[..], &tree).unwrap();
    let expected = list_tree(&tree);
    let no_checksum = bytes_without_checksum(&archive);
    for (format, packed) in [(Tar, archive.clone()), (TarGz, gz(&archive)), (TarZst, zst(&archive))]
    {
        for at in 0..packed.len() {
            // A tar archive has no checksum of its contents. The signed digest covers them.
            if format == Tar && no_checksum[at] {
                continue;
            }
            for change in [0x01, 0x20, 0x80, 0xff] {
                let mut changed = packed.clone();
                changed[at] ^= change;
                match unanimity_archive::check(format, &changed[..]) {
                    Err(ArchiveError::Refused(_)) => continue,
                    checked => checked.unwrap(),
                };
                unpack_into(format, compute_totals(&archive), &changed[..], &tree).unwrap();
                assert_eq!(list_tree(&tree), expected, "{format:?}, byte {at}");
            }
        }
    }
}

/// Reads an archive with the crate `tar`, for comparison.
fn read_with_tar_crate(archive: &[u8]) -> BTreeMap<String, ExtractedEntry> {
    let mut archive = tar::Archive::new(archive);
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let name = name.strip_suffix('/').unwrap_or(&name).to_owned();
        let executable = entry.header().mode().unwrap() & 0o100 != 0;
        let extracted = match entry.header().entry_type() {
            tar::EntryType::Directory => ExtractedEntry::Directory(0o755),
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap().into_owned();
                ExtractedEntry::Link(String::from_utf8(target).unwrap())
            }
            tar::EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                ExtractedEntry::File(if executable { 0o755 } else { 0o644 }, bytes)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(found.insert(name, extracted), None);
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// A few bytes of the headers are changed, and then the checksums are corrected.
    #[test]
    fn accepted_archive_gives_the_same_tree_with_another_reader(
        changes in prop::collection::vec(
            (0usize..24, 0usize..512, prop_oneof![
                Just(0), Just(b' '), Just(b'/'), b'.'..=b'8', b'A'..=b'b', any::<u8>()
            ]),
            1..4,
        ),
        copied in prop::option::of((0usize..24, 0usize..24, 0usize..500, 1usize..100)),
    ) {
        let mut archive = sample_archive();
        let blocks = archive.len() / 512;
        for (block, at, byte) in changes {
            archive[block % blocks * 512 + at] = byte;
        }
        if let Some((from, to, at, length)) = copied {
            let from = from % blocks * 512 + at;
            let length = length.min(512 - at);
            archive.copy_within(from..from + length, to % blocks * 512 + at);
        }
        for block in archive.as_chunks_mut::<512>().0 {
            if block[257..262] == *b"ustar" {
                *block = with_checksum(*block);
            }
        }
        if let Ok(totals) = unanimity_archive::check(Tar, &archive[..]) {
            let scratch = scratch_dir();
            let tree = scratch.path().join("tree");
            unpack_into(Tar, totals, &archive[..], &tree).unwrap();
            prop_assert_eq!(list_tree(&tree), read_with_tar_crate(&archive));
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for format in [Tar, TarGz, TarZst] {
            prop_assert!(matches!(unanimity_archive::check(format, &bytes[..]), Err(ArchiveError::Refused(_))));
        }
        let magic = [&[0x28, 0xb5, 0x2f, 0xfd][..], &bytes].concat();
        prop_assert!(unanimity_archive::check(TarZst, &magic[..]).is_err());
        let magic = [&[0x1f, 0x8b, 8][..], &bytes].concat();
        prop_assert!(unanimity_archive::check(TarGz, &magic[..]).is_err());
    }
}

#[test]
fn archive_of_ten_thousand_files_is_unpacked() {
    let mut entries = Vec::new();
    for directory in 0..100 {
        entries.push(dir(format!("{directory}")));
    }
    // Consecutive files are in different directories.
    for number in 0..10_000 {
        let name = format!("{}/{number}", number % 100);
        entries.push(file_with(name.as_bytes(), 0o644, name.as_bytes()));
    }
    let archive = zst(&tar(&entries));
    let totals = unanimity_archive::check(TarZst, &archive[..]).unwrap();
    assert_eq!(totals.entries, 10_100);
    let scratch = scratch_dir();
    let tree = scratch.path().join("tree");
    unpack_into(TarZst, totals, &archive[..], &tree).unwrap();
    let found = list_tree(&tree);
    assert_eq!(found.len(), 10_100);
    assert_eq!(found["42/142"], ExtractedEntry::File(0o644, b"42/142".to_vec()));
}
