//! Hostile mirrors among good ones, over HTTP: an update gets through while any one of them is honest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use unanimity_client::{Failure, Outcome};
use unanimity_config::{MirrorSpec, Site};
use unanimity_net::{Mirror, Stream, Web};
use unanimity_protocol::{Refusal, Timestamp};
use unanimity_testkit::{Draft, World};

use crate::http::ONION;
use crate::logs::place;

/// What a mirror does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Honest,
    /// Refuses connections.
    Dead,
    /// Accepts, and never answers.
    Silent,
    /// So many bytes a second.
    Slow(usize),
    /// Breaks off an artifact after so many bytes, and announces more.
    Cut(usize),
    /// At most so many bytes of an artifact on one connection; and announces the rest.
    Capped(usize),
    /// One byte of an artifact, a wrong one, and no more.
    Poison,
    /// The same, and announces no more.
    Short(usize),
    /// Goes on with the file, over and over.
    Endless,
    /// One bit wrong in the last byte of everything but the checkpoint.
    LateBit,
    /// Breaks off an artifact after so many bytes, the first of which is wrong.
    WrongStart(usize),
    /// Points elsewhere.
    Redirects,
    /// A page that says sorry, as if it were the file.
    ErrorPage,
    /// Says that it is compressed.
    Compressed,
    /// 10,000 header lines.
    Headers,
    /// An honest log as it was a while ago.
    Frozen,
    /// Everything but the artifacts.
    NoArtifact,
}

pub(crate) const ALL: [Fault; 15] = [
    Fault::Poison,
    Fault::Dead,
    Fault::Silent,
    Fault::Slow(100),
    Fault::Cut(200_000),
    Fault::Short(200_000),
    Fault::Endless,
    Fault::LateBit,
    Fault::WrongStart(200_000),
    Fault::Redirects,
    Fault::ErrorPage,
    Fault::Compressed,
    Fault::Headers,
    Fault::Frozen,
    Fault::NoArtifact,
];

/// Hosts, by the port of their URL.
#[derive(Clone, Default)]
pub(crate) struct Hosts {
    hosts: Vec<(PathBuf, Fault)>,
    /// Ranges of artifacts that were asked for: of which host, from which byte on.
    pub(crate) asked: Arc<Mutex<Vec<(usize, u64)>>>,
    /// How often circuits of somebody's own were asked for.
    circuits: Arc<AtomicUsize>,
}

impl Web for Hosts {
    fn connect<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let number = usize::from(site.port) - 1;
        let (directory, fault) = self.hosts[number].clone();
        let asked = self.asked.clone();
        Box::pin(async move {
            if fault == Fault::Dead {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(64 * 1024);
            tokio::spawn(serve(directory, fault, theirs, asked, number));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }

    fn apart(&self) -> Arc<dyn Web> {
        self.circuits.fetch_add(1, Ordering::SeqCst);
        Arc::new(self.clone())
    }
}

impl Hosts {
    pub(crate) fn new(hosts: Vec<(PathBuf, Fault)>) -> Hosts {
        Hosts { hosts, ..Hosts::default() }
    }

    pub(crate) fn mirrors(&self) -> Vec<Mirror> {
        let web: Arc<dyn Web> = Arc::new(self.clone());
        (1..=self.hosts.len())
            .map(|port| {
                let spec: MirrorSpec = format!("http://{ONION}:{port}").parse().unwrap();
                Mirror::from_spec(&spec, Some(&web)).unwrap()
            })
            .collect()
    }
}

/// Answers requests on one connection until it is closed.
async fn serve(
    directory: PathBuf,
    fault: Fault,
    mut stream: DuplexStream,
    asked: Arc<Mutex<Vec<(usize, u64)>>>,
    number: usize,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
        let range = head.lines().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse::<usize>().ok()
        });
        let is_artifact = path.starts_with("artifact/");
        if is_artifact {
            asked.lock().unwrap().push((number, range.unwrap_or(0) as u64));
        }
        if send(&directory, fault, &path, range, is_artifact, &mut stream).await.is_none() {
            return;
        }
    }
}

/// Answers one request; `None`: it hangs up.
async fn send(
    directory: &Path,
    fault: Fault,
    path: &str,
    range: Option<usize>,
    is_artifact: bool,
    stream: &mut DuplexStream,
) -> Option<()> {
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    let Ok(mut bytes) = fs::read(directory.join(path)) else {
        return stream.write_all(status("404 Not Found").as_bytes()).await.ok();
    };
    let mut announced = None;
    let mut header = String::new();
    match fault {
        Fault::Silent => std::future::pending().await,
        Fault::Redirects => {
            let elsewhere = "302 Found\r\nLocation: https://elsewhere.example/";
            return stream.write_all(status(elsewhere).as_bytes()).await.ok();
        }
        Fault::NoArtifact if is_artifact => {
            return stream.write_all(status("404 Not Found").as_bytes()).await.ok();
        }
        Fault::ErrorPage => bytes = b"<html>sorry, come back later</html>".to_vec(),
        Fault::Compressed => header = "Content-Encoding: gzip\r\n".to_owned(),
        Fault::Headers => header = "X-Y: z\r\n".repeat(10_000),
        Fault::LateBit if path != "checkpoint" => *bytes.last_mut()? ^= 1,
        Fault::WrongStart(_) if is_artifact => bytes[0] ^= 1,
        Fault::Poison if is_artifact => bytes.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let begin = range.unwrap_or(0).min(bytes.len());
    let total = bytes.len();
    if let Fault::Cut(at) | Fault::WrongStart(at) = fault
        && is_artifact
    {
        announced = Some(total - begin);
        bytes.truncate(at.max(begin));
    }
    let on_one_connection = match fault {
        Fault::Capped(most) => most,
        Fault::Poison => 1,
        _ => usize::MAX,
    };
    if is_artifact && on_one_connection < total - begin {
        announced = Some(total - begin);
        bytes.truncate(begin + on_one_connection);
    }
    if let Fault::Short(at) = fault
        && is_artifact
    {
        bytes.truncate(at.max(begin));
    }
    let body = &bytes[begin..];
    let announced = announced.unwrap_or(body.len());
    let first = match range {
        Some(_) => format!("206 Partial\r\nContent-Range: bytes {begin}-{}/{total}", total - 1),
        None => "200 OK".to_owned(),
    };
    if fault == Fault::Endless {
        stream.write_all(format!("HTTP/1.1 {first}\r\n\r\n").as_bytes()).await.ok()?;
        loop {
            stream.write_all(&bytes).await.ok()?;
        }
    }
    let head = format!("HTTP/1.1 {first}\r\n{header}Content-Length: {announced}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    if let Fault::Slow(bytes) = fault {
        for piece in body.chunks(bytes) {
            stream.write_all(piece).await.ok()?;
            sleep(Duration::from_secs(1)).await;
        }
    } else {
        stream.write_all(body).await.ok()?;
    }
    (body.len() == announced).then_some(())
}

const OLD: &[u8] = b"#!/bin/sh\necho old\n";

/// 300,000 bytes, no two pieces of them alike.
fn new() -> Vec<u8> {
    (0..75_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

/// A circle in which release 1 is installed and release 2 would be at the next update; and a copy
/// of the log as it was before release 2.
pub(crate) async fn about_to_update(directory: &Path) -> (World, PathBuf) {
    about_to_update_to(directory, &new()).await
}

async fn about_to_update_to(directory: &Path, new: &[u8]) -> (World, PathBuf) {
    let mut world = World::create(&directory.join("world"), 3, Timestamp(1_790_000_000)).unwrap();
    let before = directory.join("before");
    for (sequence, version, artifact) in [(1, "1.0.0", OLD), (2, "1.1.0", new)] {
        if sequence == 2 {
            let mut copy = std::process::Command::new("cp");
            copy.arg("-r").arg(world.log_directory()).arg(&before);
            assert!(copy.status().unwrap().success());
        }
        world.publish(&Draft::new(sequence, version, artifact)).unwrap();
        world.poll_all().await.unwrap();
        let settling = world.update().await.1;
        assert!(matches!(settling, Err(Failure::Refused(Refusal::Settling { .. }))));
        world.advance(Duration::from_secs(61 * 60));
        world.poll_all().await.unwrap();
        if sequence == 1 {
            assert!(matches!(world.update().await.1, Ok(Outcome::Installed(_))));
        }
    }
    (world, before)
}

/// A copy of the world whose client has these mirrors, a frozen one as the log was before.
pub(crate) async fn with_mirrors(
    world: &World,
    place: &Path,
    before: &Path,
    faults: &[Fault],
) -> (World, Hosts) {
    let mut world = world.copy_to(place).unwrap();
    world.poll_all().await.unwrap();
    let host = |&fault: &Fault| match fault {
        Fault::Frozen => (before.to_owned(), fault),
        _ => (world.log_directory(), fault),
    };
    let hosts = Hosts::new(faults.iter().map(host).collect());
    world.mirrors = hosts.mirrors();
    (world, hosts)
}

fn installed(world: &World) -> Vec<u8> {
    fs::read(world.config.install_root.join("current/hello")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_honest_mirror_of_five_is_enough_whatever_the_others_do() {
    let base = place();
    let (world, before) = about_to_update(base.path()).await;
    for fault in ALL {
        let place = base.path().join(format!("{fault:?}"));
        let faults = [fault, fault, fault, fault, Fault::Honest];
        let (mut world, _) = with_mirrors(&world, &place, &before, &faults).await;
        let (report, ended) = world.update().await;
        assert!(matches!(ended, Ok(Outcome::Installed(_))), "{fault:?}: {ended:?} {report:?}");
        assert_eq!(installed(&world), new(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_different_fault_in_each_mirror_is_no_worse() {
    let base = place();
    let (world, before) = about_to_update(base.path()).await;
    let faults = [&ALL[..], &[Fault::Honest]].concat();
    let (mut world, _) = with_mirrors(&world, &base.path().join("all"), &before, &faults).await;
    let (_, ended) = world.update().await;
    assert!(matches!(ended, Ok(Outcome::Installed(_))), "{ended:?}");
    assert_eq!(installed(&world), new());
}

#[tokio::test(start_paused = true)]
async fn without_an_honest_mirror_nothing_installs_and_each_is_named() {
    let base = place();
    let (world, before) = about_to_update(base.path()).await;
    for fault in ALL {
        let place = base.path().join(format!("{fault:?}"));
        let (mut world, _) = with_mirrors(&world, &place, &before, &[fault, fault]).await;
        let (report, ended) = world.update().await;
        let failure = ended.expect_err("no mirror is honest").to_string();
        assert_eq!(installed(&world), OLD, "{fault:?}");
        let told = format!("{failure}\n{}", report.remarks.join("\n"));
        for port in [1, 2] {
            let shown = report
                .mirrors
                .iter()
                .any(|(name, shown)| name.ends_with(&format!(":{port}")) && shown.is_err());
            assert!(
                shown || told.contains(&format!(".onion:{port}")) || fault == Fault::Frozen,
                "{fault:?}: {told}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_goes_on_where_it_broke_off_at_another_mirror_or_in_another_run() {
    let base = place();
    let (world, _) = about_to_update(base.path()).await;
    // In one run: whoever is asked first, the other goes on.
    let mut begun = BTreeSet::new();
    for seed in 0..8 {
        let mut world = world.copy_to(&base.path().join(format!("one-{seed}"))).unwrap();
        world.poll_all().await.unwrap();
        for _ in 0..seed {
            // Each check draws from the same randomness.
            world.check().await.1.unwrap();
        }
        let log = world.log_directory();
        let hosts = Hosts::new(vec![(log.clone(), Fault::Cut(180_000)), (log, Fault::Honest)]);
        world.mirrors = hosts.mirrors();
        assert!(matches!(world.update().await.1, Ok(Outcome::Installed(_))));
        assert_eq!(installed(&world), new());
        let asked = hosts.asked.lock().unwrap().clone();
        match &asked[..] {
            // What it has not, it does not have the second time either.
            [(0, 0), (0, 180_000), (1, 180_000)] | [(1, 0)] => begun.insert(asked[0].0),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(begun.len(), 2, "both were asked first at times");
    // In two runs.
    let mut world = world.copy_to(&base.path().join("two")).unwrap();
    world.poll_all().await.unwrap();
    let log = world.log_directory();
    let cut = Hosts::new(vec![(log.clone(), Fault::Cut(180_000))]);
    world.mirrors = cut.mirrors();
    let ended = world.update().await.1;
    assert!(matches!(ended, Err(Failure::Error(_))), "{ended:?}");
    assert_eq!(
        *cut.asked.lock().unwrap(),
        [[(0, 0)], [(0, 180_000)], [(0, 180_000)], [(0, 180_000)]].concat()
    );
    assert_eq!(installed(&world), OLD);
    // Whoever has no more than that, and says so, costs nothing of it.
    let short = Hosts::new(vec![(log.clone(), Fault::Short(180_000))]);
    world.mirrors = short.mirrors();
    assert!(world.update().await.1.is_err());
    assert_eq!(short.asked.lock().unwrap()[0], (0, 180_000));
    let whole = Hosts::new(vec![(log, Fault::Honest)]);
    world.mirrors = whole.mirrors();
    assert!(matches!(world.update().await.1, Ok(Outcome::Installed(_))));
    assert_eq!(*whole.asked.lock().unwrap(), [(0, 180_000)]);
    assert_eq!(installed(&world), new());
}

#[tokio::test(start_paused = true)]
async fn an_honest_mirror_that_breaks_off_is_enough_whatever_is_sent_in_between() {
    let base = place();
    let (world, before) = about_to_update(base.path()).await;
    let capped = Fault::Capped(30_000);
    for (name, faults) in [
        ("alone", &[capped][..]),
        ("with one", &[capped, Fault::Poison]),
        ("with four", &[Fault::Poison, Fault::Poison, capped, Fault::Poison, Fault::Poison]),
    ] {
        for turn in 0..4 {
            let place = base.path().join(format!("{name}-{turn}"));
            let (mut world, hosts) = with_mirrors(&world, &place, &before, faults).await;
            for _ in 0..turn {
                world.check().await.1.unwrap();
            }
            let (report, ended) = world.update().await;
            assert!(matches!(ended, Ok(Outcome::Installed(_))), "{name}: {ended:?}");
            assert_eq!(installed(&world), new());
            // It is not named for what others put into its bytes.
            let port = 1 + faults.iter().position(|fault| *fault == capped).unwrap();
            let honest = format!(":{port}: bad artifact");
            assert!(!report.remarks.iter().any(|line| line.contains(&honest)), "{report:?}");
            assert!(hosts.asked.lock().unwrap().len() < 40);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_left_is_no_more_trusted_than_a_mirror() {
    let base = place();
    let (world, _) = about_to_update(base.path()).await;
    let whole = new();
    let mut wrong = whole[..180_000].to_vec();
    wrong[77] ^= 1;
    for (name, left) in [
        ("wrong", wrong),
        ("longer", [&whole[..], b"x"].concat()),
        ("whole", whole.clone()),
        ("whole and wrong", whole.iter().map(|byte| byte ^ 1).collect()),
        ("empty", Vec::new()),
    ] {
        let mut world = world.copy_to(&base.path().join(name)).unwrap();
        world.poll_all().await.unwrap();
        let staging = world.config.install_root.join("versions/.2-1.1.0.new");
        fs::create_dir_all(&staging).unwrap();
        let path = unanimity_storage::temporary(&staging.join("hello"));
        fs::write(&path, &left).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        let hosts = Hosts::new(vec![(world.log_directory(), Fault::Honest)]);
        world.mirrors = hosts.mirrors();
        let (report, ended) = world.update().await;
        assert!(matches!(ended, Ok(Outcome::Installed(_))), "{name}: {ended:?} {report:?}");
        assert_eq!(installed(&world), whole, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_mirror_is_left_for_a_faster_one_and_taken_where_there_is_none() {
    let base = place();
    let whole = new().repeat(5);
    let (world, before) = about_to_update_to(base.path(), &whole).await;
    // 20 KiB a second: more than the least that is ever taken, less than what is taken first.
    let slow = Fault::Slow(20 * 1024);
    for (name, faults, asked) in [
        ("left", &[slow, Fault::Honest][..], BTreeSet::from([0, 1])),
        ("alone", &[slow][..], BTreeSet::from([0])),
    ] {
        let mut seen = BTreeSet::new();
        for turn in 0..4 {
            let place = base.path().join(format!("{name}-{turn}"));
            let (mut world, hosts) = with_mirrors(&world, &place, &before, faults).await;
            for _ in 0..turn {
                world.check().await.1.unwrap();
            }
            let began = Instant::now();
            assert!(matches!(world.update().await.1, Ok(Outcome::Installed(_))));
            assert_eq!(installed(&world), whole);
            // Alone it takes 73 s and more; beside another it has half a minute, and then that one
            // has the rest at once.
            let took = began.elapsed();
            assert_eq!(took > Duration::from_secs(70), name == "alone", "{name}: {took:?}");
            seen.extend(hosts.asked.lock().unwrap().iter().map(|(host, _)| *host));
        }
        assert_eq!(seen, asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_cycle_reads_on_circuits_of_its_own_one_for_each_mirror() {
    let base = place();
    let (world, before) = about_to_update(base.path()).await;
    let honest = [Fault::Honest; 3];
    let (mut world, hosts) = with_mirrors(&world, &base.path().join("a"), &before, &honest).await;
    for cycle in 1..4 {
        world.check().await.1.unwrap();
        assert_eq!(hosts.circuits.load(Ordering::SeqCst), 3 * cycle);
    }
}
