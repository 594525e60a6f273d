//! The entries of a spool, against a second reader in this file. Both readers accept the same
//! entries.

use unanimity_install::spool::read_entries;

/// Checks one file of entries. The first byte of the input chooses after how many entries the
/// reader stops.
pub fn check(data: &[u8]) {
    let Some((&enough, bytes)) = data.split_first() else { return };
    let enough = if enough == 255 { usize::MAX } else { usize::from(enough) };
    let mut taken: Vec<(u64, Vec<u8>)> = Vec::new();
    let read = read_entries(bytes, |number, entry| {
        taken.push((number, entry.to_vec()));
        taken.len() < enough
    });
    let (expected, is_whole) = model(bytes, enough.max(1));
    assert_eq!(taken, expected);
    assert_eq!(read.is_ok(), is_whole, "{read:?}");
}

/// Returns at most `enough` entries, and whether they ended without an error. Errors are a
/// truncated first number, a truncated entry, and a number that overflows.
fn model(bytes: &[u8], enough: usize) -> (Vec<(u64, Vec<u8>)>, bool) {
    let mut entries = Vec::new();
    let Some((number, mut rest)) = bytes.split_first_chunk::<8>() else { return (entries, false) };
    let mut number = Some(u64::from_be_bytes(*number));
    while !rest.is_empty() && entries.len() < enough {
        let entry = rest.split_first_chunk::<2>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let (Some((entry, below)), Some(index)) = (entry, number) else { return (entries, false) };
        entries.push((index, entry.to_vec()));
        (number, rest) = (index.checked_add(1), below);
        if number.is_none() && entries.len() < enough {
            return (entries, false);
        }
    }
    (entries, true)
}
