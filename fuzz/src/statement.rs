//! Manifests and withdrawals, and a catalog to which they are added as signed entries.
//!
//! A parsed statement prints to its own text. A statement that two publishers signed belongs to the
//! product exactly if it names the policy's log, product and channel. A catalog built from the
//! entries of another catalog equals that catalog.

use unanimity_protocol::catalog::Reading;
use unanimity_protocol::manifest::MAX_ARTIFACTS;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::withdrawal::MAX_REASON_BYTES;
use unanimity_protocol::{Catalog, Manifest, Note, Statement};

use crate::keys::{KEYS, NOW};

/// Checks one text as a statement, and as a signed entry of a catalog.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let read = Statement::parse(text);
    if let Ok(statement) = &read {
        assert_eq!(statement.to_string(), text);
        match statement {
            Statement::Release(manifest) => check_manifest(manifest),
            Statement::Withdrawal(withdrawal) => {
                assert!((1..=MAX_REASON_BYTES).contains(&withdrawal.reason.len()));
                assert!((1..1 << 63).contains(&withdrawal.sequence));
            }
        }
    }
    if text.len() < MAX_NOTE_BYTES / 2
        && let Ok(note) = Note::unsigned(text)
    {
        catalog(note, read.ok());
    }
}

fn check_manifest(manifest: &Manifest) {
    assert!((1..=MAX_ARTIFACTS).contains(&manifest.artifacts.len()));
    assert!((1..1 << 63).contains(&manifest.sequence));
    assert!(manifest.issued < manifest.expires);
    assert_eq!(Manifest::sequence_from_label(&manifest.label()), Some(manifest.sequence));
    for target in &manifest.artifacts {
        assert_eq!(manifest.artifact_for(&target.platform), Some(target));
    }
}

fn catalog(mut note: Note, statement: Option<Statement>) {
    KEYS.publishers[..2].iter().for_each(|secret| note.sign(secret));
    let policy = &KEYS.policy;
    let is_ours = match &statement {
        Some(Statement::Release(it)) => {
            (&it.log, &it.product, &it.channel)
                == (&policy.log.origin, &policy.product, &policy.channel)
        }
        Some(Statement::Withdrawal(it)) => {
            (&it.log, &it.product, &it.channel)
                == (&policy.log.origin, &policy.product, &policy.channel)
        }
        None => false,
    };
    let bytes = note.to_string().into_bytes();
    let mut catalog = Catalog::default();
    let reading = catalog.add_entry(7, &bytes, policy);
    assert_eq!(reading == Reading::Ours, is_ours, "{reading:?}");
    let mut again = Catalog::default();
    for entry in catalog.entries() {
        again.add_entry(entry.index, entry.note.to_string().as_bytes(), policy);
    }
    assert_eq!(format!("{catalog:?}"), format!("{again:?}"));
    let choice = catalog.select_candidates(policy, 0, NOW);
    if let Some(Statement::Release(manifest)) = statement.filter(|_| is_ours) {
        let is_candidate = choice.candidates.iter().any(|signed| *signed.manifest() == manifest);
        assert_eq!(is_candidate, manifest.expires > NOW);
    }
}
