//! Archives: our reader against the crate `tar`.
//!
//! If our reader accepts an archive, the crate `tar` reads the same entries, in the same order and
//! with the same bytes. Our reader refuses more archives, which is its purpose. An archive packed
//! with gzip or zstd gives the same tree. Signed totals below the true totals are refused.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::EntryType;
use unanimity_archive::{
    ArchiveError, EntryPath, LinkTarget, MAX_DEPTH, MAX_PATH_BYTES, Totals, TreeSink,
};
use unanimity_protocol::manifest::ArchiveFormat::{self, Tar, TarGz, TarZst};

/// The limit of unpacked bytes, because a small input can unpack to very many bytes.
const MAX_UNPACKED_BYTES: u64 = 4 << 20;
const BLOCK: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    File { executable: bool, bytes: Vec<u8> },
    Link(String),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tree {
    entries: Vec<(String, Entry)>,
    bytes: u64,
}

impl TreeSink for Tree {
    type Error = Infallible;

    fn directory(&mut self, path: &EntryPath) -> Result<(), Infallible> {
        self.add(path, Entry::Directory);
        Ok(())
    }

    fn file(&mut self, path: &EntryPath, executable: bool) -> Result<(), Infallible> {
        self.add(path, Entry::File { executable, bytes: Vec::new() });
        Ok(())
    }

    fn bytes(&mut self, more: &[u8]) -> Result<(), Infallible> {
        let Some((_, Entry::File { bytes, .. })) = self.entries.last_mut() else {
            panic!("bytes of no file")
        };
        bytes.extend_from_slice(more);
        self.bytes += more.len() as u64;
        Ok(())
    }

    fn link(&mut self, path: &EntryPath, target: &LinkTarget) -> Result<(), Infallible> {
        self.add(path, Entry::Link(target.as_str().to_owned()));
        Ok(())
    }
}

impl Tree {
    fn add(&mut self, path: &EntryPath, entry: Entry) {
        let path = path.as_str();
        let parts: Vec<&str> = path.split('/').collect();
        assert!(path.len() <= MAX_PATH_BYTES && parts.len() <= MAX_DEPTH);
        assert!(parts.iter().all(|part| !["", ".", ".."].contains(part)));
        if let Some((above, _)) = path.rsplit_once('/') {
            let is_above =
                |(other, entry): &(String, Entry)| other == above && *entry == Entry::Directory;
            assert!(self.entries.iter().any(is_above), "{path} before its directory");
        }
        assert!(self.entries.iter().all(|(other, _)| !other.eq_ignore_ascii_case(path)));
        self.entries.push((path.to_owned(), entry));
    }
}

/// Checks one archive. The first byte chooses its packing, and whether the checksums of its headers
/// are repaired.
pub fn check(data: &[u8]) {
    let Some((&how, archive)) = data.split_first() else { return };
    match how % 4 {
        0 => tar(archive),
        1 => {
            let mut archive = archive.to_vec();
            repair(&mut archive);
            tar(&archive);
        }
        2 => drop(packed(TarGz, archive)),
        _ => drop(packed(TarZst, archive)),
    }
}

fn tar(archive: &[u8]) {
    let Some((tree, totals)) = packed(Tar, archive) else { return };
    assert_eq!(tree.entries, read_with_tar(archive), "the two readers found different trees");
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(archive).expect("in memory");
    let gz = gz.finish().expect("in memory");
    let zst = zstd::encode_all(archive, 1).expect("in memory");
    for (format, bytes) in [(TarGz, gz), (TarZst, zst)] {
        assert_eq!(
            packed(format, &bytes),
            Some((Tree { entries: tree.entries.clone(), ..tree }, totals))
        );
        // Our reader refuses bytes after the end, and a truncated archive.
        assert_eq!(packed(format, &[&bytes[..], &[0]].concat()), None);
        assert_eq!(packed(format, &bytes[..bytes.len() - 1]), None);
    }
}

/// Reads an archive with `unpack` and with `check`. Returns its tree and totals, or `None` if our
/// reader refuses it.
fn packed(format: ArchiveFormat, archive: &[u8]) -> Option<(Tree, Totals)> {
    let bounded = Totals { unpacked: MAX_UNPACKED_BYTES, entries: 1000 };
    let mut tree = Tree::default();
    // `unpack` usually refuses these totals, because the true totals are smaller. `tree` then has
    // all entries.
    let more = unanimity_archive::unpack(format, bounded, archive, &mut tree);
    assert!(tree.bytes <= MAX_UNPACKED_BYTES && tree.entries.len() <= 1000);
    let totals = match (more, tree.bytes, tree.entries.len()) {
        (Ok(()), ..) => bounded,
        (Err(ArchiveError::Refused(why)), unpacked, entries) => {
            if !why.why.ends_with("were signed") || why.entry.is_some() {
                return None;
            }
            Totals { unpacked, entries: entries as u64 }
        }
        (Err(why), ..) => panic!("neither slice nor tree can fail: {why}"),
    };
    assert_eq!(unanimity_archive::check(format, archive).expect("it was read to its end"), totals);
    let mut again = Tree::default();
    unanimity_archive::unpack(format, totals, archive, &mut again).expect("as it was checked");
    assert_eq!(again, tree);
    let less = [
        Totals { entries: totals.entries.wrapping_sub(1), ..totals },
        Totals { unpacked: totals.unpacked.wrapping_sub(1), ..totals },
    ];
    for less in less {
        let mut some = Tree::default();
        assert!(unanimity_archive::unpack(format, less, archive, &mut some).is_err());
        assert!(some.bytes <= tree.bytes && some.entries.len() <= tree.entries.len());
    }
    Some((tree, totals))
}

/// Reads an archive with the crate `tar`.
fn read_with_tar(archive: &[u8]) -> Vec<(String, Entry)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("an archive that our reader accepts");
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("an entry that our reader accepts");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("ASCII");
        let header = entry.header();
        let executable = header.mode().expect("a mode") & 0o100 != 0;
        let entry = match header.entry_type() {
            EntryType::Directory => Entry::Directory,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().expect("a target").into_owned();
                Entry::Link(String::from_utf8(target).expect("ASCII"))
            }
            EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).expect("a slice");
                Entry::File { executable, bytes }
            }
            other => panic!("our reader accepts an entry of kind {other:?}"),
        };
        let is_directory = entry == Entry::Directory;
        let path = path.strip_suffix('/').filter(|_| is_directory).unwrap_or(&path).to_owned();
        (path, entry)
    };
    entries.map(entry).collect()
}

/// Corrects the checksum of each header. The size in a header gives the next header's position.
fn repair(archive: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + BLOCK) {
        if header.iter().all(|&byte| byte == 0) {
            return;
        }
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0, |size, digit| size * 8 + usize::from(digit - b'0'));
        at += BLOCK + size.min(1 << 20).next_multiple_of(BLOCK);
    }
}
