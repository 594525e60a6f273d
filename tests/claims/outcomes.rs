//! Every error of a library has its row in the table of outcomes: exit code, word and condition.

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
use unanimity_testkit::circle::NOW;
use unanimity_testkit::sample_log::{origin, secret, the_log};

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
fn every_exit_code_has_its_word_and_its_condition() {
    let row = |exit: &Exit| (*exit as u8, exit.word(), exit.condition());
    assert_eq!(Exit::ALL.iter().map(row).collect::<Vec<_>>(), ROWS);
}

/// Each error has this code, and the condition of its row.
#[track_caller]
fn all_have<E: Classify + std::fmt::Debug>(code: u8, errors: impl IntoIterator<Item = E>) {
    let row = ROWS.iter().find(|(row, ..)| *row == code).unwrap();
    for error in errors {
        assert_eq!((error.exit() as u8, error.condition()), (code, row.2), "{error:?}");
    }
}

fn path() -> PathBuf {
    "file".into()
}

fn text() -> String {
    "text".to_owned()
}

fn name<T: std::str::FromStr>() -> T {
    "hello".parse().unwrap_or_else(|_| panic!("a name"))
}

fn broken() -> io::Error {
    io::ErrorKind::Other.into()
}

fn disk() -> StorageError {
    StorageError::Corrupt { path: path(), remedy: "" }
}

fn head(root: u8) -> TreeHead {
    let checkpoint = Checkpoint { origin: origin(), size: 1, root: Hash([root; 32]) };
    let note = checkpoint.sign(&secret(1)).to_string();
    TreeHead::verify(note.as_bytes(), &the_log()).unwrap()
}

fn evidence() -> Box<Evidence> {
    Box::new(Evidence::from_heads(&head(1), &head(2), &[]).unwrap())
}

fn checkpoint_error() -> CheckpointError {
    TreeHead::verify(b"", &the_log()).unwrap_err()
}

fn config_error(why: ConfigErrorKind) -> ConfigError {
    ConfigError { path: path(), why }
}

#[test]
fn the_disk_and_private_files_have_their_rows() {
    all_have(6, [disk(), StorageError::Io { path: path(), source: broken() }]);
    all_have(6, [PrivateFileError::Disk(disk()), PrivateFileError::Exists(path())]);
    all_have(7, [PrivateFileError::Exposed { path: path(), mode: 0o644 }]);
}

fn refusals() -> Vec<(u8, Refusal)> {
    let release = text;
    let withdrawn =
        |installed| Refusal::Withdrawn { release: release(), index: 1, reason: text(), installed };
    vec![
        (20, Refusal::Fork(evidence())),
        (21, Refusal::DuplicateSequence { sequence: 7, first: 1, second: 2 }),
        (22, Refusal::Threshold { signed: 1, threshold: 2 }),
        (22, Refusal::BadSignature(NoteError::NotUtf8)),
        (8, Refusal::Malformed(Manifest::parse("").unwrap_err())),
        (23, Refusal::OtherLog(text())),
        (27, Refusal::OtherProduct { product: name(), channel: name() }),
        (26, Refusal::UnsupportedFormat { index: 3, header: text() }),
        (31, withdrawn(true)),
        (31, withdrawn(false)),
        (23, Refusal::NotLogged(LogMismatch::NotExtended)),
        (23, Refusal::NotLogged(LogMismatch::NotIncluded { release: release(), index: 1 })),
        (23, Refusal::NotLogged(LogMismatch::OtherHead)),
        (23, Refusal::NotLogged(LogMismatch::EarlierEntries { read: 1, head: head(1) })),
        (24, Refusal::SequenceRollback { offered: 3, floor: 4 }),
        (25, Refusal::Expired { release: release(), at: NOW }),
        (12, Refusal::Incomplete(Vec::new())),
        (11, Refusal::Settling { release: release(), until: NOW }),
        (12, Refusal::RoundTooOld { at: NOW }),
        (27, Refusal::NoArtifactForPlatform { release: release(), platform: name() }),
        (29, Refusal::Bundle(BundleFault::Head(checkpoint_error()))),
        (29, Refusal::Bundle(BundleFault::Note(NoteError::NotUtf8))),
        (29, Refusal::Bundle(BundleFault::CosignedHead { peer: name(), why: checkpoint_error() })),
        (29, Refusal::Bundle(BundleFault::NotIncluded(name()))),
        (29, Refusal::Bundle(BundleFault::Unproven)),
        (29, Refusal::Bundle(BundleFault::DuplicateCosigner)),
        (29, Refusal::Bundle(BundleFault::SpreadTooWide)),
        (29, Refusal::Bundle(BundleFault::Future(NOW))),
    ]
}

fn install_refusals() -> Vec<(u8, InstallRefusal)> {
    let mismatches = [
        ArtifactMismatch::TooLong { file: name(), signed: 1 },
        ArtifactMismatch::TooShort { file: name(), length: 0, signed: 1 },
        ArtifactMismatch::Digest { file: name(), found: Hash([0; 32]), signed: Hash([1; 32]) },
        ArtifactMismatch::Archive {
            file: name(),
            broken: ArchiveViolation { entry: None, why: text() },
        },
        ArtifactMismatch::OtherRelease(text()),
    ];
    let mut refusals = vec![
        (27, InstallRefusal::TooManyEntries { release: text() }),
        (30, InstallRefusal::Unhealthy { release: text(), why: text(), until: Some(NOW) }),
        (30, InstallRefusal::OnTrial { release: text() }),
    ];
    refusals.extend(mismatches.map(|mismatch| (28, mismatch.into())));
    refusals
}

#[test]
fn a_failed_check_of_the_protocol_has_its_row_wherever_it_ends_up() {
    for (code, refusal) in refusals() {
        all_have(code, [refusal.clone()]);
        all_have(code, [CycleError::Refused(refusal.clone())]);
        all_have(code, [InstallError::Refused(refusal.clone())]);
        all_have(code, [RollbackError::Install(InstallError::Refused(refusal.clone()))]);
        all_have(code, [OfflineInstallError::Refused(refusal)]);
    }
}

#[test]
fn a_failed_check_of_installing_has_its_row_wherever_it_ends_up() {
    for (code, refusal) in install_refusals() {
        if let InstallRefusal::Artifact(mismatch) = &refusal {
            all_have(code, [mismatch.clone()]);
        }
        all_have(code, [refusal.clone()]);
        all_have(code, [CycleError::Install(refusal.clone())]);
        all_have(code, [InstallError::Install(refusal.clone())]);
        all_have(code, [RollbackError::Install(InstallError::Install(refusal.clone()))]);
        all_have(code, [OfflineInstallError::Install(refusal)]);
    }
}

#[test]
fn an_unacknowledged_fork_has_its_row_wherever_it_ends_up() {
    let forked = LogForked { id: text() };
    all_have(20, [CycleError::LogForked(forked.clone())]);
    all_have(20, [OfflineInstallError::LogForked(forked.clone())]);
    all_have(20, [forked]);
}

#[test]
fn what_mirrors_show_has_its_row_and_a_rolled_back_mirror_is_a_stale_one() {
    let stale = MirrorProblem::Stale { mirror: text(), shown: 1, known: 2 };
    let served = MirrorProblem::OtherEntries { served: text(), head: head(1) };
    for (code, problem) in [(13, stale), (23, served)] {
        all_have(code, [problem.clone()]);
        all_have(code, [CycleError::Mirror(problem)]);
    }
    let rollback = MirrorProblem::Rollback { mirror: text(), shown: 1, known: 2 };
    assert_eq!((rollback.exit(), rollback.condition()), (Exit::Rollback, Stale));
    let rollback = CycleError::Mirror(rollback);
    assert_eq!((rollback.exit(), rollback.condition()), (Exit::Rollback, Stale));
}

#[test]
fn a_cycle_that_could_not_find_out_has_its_row() {
    let command = || InstallError::Command { program: text(), why: broken() };
    let rows = || {
        [
            (6, ClientError::Store(StoreError::HeadMoved)),
            (3, ClientError::Store(StoreError::OtherLog(path()))),
            (6, ClientError::Disk(disk())),
            (3, ClientError::Config(config_error(ConfigErrorKind::Changed))),
            (3, ClientError::Command(command())),
            (4, ClientError::Mirrors(Vec::new())),
            (5, ClientError::Clock { now: NOW, newest: NOW }),
            (4, ClientError::HeadNotLinked { trusted: head(1) }),
        ]
    };
    rows().into_iter().for_each(|(code, error)| all_have(code, [error]));
    rows().into_iter().for_each(|(code, error)| all_have(code, [CycleError::Client(error)]));
}

#[test]
fn a_cycle_that_ends_well_has_its_row() {
    let installed = Installed { sequence: 1, release: text(), directory: path() };
    all_have(0, [CycleOutcome::UpToDate, CycleOutcome::Installed(installed)]);
}

#[test]
fn errors_of_installing_have_their_rows() {
    let errors = || {
        [
            (6, InstallError::Disk(disk())),
            (6, InstallError::Busy(path())),
            (6, InstallError::Source(broken())),
            (3, InstallError::Command { program: text(), why: broken() }),
            (6, InstallError::Switching(path())),
        ]
    };
    errors().into_iter().for_each(|(code, error)| all_have(code, [error]));
    errors().into_iter().for_each(|(code, error)| all_have(code, [RollbackError::Install(error)]));
    all_have(6, [RollbackError::Disk(disk())]);
    all_have(31, [RollbackError::Withdrawn(text())]);
    all_have(2, [RollbackError::NoVersion { wanted: None, good: Vec::new() }]);
    all_have(30, [RollbackError::Handover(text())]);
    all_have(2, [RollbackError::NoTrial(None)]);
}

#[test]
fn errors_of_installing_from_a_spool_have_their_rows() {
    let spool = || {
        [
            SpoolError::Io { path: path(), source: broken() },
            SpoolError::UntrustedPlace { path: path(), why: "" },
            SpoolError::CutShort(path()),
            SpoolError::Empty(path()),
        ]
    };
    all_have(6, spool());
    all_have(6, spool().map(OfflineInstallError::Spool));
    let replayed = || {
        [
            ReplayMismatch::Behind { proven: 1, known: 2 },
            ReplayMismatch::Entries { held: 1, head: head(1) },
            ReplayMismatch::OtherLog { head: head(1).into(), trusted: head(2).into() },
            ReplayMismatch::NoPeerHead,
            ReplayMismatch::NotOffered(text()),
        ]
    };
    all_have(23, replayed());
    all_have(23, replayed().map(OfflineInstallError::Replay));
    all_have(29, [BundleError::TooLong, BundleError::Form(1)].map(OfflineInstallError::Proof));
    all_have(
        6,
        [OfflineInstallError::Store(StoreError::HeadMoved), OfflineInstallError::Disk(disk())],
    );
    all_have(3, [OfflineInstallError::Store(StoreError::OtherLog(path()))]);
    all_have(3, [OfflineInstallError::Config(config_error(ConfigErrorKind::Changed))]);
    all_have(
        3,
        [OfflineInstallError::Command(InstallError::Command { program: text(), why: broken() })],
    );
    all_have(6, [OfflineInstallError::Busy(path())]);
    all_have(5, [OfflineInstallError::Clock { now: NOW, newest: NOW }]);
    all_have(8, [OfflineInstallError::Gap { first: 2, held: 1 }]);
}

#[test]
fn errors_of_what_a_node_remembers_have_their_rows() {
    all_have(6, [StoreError::Storage(disk()), StoreError::Busy(path()), StoreError::HeadMoved]);
    all_have(3, [StoreError::OtherLog(path())]);
    all_have(2, [StoreError::NoEvidence(text())]);
    all_have(6, [IdentityError::Storage(disk())]);
    all_have(7, [IdentityError::File(PrivateFileError::Exists(path()))]);
    all_have(7, [IdentityError::Renamed { path: path(), bears: name(), named: name() }]);
}

#[test]
fn errors_of_a_configuration_have_their_rows() {
    all_have(3, [config_error(ConfigErrorKind::Changed), config_error(ConfigErrorKind::TooLong)]);
    let edit = |why| EditError { path: path(), why };
    let owner = EditErrorKind::OtherOwner { owner: 1 };
    all_have(
        6,
        [EditErrorKind::Io(broken()), EditErrorKind::ReadOnly, owner, EditErrorKind::Busy]
            .map(edit),
    );
    let circle = PeerListError::SameAddress(name(), name());
    all_have(
        3,
        [
            EditErrorKind::Config(ConfigErrorKind::Changed),
            EditErrorKind::PeerList(circle),
            EditErrorKind::UnsupportedLayout,
        ]
        .map(edit),
    );
    let usage = [
        EditErrorKind::UnknownPeer { name: name(), known: Vec::new() },
        EditErrorKind::Changed(name()),
        EditErrorKind::NotLeaving(name()),
        EditErrorKind::NeverCounted(name()),
        EditErrorKind::NotJoining(name()),
        EditErrorKind::StillCounted(name()),
    ];
    all_have(2, usage.map(edit));
}

#[test]
fn errors_of_publishing_have_their_rows() {
    let statement = || Manifest::parse("").unwrap_err();
    let key_error = "".parse::<NoteVerifyingKey>().unwrap_err();
    all_have(6, [PublishError::Disk(disk())]);
    all_have(6, [PublishError::File(PrivateFileError::Exists(path()))]);
    let exposed = PrivateFileError::Exposed { path: path(), mode: 0o644 };
    all_have(7, [PublishError::File(exposed)]);
    all_have(7, [PublishError::NotPrivateKey(path()), PublishError::Decrypt(path())]);
    all_have(7, [PublishError::Key { path: path(), source: key_error }]);
    all_have(8, [PublishError::Statement { path: path(), source: statement() }]);
    all_have(8, [PublishError::Note { path: path(), source: NoteError::NotUtf8 }]);
    all_have(2, [PublishError::Changed(path())]);
    all_have(2, [PublishError::AlreadySigned { path: path(), name: name() }]);
    all_have(2, [PublishError::InvalidStatement(statement())]);
    all_have(28, [PublishError::Archive { file: name(), why: text() }]);
    all_have(1, [PublishError::Encrypt(text())]);
}

#[test]
fn errors_of_writing_and_exporting_a_log_have_their_rows() {
    let (mirror, size, held) = (text, 1, 2);
    all_have(6, [WriteError::Disk(disk()), WriteError::Busy(path()), WriteError::Exists(path())]);
    all_have(7, [WriteError::Checkpoint { path: path(), source: checkpoint_error() }]);
    all_have(24, [WriteError::Unrecorded(path())]);
    all_have(8, [WriteError::Entry { number: 1, why: EntryError::Kind }]);
    all_have(20, [WriteError::Forked { mirror: mirror(), size, held, path: path() }]);
    all_have(24, [WriteError::MirrorAhead { mirror: mirror(), size, held, path: path() }]);
    all_have(6, [ExportError::Disk(disk()), ExportError::Busy(path())]);
    all_have(6, [ExportError::NoLog(path()), ExportError::Occupied(path())]);
    all_have(22, [ExportError::Checkpoint { path: path(), source: checkpoint_error() }]);
    all_have(22, [ExportError::OtherLog { path: path(), source: checkpoint_error() }]);
    all_have(28, [ExportError::ArtifactMismatch(path())]);
    all_have(
        2,
        [
            ExportError::OverlappingDirectories { site: path(), log: path() },
            ExportError::IsLog(path()),
        ],
    );
    all_have(24, [ExportError::Rollback { site: path(), size, log: path(), held }]);
    all_have(20, [ExportError::Fork { site: path(), log: path(), evidence: evidence() }]);
}

#[cfg(feature = "tor")]
#[test]
fn errors_of_a_node_at_work_have_their_rows() {
    use unanimity::daemon::control_socket::ControlSocketError;
    use unanimity::node::NodeError;
    use unanimity_config::InviteError;
    use unanimity_config::socket_path::SocketPathError;
    use unanimity_tor::TorError;
    use unanimity_witness::WitnessError;

    all_have(
        3,
        [NodeError::Config(config_error(ConfigErrorKind::Changed)), NodeError::NoRole(path())],
    );
    all_have(3, [NodeError::InvalidExtraProduct { path: path(), why: "" }]);
    all_have(6, [NodeError::Identity(IdentityError::Storage(disk()))]);
    let renamed = IdentityError::Renamed { path: path(), bears: name(), named: name() };
    all_have(7, [NodeError::Identity(renamed)]);
    all_have(6, [NodeError::Peer(WitnessError::Busy(path())), NodeError::Storage(disk())]);
    all_have(6, [NodeError::Store(StoreError::HeadMoved)]);
    all_have(3, [NodeError::Store(StoreError::OtherLog(path()))]);
    all_have(2, [NodeError::Store(StoreError::NoEvidence(text()))]);
    let edit = |why| EditError { path: path(), why };
    all_have(6, [NodeError::Edit(edit(EditErrorKind::Busy))]);
    all_have(
        3,
        [NodeError::PeersFileNotWritable {
            error: edit(EditErrorKind::UnsupportedLayout).into(),
            block: text(),
        }],
    );
    all_have(2, [NodeError::AlreadyListed { name: name(), is_same: true }]);
    all_have(8, [NodeError::OwnInvite, NodeError::Invite(InviteError::NotAnInvite)]);

    all_have(6, [ControlSocketError::Storage(disk()), ControlSocketError::Busy(path())]);
    all_have(6, [ControlSocketError::SocketPath(SocketPathError(path()))]);
    all_have(6, [ControlSocketError::Socket { path: path(), why: broken() }]);

    all_have(3, [TorError::Settings(text()), TorError::NotPrivate(text())]);
    all_have(4, [TorError::Bootstrap(text())]);
    all_have(1, [TorError::Start(text()), TorError::Service(text())]);
}

#[test]
fn an_error_that_a_command_mends_is_shown_with_that_command() {
    let gap = unanimity_install::advice::describe(&OfflineInstallError::Gap { first: 2, held: 1 });
    assert!(gap.ends_with("size 1: run `unanimity update --stage` again"), "{gap}");
    let latched = OfflineInstallError::LogForked(LogForked { id: text() });
    let latched = unanimity_install::advice::describe(&latched);
    assert!(latched.ends_with("`unanimity evidence show --installer text`"), "{latched}");
    let unrecorded = unanimity::advice::describe(&WriteError::Unrecorded(path()));
    assert!(
        unrecorded
            .ends_with("was signed: name a mirror with --mirror, so that the log cannot fork")
    );
}
