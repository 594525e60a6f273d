//! A peer as a mirror: what it keeps of the log, how it serves it, and that nobody cosigns it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use unanimity_client::{ArtifactCache, ClientError, CycleOutcome, MirrorProblem};
use unanimity_config::{MirrorUrl, OnionAddress, PollingSettings, WEB_PORT};
use unanimity_net::file_server::{FileStore, ServedFile, ServerLimits, serve_files};
use unanimity_net::{Mirror, Transport as _};
use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_protocol::{Hash, Refusal, Tile, TreeHead};
use unanimity_storage::{ManualClock, Storage, WriteStep};
use unanimity_testkit::test_world::{
    HOUR, MINUTE, SECOND, SECOND_ARTIFACT, TROJAN, TestWorld, expect_error, expect_installed,
    expect_mirror_problem, expect_refusal, expect_up_to_date, read_files, release_spec,
};
use unanimity_testkit::{MemoryNetwork, PEERS, ReleaseSpec, World, copy_tree};
use unanimity_witness::{PollOutcome, Witness, WitnessConfig};

fn rng() -> StdRng {
    StdRng::seed_from_u64(5)
}

/// A peer apart from the circle's, with these mirrors.
fn open(circle: &TestWorld, mirrors: &[&str], state: &Path, disk: Storage) -> Witness<ManualClock> {
    let directory = |name: &&str| Mirror::from_directory(circle.directory.join(name));
    let follow = WitnessConfig {
        log: circle.keys.log.clone(),
        signing_key: circle.keys.peer_keys[0].clone(),
        mirrors: mirrors.iter().map(directory).collect(),
        polling: PollingSettings::default(),
    };
    Witness::open(follow, state, disk, circle.clock.clone()).unwrap()
}

fn numbered(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("entry {i}").into_bytes()).collect()
}

fn bundle(entries: &[Vec<u8>]) -> Vec<u8> {
    let one = |entry: &Vec<u8>| [&(entry.len() as u16).to_be_bytes()[..], entry].concat();
    entries.iter().flat_map(one).collect()
}

/// What somebody serves on a network of its own, as a mirror.
fn serve_as_mirror(node: &Arc<Witness<ManualClock>>) -> Mirror {
    let (network, key) = (MemoryNetwork::default(), [9; 32]);
    let listener = network.listen(OnionAddress { key, port: WEB_PORT });
    tokio::spawn(node.clone().serve_files(listener));
    Mirror::from_url("it", MirrorUrl::from_onion_key(key), &network.web_connector().unwrap())
}

async fn read_error_kind(mirror: &Mirror, path: &str) -> io::ErrorKind {
    mirror.read(path, 1 << 20).await.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn it_serves_its_log_as_any_mirror_does_in_every_width_and_nothing_else() {
    let circle = TestWorld::new(61);
    let entries = numbered(600);
    let head = circle.append_unchecked("log", &entries).unwrap();
    let node = Arc::new(open(&circle, &["log"], &circle.scratch_path("node"), Storage::default()));
    let mirror = serve_as_mirror(&node);
    node.poll(&mut rng()).await.unwrap();
    assert_eq!(read_error_kind(&mirror, "tile/entries/000").await, io::ErrorKind::NotFound);
    node.fetch_entries(&mut rng()).await.unwrap();
    assert_eq!(mirror.read("checkpoint", 4096).await.unwrap(), head.note().as_bytes());
    for (index, all) in (0..).zip(entries.chunks(256)) {
        for width in [1, 2, 87, 88, 89, 255, 256] {
            let path = entries_path(index, width);
            match all.get(..usize::from(width)) {
                Some(some) => {
                    assert_eq!(mirror.read(&path, 1 << 20).await.unwrap(), bundle(some));
                }
                None => {
                    assert_eq!(
                        read_error_kind(&mirror, &path).await,
                        io::ErrorKind::NotFound,
                        "{path}"
                    )
                }
            }
        }
    }
    for tile in [(0, 0, 256), (0, 2, 88), (0, 2, 3), (1, 0, 2)] {
        let tile = Tile { level: tile.0, index: tile.1, width: tile.2 };
        let log = Mirror::from_directory(circle.log_directory());
        let path = if tile.width == 3 { tile.full().path() } else { tile.path() };
        let known = log.read(&path, 1 << 20).await;
        let served = mirror.read(&tile.path(), 1 << 20).await.unwrap();
        assert_eq!(served.len(), 32 * usize::from(tile.width));
        assert!(known.is_err() || known.unwrap().starts_with(&served));
    }
    for path in [
        "",
        "head",
        ".lock",
        "tile/0/003",
        "tile/0/0",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/+1",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/entries/003",
        "tile/entries/002.p/89",
        "tile/entries/2",
        "tile/entries/002.p/088",
        "tile/entries/../../head",
        "tile/0/../0/000",
        "checkpoint/",
        "tile/0/%30%30%30",
        "tile/0/000.p/99999",
        "tile/entries/x999/x999/x999/x999/x999/x999/x999/999",
        "artifact/0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        assert_eq!(read_error_kind(&mirror, path).await, io::ErrorKind::NotFound, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn its_checkpoint_is_gone_while_it_vouches_for_none() {
    let mut circle = TestWorld::with_first_installed(62).await;
    let node = Arc::new(open(&circle, &["log"], &circle.scratch_path("node"), Storage::default()));
    let mirror = serve_as_mirror(&node);
    assert_eq!(read_error_kind(&mirror, "checkpoint").await, io::ErrorKind::NotFound);
    node.poll(&mut rng()).await.unwrap();
    let head = circle.head_of("log").unwrap();
    assert_eq!(mirror.read("checkpoint", 4096).await.unwrap(), head.note().as_bytes());
    circle.advance(30 * MINUTE + SECOND);
    assert_eq!(read_error_kind(&mirror, "checkpoint").await, io::ErrorKind::NotFound);
    node.poll(&mut rng()).await.unwrap();
    assert!(mirror.read("checkpoint", 4096).await.is_ok());
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    node.poll(&mut rng()).await.unwrap();
    node.compare_head(&circle.head_of("fork").unwrap()).unwrap();
    assert_eq!(read_error_kind(&mirror, "checkpoint").await, io::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_each_entry_once_and_only_those_of_its_head() {
    let circle = TestWorld::new(63);
    let state = circle.scratch_path("node");
    let node = open(&circle, &["log"], &state, Storage::default());
    let place = state.join("peer/tile/entries");
    for (more, kept) in [
        (3, &["000.p/3"][..]),
        (5, &["000.p/8"]),
        (248, &["000"]),
        (1, &["000", "001.p/1"]),
        (300, &["000", "001", "002.p/45"]),
    ] {
        circle.append_unchecked("log", &numbered(more)).unwrap();
        node.poll(&mut rng()).await.unwrap();
        node.fetch_entries(&mut rng()).await.unwrap();
        let found: Vec<_> = read_files(&place).into_keys().collect();
        let expected: Vec<_> = kept.iter().map(|name| place.join(name)).collect();
        assert_eq!(found, expected);
    }
    // Somebody serves tiles that hash up, and entries that are none of theirs.
    let forged = circle.copy_log("forged").unwrap();
    let path = forged.join(entries_path(1, 256));
    let honest = fs::read(&path).unwrap();
    let mut bytes = honest.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let state = circle.scratch_path("misled");
    let node = open(&circle, &["forged"], &state, Storage::default());
    let head = circle.head_of("log").unwrap();
    assert_eq!(node.poll(&mut rng()).await.unwrap(), PollOutcome::Fresh(head));
    let error = node.fetch_entries(&mut rng()).await.unwrap_err().to_string();
    assert!(error.contains("forged serves entries that are not those"), "{error}");
    let place = state.join("peer/tile/entries");
    assert_eq!(read_files(&place).into_keys().collect::<Vec<_>>(), [place.join("000")]);
    // The next mirror has what is missing.
    drop(node);
    let node = open(&circle, &["forged", "log"], &state, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    node.fetch_entries(&mut rng()).await.unwrap();
    assert_eq!(fs::read(place.join("001")).unwrap(), honest);
    assert_eq!(read_files(&place).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_of_its_own_that_is_damaged_is_not_served_and_is_fetched_again_once_it_is_gone() {
    let circle = TestWorld::new(69);
    circle.append_unchecked("log", &numbered(3)).unwrap();
    let state = circle.scratch_path("node");
    let node = Arc::new(open(&circle, &["log"], &state, Storage::default()));
    let mirror = serve_as_mirror(&node);
    node.poll(&mut rng()).await.unwrap();
    node.fetch_entries(&mut rng()).await.unwrap();
    let path = state.join("peer/tile/entries/000.p/3");
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole, bundle(&numbered(3)));
    let longer = [&whole[..], b"\0\x01x"].concat();
    for damaged in [&whole[..0], &whole[..1], &whole[..whole.len() - 1], &whole[..9], &longer] {
        fs::write(&path, damaged).unwrap();
        for width in 1..=3 {
            let read = mirror.read(&entries_path(0, width), 1 << 20).await;
            assert!(read.is_err(), "{width} of {} bytes: {read:?}", damaged.len());
        }
    }
    // Its operator does as the error says.
    let state = circle.scratch_path("mended");
    copy_tree(&circle.scratch_path("node"), &state).unwrap();
    let path = state.join("peer/tile/entries/000.p/3");
    fs::remove_file(&path).unwrap();
    let node = open(&circle, &["log"], &state, Storage::default());
    node.fetch_entries(&mut rng()).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_it_serves_what_it_has_and_fetches_the_rest() {
    let circle = TestWorld::new(64);
    circle.append_unchecked("log", &numbered(200)).unwrap();
    circle.copy_log("early").unwrap();
    circle.append_unchecked("log", &numbered(400)).unwrap();
    let start = circle.scratch_path("start");
    let node = open(&circle, &["early"], &start, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    node.fetch_entries(&mut rng()).await.unwrap();
    drop(node);
    let whole: Vec<Vec<u8>> = [numbered(200), numbered(400)].concat();
    for n in 0.. {
        let state = circle.scratch_path(&format!("killed-{n}"));
        copy_tree(&start, &state).unwrap();
        let node = open(&circle, &["log"], &state, Storage::default());
        node.poll(&mut rng()).await.unwrap();
        drop(node);
        let steps = AtomicUsize::new(0);
        // Opening it takes two steps.
        let dying =
            Storage::with_hook(move |_: &WriteStep| match steps.fetch_add(1, Ordering::SeqCst) {
                step if step < n + 2 => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            });
        let node = open(&circle, &["log"], &state, dying);
        let done = node.fetch_entries(&mut rng()).await.is_ok();
        drop(node);
        let node = Arc::new(open(&circle, &["log"], &state, Storage::default()));
        let mirror = serve_as_mirror(&node);
        let first = mirror.read(&entries_path(0, 200), 1 << 20).await.unwrap();
        assert_eq!(first, bundle(&whole[..200]), "killed at step {n}");
        node.fetch_entries(&mut rng()).await.unwrap();
        for (index, entries) in (0..).zip(whole.chunks(TILE_WIDTH as usize)) {
            let path = entries_path(index, entries.len() as u16);
            assert_eq!(mirror.read(&path, 1 << 20).await.unwrap(), bundle(entries), "{n}");
        }
        if done {
            assert!(n > 8, "{n}");
            break;
        }
    }
}

/// A circle in which release 2 has settled, every mirror of the client's is dead, and each peer
/// keeps the log.
async fn without_mirrors(seed: u64) -> TestWorld {
    let mut circle = TestWorld::with_second_settling(seed).await;
    circle.advance_and_poll(HOUR).await;
    circle.mirrors = vec![Mirror::from_directory("/nonexistent")];
    circle
}

/// Artifacts of a log's, served at an address of their own.
fn serve_artifacts(circle: &mut TestWorld, who: &str, wanted: &[u8]) -> ArtifactCache {
    let artifacts = ArtifactCache::new(&circle.scratch_path(who), 1 << 20, Storage::default());
    let (manifest, _) = circle.sign_release(&ReleaseSpec::new(9, "9", wanted)).unwrap();
    artifacts.insert(&manifest.artifacts[0], wanted).unwrap();
    let key = Hash::digest(who.as_bytes()).0;
    let listener = circle.network.listen(OnionAddress { key, port: WEB_PORT });
    let bounds = ServerLimits {
        max_connections: 4,
        min_hold: SECOND,
        max_connection_age: HOUR,
        bytes_per_second: Some(1 << 20),
    };
    tokio::spawn(serve_files(Arc::new(artifacts.clone()), listener, bounds));
    circle.config.artifacts.push((who.parse().unwrap(), MirrorUrl::from_onion_key(key)));
    artifacts
}

#[tokio::test(start_paused = true)]
async fn with_every_mirror_dead_any_one_peer_is_enough() {
    let base = without_mirrors(65).await;
    for peer in 0..PEERS {
        let mut circle = base.copy();
        circle.mirrors = base.mirrors.clone();
        circle.poll_all().await.unwrap();
        // Nobody serves anything: what the client has read before is not enough.
        assert!(matches!(expect_error(circle.update().await), ClientError::Mirrors(_)));
        circle.serve_files(peer).await.unwrap();
        let failed = expect_error(circle.update().await).to_string();
        assert!(failed.contains("artifact/"), "{failed}");
        serve_artifacts(&mut circle, "shelf", SECOND_ARTIFACT);
        assert_eq!(expect_installed(circle.update().await), 2);
        assert_eq!(circle.installed_bytes().unwrap(), SECOND_ARTIFACT);
        expect_up_to_date(circle.check().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_release_reaches_a_node_whose_mirrors_are_all_frozen_and_they_are_named() {
    let mut circle = TestWorld::with_first_installed(66).await;
    circle.copy_log("old").unwrap();
    circle.set_mirror("client", "old").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    assert!(matches!(expect_mirror_problem(circle.update().await), MirrorProblem::Stale { .. }));
    for peer in [1, 3] {
        circle.serve_files(peer).await.unwrap();
    }
    // The entries come from them, and the release settles; the mirror is what is to be told.
    let (report, ended) = circle.update().await;
    assert_eq!(report.head.as_ref().unwrap().size(), 2);
    assert!(matches!(
        expect_mirror_problem((report, ended)),
        MirrorProblem::Stale { shown: 1, known: 2, .. }
    ));
    circle.advance_and_poll(HOUR).await;
    // It can be installed, but for its bytes; and then it is the mirror that is to blame, which is
    // behind what is trusted by now.
    assert!(matches!(circle.check().await.1, Ok(CycleOutcome::Available(_))));
    assert!(matches!(expect_mirror_problem(circle.update().await), MirrorProblem::Rollback { .. }));
    serve_artifacts(&mut circle, "shelf", SECOND_ARTIFACT);
    let (report, ended) = circle.update().await;
    let shown = report.mirrors[0].1.as_ref().unwrap().size();
    assert!(shown < report.head.as_ref().unwrap().size());
    assert_eq!(expect_installed((report, ended)), 2);
    // Nothing is new, and a mirror that hides what peers have seen is worth an alarm.
    assert!(matches!(expect_mirror_problem(circle.update().await), MirrorProblem::Rollback { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_serves_rubbish_costs_nothing_while_another_is_honest() {
    let mut circle = without_mirrors(67).await;
    serve_artifacts(&mut circle, "shelf", SECOND_ARTIFACT);
    // Four of five serve a log in which every entry is another.
    let liar = circle.copy_log("liar").unwrap();
    for (path, bytes) in read_files(&liar.join("tile/entries")) {
        fs::remove_file(&path).unwrap();
        let (last, rest) = bytes.split_last().unwrap();
        fs::write(&path, [rest, &[last ^ 1]].concat()).unwrap();
    }
    for peer in 0..4 {
        let at = OnionAddress { port: WEB_PORT, ..circle.peer_address(peer) };
        let listener = circle.network.listen(at);
        let bounds = ServerLimits {
            max_connections: 4,
            min_hold: SECOND,
            max_connection_age: HOUR,
            bytes_per_second: None,
        };
        tokio::spawn(serve_files(Arc::new(DirectoryStore(liar.clone())), listener, bounds));
    }
    circle.poll_all().await.unwrap();
    circle.config.cycle.state = circle.scratch_path("new");
    assert!(matches!(
        expect_mirror_problem(circle.update().await),
        MirrorProblem::OtherEntries { .. }
    ));
    circle.config.cycle.state = circle.client_state();
    circle.serve_files(4).await.unwrap();
    assert_eq!(expect_installed(circle.update().await), 2);
}

/// Files of a directory, as a host that does not know better.
struct DirectoryStore(std::path::PathBuf);

impl FileStore for DirectoryStore {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        ServedFile::immutable(fs::File::open(self.0.join(path))?)
    }
}

#[tokio::test(start_paused = true)]
async fn a_victim_that_serves_its_fork_to_its_circle_gains_no_cosignature() {
    let mut circle = TestWorld::with_first_installed(68).await;
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    let victim = 4;
    circle.set_mirror(World::peer_name(victim), "fork").unwrap();
    circle.poll_all().await.unwrap();
    // The victim vouches for the fork, and serves all of it.
    circle.serve_files(victim).await.unwrap();
    let forked = circle.head_of("fork").unwrap();
    assert_eq!(circle.peer(victim).head(), Some(forked.clone()));
    // All mirrors of everybody else die; what is left is the victim.
    let honest: Vec<TreeHead> = (0..victim).map(|peer| circle.peer(peer).head().unwrap()).collect();
    for peer in 0..victim {
        fs::remove_file(circle.directory.join("mirrors").join(World::peer_name(peer))).unwrap();
    }
    circle.mirrors = vec![Mirror::from_directory("/nonexistent")];
    for _ in 0..3 {
        circle.advance(5 * MINUTE);
        circle.poll_all().await.unwrap();
        for (peer, head) in honest.iter().enumerate() {
            assert_eq!(circle.peer(peer).head().as_ref(), Some(head));
        }
    }
    // A client that finds no mirror compares, and has the evidence.
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Fork(_)));
    assert_ne!(circle.installed_bytes().unwrap(), TROJAN);
}
