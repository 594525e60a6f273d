//! Evidence against a log, as the fuzzer wrote it and with renewed signatures.
//!
//! Verified evidence prints to a text that verifies to equal evidence. The text also verifies with
//! the log's key alone. The two heads of the evidence differ.

use unanimity_protocol::Evidence;
use unanimity_protocol::evidence::MAX_EVIDENCE_BYTES;

use crate::keys::KEYS;
use crate::repair;

/// Checks one text as evidence, as it is and with renewed signatures.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    check_evidence(text);
    check_evidence(&repair::blocks(text));
}

fn check_evidence(text: &str) {
    let with_key = Evidence::verify_with_key(text, &KEYS.log.key);
    let Ok(evidence) = Evidence::verify(text, &KEYS.log) else { return };
    assert!(text.len() <= MAX_EVIDENCE_BYTES);
    let printed = evidence.to_string();
    assert!(printed.len() <= text.len());
    assert_eq!(Evidence::verify(&printed, &KEYS.log).as_ref(), Ok(&evidence));
    assert_eq!(with_key.as_ref(), Ok(&evidence));
    let (smaller, larger) = (evidence.smaller(), evidence.larger());
    assert!(smaller != larger && smaller.size() <= larger.size());
    assert_eq!(evidence.id().len(), 32);
}
