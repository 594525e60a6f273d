//! Hostile mirrors over HTTP: an update installs if one mirror is honest.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use unanimity_client::{CycleError, CycleOutcome};
use unanimity_testkit::World;
use unanimity_testkit::hostile_mirror::{
    ALL_FAULTS, HostileMirrors, HttpFault, OLD_ARTIFACT, copy_with_mirrors, new_artifact,
    world_before_update, world_before_update_to,
};
use unanimity_testkit::scratch_dir::scratch_dir;

fn installed(world: &World) -> Vec<u8> {
    fs::read(world.config.cycle.install_root.join("current/hello")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn update_installs_with_one_honest_mirror_of_five() {
    let base = scratch_dir();
    let (world, before) = world_before_update(base.path()).await;
    for fault in ALL_FAULTS {
        let directory = base.path().join(format!("{fault:?}"));
        let faults = [fault, fault, fault, fault, HttpFault::Honest];
        let (mut world, _) = copy_with_mirrors(&world, &directory, &before, &faults).await;
        let (report, result) = world.update().await;
        assert!(
            matches!(result, Ok(CycleOutcome::Installed(_))),
            "{fault:?}: {result:?} {report:?}"
        );
        assert_eq!(installed(&world), new_artifact(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn update_installs_with_one_honest_mirror_among_all_faults() {
    let base = scratch_dir();
    let (world, before) = world_before_update(base.path()).await;
    let faults = [&ALL_FAULTS[..], &[HttpFault::Honest]].concat();
    let (mut world, _) =
        copy_with_mirrors(&world, &base.path().join("all"), &before, &faults).await;
    let (_, result) = world.update().await;
    assert!(matches!(result, Ok(CycleOutcome::Installed(_))), "{result:?}");
    assert_eq!(installed(&world), new_artifact());
}

#[tokio::test(start_paused = true)]
async fn update_without_an_honest_mirror_fails_and_names_each_mirror() {
    let base = scratch_dir();
    let (world, before) = world_before_update(base.path()).await;
    for fault in ALL_FAULTS {
        let directory = base.path().join(format!("{fault:?}"));
        let (mut world, _) = copy_with_mirrors(&world, &directory, &before, &[fault, fault]).await;
        let (report, result) = world.update().await;
        let failure = result.expect_err("no mirror is honest").to_string();
        assert_eq!(installed(&world), OLD_ARTIFACT, "{fault:?}");
        let text = format!("{failure}\n{}", report.remarks.join("\n"));
        for port in [1, 2] {
            let shown = report
                .mirrors
                .iter()
                .any(|(name, shown)| name.ends_with(&format!(":{port}")) && shown.is_err());
            assert!(
                shown || text.contains(&format!(".onion:{port}")) || fault == HttpFault::Frozen,
                "{fault:?}: {text}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn download_continues_at_another_mirror_and_in_another_run() {
    let base = scratch_dir();
    let (world, _) = world_before_update(base.path()).await;
    // In one run: the second mirror continues where the first one stopped.
    let mut begun = BTreeSet::new();
    for seed in 0..8 {
        let mut world = world.copy_to(&base.path().join(format!("one-{seed}"))).unwrap();
        world.poll_all().await.unwrap();
        for _ in 0..seed {
            // Each check draws from the same randomness.
            world.check().await.1.unwrap();
        }
        let log = world.log_directory();
        let hosts = HostileMirrors::new(vec![
            (log.clone(), HttpFault::Truncated(180_000)),
            (log, HttpFault::Honest),
        ]);
        world.mirrors = hosts.mirrors();
        assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
        assert_eq!(installed(&world), new_artifact());
        let asked = hosts.requested_ranges.lock().unwrap().clone();
        match &asked[..] {
            // The truncated mirror is asked twice and has no more bytes the second time.
            [(0, 0), (0, 180_000), (1, 180_000)] | [(1, 0)] => begun.insert(asked[0].0),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(begun.len(), 2, "both were asked first at times");
    // In two runs.
    let mut world = world.copy_to(&base.path().join("two")).unwrap();
    world.poll_all().await.unwrap();
    let log = world.log_directory();
    let cut = HostileMirrors::new(vec![(log.clone(), HttpFault::Truncated(180_000))]);
    world.mirrors = cut.mirrors();
    let result = world.update().await.1;
    assert!(matches!(result, Err(CycleError::Client(_))), "{result:?}");
    assert_eq!(
        *cut.requested_ranges.lock().unwrap(),
        [[(0, 0)], [(0, 180_000)], [(0, 180_000)], [(0, 180_000)]].concat()
    );
    assert_eq!(installed(&world), OLD_ARTIFACT);
    // A mirror that announces a shorter file does not cost the bytes that have arrived.
    let short = HostileMirrors::new(vec![(log.clone(), HttpFault::Short(180_000))]);
    world.mirrors = short.mirrors();
    assert!(world.update().await.1.is_err());
    assert_eq!(short.requested_ranges.lock().unwrap()[0], (0, 180_000));
    let whole = HostileMirrors::new(vec![(log, HttpFault::Honest)]);
    world.mirrors = whole.mirrors();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(*whole.requested_ranges.lock().unwrap(), [(0, 180_000)]);
    assert_eq!(installed(&world), new_artifact());
}

#[tokio::test(start_paused = true)]
async fn download_succeeds_with_one_honest_mirror_that_breaks_off() {
    let base = scratch_dir();
    let (world, before) = world_before_update(base.path()).await;
    let capped = HttpFault::Capped(30_000);
    for (name, faults) in [
        ("alone", &[capped][..]),
        ("with one", &[capped, HttpFault::Poison]),
        (
            "with four",
            &[HttpFault::Poison, HttpFault::Poison, capped, HttpFault::Poison, HttpFault::Poison],
        ),
    ] {
        for turn in 0..4 {
            let directory = base.path().join(format!("{name}-{turn}"));
            let (mut world, hosts) = copy_with_mirrors(&world, &directory, &before, faults).await;
            for _ in 0..turn {
                world.check().await.1.unwrap();
            }
            let (report, result) = world.update().await;
            assert!(matches!(result, Ok(CycleOutcome::Installed(_))), "{name}: {result:?}");
            assert_eq!(installed(&world), new_artifact());
            // The honest mirror is not named for the bytes of others.
            let port = 1 + faults.iter().position(|fault| *fault == capped).unwrap();
            let honest = format!(":{port}: bad artifact");
            assert!(!report.remarks.iter().any(|line| line.contains(&honest)), "{report:?}");
            assert!(hosts.requested_ranges.lock().unwrap().len() < 40);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn download_verifies_the_bytes_of_an_earlier_run() {
    let base = scratch_dir();
    let (world, _) = world_before_update(base.path()).await;
    let whole = new_artifact();
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
        let staging = world.config.cycle.install_root.join("versions/.2-1.1.0.new");
        fs::create_dir_all(&staging).unwrap();
        let path = unanimity_storage::temporary_path(&staging.join("hello"));
        fs::write(&path, &left).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        let hosts = HostileMirrors::new(vec![(world.log_directory(), HttpFault::Honest)]);
        world.mirrors = hosts.mirrors();
        let (report, result) = world.update().await;
        assert!(matches!(result, Ok(CycleOutcome::Installed(_))), "{name}: {result:?} {report:?}");
        assert_eq!(installed(&world), whole, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn download_leaves_a_slow_mirror_only_for_a_faster_one() {
    let base = scratch_dir();
    let whole = new_artifact().repeat(5);
    let (world, before) = world_before_update_to(base.path(), &whole).await;
    // 20 KiB a second: above the least rate of the last pass, below that of the first.
    let slow = HttpFault::Slow(20 * 1024);
    for (name, faults, asked) in [
        ("left", &[slow, HttpFault::Honest][..], BTreeSet::from([0, 1])),
        ("alone", &[slow][..], BTreeSet::from([0])),
    ] {
        let mut seen = BTreeSet::new();
        for turn in 0..4 {
            let directory = base.path().join(format!("{name}-{turn}"));
            let (mut world, hosts) = copy_with_mirrors(&world, &directory, &before, faults).await;
            for _ in 0..turn {
                world.check().await.1.unwrap();
            }
            let began = Instant::now();
            assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
            assert_eq!(installed(&world), whole);
            // Alone the slow mirror takes at least 73 s. Beside another one it has half a minute,
            // and the other one sends the rest at once.
            let took = began.elapsed();
            assert_eq!(took > Duration::from_secs(70), name == "alone", "{name}: {took:?}");
            seen.extend(hosts.requested_ranges.lock().unwrap().iter().map(|(host, _)| *host));
        }
        assert_eq!(seen, asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_cycle_isolates_each_mirror() {
    let base = scratch_dir();
    let (world, before) = world_before_update(base.path()).await;
    let honest = [HttpFault::Honest; 3];
    let (mut world, hosts) =
        copy_with_mirrors(&world, &base.path().join("a"), &before, &honest).await;
    for cycle in 1..4 {
        world.check().await.1.unwrap();
        assert_eq!(hosts.isolations.load(Ordering::SeqCst), 3 * cycle);
    }
}
