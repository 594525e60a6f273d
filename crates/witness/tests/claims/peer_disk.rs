//! Claims about a witness and its storage: cosigned heads are durable, and a failed write delays
//! only one poll.

use std::path::Path;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use unanimity_config::PollingSettings;
use unanimity_log::LogWriter;
use unanimity_net::Mirror;
use unanimity_net::message::{Answer, Question};
use unanimity_protocol::{CosignatureSigningKey, CosignedHead, Timestamp};
use unanimity_storage::{ManualClock, Storage, WriteStep};
use unanimity_testkit::block_on::block_on;
use unanimity_testkit::sample_log::{origin, sample_log, sample_notes, signing_key};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk};
use unanimity_witness::{PollOutcome, Witness, WitnessConfig, WitnessError};

fn cosigner() -> CosignatureSigningKey {
    CosignatureSigningKey::from_seed("alice".parse().unwrap(), &[7; 32])
}

fn open(mirror: &Path, state: &Path, disk: Storage) -> Result<Witness<ManualClock>, WitnessError> {
    let config = WitnessConfig {
        log: sample_log(),
        signing_key: cosigner(),
        mirrors: vec![Mirror::from_directory(mirror)],
        polling: PollingSettings::default(),
    };
    Witness::open(config, state, disk, ManualClock::at(Timestamp(1_790_000_000)))
}

fn poll(peer: &Witness<ManualClock>) -> Result<PollOutcome, WitnessError> {
    block_on(peer.poll(&mut StdRng::seed_from_u64(1)))
}

fn cosigned_size(peer: &Witness<ManualClock>) -> Option<u64> {
    match peer.answer(Question::CosignedHead(sample_log().id())).unwrap() {
        Answer::CosignedHead(note) => {
            let cosigned =
                CosignedHead::verify(note.as_bytes(), &sample_log(), &cosigner().public()).unwrap();
            Some(cosigned.head().size())
        }
        _ => None,
    }
}

#[test]
fn witness_advances_at_the_next_poll_after_a_failed_write() {
    let log = scratch_dir();
    let mut writer =
        LogWriter::init(log.path(), origin(), signing_key(1), Storage::default()).unwrap();
    writer.append(&sample_notes("first", 250)).unwrap();
    let first = scratch_dir();
    unanimity_testkit::copy_tree(log.path(), first.path()).unwrap();
    writer.append(&sample_notes("second", 10)).unwrap();
    let replace_mirror = |mirror: &Path, from: &Path| {
        std::fs::remove_dir_all(mirror).unwrap();
        unanimity_testkit::copy_tree(from, mirror).unwrap();
    };
    let mut failed = 0;
    for fails in 0.. {
        let (mirror, state) = (scratch_dir(), scratch_dir());
        replace_mirror(mirror.path(), first.path());
        drop(open(mirror.path(), state.path(), Storage::default()).map(|peer| poll(&peer)));
        let peer = open(mirror.path(), state.path(), failing_disk(fails, Some(fails + 1)));
        // Some of the steps belong to opening.
        let Ok(peer) = peer else { continue };
        assert!(matches!(poll(&peer), Ok(PollOutcome::Fresh(head)) if head.size() == 250));
        replace_mirror(mirror.path(), log.path());
        let polled = poll(&peer);
        if polled.is_ok() {
            assert_eq!(cosigned_size(&peer), Some(260));
            break;
        }
        failed += 1;
        assert_eq!(cosigned_size(&peer), Some(250), "only a stored head is cosigned");
        let again = poll(&peer).unwrap_or_else(|error| panic!("step {fails}: {error}"));
        assert!(matches!(again, PollOutcome::Fresh(head) if head.size() == 260));
        assert_eq!(cosigned_size(&peer), Some(260));
        drop(peer);
        let peer = open(mirror.path(), state.path(), Storage::default()).unwrap();
        assert_eq!(peer.head().unwrap().size(), 260);
    }
    assert!(failed > 10, "{failed} steps of a poll");
}

#[test]
fn witness_killed_in_a_poll_keeps_the_old_or_the_new_head() {
    let log = scratch_dir();
    let mut writer =
        LogWriter::init(log.path(), origin(), signing_key(1), Storage::default()).unwrap();
    writer.append(&sample_notes("first", 250)).unwrap();
    let mut sizes = Vec::new();
    for dies in 0.. {
        let state = scratch_dir();
        let died = open(log.path(), state.path(), failing_disk(dies, None))
            .map(|peer| poll(&peer).is_err());
        if matches!(died, Ok(false)) {
            break;
        }
        let peer = open(log.path(), state.path(), Storage::default()).unwrap();
        sizes.push(peer.head().map_or(0, |head| head.size()));
        assert!(matches!(poll(&peer), Ok(PollOutcome::Fresh(head)) if head.size() == 250));
    }
    assert!(sizes.len() > 10 && sizes.is_sorted(), "{sizes:?}");
    assert_eq!((sizes.first(), sizes.last()), (Some(&0), Some(&250)));
}

#[test]
fn opening_syncs_the_stored_head_before_it_is_cosigned() {
    let (log, state) = (scratch_dir(), scratch_dir());
    drop(LogWriter::init(log.path(), origin(), signing_key(1), Storage::default()).unwrap());
    poll(&open(log.path(), state.path(), Storage::default()).unwrap()).unwrap();
    let (disk, steps) = recording_disk();
    drop(open(log.path(), state.path(), disk).unwrap());
    let steps = steps.lock().unwrap();
    // A killed run may have named the head without syncing the directory.
    assert!(steps.contains(&WriteStep::SyncDir(state.path().join("peer"))), "{steps:?}");
}
