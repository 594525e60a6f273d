//! The outcome of every error of a library: exit code, word and condition.

use std::io;
use std::path::PathBuf;

use Condition::{Available, Fork, Healthy, Incomplete, Refused, Stale};
use unanimity_archive::ArchiveViolation;
use unanimity_client::{ClientError, CycleError, CycleOutcome, MirrorProblem};
use unanimity_config::edit::EditErrorKind;
use unanimity_config::{ConfigError, ConfigErrorKind, EditError, PeerListError};
use unanimity_install::spool::SpoolError;
use unanimity_install::{
    ArtifactMismatch, InstallError, InstallRefusal, Installed, OfflineInstallError, ReplayMismatch,
    RollbackError,
};
use unanimity_log::export::ExportError;
use unanimity_log::{EntryError, WriteError};
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::note::NoteError;
use unanimity_protocol::proof_bundle::BundleError;
use unanimity_protocol::{
    BundleFault, Checkpoint, Evidence, Hash, LogMismatch, Manifest, NoteVerifyingKey, Refusal,
    TreeHead,
};
use unanimity_publish::PublishError;
use unanimity_report::{Classify, Condition, Exit};
use unanimity_state::{IdentityError, LogForked, StoreError};
use unanimity_storage::{PrivateFileError, StorageError};
use unanimity_testkit::sample_log::{origin, sample_log, signing_key};
use unanimity_testkit::test_world::NOW;

const ROWS: [(u8, &str, Condition); 27] = [
    (0, "done", Healthy),
    (1, "failed", Incomplete),
    (2, "usage", Incomplete),
    (3, "configuration", Incomplete),
    (4, "network", Incomplete),
    (5, "clock", Incomplete),
    (6, "disk", Incomplete),
    (7, "key", Incomplete),
    (8, "bad-input", Refused),
    (10, "available", Available),
    (11, "settling", Healthy),
    (12, "incomplete", Incomplete),
    (13, "stale", Stale),
    (14, "no-progress", Incomplete),
    (20, "fork", Fork),
    (21, "conflict", Refused),
    (22, "bad-signature", Refused),
    (23, "not-logged", Refused),
    (24, "rollback", Refused),
    (25, "expired", Refused),
    (26, "outdated", Refused),
    (27, "unsuitable", Refused),
    (28, "bad-artifact", Refused),
    (29, "bad-proof", Refused),
    (30, "unhealthy", Refused),
    (31, "withdrawn", Refused),
    (130, "interrupted", Incomplete),
];

#[test]
fn every_exit_code_has_its_word_and_condition() {
    let row = |exit: &Exit| (*exit as u8, exit.word(), exit.condition());
    assert_eq!(Exit::ALL.iter().map(row).collect::<Vec<_>>(), ROWS);
}

/// Asserts that each error has this exit code and the condition of its row.
#[track_caller]
fn assert_all_have<E: Classify + std::fmt::Debug>(code: u8, errors: impl IntoIterator<Item = E>) {
    let row = ROWS.iter().find(|(row, ..)| *row == code).unwrap();
    for error in errors {
        assert_eq!((error.exit() as u8, error.condition()), (code, row.2), "{error:?}");
    }
}

fn any_path() -> PathBuf {
    "file".into()
}

fn any_text() -> String {
    "text".to_owned()
}

fn any_name<T: std::str::FromStr>() -> T {
    "hello".parse().unwrap_or_else(|_| panic!("\"hello\" is no such name"))
}

fn io_error() -> io::Error {
    io::ErrorKind::Other.into()
}

fn storage_error() -> StorageError {
    StorageError::Corrupt { path: any_path(), remedy: "" }
}

fn signed_head(root: u8) -> TreeHead {
    let checkpoint = Checkpoint { origin: origin(), size: 1, root: Hash([root; 32]) };
    let note = checkpoint.sign(&signing_key(1)).to_string();
    TreeHead::verify(note.as_bytes(), &sample_log()).unwrap()
}

fn evidence() -> Box<Evidence> {
    Box::new(Evidence::from_heads(&signed_head(1), &signed_head(2), &[]).unwrap())
}

fn checkpoint_error() -> CheckpointError {
    TreeHead::verify(b"", &sample_log()).unwrap_err()
}

fn config_error(kind: ConfigErrorKind) -> ConfigError {
    ConfigError { path: any_path(), why: kind }
}

#[test]
fn errors_of_storage_and_private_files_have_their_rows() {
    assert_all_have(
        6,
        [storage_error(), StorageError::Io { path: any_path(), source: io_error() }],
    );
    assert_all_have(
        6,
        [PrivateFileError::Disk(storage_error()), PrivateFileError::Exists(any_path())],
    );
    assert_all_have(7, [PrivateFileError::Exposed { path: any_path(), mode: 0o644 }]);
}

fn refusals() -> Vec<(u8, Refusal)> {
    let release = any_text;
    let withdrawn = |installed| Refusal::Withdrawn {
        release: release(),
        index: 1,
        reason: any_text(),
        installed,
    };
    vec![
        (20, Refusal::Fork(evidence())),
        (21, Refusal::DuplicateSequence { sequence: 7, first: 1, second: 2 }),
        (22, Refusal::Threshold { signed: 1, threshold: 2 }),
        (22, Refusal::BadSignature(NoteError::NotUtf8)),
        (8, Refusal::Malformed(Manifest::parse("").unwrap_err())),
        (23, Refusal::OtherLog(any_text())),
        (27, Refusal::OtherProduct { product: any_name(), channel: any_name() }),
        (26, Refusal::UnsupportedFormat { index: 3, header: any_text() }),
        (31, withdrawn(true)),
        (31, withdrawn(false)),
        (23, Refusal::NotLogged(LogMismatch::NotExtended)),
        (23, Refusal::NotLogged(LogMismatch::NotIncluded { release: release(), index: 1 })),
        (23, Refusal::NotLogged(LogMismatch::OtherHead)),
        (23, Refusal::NotLogged(LogMismatch::EarlierEntries { read: 1, head: signed_head(1) })),
        (24, Refusal::SequenceRollback { offered: 3, floor: 4 }),
        (25, Refusal::Expired { release: release(), at: NOW }),
        (12, Refusal::Incomplete(Vec::new())),
        (11, Refusal::Settling { release: release(), until: NOW }),
        (12, Refusal::RoundTooOld { at: NOW }),
        (27, Refusal::NoArtifactForPlatform { release: release(), platform: any_name() }),
        (29, Refusal::Bundle(BundleFault::Head(checkpoint_error()))),
        (29, Refusal::Bundle(BundleFault::Note(NoteError::NotUtf8))),
        (
            29,
            Refusal::Bundle(BundleFault::CosignedHead {
                peer: any_name(),
                why: checkpoint_error(),
            }),
        ),
        (29, Refusal::Bundle(BundleFault::NotIncluded(any_name()))),
        (29, Refusal::Bundle(BundleFault::Unproven)),
        (29, Refusal::Bundle(BundleFault::DuplicateCosigner)),
        (29, Refusal::Bundle(BundleFault::SpreadTooWide)),
        (29, Refusal::Bundle(BundleFault::Future(NOW))),
    ]
}

fn install_refusals() -> Vec<(u8, InstallRefusal)> {
    let mismatches = [
        ArtifactMismatch::TooLong { file: any_name(), signed: 1 },
        ArtifactMismatch::TooShort { file: any_name(), length: 0, signed: 1 },
        ArtifactMismatch::Digest { file: any_name(), found: Hash([0; 32]), signed: Hash([1; 32]) },
        ArtifactMismatch::Archive {
            file: any_name(),
            broken: ArchiveViolation { entry: None, why: any_text() },
        },
        ArtifactMismatch::OtherRelease(any_text()),
    ];
    let mut refusals = vec![
        (27, InstallRefusal::TooManyEntries { release: any_text() }),
        (30, InstallRefusal::Unhealthy { release: any_text(), why: any_text(), until: Some(NOW) }),
        (30, InstallRefusal::OnTrial { release: any_text() }),
    ];
    refusals.extend(mismatches.map(|mismatch| (28, mismatch.into())));
    refusals
}

#[test]
fn a_refusal_of_the_protocol_has_its_row_inside_every_error() {
    for (code, refusal) in refusals() {
        assert_all_have(code, [refusal.clone()]);
        assert_all_have(code, [CycleError::Refused(refusal.clone())]);
        assert_all_have(code, [InstallError::Refused(refusal.clone())]);
        assert_all_have(code, [RollbackError::Install(InstallError::Refused(refusal.clone()))]);
        assert_all_have(code, [OfflineInstallError::Refused(refusal)]);
    }
}

#[test]
fn a_refusal_to_install_has_its_row_inside_every_error() {
    for (code, refusal) in install_refusals() {
        if let InstallRefusal::Artifact(mismatch) = &refusal {
            assert_all_have(code, [mismatch.clone()]);
        }
        assert_all_have(code, [refusal.clone()]);
        assert_all_have(code, [CycleError::Install(refusal.clone())]);
        assert_all_have(code, [InstallError::Install(refusal.clone())]);
        assert_all_have(code, [RollbackError::Install(InstallError::Install(refusal.clone()))]);
        assert_all_have(code, [OfflineInstallError::Install(refusal)]);
    }
}

#[test]
fn an_unacknowledged_fork_has_its_row_inside_every_error() {
    let forked = LogForked { id: any_text() };
    assert_all_have(20, [CycleError::LogForked(forked.clone())]);
    assert_all_have(20, [OfflineInstallError::LogForked(forked.clone())]);
    assert_all_have(20, [forked]);
}

#[test]
fn problems_of_mirrors_have_their_rows_and_a_rollback_is_stale() {
    let stale = MirrorProblem::Stale { mirror: any_text(), shown: 1, known: 2 };
    let served = MirrorProblem::OtherEntries { served: any_text(), head: signed_head(1) };
    for (code, problem) in [(13, stale), (23, served)] {
        assert_all_have(code, [problem.clone()]);
        assert_all_have(code, [CycleError::Mirror(problem)]);
    }
    let rollback = MirrorProblem::Rollback { mirror: any_text(), shown: 1, known: 2 };
    assert_eq!((rollback.exit(), rollback.condition()), (Exit::Rollback, Stale));
    let rollback = CycleError::Mirror(rollback);
    assert_eq!((rollback.exit(), rollback.condition()), (Exit::Rollback, Stale));
}

#[test]
fn errors_of_a_cycle_have_their_rows() {
    let command = || InstallError::Command { program: any_text(), why: io_error() };
    let rows = || {
        [
            (6, ClientError::Store(StoreError::HeadMoved)),
            (3, ClientError::Store(StoreError::OtherLog(any_path()))),
            (6, ClientError::Disk(storage_error())),
            (3, ClientError::Config(config_error(ConfigErrorKind::Changed))),
            (3, ClientError::Command(command())),
            (4, ClientError::Mirrors(Vec::new())),
            (5, ClientError::Clock { now: NOW, newest: NOW }),
            (4, ClientError::HeadNotLinked { trusted: signed_head(1) }),
        ]
    };
    rows().into_iter().for_each(|(code, error)| assert_all_have(code, [error]));
    rows().into_iter().for_each(|(code, error)| assert_all_have(code, [CycleError::Client(error)]));
}

#[test]
fn a_successful_cycle_has_its_row() {
    let installed = Installed { sequence: 1, release: any_text(), directory: any_path() };
    assert_all_have(0, [CycleOutcome::UpToDate, CycleOutcome::Installed(installed)]);
}

#[test]
fn errors_of_installing_have_their_rows() {
    let errors = || {
        [
            (6, InstallError::Disk(storage_error())),
            (6, InstallError::Busy(any_path())),
            (6, InstallError::Source(io_error())),
            (3, InstallError::Command { program: any_text(), why: io_error() }),
            (6, InstallError::Switching(any_path())),
        ]
    };
    errors().into_iter().for_each(|(code, error)| assert_all_have(code, [error]));
    errors()
        .into_iter()
        .for_each(|(code, error)| assert_all_have(code, [RollbackError::Install(error)]));
    assert_all_have(6, [RollbackError::Disk(storage_error())]);
    assert_all_have(31, [RollbackError::Withdrawn(any_text())]);
    assert_all_have(2, [RollbackError::NoVersion { wanted: None, good: Vec::new() }]);
    assert_all_have(30, [RollbackError::Handover(any_text())]);
    assert_all_have(2, [RollbackError::NoTrial(None)]);
}

#[test]
fn errors_of_installing_from_a_spool_have_their_rows() {
    let spool = || {
        [
            SpoolError::Io { path: any_path(), source: io_error() },
            SpoolError::UntrustedPlace { path: any_path(), why: "" },
            SpoolError::CutShort(any_path()),
            SpoolError::Empty(any_path()),
        ]
    };
    assert_all_have(6, spool());
    assert_all_have(6, spool().map(OfflineInstallError::Spool));
    let replayed = || {
        [
            ReplayMismatch::Behind { proven: 1, known: 2 },
            ReplayMismatch::Entries { held: 1, head: signed_head(1) },
            ReplayMismatch::OtherLog {
                head: signed_head(1).into(),
                trusted: signed_head(2).into(),
            },
            ReplayMismatch::NoPeerHead,
            ReplayMismatch::NotOffered(any_text()),
        ]
    };
    assert_all_have(23, replayed());
    assert_all_have(23, replayed().map(OfflineInstallError::Replay));
    assert_all_have(
        29,
        [BundleError::TooLong, BundleError::Form(1)].map(OfflineInstallError::Proof),
    );
    assert_all_have(
        6,
        [
            OfflineInstallError::Store(StoreError::HeadMoved),
            OfflineInstallError::Disk(storage_error()),
        ],
    );
    assert_all_have(3, [OfflineInstallError::Store(StoreError::OtherLog(any_path()))]);
    assert_all_have(3, [OfflineInstallError::Config(config_error(ConfigErrorKind::Changed))]);
    assert_all_have(
        3,
        [OfflineInstallError::Command(InstallError::Command {
            program: any_text(),
            why: io_error(),
        })],
    );
    assert_all_have(6, [OfflineInstallError::Busy(any_path())]);
    assert_all_have(5, [OfflineInstallError::Clock { now: NOW, newest: NOW }]);
    assert_all_have(8, [OfflineInstallError::Gap { first: 2, held: 1 }]);
}

#[test]
fn errors_of_stored_state_have_their_rows() {
    assert_all_have(
        6,
        [StoreError::Storage(storage_error()), StoreError::Busy(any_path()), StoreError::HeadMoved],
    );
    assert_all_have(3, [StoreError::OtherLog(any_path())]);
    assert_all_have(2, [StoreError::NoEvidence(any_text())]);
    assert_all_have(6, [IdentityError::Storage(storage_error())]);
    assert_all_have(7, [IdentityError::File(PrivateFileError::Exists(any_path()))]);
    assert_all_have(
        7,
        [IdentityError::Renamed { path: any_path(), bears: any_name(), named: any_name() }],
    );
}

#[test]
fn errors_of_a_configuration_have_their_rows() {
    assert_all_have(
        3,
        [config_error(ConfigErrorKind::Changed), config_error(ConfigErrorKind::TooLong)],
    );
    let edit = |why| EditError { path: any_path(), why };
    let owner = EditErrorKind::OtherOwner { owner: 1 };
    assert_all_have(
        6,
        [EditErrorKind::Io(io_error()), EditErrorKind::ReadOnly, owner, EditErrorKind::Busy]
            .map(edit),
    );
    let duplicate = PeerListError::SameAddress(any_name(), any_name());
    assert_all_have(
        3,
        [
            EditErrorKind::Config(ConfigErrorKind::Changed),
            EditErrorKind::PeerList(duplicate),
            EditErrorKind::UnsupportedLayout,
        ]
        .map(edit),
    );
    let usage = [
        EditErrorKind::UnknownPeer { name: any_name(), known: Vec::new() },
        EditErrorKind::Changed(any_name()),
        EditErrorKind::NotLeaving(any_name()),
        EditErrorKind::NeverCounted(any_name()),
        EditErrorKind::NotJoining(any_name()),
        EditErrorKind::StillCounted(any_name()),
    ];
    assert_all_have(2, usage.map(edit));
}

#[test]
fn errors_of_publishing_have_their_rows() {
    let statement = || Manifest::parse("").unwrap_err();
    let key_error = "".parse::<NoteVerifyingKey>().unwrap_err();
    assert_all_have(6, [PublishError::Disk(storage_error())]);
    assert_all_have(6, [PublishError::File(PrivateFileError::Exists(any_path()))]);
    let exposed = PrivateFileError::Exposed { path: any_path(), mode: 0o644 };
    assert_all_have(7, [PublishError::File(exposed)]);
    assert_all_have(
        7,
        [PublishError::NotPrivateKey(any_path()), PublishError::Decrypt(any_path())],
    );
    assert_all_have(7, [PublishError::Key { path: any_path(), source: key_error }]);
    assert_all_have(8, [PublishError::Statement { path: any_path(), source: statement() }]);
    assert_all_have(8, [PublishError::Note { path: any_path(), source: NoteError::NotUtf8 }]);
    assert_all_have(2, [PublishError::Changed(any_path())]);
    assert_all_have(2, [PublishError::AlreadySigned { path: any_path(), name: any_name() }]);
    assert_all_have(2, [PublishError::InvalidStatement(statement())]);
    assert_all_have(28, [PublishError::Archive { file: any_name(), why: any_text() }]);
    assert_all_have(1, [PublishError::Encrypt(any_text())]);
}

#[test]
fn errors_of_writing_and_exporting_a_log_have_their_rows() {
    let (mirror, size, held) = (any_text, 1, 2);
    assert_all_have(
        6,
        [
            WriteError::Disk(storage_error()),
            WriteError::Busy(any_path()),
            WriteError::Exists(any_path()),
        ],
    );
    assert_all_have(7, [WriteError::Checkpoint { path: any_path(), source: checkpoint_error() }]);
    assert_all_have(24, [WriteError::Unrecorded(any_path())]);
    assert_all_have(8, [WriteError::Entry { number: 1, why: EntryError::Kind }]);
    assert_all_have(20, [WriteError::Forked { mirror: mirror(), size, held, path: any_path() }]);
    assert_all_have(
        24,
        [WriteError::MirrorAhead { mirror: mirror(), size, held, path: any_path() }],
    );
    assert_all_have(6, [ExportError::Disk(storage_error()), ExportError::Busy(any_path())]);
    assert_all_have(6, [ExportError::NoLog(any_path()), ExportError::Occupied(any_path())]);
    assert_all_have(22, [ExportError::Checkpoint { path: any_path(), source: checkpoint_error() }]);
    assert_all_have(22, [ExportError::OtherLog { path: any_path(), source: checkpoint_error() }]);
    assert_all_have(28, [ExportError::ArtifactMismatch(any_path())]);
    assert_all_have(
        2,
        [
            ExportError::OverlappingDirectories { site: any_path(), log: any_path() },
            ExportError::IsLog(any_path()),
        ],
    );
    assert_all_have(24, [ExportError::Rollback { site: any_path(), size, log: any_path(), held }]);
    assert_all_have(
        20,
        [ExportError::Fork { site: any_path(), log: any_path(), evidence: evidence() }],
    );
}

#[cfg(feature = "tor")]
#[test]
fn errors_of_a_running_node_have_their_rows() {
    use unanimity::daemon::control_socket::ControlSocketError;
    use unanimity::node::NodeError;
    use unanimity_config::InviteError;
    use unanimity_config::socket_path::SocketPathError;
    use unanimity_tor::TorError;
    use unanimity_witness::WitnessError;

    assert_all_have(
        3,
        [NodeError::Config(config_error(ConfigErrorKind::Changed)), NodeError::NoRole(any_path())],
    );
    assert_all_have(3, [NodeError::InvalidExtraProduct { path: any_path(), why: "" }]);
    assert_all_have(6, [NodeError::Identity(IdentityError::Storage(storage_error()))]);
    let renamed = IdentityError::Renamed { path: any_path(), bears: any_name(), named: any_name() };
    assert_all_have(7, [NodeError::Identity(renamed)]);
    assert_all_have(
        6,
        [NodeError::Peer(WitnessError::Busy(any_path())), NodeError::Storage(storage_error())],
    );
    assert_all_have(6, [NodeError::Store(StoreError::HeadMoved)]);
    assert_all_have(3, [NodeError::Store(StoreError::OtherLog(any_path()))]);
    assert_all_have(2, [NodeError::Store(StoreError::NoEvidence(any_text()))]);
    let edit = |why| EditError { path: any_path(), why };
    assert_all_have(6, [NodeError::Edit(edit(EditErrorKind::Busy))]);
    assert_all_have(
        3,
        [NodeError::PeersFileNotWritable {
            error: edit(EditErrorKind::UnsupportedLayout).into(),
            block: any_text(),
        }],
    );
    assert_all_have(2, [NodeError::AlreadyListed { name: any_name(), is_same: true }]);
    assert_all_have(8, [NodeError::OwnInvite, NodeError::Invite(InviteError::NotAnInvite)]);

    assert_all_have(
        6,
        [ControlSocketError::Storage(storage_error()), ControlSocketError::Busy(any_path())],
    );
    assert_all_have(6, [ControlSocketError::SocketPath(SocketPathError(any_path()))]);
    assert_all_have(6, [ControlSocketError::Socket { path: any_path(), why: io_error() }]);

    assert_all_have(3, [TorError::Settings(any_text()), TorError::NotPrivate(any_text())]);
    assert_all_have(4, [TorError::Bootstrap(any_text())]);
    assert_all_have(1, [TorError::Start(any_text()), TorError::Service(any_text())]);
}

#[test]
fn an_error_that_a_command_fixes_names_the_command() {
    let gap = unanimity_install::advice::describe(&OfflineInstallError::Gap { first: 2, held: 1 });
    let forked = OfflineInstallError::LogForked(LogForked { id: any_text() });
    let forked = unanimity_install::advice::describe(&forked);
    let unrecorded = unanimity::advice::describe(&WriteError::Unrecorded(any_path()));
    let text = format!("gap: {gap}\nforked log: {forked}\nunrecorded head: {unrecorded}\n");
    snapbox::assert_data_eq!(text, snapbox::file!["words/advice.txt"]);
}
