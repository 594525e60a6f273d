//! Two processes: one fetches and is not believed, the other installs and has no network.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io};

use futures_util::FutureExt as _;
use unanimity_client::{CycleError, CycleOutcome};
use unanimity_config::{ClientConfig, CycleSettings, SpoolSettings as Told};
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

/// A node whose fetching and installing are two: what its installer goes by is not the client's.
struct SplitInstallation {
    circle: TestWorld,
    spool: PathBuf,
}

/// Where no command is configured, there is nothing to wait for.
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
    /// Release 1 is in the log and has settled; nothing is installed.
    async fn new(seed: u64) -> SplitInstallation {
        SplitInstallation::from_circle(TestWorld::new(seed)).await
    }

    async fn from_circle(mut circle: TestWorld) -> SplitInstallation {
        let spool = circle.scratch_path("spool");
        fs::create_dir(&spool).unwrap();
        circle.config.cycle.spool = Some(Told { directory: spool.clone(), freshness: DAY });
        let mut split = SplitInstallation { circle, spool };
        split.publish_and_settle(&release_spec(1)).await;
        split
    }

    /// Release 1 is installed; release 2 is staged.
    async fn with_second(seed: u64) -> SplitInstallation {
        let mut split = SplitInstallation::new(seed).await;
        split.download().await;
        assert_eq!(split.install().unwrap().sequence, 1);
        split.publish_and_settle(&release_spec(2)).await;
        split.download().await;
        split
    }

    async fn publish_and_settle(&mut self, draft: &ReleaseSpec) {
        self.circle.publish(draft).unwrap();
        self.circle.poll_all().await.unwrap();
        assert!(matches!(expect_refusal(self.circle.update().await), Refusal::Settling { .. }));
        self.circle.advance_and_poll(HOUR).await;
    }

    /// The one with the network.
    async fn download(&mut self) {
        let before = self.circle.installed_bytes();
        let (report, ended) = self.circle.update().await;
        assert!(matches!(ended, Ok(CycleOutcome::Available(_))), "{ended:?} {report:?}");
        assert_eq!(self.circle.installed_bytes(), before, "it installs nothing");
    }

    /// The one without.
    fn install(&self) -> Result<Installed, OfflineInstallError> {
        self.install_as(&self.circle.config, Storage::default())
    }

    fn install_as(
        &self,
        config: &ClientConfig,
        disk: Storage,
    ) -> Result<Installed, OfflineInstallError> {
        let spool = SpoolReader::open(&self.spool)?;
        install(&mut OfflineInstaller::open(config, disk)?, &spool, DAY, self.circle.now())
    }

    /// The same, with commands to wait for.
    async fn install_with_commands(&self) -> Result<Installed, OfflineInstallError> {
        let spool = SpoolReader::open(&self.spool)?;
        let mut installer = OfflineInstaller::open(&self.circle.config, Storage::default())?;
        installer.install(&spool, DAY, &self.circle.clock).await
    }

    fn spool_path(&self, name: &str) -> PathBuf {
        self.spool.join(name)
    }

    fn artifact(&self) -> PathBuf {
        self.spool_path("versions/.2-1.1.0.new/hello")
    }

    /// Puts something in place of a file.
    fn replace_file(&self, name: &str, bytes: &[u8]) {
        fs::remove_file(self.spool_path(name)).unwrap();
        fs::write(self.spool_path(name), bytes).unwrap();
    }

    #[track_caller]
    fn install_error(&self) -> OfflineInstallError {
        let ended = self.install();
        assert_eq!(self.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        ended.unwrap_err()
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
async fn what_is_fetched_by_one_is_installed_by_the_other_from_its_own_head_on() {
    let mut split = SplitInstallation::new(141).await;
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Empty(_)))));
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // It says how far it has come, to anybody.
    let head = installer_head_path(&split.circle.config.cycle.install_root);
    assert_eq!(fs::metadata(&head).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read(&head).unwrap(), split.circle.head_of("log").unwrap().note().as_bytes());
    let private = split.circle.config.cycle.install_root.join("installer");
    assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700);
    split.publish_and_settle(&release_spec(2)).await;
    split.download().await;
    // Only the second entry.
    assert_eq!(fs::read(split.spool_path(ENTRIES_FILE)).unwrap()[..8], 1_u64.to_be_bytes());
    assert_eq!(split.install().unwrap().sequence, 2);
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    // Once is enough.
    assert!(matches!(
        split.install(),
        Err(OfflineInstallError::Refused(Refusal::SequenceRollback { .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_changed_in_the_spool_is_installed() {
    let split = SplitInstallation::with_second(142).await;
    let proof = fs::read_to_string(split.spool_path(PROOF_FILE)).unwrap();
    let entries = fs::read(split.spool_path(ENTRIES_FILE)).unwrap();
    for (artifact, why) in [
        (TROJAN.to_vec(), "signed"),
        (SECOND_ARTIFACT[..SECOND_ARTIFACT.len() - 1].to_vec(), "signed"),
        ([SECOND_ARTIFACT, b"x"].concat(), "longer"),
        (Vec::new(), "0 bytes"),
    ] {
        fs::remove_file(split.artifact()).unwrap();
        fs::write(split.artifact(), artifact).unwrap();
        let mismatch = split.artifact_mismatch().to_string();
        assert!(mismatch.contains(why), "{mismatch}");
    }
    fs::write(split.artifact(), SECOND_ARTIFACT).unwrap();
    let mut cut = entries.clone();
    cut.truncate(8);
    let mut altered = entries.clone();
    *altered.last_mut().unwrap() ^= 1;
    let last = &entries[8..];
    let twice = [&entries[..], last].concat();
    for (name, changed) in [("none", cut), ("altered", altered)] {
        split.replace_file(ENTRIES_FILE, &changed);
        let ended = split.install_error();
        let is =
            matches!(ended, OfflineInstallError::Replay(ReplayMismatch::Entries { held: 1, .. }));
        assert!(is, "{name}: {ended:?}");
    }
    // What comes after the head is not read.
    split.replace_file(ENTRIES_FILE, &twice);
    let begins_later = [&2_u64.to_be_bytes()[..], last].concat();
    split.replace_file(ENTRIES_FILE, &begins_later);
    assert!(matches!(split.install(), Err(OfflineInstallError::Gap { first: 2, held: 1 })));
    for garbled in [&entries[..5], &entries[..9], &entries[..entries.len() - 1], b""] {
        split.replace_file(ENTRIES_FILE, garbled);
        let ended = split.install();
        let torn = matches!(ended, Err(OfflineInstallError::Spool(SpoolError::CutShort(_))));
        assert!(torn, "{} bytes: {ended:?}", garbled.len());
    }
    split.replace_file(ENTRIES_FILE, &entries);
    // One view missing, or one twice under two names: every peer of ours, each once, in both rolls.
    let views: Vec<usize> = proof.match_indices("\nview ").map(|(at, _)| at + 1).collect();
    assert_eq!(views.len(), 10);
    let rolls: Vec<usize> = proof.match_indices("\nroll ").map(|(at, _)| at + 1).collect();
    let end = |i: usize| views.get(i + 1).copied().filter(|next| i != 4 && *next > views[i]);
    for i in 0..10 {
        let to = if i == 4 { rolls[1] } else { end(i).unwrap_or(proof.len()) };
        let without = format!("{}{}", &proof[..views[i]], &proof[to..]);
        let fewer = without.replacen(" 5\n", " 4\n", if i < 5 { 1 } else { 2 });
        let fewer = if i < 5 { fewer } else { fewer.replacen(" 4\n", " 5\n", 1) };
        split.replace_file(PROOF_FILE, fewer.as_bytes());
        let refused = split.install().unwrap_err();
        let refused = match refused {
            OfflineInstallError::Refused(refusal) => refusal,
            other => panic!("{i}: {other}"),
        };
        // Without its first view, a release has not settled; without its second, somebody is silent.
        let is = match i < 5 {
            true => matches!(refused, Refusal::Settling { .. }),
            false => matches!(refused, Refusal::Incomplete(_)),
        };
        assert!(is, "{i}: {refused}");
        let one = &proof[views[i]..to];
        let other = if i < 5 { views[(i + 1) % 5] } else { views[5 + (i - 4) % 5] };
        if other > views[i] {
            let after = if i + 1 == 4 { rolls[1] } else { end(i + 1).unwrap_or(proof.len()) };
            let twice = format!("{}{one}{}", &proof[..other], &proof[after..]);
            split.replace_file(PROOF_FILE, twice.as_bytes());
            assert!(matches!(split.install_refusal(), Refusal::Bundle(_)), "{i}");
        }
    }
    split.replace_file(PROOF_FILE, proof.as_bytes());
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn no_entry_on_the_way_can_be_another_than_the_logs() {
    let mut split = SplitInstallation::new(156).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    // Somebody else's entry, and then ours.
    split.circle.append_unchecked("log", &[b"what anybody may log".to_vec()]).unwrap();
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
async fn every_byte_of_the_proof_counts() {
    let base = SplitInstallation::with_second(143).await;
    let proof = fs::read(base.spool_path(PROOF_FILE)).unwrap();
    for at in (0..proof.len()).step_by(61) {
        let mut changed = proof.clone();
        changed[at] ^= 1;
        base.replace_file(PROOF_FILE, &changed);
        let circle = base.circle.copy();
        let split = SplitInstallation { circle, spool: base.spool.clone() };
        // But for what nobody signs: a roll's own time, within what the views allow.
        if let Ok(installed) = split.install() {
            assert_eq!(installed.sequence, 2);
            let line = proof[..at].rsplit(|byte| *byte == b'\n').next().unwrap();
            assert!(line.starts_with(b"roll "), "{at}: {}", String::from_utf8_lossy(line));
        } else {
            assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_old_or_of_the_future_is_refused_by_the_installers_clock() {
    let split = SplitInstallation::with_second(144).await;
    let now = split.circle.now();
    let at = |time, freshness| {
        let spool = SpoolReader::open(&split.spool).unwrap();
        let mut installer =
            OfflineInstaller::open(&split.circle.config, Storage::default()).unwrap();
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
    // A clock that has been put back to before what was installed, or that is behind the views.
    let back = at(Timestamp(now.0 - 2 * 3600), DAY);
    assert!(matches!(back, Err(OfflineInstallError::Clock { .. })), "{back:?}");
    let behind = at(Timestamp(now.0 - 61), DAY);
    assert!(matches!(behind, Err(OfflineInstallError::Refused(Refusal::Bundle(_)))), "{behind:?}");
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    split.circle.advance(DAY);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn another_product_another_circle_and_an_older_release_are_refused() {
    let mut split = SplitInstallation::with_second(145).await;
    let kept =
        [PROOF_FILE, ENTRIES_FILE].map(|name| (name, fs::read(split.spool_path(name)).unwrap()));
    // The installer's own configuration decides.
    let mut other = split.circle.config.clone();
    let policy = &split.circle.config.cycle.policy;
    let keys = policy.publishers().to_vec();
    for (product, channel) in [("other", "stable"), ("hello", "beta")] {
        let (product, channel) = (product.parse().unwrap(), channel.parse().unwrap());
        let log = policy.log.clone();
        other.cycle.policy = Policy::new(product, channel, log, keys.clone(), 2).unwrap();
        let refused = split.install_as(&other, Storage::default()).unwrap_err();
        let is = matches!(refused, OfflineInstallError::Refused(Refusal::OtherProduct { .. }));
        assert!(is, "{refused}");
    }
    let mut strict = split.circle.config.clone();
    strict.cycle.policy =
        Policy::new(policy.product.clone(), policy.channel.clone(), policy.log.clone(), keys, 3)
            .unwrap();
    let refused = split.install_as(&strict, Storage::default()).unwrap_err();
    assert!(matches!(
        refused,
        OfflineInstallError::Refused(Refusal::Threshold { signed: 2, threshold: 3 })
    ));
    // A third release is installed; who asks for the second again is refused.
    assert_eq!(split.install().unwrap().sequence, 2);
    split.publish_and_settle(&release_spec(3)).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 3);
    for (name, bytes) in &kept {
        split.replace_file(name, bytes);
    }
    let refused = split.install().unwrap_err();
    let is = matches!(
        refused,
        OfflineInstallError::Refused(Refusal::SequenceRollback { offered: 2, floor: 3 })
    );
    assert!(is, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_the_log_says_against_a_release_cannot_be_hidden() {
    let mut split = SplitInstallation::with_second(146).await;
    // Another release of the same sequence is logged, and everybody has seen it by the next roll.
    let twin = ReleaseSpec::new(2, "1.1.0-b", TROJAN);
    let proof = fs::read(split.spool_path(PROOF_FILE)).unwrap();
    split.circle.publish(&twin).unwrap();
    split.circle.advance_and_poll(MINUTE).await;
    assert!(matches!(
        expect_refusal(split.circle.update().await),
        Refusal::DuplicateSequence { .. }
    ));
    // What was staged before is of a smaller log, in which there is none: it is young enough.
    split.replace_file(PROOF_FILE, &proof);
    assert_eq!(split.install().unwrap().sequence, 2);
    // In the same log, with the entry before the head, nothing hides it.
    let mut split = SplitInstallation::new(147).await;
    split.circle.publish(&ReleaseSpec::new(1, "1.0.0-b", TROJAN)).unwrap();
    split.circle.advance_and_poll(MINUTE).await;
    assert!(matches!(
        expect_refusal(split.circle.update().await),
        Refusal::DuplicateSequence { .. }
    ));
    assert!(!split.spool_path(PROOF_FILE).exists());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_nothing_ties_to_the_views_makes_no_proof() {
    let split = SplitInstallation::with_second(148).await;
    split.circle.copy_log("fork").unwrap();
    split.circle.publish_to("fork", &ReleaseSpec::new(3, "1.2.0", TROJAN)).unwrap();
    let forked = split.circle.head_of("fork").unwrap();
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
async fn a_log_that_did_not_grow_out_of_the_pinned_head_installs_nothing() {
    let split = SplitInstallation::with_second(157).await;
    let head = |log| split.circle.head_of(log).unwrap();
    split.circle.copy_log("fork").unwrap();
    let honest = head("log");
    split.circle.append_unchecked("log", &[b"more".to_vec()]).unwrap();
    split.circle.append_unchecked("fork", &[b"less".to_vec()]).unwrap();
    // Of the size that was read before, of the proof's, on another way there, and of a larger log.
    let other = TestWorld::new(157);
    let strange = |count| other.append_unchecked("log", &vec![b"strange".to_vec(); count]).unwrap();
    let mut config = split.circle.config.clone();
    for pinned in [strange(1), strange(1), head("log"), head("fork")] {
        config.cycle.pinned = Some(pinned.clone());
        let refused = split.install_as(&config, Storage::default()).unwrap_err().to_string();
        assert!(refused.contains(&format!("trusted here ({pinned})")), "{refused}");
        assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    config.cycle.pinned = Some(honest);
    assert_eq!(split.install_as(&config, Storage::default()).unwrap().sequence, 2);
}

/// The same, and one who also publishes for a threshold of two.
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
async fn other_publishers_are_read_for_from_the_first_entry_on_and_in_the_log_that_is_trusted() {
    let mut split = SplitInstallation::with_second(158).await;
    // Another log under the same key, and everybody confirms it.
    let circle = TestWorld::new(158);
    circle.append_unchecked("log", &[b"another log".to_vec()]).unwrap();
    let mut other = SplitInstallation::from_circle(circle).await;
    other.circle.publish(&release_spec(2)).unwrap();
    other.circle.poll_all().await.unwrap();
    other.download().await;
    other.circle.advance_and_poll(HOUR).await;
    other.download().await;
    let config = with_another_publisher(&split.circle.config);
    let ended = split.install_as(&config, Storage::default());
    assert!(matches!(ended, Err(OfflineInstallError::Gap { first: 1, held: 0 })), "{ended:?}");
    let mine = std::mem::replace(&mut split.spool, other.spool.clone());
    let refused = split.install_as(&config, Storage::default()).unwrap_err().to_string();
    assert!(refused.contains("did not grow out of one that is trusted here"), "{refused}");
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    split.spool = mine;
    // As it is told to.
    split.download().await;
    assert_eq!(fs::read(split.spool_path(ENTRIES_FILE)).unwrap()[..8], 0_u64.to_be_bytes());
    assert_eq!(split.install_as(&config, Storage::default()).unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn evidence_that_the_installer_holds_latches_it_until_it_is_acknowledged() {
    let split = SplitInstallation::with_second(155).await;
    split.circle.copy_log("fork").unwrap();
    split.circle.publish(&ReleaseSpec::new(3, "1.2.0", b"honest")).unwrap();
    split.circle.publish_to("fork", &ReleaseSpec::new(3, "1.2.0", TROJAN)).unwrap();
    let heads = ["log", "fork"].map(|log| split.circle.head_of(log).unwrap());
    let evidence = Evidence::from_heads(&heads[0], &heads[1], &[]).unwrap();
    let state = installer_state_dir(&split.circle.config.cycle.install_root);
    let store =
        EvidenceStore::new(&state, &split.circle.config.cycle.policy.log, Storage::default());
    let id = store.add(&evidence).unwrap();
    assert!(
        matches!(split.install_error(), OfflineInstallError::LogForked(LogForked { id: found }) if found == id)
    );
    store.acknowledge(&id).unwrap();
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn links_pipes_and_files_of_others_in_the_spool_are_not_followed() {
    let split = SplitInstallation::with_second(149).await;
    let secret = split.circle.scratch_path("secret");
    for name in [PROOF_FILE, ENTRIES_FILE, "versions/.2-1.1.0.new/hello"] {
        let path = split.spool_path(name);
        let kept = fs::read(&path).unwrap();
        fs::write(&secret, &kept).unwrap();
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
            let ended = split.install();
            assert!(matches!(ended, Err(OfflineInstallError::Spool(_))), "{name} {i}: {ended:?}");
            if path.is_dir() {
                fs::remove_dir(&path).unwrap();
                fs::write(&path, b"").unwrap();
            }
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, &kept).unwrap();
    }
    // A directory on the way may be a link as well.
    let versions = split.spool_path("versions");
    fs::rename(&versions, split.circle.scratch_path("elsewhere")).unwrap();
    symlink(split.circle.scratch_path("elsewhere"), &versions).unwrap();
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
    fs::remove_file(&versions).unwrap();
    fs::rename(split.circle.scratch_path("elsewhere"), &versions).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(split.spool_path(PROOF_FILE), Some(12345), None).unwrap();
        assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
        std::os::unix::fs::chown(split.spool_path(PROOF_FILE), Some(0), None).unwrap();
    }
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_others_could_have_put_there_is_none() {
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
    let above = split.spool.parent().unwrap().to_owned();
    for wide in [0o777, 0o1777, 0o775] {
        mode(&above, wide);
        assert!(matches!(
            split.install(),
            Err(OfflineInstallError::Spool(SpoolError::UntrustedPlace { .. }))
        ));
    }
    mode(&above, 0o700);
    // Nor is a link to one.
    let link = split.circle.scratch_path("link");
    symlink(&split.spool, &link).unwrap();
    let real = std::mem::replace(&mut split.spool, link);
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
    split.spool = real;
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn huge_files_in_the_spool_are_refused_at_once() {
    let split = SplitInstallation::with_second(151).await;
    let proof = fs::read(split.spool_path(PROOF_FILE)).unwrap();
    // No byte of it is on the disk.
    let huge = |name: &str| {
        let file = fs::File::options().write(true).open(split.spool_path(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    huge(PROOF_FILE);
    assert!(matches!(split.install(), Err(OfflineInstallError::Spool(SpoolError::Io { .. }))));
    split.replace_file(PROOF_FILE, &proof);
    huge("versions/.2-1.1.0.new/hello");
    assert!(matches!(split.artifact_mismatch(), ArtifactMismatch::TooLong { .. }));
    let place = split.circle.config.cycle.install_root.join("versions");
    assert_eq!(fs::read_dir(place).unwrap().count(), 1, "nothing of it is left");
    fs::remove_file(split.artifact()).unwrap();
    fs::write(split.artifact(), SECOND_ARTIFACT).unwrap();
    // Entries are read as far as the head, and no further.
    huge(ENTRIES_FILE);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn an_artifact_that_is_swapped_all_the_time_is_installed_as_signed_or_not_at_all() {
    let split = SplitInstallation::with_second(152).await;
    let (artifact, trojan) = (split.artifact(), split.circle.scratch_path("trojan"));
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
        assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    let current = split.circle.installed_bytes().unwrap();
    assert!(current == SECOND_ARTIFACT || (current == FIRST_ARTIFACT && refused == 200));
}

#[tokio::test(start_paused = true)]
async fn two_installers_at_once_take_turns_or_one_is_told() {
    let split = SplitInstallation::with_second(153).await;
    let spool = SpoolReader::open(&split.spool).unwrap();
    let (config, now) = (&split.circle.config, split.circle.now());
    let mut one = OfflineInstaller::open(config, Storage::default()).unwrap();
    let other = OfflineInstaller::open(config, Storage::default());
    assert!(matches!(other, Err(OfflineInstallError::Store(_))));
    assert_eq!(install(&mut one, &spool, DAY, now).unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_the_installer_leaves_the_old_version_or_the_new_and_ends_it_the_next_time()
 {
    let base = SplitInstallation::with_second(154).await;
    let mut seen = Vec::new();
    for n in 0.. {
        let mut circle = base.circle.copy();
        circle.config.cycle.spool.clone_from(&base.circle.config.cycle.spool);
        circle.clock.set(base.circle.now());
        let steps = AtomicUsize::new(0);
        let dying =
            Storage::with_hook(move |_: &WriteStep| match steps.fetch_add(1, Ordering::SeqCst) {
                step if step < n => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            });
        let spool = SpoolReader::open(&base.spool).unwrap();
        let run = |disk| {
            install(&mut OfflineInstaller::open(&circle.config, disk)?, &spool, DAY, circle.now())
        };
        let done = run(dying).is_ok();
        let current = circle.installed_bytes().unwrap();
        assert!(current == FIRST_ARTIFACT || current == SECOND_ARTIFACT, "step {n}");
        seen.push(current == SECOND_ARTIFACT);
        match run(Storage::default()) {
            Ok(installed) => assert_eq!(installed.sequence, 2),
            // It had been switched to, and not been written down.
            Err(OfflineInstallError::Refused(Refusal::SequenceRollback {
                offered: 2,
                floor: 2,
            })) => {
                assert_eq!(current, SECOND_ARTIFACT);
            }
            Err(other) => panic!("step {n}: {other}"),
        }
        assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT), "step {n}");
        if done {
            break;
        }
    }
    assert!(seen.is_sorted() && seen.len() > 20, "{seen:?}");
}

#[tokio::test]
async fn a_release_that_does_not_work_gives_way_and_the_fetcher_brings_it_again_in_time() {
    let mut split = SplitInstallation::with_second(159).await;
    split.circle.config.cycle.hooks.check = ["/bin/false".to_owned()].into();
    let refused = split.install_with_commands().await;
    let Err(OfflineInstallError::Install(InstallRefusal::Unhealthy { until, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(until, Some(split.circle.now().after(MIN_BACKOFF)));
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // The fetcher hears of it, and its operator by it.
    let heard = split.circle.update().await.1;
    let is = matches!(heard, Err(CycleError::Install(InstallRefusal::Unhealthy { .. })));
    assert!(is, "{heard:?}");
    split.circle.advance_and_poll(MIN_BACKOFF).await;
    split.download().await;
    split.circle.config.cycle.hooks.check = ["/bin/true".to_owned()].into();
    assert_eq!(split.install_with_commands().await.unwrap().sequence, 2);
    // What was gone back from by hand is not brought again.
    let config = &split.circle.config;
    let root = InstallRoot::new(&config.cycle.install_root, Storage::default());
    root.roll_back(None, split.circle.now()).await.unwrap();
    split.circle.advance_and_poll(HOUR).await;
    expect_up_to_date(split.circle.update().await);
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test]
async fn a_trial_that_was_interrupted_is_brought_to_the_installer_who_undoes_it() {
    let mut split = SplitInstallation::with_second(160).await;
    split.circle.config.cycle.hooks.check = ["/bin/true".to_owned()].into();
    let steps = AtomicUsize::new(0);
    // Killed while `current` is the new one, and the journal does not say yet that it is good.
    let dying = Storage::with_hook(move |step: &WriteStep| {
        let is_journal = matches!(step, WriteStep::Create(path) if path.ends_with("journal.json"));
        let written = steps.fetch_add(usize::from(is_journal), Ordering::SeqCst);
        if is_journal && written == 1 { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    });
    let spool = SpoolReader::open(&split.spool).unwrap();
    let config = split.circle.config.clone();
    let mut installer = OfflineInstaller::open(&config, dying).unwrap();
    installer.install(&spool, DAY, &split.circle.clock).await.unwrap_err();
    drop(installer);
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    let (_, ended) = split.circle.update().await;
    assert!(matches!(ended, Ok(CycleOutcome::Available(_))), "{ended:?}");
    let root = InstallRoot::new(&config.cycle.install_root, Storage::default())
        .with_hooks(config.cycle.hooks.clone());
    let undone = root.recover(split.circle.now()).await.unwrap();
    assert!(undone.is_some_and(|undone| undone.contains("its trial was interrupted")));
    assert_eq!(root.recover(split.circle.now()).await.unwrap(), None);
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    split.circle.advance_and_poll(MIN_BACKOFF).await;
    split.download().await;
    assert_eq!(split.install_with_commands().await.unwrap().sequence, 2);
}

/// Whoever fetches may go by other keys, or lie: what the log says, it says to the installer.
#[tokio::test(start_paused = true)]
async fn that_a_release_was_taken_back_cannot_be_hidden_from_the_installer() {
    let mut split = SplitInstallation::new(161).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    split.publish_and_settle(&release_spec(2)).await;
    split.download().await;
    let before = split.circle.scratch_path("before");
    copy_tree(&split.spool, &before).unwrap();
    let own = split.circle.config.cycle.policy.clone();
    let withdrawal = Withdrawal {
        log: own.log.origin.clone(),
        product: own.product.clone(),
        channel: own.channel.clone(),
        sequence: 2,
        issued: split.circle.now(),
        reason: "It deletes what it should keep.".to_owned(),
    };
    let mut note = Note::unsigned(&withdrawal.to_string()).unwrap();
    // By two of three keys, one of which the fetcher does not go by.
    for key in [0, 2] {
        note.sign(&split.circle.keys.publisher_keys[key]);
    }
    split.circle.append_unchecked("log", &[note.to_string().into_bytes()]).unwrap();
    split.circle.advance_and_poll(MINUTE).await;
    let keys = own.publishers()[..2].to_vec();
    let (product, channel, log) = (own.product.clone(), own.channel.clone(), own.log.clone());
    split.circle.config.cycle.policy = Policy::new(product, channel, log, keys, 2).unwrap();
    split.download().await;
    split.circle.config.cycle.policy = own;
    let refused = split.install_refusal();
    assert!(matches!(refused, Refusal::Withdrawn { index: 2, installed: false, .. }), "{refused}");
    // Nor does it help to bring what was staged before that.
    fs::remove_dir_all(&split.spool).unwrap();
    copy_tree(&before, &split.spool).unwrap();
    let refused = split.install_refusal();
    assert!(matches!(refused, Refusal::Withdrawn { index: 2, installed: false, .. }), "{refused}");
}

#[tokio::test]
async fn the_installer_does_not_go_back_to_what_was_taken_back() {
    let mut split = SplitInstallation::new(162).await;
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    split.circle.publish(&release_spec(2)).unwrap();
    let now = split.circle.now();
    split.circle.publish_withdrawal("log", 1, "It deletes what it should keep.", now).unwrap();
    split.circle.poll_all().await.unwrap();
    split.circle.update().await.1.unwrap_err();
    split.circle.advance_and_poll(HOUR).await;
    split.download().await;
    split.circle.config.cycle.hooks.check = ["/bin/false".to_owned()].into();
    let refused = split.install_with_commands().await.unwrap_err().to_string();
    assert!(refused.contains("1-1.0.0 was taken back by its publisher, so 2-1.1.0"), "{refused}");
    assert_eq!(split.circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    // It knows that also of a release that came to nothing.
    let config = &split.circle.config;
    let memory = installer_state_dir(&config.cycle.install_root);
    let known =
        ClientStore::read_catalog(&memory, &config.cycle.policy, &Storage::default()).unwrap();
    assert_eq!(known.withdrawn(), [1].into());
}

/// One peer is a step behind, and so is what all confirm.
#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_not_every_peer_has_seen_is_remembered_with_the_release() {
    let mut split = SplitInstallation::with_second(163).await;
    let now = split.circle.now();
    split.circle.publish_withdrawal("log", 1, "It deletes what it should keep.", now).unwrap();
    split.circle.advance_and_poll(MINUTE).await;
    split.circle.poll(0).await.unwrap();
    split.download().await;
    assert_eq!(split.install().unwrap().sequence, 2);
    let config = &split.circle.config;
    let memory = installer_state_dir(&config.cycle.install_root);
    let known =
        ClientStore::read_catalog(&memory, &config.cycle.policy, &Storage::default()).unwrap();
    assert_eq!(known.withdrawn(), [1].into());
}
