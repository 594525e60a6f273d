//! Claims about a witness as a mirror: its stored entries, its files, and that no witness cosigns
//! them.

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

/// A witness in addition to the world's peers, with these mirrors.
fn open(world: &TestWorld, mirrors: &[&str], state: &Path, disk: Storage) -> Witness<ManualClock> {
    let directory = |name: &&str| Mirror::from_directory(world.directory.join(name));
    let config = WitnessConfig {
        log: world.keys.log.clone(),
        signing_key: world.keys.peer_keys[0].clone(),
        mirrors: mirrors.iter().map(directory).collect(),
        polling: PollingSettings::default(),
    };
    Witness::open(config, state, disk, world.clock.clone()).unwrap()
}

fn numbered(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("entry {i}").into_bytes()).collect()
}

fn bundle(entries: &[Vec<u8>]) -> Vec<u8> {
    let one = |entry: &Vec<u8>| [&(entry.len() as u16).to_be_bytes()[..], entry].concat();
    entries.iter().flat_map(one).collect()
}

/// Serves the files of a witness on a network of their own, and returns it as a mirror.
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
async fn witness_serves_exactly_the_files_of_its_log() {
    let world = TestWorld::new(61);
    let entries = numbered(600);
    let head = world.append_unchecked("log", &entries).unwrap();
    let node = Arc::new(open(&world, &["log"], &world.scratch_path("node"), Storage::default()));
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
        let log = Mirror::from_directory(world.log_directory());
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
async fn checkpoint_is_served_only_while_fresh_and_without_a_fork() {
    let mut world = TestWorld::with_first_installed(62).await;
    let node = Arc::new(open(&world, &["log"], &world.scratch_path("node"), Storage::default()));
    let mirror = serve_as_mirror(&node);
    assert_eq!(read_error_kind(&mirror, "checkpoint").await, io::ErrorKind::NotFound);
    node.poll(&mut rng()).await.unwrap();
    let head = world.head_of("log").unwrap();
    assert_eq!(mirror.read("checkpoint", 4096).await.unwrap(), head.note().as_bytes());
    world.advance(30 * MINUTE + SECOND);
    assert_eq!(read_error_kind(&mirror, "checkpoint").await, io::ErrorKind::NotFound);
    node.poll(&mut rng()).await.unwrap();
    assert!(mirror.read("checkpoint", 4096).await.is_ok());
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    world.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    node.poll(&mut rng()).await.unwrap();
    node.compare_head(&world.head_of("fork").unwrap()).unwrap();
    assert_eq!(read_error_kind(&mirror, "checkpoint").await, io::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn witness_stores_each_entry_once_and_only_entries_of_its_head() {
    let world = TestWorld::new(63);
    let state = world.scratch_path("node");
    let node = open(&world, &["log"], &state, Storage::default());
    let entries_dir = state.join("peer/tile/entries");
    for (more, files) in [
        (3, &["000.p/3"][..]),
        (5, &["000.p/8"]),
        (248, &["000"]),
        (1, &["000", "001.p/1"]),
        (300, &["000", "001", "002.p/45"]),
    ] {
        world.append_unchecked("log", &numbered(more)).unwrap();
        node.poll(&mut rng()).await.unwrap();
        node.fetch_entries(&mut rng()).await.unwrap();
        let found: Vec<_> = read_files(&entries_dir).into_keys().collect();
        let expected: Vec<_> = files.iter().map(|name| entries_dir.join(name)).collect();
        assert_eq!(found, expected);
    }
    // A mirror serves correct tiles with entries that do not belong to them.
    let forged = world.copy_log("forged").unwrap();
    let path = forged.join(entries_path(1, 256));
    let honest = fs::read(&path).unwrap();
    let mut bytes = honest.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let state = world.scratch_path("misled");
    let node = open(&world, &["forged"], &state, Storage::default());
    let head = world.head_of("log").unwrap();
    assert_eq!(node.poll(&mut rng()).await.unwrap(), PollOutcome::Fresh(head));
    let error = node.fetch_entries(&mut rng()).await.unwrap_err().to_string();
    let error = error.replace(world.directory.to_str().unwrap(), "[DIR]");
    snapbox::assert_data_eq!(error, snapbox::file!["words/forged_entries.txt"]);
    let entries_dir = state.join("peer/tile/entries");
    assert_eq!(read_files(&entries_dir).into_keys().collect::<Vec<_>>(), [entries_dir.join("000")]);
    // With an honest mirror, the missing entries are fetched.
    drop(node);
    let node = open(&world, &["forged", "log"], &state, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    node.fetch_entries(&mut rng()).await.unwrap();
    assert_eq!(fs::read(entries_dir.join("001")).unwrap(), honest);
    assert_eq!(read_files(&entries_dir).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn damaged_bundle_is_not_served_and_is_fetched_again_once_removed() {
    let world = TestWorld::new(69);
    world.append_unchecked("log", &numbered(3)).unwrap();
    let state = world.scratch_path("node");
    let node = Arc::new(open(&world, &["log"], &state, Storage::default()));
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
    // The operator follows the advice of the error.
    let state = world.scratch_path("repaired");
    copy_tree(&world.scratch_path("node"), &state).unwrap();
    let path = state.join("peer/tile/entries/000.p/3");
    fs::remove_file(&path).unwrap();
    let node = open(&world, &["log"], &state, Storage::default());
    node.fetch_entries(&mut rng()).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[tokio::test(start_paused = true)]
async fn witness_killed_in_a_fetch_serves_the_old_entries_and_fetches_the_rest() {
    let world = TestWorld::new(64);
    world.append_unchecked("log", &numbered(200)).unwrap();
    world.copy_log("early").unwrap();
    world.append_unchecked("log", &numbered(400)).unwrap();
    let start = world.scratch_path("start");
    let node = open(&world, &["early"], &start, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    node.fetch_entries(&mut rng()).await.unwrap();
    drop(node);
    let whole: Vec<Vec<u8>> = [numbered(200), numbered(400)].concat();
    for n in 0.. {
        let state = world.scratch_path(&format!("killed-{n}"));
        copy_tree(&start, &state).unwrap();
        let node = open(&world, &["log"], &state, Storage::default());
        node.poll(&mut rng()).await.unwrap();
        drop(node);
        let steps = AtomicUsize::new(0);
        // Opening takes two steps.
        let failing =
            Storage::with_hook(move |_: &WriteStep| match steps.fetch_add(1, Ordering::SeqCst) {
                step if step < n + 2 => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            });
        let node = open(&world, &["log"], &state, failing);
        let done = node.fetch_entries(&mut rng()).await.is_ok();
        drop(node);
        let node = Arc::new(open(&world, &["log"], &state, Storage::default()));
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

/// A world in which release 2 has settled and the client has only an unreachable mirror. Each peer
/// stores the log.
async fn without_mirrors(seed: u64) -> TestWorld {
    let mut world = TestWorld::with_second_settling(seed).await;
    world.advance_and_poll(HOUR).await;
    world.mirrors = vec![Mirror::from_directory("/nonexistent")];
    world
}

/// Serves an artifact at an address of its own, as an artifact host named `name`.
fn serve_artifacts(world: &mut TestWorld, name: &str, wanted: &[u8]) -> ArtifactCache {
    let artifacts = ArtifactCache::new(&world.scratch_path(name), 1 << 20, Storage::default());
    let (manifest, _) = world.sign_release(&ReleaseSpec::new(9, "9", wanted)).unwrap();
    artifacts.insert(&manifest.artifacts[0], wanted).unwrap();
    let key = Hash::digest(name.as_bytes()).0;
    let listener = world.network.listen(OnionAddress { key, port: WEB_PORT });
    let limits = ServerLimits {
        max_connections: 4,
        min_hold: SECOND,
        max_connection_age: HOUR,
        bytes_per_second: Some(1 << 20),
    };
    tokio::spawn(serve_files(Arc::new(artifacts.clone()), listener, limits));
    world.config.artifacts.push((name.parse().unwrap(), MirrorUrl::from_onion_key(key)));
    artifacts
}

#[tokio::test(start_paused = true)]
async fn client_without_mirrors_installs_from_any_one_peer() {
    let base = without_mirrors(65).await;
    for peer in 0..PEERS {
        let mut world = base.copy();
        world.mirrors = base.mirrors.clone();
        world.poll_all().await.unwrap();
        // No source serves the log, and the client's stored state is not enough.
        assert!(matches!(expect_error(world.update().await), ClientError::Mirrors(_)));
        world.serve_files(peer).await.unwrap();
        let failed = expect_error(world.update().await).to_string();
        assert!(failed.contains("artifact/"), "{failed}");
        serve_artifacts(&mut world, "host", SECOND_ARTIFACT);
        assert_eq!(expect_installed(world.update().await), 2);
        assert_eq!(world.installed_bytes().unwrap(), SECOND_ARTIFACT);
        expect_up_to_date(world.check().await);
    }
}

#[tokio::test(start_paused = true)]
async fn client_with_frozen_mirrors_installs_and_names_them() {
    let mut world = TestWorld::with_first_installed(66).await;
    world.copy_log("old").unwrap();
    world.set_mirror("client", "old").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    assert!(matches!(expect_mirror_problem(world.update().await), MirrorProblem::Stale { .. }));
    for peer in [1, 3] {
        world.serve_files(peer).await.unwrap();
    }
    // The entries come from the peers, and the release settles. The report names the stale mirror.
    let (report, result) = world.update().await;
    assert_eq!(report.head.as_ref().unwrap().size(), 2);
    assert!(matches!(
        expect_mirror_problem((report, result)),
        MirrorProblem::Stale { shown: 1, known: 2, .. }
    ));
    world.advance_and_poll(HOUR).await;
    // Only the artifact is missing. The report names the mirror, which is behind the trusted head.
    assert!(matches!(world.check().await.1, Ok(CycleOutcome::Available(_))));
    assert!(matches!(expect_mirror_problem(world.update().await), MirrorProblem::Rollback { .. }));
    serve_artifacts(&mut world, "host", SECOND_ARTIFACT);
    let (report, result) = world.update().await;
    let shown = report.mirrors[0].1.as_ref().unwrap().size();
    assert!(shown < report.head.as_ref().unwrap().size());
    assert_eq!(expect_installed((report, result)), 2);
    // Without a new release, a mirror behind the peers is still reported.
    assert!(matches!(expect_mirror_problem(world.update().await), MirrorProblem::Rollback { .. }));
}

#[tokio::test(start_paused = true)]
async fn client_installs_from_one_honest_peer_among_forgers() {
    let mut world = without_mirrors(67).await;
    serve_artifacts(&mut world, "host", SECOND_ARTIFACT);
    // Four of five peers serve a log in which every entry is changed.
    let liar = world.copy_log("liar").unwrap();
    for (path, bytes) in read_files(&liar.join("tile/entries")) {
        fs::remove_file(&path).unwrap();
        let (last, rest) = bytes.split_last().unwrap();
        fs::write(&path, [rest, &[last ^ 1]].concat()).unwrap();
    }
    for peer in 0..4 {
        let at = OnionAddress { port: WEB_PORT, ..world.peer_address(peer) };
        let listener = world.network.listen(at);
        let limits = ServerLimits {
            max_connections: 4,
            min_hold: SECOND,
            max_connection_age: HOUR,
            bytes_per_second: None,
        };
        tokio::spawn(serve_files(Arc::new(DirectoryStore(liar.clone())), listener, limits));
    }
    world.poll_all().await.unwrap();
    world.config.cycle.state = world.scratch_path("new");
    assert!(matches!(
        expect_mirror_problem(world.update().await),
        MirrorProblem::OtherEntries { .. }
    ));
    world.config.cycle.state = world.client_state();
    world.serve_files(4).await.unwrap();
    assert_eq!(expect_installed(world.update().await), 2);
}

/// Serves the files of a directory without any check.
struct DirectoryStore(std::path::PathBuf);

impl FileStore for DirectoryStore {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        ServedFile::immutable(fs::File::open(self.0.join(path))?)
    }
}

#[tokio::test(start_paused = true)]
async fn fork_served_by_a_victim_gains_no_cosignature() {
    let mut world = TestWorld::with_first_installed(68).await;
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    let victim = 4;
    world.set_mirror(World::peer_name(victim), "fork").unwrap();
    world.poll_all().await.unwrap();
    // The victim cosigns the fork, and serves all of it.
    world.serve_files(victim).await.unwrap();
    let forked = world.head_of("fork").unwrap();
    assert_eq!(world.peer(victim).head(), Some(forked.clone()));
    // The mirrors of all other peers disappear, so that only the victim serves a log.
    let honest: Vec<TreeHead> = (0..victim).map(|peer| world.peer(peer).head().unwrap()).collect();
    for peer in 0..victim {
        fs::remove_file(world.directory.join("mirrors").join(World::peer_name(peer))).unwrap();
    }
    world.mirrors = vec![Mirror::from_directory("/nonexistent")];
    for _ in 0..3 {
        world.advance(5 * MINUTE);
        world.poll_all().await.unwrap();
        for (peer, head) in honest.iter().enumerate() {
            assert_eq!(world.peer(peer).head().as_ref(), Some(head));
        }
    }
    // A client without mirrors compares the peers' heads, and has the evidence.
    assert!(matches!(expect_refusal(world.update().await), Refusal::Fork(_)));
    assert_ne!(world.installed_bytes().unwrap(), TROJAN);
}
