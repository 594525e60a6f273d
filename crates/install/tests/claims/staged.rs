//! Claims about split installations: an untrusted downloader, and an installer without a network.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io};

use futures_util::FutureExt as _;
use unanimity_client::{CycleError, CycleOutcome};
use unanimity_config::{ClientConfig, CycleSettings, SpoolSettings};
use unanimity_install::journal::MIN_BACKOFF;
use unanimity_install::spool::{ENTRIES_FILE, PROOF_FILE, SpoolError, SpoolReader};
use unanimity_install::{
    ArtifactMismatch, InstallRefusal, InstallRoot, Installed, OfflineInstallError,
    OfflineInstaller, ReplayMismatch, installer_head_path, installer_state_dir,
};
use unanimity_protocol::{Evidence, Note, NoteSigningKey, Policy, Refusal, Timestamp, Withdrawal};
use unanimity_state::{ClientStore, EvidenceStore, LogForked};
use unanimity_storage::{ManualClock, Storage, WriteStep};
use unanimity_testkit::test_world::{
    FIRST_ARTIFACT, HOUR, MINUTE, SECOND, SECOND_ARTIFACT, TROJAN, TestWorld, expect_refusal,
    expect_up_to_date, release_spec,
};
use unanimity_testkit::{ReleaseSpec, copy_tree};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node with a downloader and an installer, each with its own state.
struct SplitInstallation {
    world: TestWorld,
    spool: PathBuf,
}

/// Installs without hooks, so that the future completes at the first poll.
fn install(
    installer: &mut OfflineInstaller<'_>,
    spool: &SpoolReader,
    freshness: Duration,
    now: Timestamp,
) -> Result<Installed, OfflineInstallError> {
    let clock = ManualClock::at(now);
    installer.install(spool, freshness, &clock).now_or_never().unwrap()
}

impl SplitInstallation {
    /// Release 1 is in the log and has settled. Nothing is installed.
    async fn new(seed: u64) -> SplitInstallation {
        SplitInstallation::from_world(TestWorld::new(seed)).await
    }

    async fn from_world(mut world: TestWorld) -> SplitInstallation {
        let spool = world.scratch_path("spool");
        fs::create_dir(&spool).unwrap();
        world.config.cycle.spool = Some(SpoolSettings { directory: spool.clone(), freshness: DAY });
        let mut split = SplitInstallation { world, spool };
        split.publish_and_settle(&release_spec(1)).await;
        split
    }

    /// Release 1 is installed, and release 2 is downloaded.
    async fn with_second(seed: u64) -> SplitInstallation {
        let mut split = SplitInstallation::new(seed).await;
        split.download().await;
        assert_eq!(split.install().unwrap().sequence, 1);
        split.publish_and_settle(&release_spec(2)).await;
        split.download().await;
        split
    }

    async fn publish_and_settle(&mut self, draft: &ReleaseSpec) {
        self.world.publish(draft).unwrap();
        self.world.poll_all().await.unwrap();
        assert!(matches!(expect_refusal(self.world.update().await), Refusal::Settling { .. }));
        self.world.advance_and_poll(HOUR).await;
    }

    /// Runs the downloader.
    async fn download(&mut self) {
        let before = self.world.installed_bytes();
        let (report, result) = self.world.update().await;
        assert!(matches!(result, Ok(CycleOutcome::Available(_))), "{result:?} {report:?}");
        assert_eq!(self.world.installed_bytes(), before, "the downloader installs nothing");
    }

    /// Runs the installer.
    fn install(&self) -> Result<Installed, OfflineInstallError> {
        self.install_as(&self.world.config, Storage::default())
    }

    fn install_as(
        &self,
        config: &ClientConfig,
        disk: Storage,
    ) -> Result<Installed, OfflineInstallError> {
        let spool = SpoolReader::open(&self.spool)?;
        install(&mut OfflineInstaller::open(config, disk)?, &spool, DAY, self.world.now())
    }

    /// Runs the installer with hooks.
    async fn install_with_commands(&self) -> Result<Installed, OfflineInstallError> {
        let spool = SpoolReader::open(&self.spool)?;
        let mut installer = OfflineInstaller::open(&self.world.config, Storage::default())?;
        installer.install(&spool, DAY, &self.world.clock).await
    }

    fn spool_path(&self, name: &str) -> PathBuf {
        self.spool.join(name)
    }

    fn artifact(&self) -> PathBuf {
        self.spool_path("versions/.2-1.1.0.new/hello")
    }

    /// Replaces a file of the spool.
    fn replace_file(&self, name: &str, bytes: &[u8]) {
        fs::remove_file(self.spool_path(name)).unwrap();
        fs::write(self.spool_path(name), bytes).unwrap();
    }

    /// Adds an entry at the end of the spool's entries.
    fn append_entry(&self, entry: &[u8]) {
        let mut entries = fs::read(self.spool_path(ENTRIES_FILE)).unwrap();
        entries.extend((entry.len() as u16).to_be_bytes());
        entries.extend(entry);
        self.replace_file(ENTRIES_FILE, &entries);
    }

    #[track_caller]
    fn install_error(&self) -> OfflineInstallError {
        let result = self.install();
        assert_eq!(self.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        result.unwrap_err()
    }

    #[track_caller]
    fn install_refusal(&self) -> Refusal {
        match self.install_error() {
            OfflineInstallError::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    fn artifact_mismatch(&self) -> ArtifactMismatch {
        match self.install_error() {
            OfflineInstallError::Install(InstallRefusal::Artifact(mismatch)) => mismatch,
            other => panic!("no bad artifact: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn installer_continues_from_its_own_head() {
    let mut split = SplitInstallation::new(141).await;
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Empty(_)))));
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // Every user may read the installer's head.
    let head = installer_head_path(&split.world.config.cycle.install_root);
    assert_eq!(fs::metadata(&head).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read(&head).unwrap(), split.world.head_of("log").unwrap().note().as_bytes());
    let private = split.world.config.cycle.install_root.join("installer");
    assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700);
    split.publish_and_settle(&release_spec(2)).await;
    split.download().await;
    // The downloader leaves only the second entry.
    assert_eq!(fs::read(split.spool_path(ENTRIES_FILE)).unwrap()[..8], 1_u64.to_be_bytes());
    assert_eq!(split.install().unwrap().sequence, 2);
    assert_eq!(split.world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    // A second run installs nothing.
    assert!(matches!(
        split.install(),
        Err(OfflineInstallError::Refused(Refusal::SequenceRollback { .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn installer_refuses_every_change_in_the_spool() {
    let split = SplitInstallation::with_second(142).await;
    let proof = fs::read_to_string(split.spool_path(PROOF_FILE)).unwrap();
    let entries = fs::read(split.spool_path(ENTRIES_FILE)).unwrap();
    let mut text = String::new();
    for (case, artifact) in [
        ("trojan", TROJAN.to_vec()),
        ("too short", SECOND_ARTIFACT[..SECOND_ARTIFACT.len() - 1].to_vec()),
        ("too long", [SECOND_ARTIFACT, b"x"].concat()),
        ("empty", Vec::new()),
    ] {
        fs::remove_file(split.artifact()).unwrap();
        fs::write(split.artifact(), artifact).unwrap();
        writeln!(text, "{case}: {}", split.artifact_mismatch()).unwrap();
    }
    snapbox::assert_data_eq!(text, snapbox::file!["words/spool_artifact.txt"]);
    fs::write(split.artifact(), SECOND_ARTIFACT).unwrap();
    let mut cut = entries.clone();
    cut.truncate(8);
    let mut altered = entries.clone();
    *altered.last_mut().unwrap() ^= 1;
    let last = &entries[8..];
    let twice = [&entries[..], last].concat();
    for (name, changed) in [("none", cut), ("altered", altered)] {
        split.replace_file(ENTRIES_FILE, &changed);
        let result = split.install_error();
        let matches =
            matches!(result, OfflineInstallError::Replay(ReplayMismatch::Entries { held: 1, .. }));
        assert!(matches, "{name}: {result:?}");
    }
    // Entries after the head are not read.
    split.replace_file(ENTRIES_FILE, &twice);
    let copy = SplitInstallation { world: split.world.copy(), spool: split.spool.clone() };
    assert_eq!(copy.install().unwrap().sequence, 2);
    let begins_later = [&2_u64.to_be_bytes()[..], last].concat();
    split.replace_file(ENTRIES_FILE, &begins_later);
    assert!(matches!(split.install(), Err(OfflineInstallError::Gap { first: 2, held: 1 })));
    for malformed in [&entries[..5], &entries[..9], &entries[..entries.len() - 1], b""] {
        split.replace_file(ENTRIES_FILE, malformed);
        let result = split.install();
        let truncated = matches!(result, Err(OfflineInstallError::Spool(SpoolError::CutShort(_))));
        assert!(truncated, "{} bytes: {result:?}", malformed.len());
    }
    split.replace_file(ENTRIES_FILE, &entries);
    // Every peer must be in both rounds exactly once: drop each cosigned head, and double each one.
    let heads_at: Vec<usize> =
        proof.match_indices("\ncosigned-head ").map(|(at, _)| at + 1).collect();
    assert_eq!(heads_at.len(), 10);
    let rounds_at: Vec<usize> = proof.match_indices("\nround ").map(|(at, _)| at + 1).collect();
    let end = |i: usize| heads_at.get(i + 1).copied().filter(|next| i != 4 && *next > heads_at[i]);
    for i in 0..10 {
        let to = if i == 4 { rounds_at[1] } else { end(i).unwrap_or(proof.len()) };
        let without = format!("{}{}", &proof[..heads_at[i]], &proof[to..]);
        let fewer = without.replacen(" 5\n", " 4\n", if i < 5 { 1 } else { 2 });
        let fewer = if i < 5 { fewer } else { fewer.replacen(" 4\n", " 5\n", 1) };
        split.replace_file(PROOF_FILE, fewer.as_bytes());
        let refused = split.install().unwrap_err();
        let refused = match refused {
            OfflineInstallError::Refused(refusal) => refusal,
            other => panic!("{i}: {other}"),
        };
        // Without a head of the first round, the release has not settled. Without one of the second
        // round, the round is incomplete.
        let matches = match i < 5 {
            true => matches!(refused, Refusal::Settling { .. }),
            false => matches!(refused, Refusal::Incomplete(_)),
        };
        assert!(matches, "{i}: {refused}");
        let one = &proof[heads_at[i]..to];
        let other = if i < 5 { heads_at[(i + 1) % 5] } else { heads_at[5 + (i - 4) % 5] };
        if other > heads_at[i] {
            let after = if i + 1 == 4 { rounds_at[1] } else { end(i + 1).unwrap_or(proof.len()) };
            let twice = format!("{}{one}{}", &proof[..other], &proof[after..]);
            split.replace_file(PROOF_FILE, twice.as_bytes());
            assert!(matches!(split.install_refusal(), Refusal::Bundle(_)), "{i}");
        }
    }
    split.replace_file(PROOF_FILE, proof.as_bytes());
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_reads_no_entry_after_the_head_of_the_proof() {
    let mut split = SplitInstallation::new(164).await;
    // All peers have release 2 when release 1 installs. So the installer's head contains release 2,
    // and is the head of both proofs.
    split.world.publish(&release_spec(2)).unwrap();
    split.world.poll_all().await.unwrap();
    split.download().await;
    split.append_entry(b"after the head");
    assert_eq!(split.install().unwrap().sequence, 1);
    let head = split.world.head_of("log").unwrap();
    let installer_head = installer_head_path(&split.world.config.cycle.install_root);
    assert_eq!(fs::read(installer_head).unwrap(), head.note().as_bytes());
    // The installer is at the head of the second proof before it reads an entry.
    split.world.advance_and_poll(HOUR).await;
    split.download().await;
    assert_eq!(fs::read(split.spool_path(ENTRIES_FILE)).unwrap(), 2_u64.to_be_bytes());
    split.append_entry(b"after the head");
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_refuses_an_altered_entry_before_the_head() {
    let mut split = SplitInstallation::new(156).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    // First an entry of another party, then the release.
    split.world.append_unchecked("log", &[b"any entry".to_vec()]).unwrap();
    split.publish_and_settle(&release_spec(2)).await;
    split.download().await;
    let entries = fs::read(split.spool_path(ENTRIES_FILE)).unwrap();
    let mut altered = entries.clone();
    altered[12] ^= 1;
    split.replace_file(ENTRIES_FILE, &altered);
    assert!(matches!(
        split.install_error(),
        OfflineInstallError::Replay(ReplayMismatch::Entries { .. })
    ));
    split.replace_file(ENTRIES_FILE, &entries);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_checks_every_byte_of_the_proof() {
    let base = SplitInstallation::with_second(143).await;
    let proof = fs::read(base.spool_path(PROOF_FILE)).unwrap();
    for at in (0..proof.len()).step_by(61) {
        let mut changed = proof.clone();
        changed[at] ^= 1;
        base.replace_file(PROOF_FILE, &changed);
        let world = base.world.copy();
        let split = SplitInstallation { world, spool: base.spool.clone() };
        // Only the time of a round is not signed. Its cosigned heads bound it.
        if let Ok(installed) = split.install() {
            assert_eq!(installed.sequence, 2);
            let line = proof[..at].rsplit(|byte| *byte == b'\n').next().unwrap();
            assert!(line.starts_with(b"round "), "{at}: {}", String::from_utf8_lossy(line));
        } else {
            assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn installer_refuses_old_and_future_signatures_by_its_clock() {
    let split = SplitInstallation::with_second(144).await;
    let now = split.world.now();
    let at = |time, freshness| {
        let spool = SpoolReader::open(&split.spool).unwrap();
        let mut installer =
            OfflineInstaller::open(&split.world.config, Storage::default()).unwrap();
        install(&mut installer, &spool, freshness, time)
    };
    let old = at(now.after(DAY + SECOND), DAY);
    assert!(
        matches!(old, Err(OfflineInstallError::Refused(Refusal::RoundTooOld { .. }))),
        "{old:?}"
    );
    let old = at(now.after(MINUTE + SECOND), MINUTE);
    assert!(
        matches!(old, Err(OfflineInstallError::Refused(Refusal::RoundTooOld { .. }))),
        "{old:?}"
    );
    // A clock before the last installation, and a clock before the cosignatures.
    let back = at(Timestamp(now.0 - 2 * 3600), DAY);
    assert!(matches!(back, Err(OfflineInstallError::Clock { .. })), "{back:?}");
    let behind = at(Timestamp(now.0 - 61), DAY);
    assert!(matches!(behind, Err(OfflineInstallError::Refused(Refusal::Bundle(_)))), "{behind:?}");
    assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    split.world.advance(DAY);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_refuses_other_products_thresholds_and_old_releases() {
    let mut split = SplitInstallation::with_second(145).await;
    let second =
        [PROOF_FILE, ENTRIES_FILE].map(|name| (name, fs::read(split.spool_path(name)).unwrap()));
    // The installer's own configuration decides.
    let mut other = split.world.config.clone();
    let policy = &split.world.config.cycle.policy;
    let keys = policy.publishers().to_vec();
    for (product, channel) in [("other", "stable"), ("hello", "beta")] {
        let (product, channel) = (product.parse().unwrap(), channel.parse().unwrap());
        let log = policy.log.clone();
        other.cycle.policy = Policy::new(product, channel, log, keys.clone(), 2).unwrap();
        let refused = split.install_as(&other, Storage::default()).unwrap_err();
        let matches = matches!(refused, OfflineInstallError::Refused(Refusal::OtherProduct { .. }));
        assert!(matches, "{refused}");
    }
    let mut strict = split.world.config.clone();
    strict.cycle.policy =
        Policy::new(policy.product.clone(), policy.channel.clone(), policy.log.clone(), keys, 3)
            .unwrap();
    let refused = split.install_as(&strict, Storage::default()).unwrap_err();
    assert!(matches!(
        refused,
        OfflineInstallError::Refused(Refusal::Threshold { signed: 2, threshold: 3 })
    ));
    // After the third release, the second one is refused.
    assert_eq!(split.install().unwrap().sequence, 2);
    split.publish_and_settle(&release_spec(3)).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 3);
    for (name, bytes) in &second {
        split.replace_file(name, bytes);
    }
    let refused = split.install().unwrap_err();
    let matches = matches!(
        refused,
        OfflineInstallError::Refused(Refusal::SequenceRollback { offered: 2, floor: 3 })
    );
    assert!(matches, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn downloader_cannot_hide_a_duplicate_sequence() {
    let mut split = SplitInstallation::with_second(146).await;
    // Every peer has seen another release of the same sequence by the next round.
    let twin = ReleaseSpec::new(2, "1.1.0-b", TROJAN);
    let proof = fs::read(split.spool_path(PROOF_FILE)).unwrap();
    split.world.publish(&twin).unwrap();
    split.world.advance_and_poll(MINUTE).await;
    assert!(matches!(
        expect_refusal(split.world.update().await),
        Refusal::DuplicateSequence { .. }
    ));
    // The earlier download is of a smaller log without the duplicate, and still recent enough.
    split.replace_file(PROOF_FILE, &proof);
    assert_eq!(split.install().unwrap().sequence, 2);
    // If the duplicate is below the head, the downloader leaves no proof.
    let mut split = SplitInstallation::new(147).await;
    split.world.publish(&ReleaseSpec::new(1, "1.0.0-b", TROJAN)).unwrap();
    split.world.advance_and_poll(MINUTE).await;
    assert!(matches!(
        expect_refusal(split.world.update().await),
        Refusal::DuplicateSequence { .. }
    ));
    assert!(!split.spool_path(PROOF_FILE).exists());
}

#[tokio::test(start_paused = true)]
async fn proof_with_an_unrelated_head_is_refused() {
    let split = SplitInstallation::with_second(148).await;
    split.world.copy_log("fork").unwrap();
    split.world.publish_to("fork", &ReleaseSpec::new(3, "1.2.0", TROJAN)).unwrap();
    let forked = split.world.head_of("fork").unwrap();
    let proof = fs::read_to_string(split.spool_path(PROOF_FILE)).unwrap();
    let (before, rest) = proof.split_once("\nhead ").unwrap();
    let (length, rest) = rest.split_once('\n').unwrap();
    let rest = &rest[length.parse::<usize>().unwrap()..];
    let note = forked.note();
    let changed = format!("{before}\nhead {}\n{note}{rest}", note.len());
    split.replace_file(PROOF_FILE, changed.as_bytes());
    assert!(matches!(split.install_refusal(), Refusal::Bundle(_)));
}

#[tokio::test(start_paused = true)]
async fn log_that_does_not_extend_the_pinned_head_is_refused() {
    let split = SplitInstallation::with_second(157).await;
    let head = |log| split.world.head_of(log).unwrap();
    split.world.copy_log("fork").unwrap();
    let honest = head("log");
    split.world.append_unchecked("log", &[b"more".to_vec()]).unwrap();
    split.world.append_unchecked("fork", &[b"less".to_vec()]).unwrap();
    // Pinned heads of another log and of a fork: of the installed size, and of a larger one.
    let other = TestWorld::new(157);
    let add = |count| other.append_unchecked("log", &vec![b"strange".to_vec(); count]).unwrap();
    let mut config = split.world.config.clone();
    let mut text = String::new();
    for (case, pinned) in [
        ("other log, size 1", add(1)),
        ("other log, size 2", add(1)),
        ("longer log", head("log")),
        ("fork", head("fork")),
    ] {
        config.cycle.pinned = Some(pinned.clone());
        let refused = split.install_as(&config, Storage::default()).unwrap_err().to_string();
        let refused = refused.replace(&pinned.to_string(), "[PINNED]");
        writeln!(text, "{case}: {}", refused.replace(&honest.to_string(), "[HEAD]")).unwrap();
        assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    snapbox::assert_data_eq!(text, snapbox::file!["words/pinned_head.txt"]);
    config.cycle.pinned = Some(honest);
    assert_eq!(split.install_as(&config, Storage::default()).unwrap().sequence, 2);
}

/// The configuration with another publisher key, and the same threshold of two.
fn with_another_publisher(config: &ClientConfig) -> ClientConfig {
    let policy = &config.cycle.policy;
    let (product, channel) = (policy.product.clone(), policy.channel.clone());
    let mut keys = policy.publishers().to_vec();
    keys.push(NoteSigningKey::from_seed("another".parse().unwrap(), &[7; 32]).public());
    let policy = Policy::new(product, channel, policy.log.clone(), keys, policy.threshold());
    let cycle = CycleSettings { policy: policy.unwrap(), ..config.cycle.clone() };
    ClientConfig { cycle, ..config.clone() }
}

#[tokio::test(start_paused = true)]
async fn changed_publishers_require_the_entries_from_the_first_on() {
    let mut split = SplitInstallation::with_second(158).await;
    // Another log under the same key, confirmed by all of its peers.
    let world = TestWorld::new(158);
    world.append_unchecked("log", &[b"another log".to_vec()]).unwrap();
    let mut other = SplitInstallation::from_world(world).await;
    other.world.publish(&release_spec(2)).unwrap();
    other.world.poll_all().await.unwrap();
    other.download().await;
    other.world.advance_and_poll(HOUR).await;
    other.download().await;
    let config = with_another_publisher(&split.world.config);
    let result = split.install_as(&config, Storage::default());
    assert!(matches!(result, Err(OfflineInstallError::Gap { first: 1, held: 0 })), "{result:?}");
    let own_spool = std::mem::replace(&mut split.spool, other.spool.clone());
    let refused = split.install_as(&config, Storage::default());
    let is_other_log =
        matches!(refused, Err(OfflineInstallError::Replay(ReplayMismatch::OtherLog { .. })));
    assert!(is_other_log, "{refused:?}");
    assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    split.spool = own_spool;
    // The downloader sees the installer's new start, and leaves all entries.
    split.download().await;
    assert_eq!(fs::read(split.spool_path(ENTRIES_FILE)).unwrap()[..8], 0_u64.to_be_bytes());
    assert_eq!(split.install_as(&config, Storage::default()).unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn evidence_latches_the_installer_until_acknowledged() {
    let split = SplitInstallation::with_second(155).await;
    split.world.copy_log("fork").unwrap();
    split.world.publish(&ReleaseSpec::new(3, "1.2.0", b"honest")).unwrap();
    split.world.publish_to("fork", &ReleaseSpec::new(3, "1.2.0", TROJAN)).unwrap();
    let heads = ["log", "fork"].map(|log| split.world.head_of(log).unwrap());
    let evidence = Evidence::from_heads(&heads[0], &heads[1], &[]).unwrap();
    let state = installer_state_dir(&split.world.config.cycle.install_root);
    let store =
        EvidenceStore::new(&state, &split.world.config.cycle.policy.log, Storage::default());
    let id = store.add(&evidence).unwrap();
    assert!(
        matches!(split.install_error(), OfflineInstallError::LogForked(LogForked { id: found }) if found == id)
    );
    store.acknowledge(&id).unwrap();
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_refuses_links_pipes_and_foreign_files_in_the_spool() {
    let split = SplitInstallation::with_second(149).await;
    let secret = split.world.scratch_path("secret");
    for name in [PROOF_FILE, ENTRIES_FILE, "versions/.2-1.1.0.new/hello"] {
        let path = split.spool_path(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&secret, &bytes).unwrap();
        let plant: [&dyn Fn(); 4] = [
            &|| symlink(&secret, &path).unwrap(),
            &|| fs::hard_link(&secret, &path).unwrap(),
            &|| fs::create_dir(&path).unwrap(),
            &|| {
                let fifo = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(fifo.success());
            },
        ];
        for (i, plant) in plant.iter().enumerate() {
            fs::remove_file(&path).unwrap();
            plant();
            let result = split.install();
            assert!(matches!(result, Err(OfflineInstallError::Spool(_))), "{name} {i}: {result:?}");
            if path.is_dir() {
                fs::remove_dir(&path).unwrap();
                fs::write(&path, b"").unwrap();
            }
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
    }
    // A directory on the path may be a link, too.
    let versions = split.spool_path("versions");
    fs::rename(&versions, split.world.scratch_path("elsewhere")).unwrap();
    symlink(split.world.scratch_path("elsewhere"), &versions).unwrap();
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
    fs::remove_file(&versions).unwrap();
    fs::rename(split.world.scratch_path("elsewhere"), &versions).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(split.spool_path(PROOF_FILE), Some(12345), None).unwrap();
        assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
        std::os::unix::fs::chown(split.spool_path(PROOF_FILE), Some(0), None).unwrap();
    }
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_refuses_a_spool_that_others_could_replace() {
    let mut split = SplitInstallation::with_second(150).await;
    let mode = |path: &PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&split.spool, 0o777);
    assert!(matches!(
        split.install(),
        Err(OfflineInstallError::Spool(SpoolError::UntrustedPlace { .. }))
    ));
    mode(&split.spool, 0o755);
    let parent = split.spool.parent().unwrap().to_owned();
    for wide in [0o777, 0o1777, 0o775] {
        mode(&parent, wide);
        assert!(matches!(
            split.install(),
            Err(OfflineInstallError::Spool(SpoolError::UntrustedPlace { .. }))
        ));
    }
    mode(&parent, 0o700);
    // A link to a spool is refused.
    let link = split.world.scratch_path("link");
    symlink(&split.spool, &link).unwrap();
    let real = std::mem::replace(&mut split.spool, link);
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
    split.spool = real;
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_refuses_huge_files_in_the_spool() {
    let split = SplitInstallation::with_second(151).await;
    let proof = fs::read(split.spool_path(PROOF_FILE)).unwrap();
    // A sparse file: no block of it is on the disk.
    let huge = |name: &str| {
        let file = fs::File::options().write(true).open(split.spool_path(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    huge(PROOF_FILE);
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
    split.replace_file(PROOF_FILE, &proof);
    huge("versions/.2-1.1.0.new/hello");
    assert!(matches!(split.artifact_mismatch(), ArtifactMismatch::TooLong { .. }));
    let versions = split.world.config.cycle.install_root.join("versions");
    assert_eq!(fs::read_dir(versions).unwrap().count(), 1, "the refused download is removed");
    fs::remove_file(split.artifact()).unwrap();
    fs::write(split.artifact(), SECOND_ARTIFACT).unwrap();
    // Entries are read up to the head only.
    huge(ENTRIES_FILE);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn artifact_swapped_during_the_copy_is_never_installed() {
    let split = SplitInstallation::with_second(152).await;
    let (artifact, trojan) = (split.artifact(), split.world.scratch_path("trojan"));
    let stop = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (artifact, stop) = (artifact.clone(), stop.clone());
        std::thread::spawn(move || {
            let good = fs::read(&artifact).unwrap();
            for turn in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                fs::write(&trojan, if turn % 2 == 0 { TROJAN } else { &good }).unwrap();
                fs::rename(&trojan, &artifact).unwrap();
            }
        })
    };
    let mut refused = 0;
    for _ in 0..200 {
        match split.install() {
            Ok(_) => break,
            Err(_) => refused += 1,
        }
        assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    let current = split.world.installed_bytes().unwrap();
    assert!(current == SECOND_ARTIFACT || (current == FIRST_ARTIFACT && refused == 200));
}

#[tokio::test(start_paused = true)]
async fn second_installer_is_refused() {
    let split = SplitInstallation::with_second(153).await;
    let spool = SpoolReader::open(&split.spool).unwrap();
    let (config, now) = (&split.world.config, split.world.now());
    let mut one = OfflineInstaller::open(config, Storage::default()).unwrap();
    let other = OfflineInstaller::open(config, Storage::default());
    assert!(matches!(other, Err(OfflineInstallError::Store(_))));
    assert_eq!(install(&mut one, &spool, DAY, now).unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn installer_killed_at_any_step_leaves_a_whole_version() {
    let base = SplitInstallation::with_second(154).await;
    let mut switched = Vec::new();
    for n in 0.. {
        let mut world = base.world.copy();
        world.config.cycle.spool.clone_from(&base.world.config.cycle.spool);
        world.clock.set(base.world.now());
        let steps = AtomicUsize::new(0);
        let failing =
            Storage::with_hook(move |_: &WriteStep| match steps.fetch_add(1, Ordering::SeqCst) {
                step if step < n => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            });
        let spool = SpoolReader::open(&base.spool).unwrap();
        let run = |disk| {
            install(&mut OfflineInstaller::open(&world.config, disk)?, &spool, DAY, world.now())
        };
        let done = run(failing).is_ok();
        let current = world.installed_bytes().unwrap();
        assert!(current == FIRST_ARTIFACT || current == SECOND_ARTIFACT, "step {n}");
        switched.push(current == SECOND_ARTIFACT);
        match run(Storage::default()) {
            Ok(installed) => assert_eq!(installed.sequence, 2),
            // The killed run had switched, but had not stored its state.
            Err(OfflineInstallError::Refused(Refusal::SequenceRollback {
                offered: 2,
                floor: 2,
            })) => {
                assert_eq!(current, SECOND_ARTIFACT);
            }
            Err(other) => panic!("step {n}: {other}"),
        }
        assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT), "step {n}");
        if done {
            break;
        }
    }
    assert!(switched.is_sorted() && switched.len() > 20, "{switched:?}");
}

#[tokio::test]
async fn failed_release_is_undone_and_downloaded_again_after_its_backoff() {
    let mut split = SplitInstallation::with_second(159).await;
    split.world.config.cycle.hooks.check = ["/bin/false".to_owned()].into();
    let refused = split.install_with_commands().await;
    let Err(OfflineInstallError::Install(InstallRefusal::Unhealthy { until, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(until, Some(split.world.now().after(MIN_BACKOFF)));
    assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // The downloader reports the failure, too.
    let result = split.world.update().await.1;
    let matches = matches!(result, Err(CycleError::Install(InstallRefusal::Unhealthy { .. })));
    assert!(matches, "{result:?}");
    split.world.advance_and_poll(MIN_BACKOFF).await;
    split.download().await;
    split.world.config.cycle.hooks.check = ["/bin/true".to_owned()].into();
    assert_eq!(split.install_with_commands().await.unwrap().sequence, 2);
    // A version that the operator has left is not downloaded again.
    let config = &split.world.config;
    let root = InstallRoot::new(&config.cycle.install_root, Storage::default());
    root.roll_back(None, split.world.now()).await.unwrap();
    split.world.advance_and_poll(HOUR).await;
    expect_up_to_date(split.world.update().await);
    assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test]
async fn installer_undoes_an_interrupted_trial() {
    let mut split = SplitInstallation::with_second(160).await;
    split.world.config.cycle.hooks.check = ["/bin/true".to_owned()].into();
    let steps = AtomicUsize::new(0);
    // The storage fails after the switch, before the journal names the version as good.
    let failing = Storage::with_hook(move |step: &WriteStep| {
        let is_journal = matches!(step, WriteStep::Create(path) if path.ends_with("journal.json"));
        let written = steps.fetch_add(usize::from(is_journal), Ordering::SeqCst);
        if is_journal && written == 1 { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    });
    let spool = SpoolReader::open(&split.spool).unwrap();
    let config = split.world.config.clone();
    let mut installer = OfflineInstaller::open(&config, failing).unwrap();
    installer.install(&spool, DAY, &split.world.clock).await.unwrap_err();
    drop(installer);
    assert_eq!(split.world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    let (_, result) = split.world.update().await;
    assert!(matches!(result, Ok(CycleOutcome::Available(_))), "{result:?}");
    let root = InstallRoot::new(&config.cycle.install_root, Storage::default())
        .with_hooks(config.cycle.hooks.clone());
    let undone = root.recover(split.world.now()).await.unwrap();
    let undone =
        undone.unwrap().replace(&split.world.now().after(MIN_BACKOFF).to_string(), "[TIME]");
    snapbox::assert_data_eq!(undone, snapbox::file!["words/undone_trial.txt"]);
    assert_eq!(root.recover(split.world.now()).await.unwrap(), None);
    assert_eq!(split.world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    split.world.advance_and_poll(MIN_BACKOFF).await;
    split.download().await;
    assert_eq!(split.install_with_commands().await.unwrap().sequence, 2);
}

/// The downloader may have other publisher keys, or may lie.
#[tokio::test(start_paused = true)]
async fn downloader_cannot_hide_a_withdrawal() {
    let mut split = SplitInstallation::new(161).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    split.publish_and_settle(&release_spec(2)).await;
    split.download().await;
    let before = split.world.scratch_path("before");
    copy_tree(&split.spool, &before).unwrap();
    let own = split.world.config.cycle.policy.clone();
    let withdrawal = Withdrawal {
        log: own.log.origin.clone(),
        product: own.product.clone(),
        channel: own.channel.clone(),
        sequence: 2,
        issued: split.world.now(),
        reason: "It deletes what it should keep.".to_owned(),
    };
    let mut note = Note::unsigned(&withdrawal.to_string()).unwrap();
    // Two of three keys sign. The downloader does not have one of them.
    for key in [0, 2] {
        note.sign(&split.world.keys.publisher_keys[key]);
    }
    split.world.append_unchecked("log", &[note.to_string().into_bytes()]).unwrap();
    split.world.advance_and_poll(MINUTE).await;
    let keys = own.publishers()[..2].to_vec();
    let (product, channel, log) = (own.product.clone(), own.channel.clone(), own.log.clone());
    split.world.config.cycle.policy = Policy::new(product, channel, log, keys, 2).unwrap();
    split.download().await;
    split.world.config.cycle.policy = own;
    let refused = split.install_refusal();
    assert!(matches!(refused, Refusal::Withdrawn { index: 2, installed: false, .. }), "{refused}");
    // The earlier download, without the withdrawal, is refused, too.
    fs::remove_dir_all(&split.spool).unwrap();
    copy_tree(&before, &split.spool).unwrap();
    let refused = split.install_refusal();
    assert!(matches!(refused, Refusal::Withdrawn { index: 2, installed: false, .. }), "{refused}");
}

#[tokio::test]
async fn installer_does_not_go_back_to_a_withdrawn_release() {
    let mut split = SplitInstallation::new(162).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    split.world.publish(&release_spec(2)).unwrap();
    let now = split.world.now();
    split.world.publish_withdrawal("log", 1, "It deletes what it should keep.", now).unwrap();
    split.world.poll_all().await.unwrap();
    split.world.update().await.1.unwrap_err();
    split.world.advance_and_poll(HOUR).await;
    split.download().await;
    split.world.config.cycle.hooks.check = ["/bin/false".to_owned()].into();
    let refused = split.install_with_commands().await.unwrap_err().to_string();
    snapbox::assert_data_eq!(refused, snapbox::file!["words/withdrawn_before.txt"]);
    assert_eq!(split.world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    // The withdrawal is stored although the release failed.
    let config = &split.world.config;
    let state_dir = installer_state_dir(&config.cycle.install_root);
    let known =
        ClientStore::read_catalog(&state_dir, &config.cycle.policy, &Storage::default()).unwrap();
    assert_eq!(known.withdrawn(), [1].into());
}

/// One peer has the withdrawal and the others do not, so the confirmed head is below it.
#[tokio::test(start_paused = true)]
async fn installer_stores_a_withdrawal_that_one_peer_has_seen() {
    let mut split = SplitInstallation::with_second(163).await;
    split.world.advance_and_poll(MINUTE).await;
    let (now, confirmed) = (split.world.now(), split.world.head_of("log").unwrap());
    split.world.publish_withdrawal("log", 1, "It deletes what it should keep.", now).unwrap();
    split.world.poll(0).await.unwrap();
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 2);
    let config = &split.world.config;
    let installer_head = installer_head_path(&config.cycle.install_root);
    assert_eq!(fs::read(installer_head).unwrap(), confirmed.note().as_bytes());
    let state_dir = installer_state_dir(&config.cycle.install_root);
    let known =
        ClientStore::read_catalog(&state_dir, &config.cycle.policy, &Storage::default()).unwrap();
    assert_eq!(known.withdrawn(), [1].into());
}
