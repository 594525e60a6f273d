//! Two processes: one fetches and is not believed, the other installs and has no network.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io};

use futures_util::FutureExt as _;
use unanimity_client::{Failure, Outcome};
use unanimity_config::{Config, CycleSettings, Spool as Told};
use unanimity_install::journal::FIRST_WAIT;
use unanimity_install::spool::{ENTRIES, PROOF, Spool, SpoolError};
use unanimity_install::{
    ArtifactMismatch, InstallRefusal, Installed, Installer, ReplayMismatch, Root, StagedError,
    installer_state, published_head,
};
use unanimity_protocol::{Evidence, Note, NoteSigningKey, Policy, Refusal, Timestamp, Withdrawal};
use unanimity_state::{ClientStore, EvidenceStore, LogForked};
use unanimity_storage::{ManualClock, Storage, WriteStep};
use unanimity_testkit::circle::{
    Circle, HOUR, MINUTE, ONE, SECOND, TROJAN, TWO, refusal, release, up_to_date,
};
use unanimity_testkit::{Draft, copy_tree};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node whose fetching and installing are two: what its installer goes by is not the client's.
struct Split {
    circle: Circle,
    spool: PathBuf,
}

/// Where no command is configured, there is nothing to wait for.
fn install(
    installer: &mut Installer<'_>,
    spool: &Spool,
    freshness: Duration,
    now: Timestamp,
) -> Result<Installed, StagedError> {
    let clock = ManualClock::at(now);
    installer.install(spool, freshness, &clock).now_or_never().unwrap()
}

impl Split {
    /// Release 1 is in the log and has settled; nothing is installed.
    async fn new(seed: u64) -> Split {
        Split::of(Circle::new(seed)).await
    }

    async fn of(mut circle: Circle) -> Split {
        let spool = circle.beside("spool");
        fs::create_dir(&spool).unwrap();
        circle.config.cycle.spool = Some(Told { directory: spool.clone(), freshness: DAY });
        let mut split = Split { circle, spool };
        split.settles(&release(1)).await;
        split
    }

    /// Release 1 is installed; release 2 is staged.
    async fn with_second(seed: u64) -> Split {
        let mut split = Split::new(seed).await;
        split.stage().await;
        assert_eq!(split.install().unwrap().sequence, 1);
        split.settles(&release(2)).await;
        split.stage().await;
        split
    }

    async fn settles(&mut self, draft: &Draft) {
        self.circle.publish(draft).unwrap();
        self.circle.poll_all().await.unwrap();
        assert!(matches!(refusal(self.circle.update().await), Refusal::Settling { .. }));
        self.circle.pass(HOUR).await;
    }

    /// The one with the network.
    async fn stage(&mut self) {
        let before = self.circle.current();
        let (report, ended) = self.circle.update().await;
        assert!(matches!(ended, Ok(Outcome::Available(_))), "{ended:?} {report:?}");
        assert_eq!(self.circle.current(), before, "it installs nothing");
    }

    /// The one without.
    fn install(&self) -> Result<Installed, StagedError> {
        self.install_as(&self.circle.config, Storage::default())
    }

    fn install_as(&self, config: &Config, disk: Storage) -> Result<Installed, StagedError> {
        let spool = Spool::open(&self.spool)?;
        install(&mut Installer::open(config, disk)?, &spool, DAY, self.circle.now())
    }

    /// The same, with commands to wait for.
    async fn install_with_commands(&self) -> Result<Installed, StagedError> {
        let spool = Spool::open(&self.spool)?;
        let mut installer = Installer::open(&self.circle.config, Storage::default())?;
        installer.install(&spool, DAY, &self.circle.clock).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.spool.join(name)
    }

    fn artifact(&self) -> PathBuf {
        self.file("versions/.2-1.1.0.new/hello")
    }

    /// Puts something in place of a file.
    fn put(&self, name: &str, bytes: &[u8]) {
        fs::remove_file(self.file(name)).unwrap();
        fs::write(self.file(name), bytes).unwrap();
    }

    #[track_caller]
    fn ends(&self) -> StagedError {
        let ended = self.install();
        assert_eq!(self.circle.current().as_deref(), Some(ONE));
        ended.unwrap_err()
    }

    #[track_caller]
    fn refuses(&self) -> Refusal {
        match self.ends() {
            StagedError::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    fn mismatch(&self) -> ArtifactMismatch {
        match self.ends() {
            StagedError::Install(InstallRefusal::Artifact(mismatch)) => mismatch,
            other => panic!("no bad artifact: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_by_one_is_installed_by_the_other_from_its_own_head_on() {
    let mut split = Split::new(141).await;
    assert!(matches!(split.install(), Err(StagedError::Spool(SpoolError::Empty(_)))));
    split.stage().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    assert_eq!(split.circle.current().as_deref(), Some(ONE));
    // It says how far it has come, to anybody.
    let head = published_head(&split.circle.config.cycle.install_root);
    assert_eq!(fs::metadata(&head).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read(&head).unwrap(), split.circle.head_of("log").unwrap().note().as_bytes());
    let private = split.circle.config.cycle.install_root.join("installer");
    assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700);
    split.settles(&release(2)).await;
    split.stage().await;
    // Only the second entry.
    assert_eq!(fs::read(split.file(ENTRIES)).unwrap()[..8], 1_u64.to_be_bytes());
    assert_eq!(split.install().unwrap().sequence, 2);
    assert_eq!(split.circle.current().as_deref(), Some(TWO));
    // Once is enough.
    assert!(matches!(split.install(), Err(StagedError::Refused(Refusal::SequenceRollback { .. }))));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_changed_in_the_spool_is_installed() {
    let split = Split::with_second(142).await;
    let proof = fs::read_to_string(split.file(PROOF)).unwrap();
    let entries = fs::read(split.file(ENTRIES)).unwrap();
    for (artifact, why) in [
        (TROJAN.to_vec(), "signed"),
        (TWO[..TWO.len() - 1].to_vec(), "signed"),
        ([TWO, b"x"].concat(), "longer"),
        (Vec::new(), "0 bytes"),
    ] {
        fs::remove_file(split.artifact()).unwrap();
        fs::write(split.artifact(), artifact).unwrap();
        let mismatch = split.mismatch().to_string();
        assert!(mismatch.contains(why), "{mismatch}");
    }
    fs::write(split.artifact(), TWO).unwrap();
    let mut cut = entries.clone();
    cut.truncate(8);
    let mut altered = entries.clone();
    *altered.last_mut().unwrap() ^= 1;
    let last = &entries[8..];
    let twice = [&entries[..], last].concat();
    for (name, changed) in [("none", cut), ("altered", altered)] {
        split.put(ENTRIES, &changed);
        let ended = split.ends();
        let is = matches!(ended, StagedError::Replay(ReplayMismatch::Entries { held: 1, .. }));
        assert!(is, "{name}: {ended:?}");
    }
    // What comes after the head is not read.
    split.put(ENTRIES, &twice);
    let begins_later = [&2_u64.to_be_bytes()[..], last].concat();
    split.put(ENTRIES, &begins_later);
    assert!(matches!(split.install(), Err(StagedError::Gap { first: 2, held: 1 })));
    for garbled in [&entries[..5], &entries[..9], &entries[..entries.len() - 1], b""] {
        split.put(ENTRIES, garbled);
        let ended = split.install();
        let torn = matches!(ended, Err(StagedError::Spool(SpoolError::CutShort(_))));
        assert!(torn, "{} bytes: {ended:?}", garbled.len());
    }
    split.put(ENTRIES, &entries);
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
        split.put(PROOF, fewer.as_bytes());
        let refused = split.install().unwrap_err();
        let refused = match refused {
            StagedError::Refused(refusal) => refusal,
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
            split.put(PROOF, twice.as_bytes());
            assert!(matches!(split.refuses(), Refusal::Bundle(_)), "{i}");
        }
    }
    split.put(PROOF, proof.as_bytes());
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn no_entry_on_the_way_can_be_another_than_the_logs() {
    let mut split = Split::new(156).await;
    split.stage().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    // Somebody else's entry, and then ours.
    split.circle.force("log", &[b"what anybody may log".to_vec()]).unwrap();
    split.settles(&release(2)).await;
    split.stage().await;
    let entries = fs::read(split.file(ENTRIES)).unwrap();
    let mut altered = entries.clone();
    altered[12] ^= 1;
    split.put(ENTRIES, &altered);
    assert!(matches!(split.ends(), StagedError::Replay(ReplayMismatch::Entries { .. })));
    split.put(ENTRIES, &entries);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn every_byte_of_the_proof_counts() {
    let base = Split::with_second(143).await;
    let proof = fs::read(base.file(PROOF)).unwrap();
    for at in (0..proof.len()).step_by(61) {
        let mut changed = proof.clone();
        changed[at] ^= 1;
        base.put(PROOF, &changed);
        let circle = base.circle.again();
        let split = Split { circle, spool: base.spool.clone() };
        // But for what nobody signs: a roll's own time, within what the views allow.
        if let Ok(installed) = split.install() {
            assert_eq!(installed.sequence, 2);
            let line = proof[..at].rsplit(|byte| *byte == b'\n').next().unwrap();
            assert!(line.starts_with(b"roll "), "{at}: {}", String::from_utf8_lossy(line));
        } else {
            assert_eq!(split.circle.current().as_deref(), Some(ONE));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_old_or_of_the_future_is_refused_by_the_installers_clock() {
    let split = Split::with_second(144).await;
    let now = split.circle.now();
    let at = |time, freshness| {
        let spool = Spool::open(&split.spool).unwrap();
        let mut installer = Installer::open(&split.circle.config, Storage::default()).unwrap();
        install(&mut installer, &spool, freshness, time)
    };
    let old = at(now.after(DAY + SECOND), DAY);
    assert!(matches!(old, Err(StagedError::Refused(Refusal::RoundTooOld { .. }))), "{old:?}");
    let old = at(now.after(MINUTE + SECOND), MINUTE);
    assert!(matches!(old, Err(StagedError::Refused(Refusal::RoundTooOld { .. }))), "{old:?}");
    // A clock that has been put back to before what was installed, or that is behind the views.
    let back = at(Timestamp(now.0 - 2 * 3600), DAY);
    assert!(matches!(back, Err(StagedError::Clock { .. })), "{back:?}");
    let behind = at(Timestamp(now.0 - 61), DAY);
    assert!(matches!(behind, Err(StagedError::Refused(Refusal::Bundle(_)))), "{behind:?}");
    assert_eq!(split.circle.current().as_deref(), Some(ONE));
    split.circle.advance(DAY);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn another_product_another_circle_and_an_older_release_are_refused() {
    let mut split = Split::with_second(145).await;
    let kept = [PROOF, ENTRIES].map(|name| (name, fs::read(split.file(name)).unwrap()));
    // The installer's own configuration decides.
    let mut other = split.circle.config.clone();
    let policy = &split.circle.config.cycle.policy;
    let keys = policy.publishers().to_vec();
    for (product, channel) in [("other", "stable"), ("hello", "beta")] {
        let (product, channel) = (product.parse().unwrap(), channel.parse().unwrap());
        let log = policy.log.clone();
        other.cycle.policy = Policy::new(product, channel, log, keys.clone(), 2).unwrap();
        let refused = split.install_as(&other, Storage::default()).unwrap_err();
        let is = matches!(refused, StagedError::Refused(Refusal::OtherProduct { .. }));
        assert!(is, "{refused}");
    }
    let mut strict = split.circle.config.clone();
    strict.cycle.policy =
        Policy::new(policy.product.clone(), policy.channel.clone(), policy.log.clone(), keys, 3)
            .unwrap();
    let refused = split.install_as(&strict, Storage::default()).unwrap_err();
    assert!(matches!(
        refused,
        StagedError::Refused(Refusal::Threshold { signed: 2, threshold: 3 })
    ));
    // A third release is installed; who asks for the second again is refused.
    assert_eq!(split.install().unwrap().sequence, 2);
    split.settles(&release(3)).await;
    split.stage().await;
    assert_eq!(split.install().unwrap().sequence, 3);
    for (name, bytes) in &kept {
        split.put(name, bytes);
    }
    let refused = split.install().unwrap_err();
    let is =
        matches!(refused, StagedError::Refused(Refusal::SequenceRollback { offered: 2, floor: 3 }));
    assert!(is, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_the_log_says_against_a_release_cannot_be_hidden() {
    let mut split = Split::with_second(146).await;
    // Another release of the same sequence is logged, and everybody has seen it by the next roll.
    let twin = Draft::new(2, "1.1.0-b", TROJAN);
    let proof = fs::read(split.file(PROOF)).unwrap();
    split.circle.publish(&twin).unwrap();
    split.circle.pass(MINUTE).await;
    assert!(matches!(refusal(split.circle.update().await), Refusal::DuplicateSequence { .. }));
    // What was staged before is of a smaller log, in which there is none: it is young enough.
    split.put(PROOF, &proof);
    assert_eq!(split.install().unwrap().sequence, 2);
    // In the same log, with the entry before the head, nothing hides it.
    let mut split = Split::new(147).await;
    split.circle.publish(&Draft::new(1, "1.0.0-b", TROJAN)).unwrap();
    split.circle.pass(MINUTE).await;
    assert!(matches!(refusal(split.circle.update().await), Refusal::DuplicateSequence { .. }));
    assert!(!split.file(PROOF).exists());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_nothing_ties_to_the_views_makes_no_proof() {
    let split = Split::with_second(148).await;
    split.circle.copy_log("fork").unwrap();
    split.circle.publish_to("fork", &Draft::new(3, "1.2.0", TROJAN)).unwrap();
    let forked = split.circle.head_of("fork").unwrap();
    let proof = fs::read_to_string(split.file(PROOF)).unwrap();
    let (before, rest) = proof.split_once("\nhead ").unwrap();
    let (length, rest) = rest.split_once('\n').unwrap();
    let rest = &rest[length.parse::<usize>().unwrap()..];
    let note = forked.note();
    let changed = format!("{before}\nhead {}\n{note}{rest}", note.len());
    split.put(PROOF, changed.as_bytes());
    assert!(matches!(split.refuses(), Refusal::Bundle(_)));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_did_not_grow_out_of_the_pinned_head_installs_nothing() {
    let split = Split::with_second(157).await;
    let head = |log| split.circle.head_of(log).unwrap();
    split.circle.copy_log("fork").unwrap();
    let honest = head("log");
    split.circle.force("log", &[b"more".to_vec()]).unwrap();
    split.circle.force("fork", &[b"less".to_vec()]).unwrap();
    // Of the size that was read before, of the proof's, on another way there, and of a larger log.
    let other = Circle::new(157);
    let strange = |count| other.force("log", &vec![b"strange".to_vec(); count]).unwrap();
    let mut config = split.circle.config.clone();
    for pinned in [strange(1), strange(1), head("log"), head("fork")] {
        config.cycle.pinned = Some(pinned.clone());
        let refused = split.install_as(&config, Storage::default()).unwrap_err().to_string();
        assert!(refused.contains(&format!("trusted here ({pinned})")), "{refused}");
        assert_eq!(split.circle.current().as_deref(), Some(ONE));
    }
    config.cycle.pinned = Some(honest);
    assert_eq!(split.install_as(&config, Storage::default()).unwrap().sequence, 2);
}

/// The same, and one who also publishes for a threshold of two.
fn with_another_publisher(config: &Config) -> Config {
    let policy = &config.cycle.policy;
    let (product, channel) = (policy.product.clone(), policy.channel.clone());
    let mut keys = policy.publishers().to_vec();
    keys.push(NoteSigningKey::from_seed("another".parse().unwrap(), &[7; 32]).public());
    let policy = Policy::new(product, channel, policy.log.clone(), keys, policy.threshold());
    let cycle = CycleSettings { policy: policy.unwrap(), ..config.cycle.clone() };
    Config { cycle, ..config.clone() }
}

#[tokio::test(start_paused = true)]
async fn other_publishers_are_read_for_from_the_first_entry_on_and_in_the_log_that_is_trusted() {
    let mut split = Split::with_second(158).await;
    // Another log under the same key, and everybody confirms it.
    let circle = Circle::new(158);
    circle.force("log", &[b"another log".to_vec()]).unwrap();
    let mut other = Split::of(circle).await;
    other.circle.publish(&release(2)).unwrap();
    other.circle.poll_all().await.unwrap();
    other.stage().await;
    other.circle.pass(HOUR).await;
    other.stage().await;
    let config = with_another_publisher(&split.circle.config);
    let ended = split.install_as(&config, Storage::default());
    assert!(matches!(ended, Err(StagedError::Gap { first: 1, held: 0 })), "{ended:?}");
    let mine = std::mem::replace(&mut split.spool, other.spool.clone());
    let refused = split.install_as(&config, Storage::default()).unwrap_err().to_string();
    assert!(refused.contains("did not grow out of one that is trusted here"), "{refused}");
    assert_eq!(split.circle.current().as_deref(), Some(ONE));
    split.spool = mine;
    // As it is told to.
    split.stage().await;
    assert_eq!(fs::read(split.file(ENTRIES)).unwrap()[..8], 0_u64.to_be_bytes());
    assert_eq!(split.install_as(&config, Storage::default()).unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn evidence_that_the_installer_holds_latches_it_until_it_is_acknowledged() {
    let split = Split::with_second(155).await;
    split.circle.copy_log("fork").unwrap();
    split.circle.publish(&Draft::new(3, "1.2.0", b"honest")).unwrap();
    split.circle.publish_to("fork", &Draft::new(3, "1.2.0", TROJAN)).unwrap();
    let heads = ["log", "fork"].map(|log| split.circle.head_of(log).unwrap());
    let evidence = Evidence::from_heads(&heads[0], &heads[1], &[]).unwrap();
    let state = installer_state(&split.circle.config.cycle.install_root);
    let store =
        EvidenceStore::new(&state, &split.circle.config.cycle.policy.log, Storage::default());
    let id = store.add(&evidence).unwrap();
    assert!(matches!(split.ends(), StagedError::Latched(LogForked { id: found }) if found == id));
    store.acknowledge(&id).unwrap();
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn links_pipes_and_files_of_others_in_the_spool_are_not_followed() {
    let split = Split::with_second(149).await;
    let secret = split.circle.beside("secret");
    for name in [PROOF, ENTRIES, "versions/.2-1.1.0.new/hello"] {
        let path = split.file(name);
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
            assert!(matches!(ended, Err(StagedError::Spool(_))), "{name} {i}: {ended:?}");
            if path.is_dir() {
                fs::remove_dir(&path).unwrap();
                fs::write(&path, b"").unwrap();
            }
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, &kept).unwrap();
    }
    // A directory on the way may be a link as well.
    let versions = split.file("versions");
    fs::rename(&versions, split.circle.beside("elsewhere")).unwrap();
    symlink(split.circle.beside("elsewhere"), &versions).unwrap();
    assert!(matches!(split.install(), Err(StagedError::Spool(SpoolError::Io { .. }))));
    fs::remove_file(&versions).unwrap();
    fs::rename(split.circle.beside("elsewhere"), &versions).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(split.file(PROOF), Some(12345), None).unwrap();
        assert!(matches!(split.install(), Err(StagedError::Spool(SpoolError::Io { .. }))));
        std::os::unix::fs::chown(split.file(PROOF), Some(0), None).unwrap();
    }
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_others_could_have_put_there_is_none() {
    let mut split = Split::with_second(150).await;
    let mode = |path: &PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&split.spool, 0o777);
    assert!(matches!(split.install(), Err(StagedError::Spool(SpoolError::Place { .. }))));
    mode(&split.spool, 0o755);
    let above = split.spool.parent().unwrap().to_owned();
    for wide in [0o777, 0o1777, 0o775] {
        mode(&above, wide);
        assert!(matches!(split.install(), Err(StagedError::Spool(SpoolError::Place { .. }))));
    }
    mode(&above, 0o700);
    // Nor is a link to one.
    let link = split.circle.beside("link");
    symlink(&split.spool, &link).unwrap();
    let real = std::mem::replace(&mut split.spool, link);
    assert!(matches!(split.install(), Err(StagedError::Spool(SpoolError::Io { .. }))));
    split.spool = real;
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn huge_files_in_the_spool_are_refused_at_once() {
    let split = Split::with_second(151).await;
    let proof = fs::read(split.file(PROOF)).unwrap();
    // No byte of it is on the disk.
    let huge = |name: &str| {
        let file = fs::File::options().write(true).open(split.file(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    huge(PROOF);
    assert!(matches!(split.install(), Err(StagedError::Spool(SpoolError::Io { .. }))));
    split.put(PROOF, &proof);
    huge("versions/.2-1.1.0.new/hello");
    assert!(matches!(split.mismatch(), ArtifactMismatch::TooLong { .. }));
    let place = split.circle.config.cycle.install_root.join("versions");
    assert_eq!(fs::read_dir(place).unwrap().count(), 1, "nothing of it is left");
    fs::remove_file(split.artifact()).unwrap();
    fs::write(split.artifact(), TWO).unwrap();
    // Entries are read as far as the head, and no further.
    huge(ENTRIES);
    assert_eq!(split.install().unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn an_artifact_that_is_swapped_all_the_time_is_installed_as_signed_or_not_at_all() {
    let split = Split::with_second(152).await;
    let (artifact, trojan) = (split.artifact(), split.circle.beside("trojan"));
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
        assert_eq!(split.circle.current().as_deref(), Some(ONE));
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    let current = split.circle.current().unwrap();
    assert!(current == TWO || (current == ONE && refused == 200));
}

#[tokio::test(start_paused = true)]
async fn two_installers_at_once_take_turns_or_one_is_told() {
    let split = Split::with_second(153).await;
    let spool = Spool::open(&split.spool).unwrap();
    let (config, now) = (&split.circle.config, split.circle.now());
    let mut one = Installer::open(config, Storage::default()).unwrap();
    let other = Installer::open(config, Storage::default());
    assert!(matches!(other, Err(StagedError::Store(_))));
    assert_eq!(install(&mut one, &spool, DAY, now).unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_the_installer_leaves_the_old_version_or_the_new_and_ends_it_the_next_time()
 {
    let base = Split::with_second(154).await;
    let mut seen = Vec::new();
    for n in 0.. {
        let mut circle = base.circle.again();
        circle.config.cycle.spool.clone_from(&base.circle.config.cycle.spool);
        circle.clock.set(base.circle.now());
        let steps = AtomicUsize::new(0);
        let dying =
            Storage::with_hook(move |_: &WriteStep| match steps.fetch_add(1, Ordering::SeqCst) {
                step if step < n => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            });
        let spool = Spool::open(&base.spool).unwrap();
        let run =
            |disk| install(&mut Installer::open(&circle.config, disk)?, &spool, DAY, circle.now());
        let done = run(dying).is_ok();
        let current = circle.current().unwrap();
        assert!(current == ONE || current == TWO, "step {n}");
        seen.push(current == TWO);
        match run(Storage::default()) {
            Ok(installed) => assert_eq!(installed.sequence, 2),
            // It had been switched to, and not been written down.
            Err(StagedError::Refused(Refusal::SequenceRollback { offered: 2, floor: 2 })) => {
                assert_eq!(current, TWO);
            }
            Err(other) => panic!("step {n}: {other}"),
        }
        assert_eq!(circle.current().as_deref(), Some(TWO), "step {n}");
        if done {
            break;
        }
    }
    assert!(seen.is_sorted() && seen.len() > 20, "{seen:?}");
}

#[tokio::test]
async fn a_release_that_does_not_work_gives_way_and_the_fetcher_brings_it_again_in_time() {
    let mut split = Split::with_second(159).await;
    split.circle.config.cycle.procedure.check = ["/bin/false".to_owned()].into();
    let refused = split.install_with_commands().await;
    let Err(StagedError::Install(InstallRefusal::Unhealthy { until, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(until, Some(split.circle.now().after(FIRST_WAIT)));
    assert_eq!(split.circle.current().as_deref(), Some(ONE));
    // The fetcher hears of it, and its operator by it.
    let heard = split.circle.update().await.1;
    let is = matches!(heard, Err(Failure::Install(InstallRefusal::Unhealthy { .. })));
    assert!(is, "{heard:?}");
    split.circle.pass(FIRST_WAIT).await;
    split.stage().await;
    split.circle.config.cycle.procedure.check = ["/bin/true".to_owned()].into();
    assert_eq!(split.install_with_commands().await.unwrap().sequence, 2);
    // What was gone back from by hand is not brought again.
    let config = &split.circle.config;
    let root = Root::new(&config.cycle.install_root, Storage::default());
    root.roll_back(None, split.circle.now()).await.unwrap();
    split.circle.pass(HOUR).await;
    up_to_date(split.circle.update().await);
    assert_eq!(split.circle.current().as_deref(), Some(ONE));
}

#[tokio::test]
async fn a_trial_that_was_interrupted_is_brought_to_the_installer_who_undoes_it() {
    let mut split = Split::with_second(160).await;
    split.circle.config.cycle.procedure.check = ["/bin/true".to_owned()].into();
    let steps = AtomicUsize::new(0);
    // Killed while `current` is the new one, and the journal does not say yet that it is good.
    let dying = Storage::with_hook(move |step: &WriteStep| {
        let is_journal = matches!(step, WriteStep::Create(path) if path.ends_with("journal.json"));
        let written = steps.fetch_add(usize::from(is_journal), Ordering::SeqCst);
        if is_journal && written == 1 { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    });
    let spool = Spool::open(&split.spool).unwrap();
    let config = split.circle.config.clone();
    let mut installer = Installer::open(&config, dying).unwrap();
    installer.install(&spool, DAY, &split.circle.clock).await.unwrap_err();
    drop(installer);
    assert_eq!(split.circle.current().as_deref(), Some(TWO));
    let (_, ended) = split.circle.update().await;
    assert!(matches!(ended, Ok(Outcome::Available(_))), "{ended:?}");
    let root = Root::new(&config.cycle.install_root, Storage::default())
        .with(config.cycle.procedure.clone());
    let undone = root.recover(split.circle.now()).await.unwrap();
    assert!(undone.is_some_and(|undone| undone.contains("its trial was interrupted")));
    assert_eq!(root.recover(split.circle.now()).await.unwrap(), None);
    assert_eq!(split.circle.current().as_deref(), Some(ONE));
    split.circle.pass(FIRST_WAIT).await;
    split.stage().await;
    assert_eq!(split.install_with_commands().await.unwrap().sequence, 2);
}

/// Whoever fetches may go by other keys, or lie: what the log says, it says to the installer.
#[tokio::test(start_paused = true)]
async fn that_a_release_was_taken_back_cannot_be_hidden_from_the_installer() {
    let mut split = Split::new(161).await;
    split.stage().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    split.settles(&release(2)).await;
    split.stage().await;
    let before = split.circle.beside("before");
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
        note.sign(&split.circle.circle.publishers[key]);
    }
    split.circle.force("log", &[note.to_string().into_bytes()]).unwrap();
    split.circle.pass(MINUTE).await;
    let keys = own.publishers()[..2].to_vec();
    let (product, channel, log) = (own.product.clone(), own.channel.clone(), own.log.clone());
    split.circle.config.cycle.policy = Policy::new(product, channel, log, keys, 2).unwrap();
    split.stage().await;
    split.circle.config.cycle.policy = own;
    let refused = split.refuses();
    assert!(matches!(refused, Refusal::Withdrawn { index: 2, installed: false, .. }), "{refused}");
    // Nor does it help to bring what was staged before that.
    fs::remove_dir_all(&split.spool).unwrap();
    copy_tree(&before, &split.spool).unwrap();
    let refused = split.refuses();
    assert!(matches!(refused, Refusal::Withdrawn { index: 2, installed: false, .. }), "{refused}");
}

#[tokio::test]
async fn the_installer_does_not_go_back_to_what_was_taken_back() {
    let mut split = Split::new(162).await;
    split.stage().await;
    assert_eq!(split.install().unwrap().sequence, 1);
    split.circle.publish(&release(2)).unwrap();
    let now = split.circle.now();
    split.circle.withdraw("log", 1, "It deletes what it should keep.", now).unwrap();
    split.circle.poll_all().await.unwrap();
    split.circle.update().await.1.unwrap_err();
    split.circle.pass(HOUR).await;
    split.stage().await;
    split.circle.config.cycle.procedure.check = ["/bin/false".to_owned()].into();
    let refused = split.install_with_commands().await.unwrap_err().to_string();
    assert!(refused.contains("1-1.0.0 was taken back by its publisher, so 2-1.1.0"), "{refused}");
    assert_eq!(split.circle.current().as_deref(), Some(TWO));
    // It knows that also of a release that came to nothing.
    let config = &split.circle.config;
    let memory = installer_state(&config.cycle.install_root);
    let known = ClientStore::catalog(&memory, &config.cycle.policy, &Storage::default()).unwrap();
    assert_eq!(known.withdrawn(), [1].into());
}

/// One peer is a step behind, and so is what all confirm.
#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_not_every_peer_has_seen_is_remembered_with_the_release() {
    let mut split = Split::with_second(163).await;
    let now = split.circle.now();
    split.circle.withdraw("log", 1, "It deletes what it should keep.", now).unwrap();
    split.circle.pass(MINUTE).await;
    split.circle.poll(0).await.unwrap();
    split.stage().await;
    assert_eq!(split.install().unwrap().sequence, 2);
    let config = &split.circle.config;
    let memory = installer_state(&config.cycle.install_root);
    let known = ClientStore::catalog(&memory, &config.cycle.policy, &Storage::default()).unwrap();
    assert_eq!(known.withdrawn(), [1].into());
}
