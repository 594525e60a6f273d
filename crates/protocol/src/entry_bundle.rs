//! Bundles of up to 256 log entries (C2SP tlog-tiles).

/// Splits a bundle into its entries. Before each entry is its length as a big-endian `u16`.
///
/// `None` if the last entry is incomplete.
pub fn split_bundle(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}
