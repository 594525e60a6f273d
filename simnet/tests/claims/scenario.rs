use simnet::results::{COUNTS, TIMES};
use simnet::scenario::fault::FaultKind;
use simnet::scenario::fields::FIELDS;
use simnet::scenario::{Adversary, Colluding, Days, Shape, Topology, TorScenario};
use simnet::{Scenario, Study};

use crate::studies::{GOOD, refused, study};

fn refused_with(good: &str, bad: &str) -> String {
    assert!(GOOD.contains(good), "{good} is not in the scenario");
    refused(&GOOD.replacen(good, bad, 1), &[])
}

#[test]
fn a_study_has_a_cell_for_every_combination() {
    let study = study(GOOD);
    let worlds: Vec<(u32, u64)> =
        study.cells.iter().map(|cell| (cell.peers, cell.settle / 3_600_000)).collect();
    assert_eq!(worlds, [(3, 0), (3, 1), (3, 2), (5, 0), (5, 1), (5, 2)]);
    assert_eq!(study.worlds(), 24);
    assert_eq!(study.label(4), "circle = 5, settle = 1h");
}

#[test]
fn what_is_not_said_is_as_in_the_program_that_ships() {
    let small =
        "question = \"?\"\nhorizon = \"2d\"\n[nodes]\ncount = 9\n[release]\nfirst = \"1h\"\n";
    let world = study(small).cells.remove(0);
    let (minute, second) = (60_000, 1_000);
    let limits = unanimity_protocol::decision::admission::RoundLimits::default();
    assert_eq!(u128::from(world.settle), limits.settle.as_millis());
    assert_eq!((world.poll, world.max_poll_age), ((5 * minute, 15 * minute), 30 * minute));
    assert_eq!(
        (world.round_interval, world.ask_timeout),
        ((20 * minute, 40 * minute), 45 * second)
    );
    assert_eq!((world.round_timeout, world.peers), (2 * minute, 5));
    assert_eq!((world.availability, world.mean_outage), (0.99, 480 * minute));
    assert_eq!((world.tor, world.adversary), (TorScenario::calm(), None));
}

#[test]
fn every_number_of_the_tor_model_can_be_set_by_itself() {
    let text = GOOD.replace("model = \"calm\"", "model = \"attack\"\nconnect.median = \"9s\"");
    let tor = study(&text).cells.remove(0).tor;
    assert_eq!(tor.connect, (9_000, TorScenario::attack().connect.1));
    assert_eq!(tor.slow, (0.1, 1_000, 2_000));
    assert_eq!(tor.round_trip, TorScenario::calm().round_trip);
    let text = GOOD.replace("model = \"calm\"", "model = \"days\"\nbad.mean = \"5d\"");
    let tor = study(&text).cells.remove(0).tor;
    let (usual, day) = (TorScenario::days(), 24 * 3_600_000);
    assert_eq!(tor.days, Days { bad: (0.33, 5 * day), good: (0.007, 14 * day) });
    assert_eq!((tor.churn, tor.stuck), (0.009, usual.stuck));
}

#[test]
fn a_bad_file_gets_one_error_with_line_and_remedy() {
    let cases = [
        ("circle = 3", "circel = 3", "line 6 (`circel = 3`): unknown field `circel`"),
        (
            "availability = 0.9",
            "availability = 1.2",
            "line 7 (`availability = 1.2`): 1.2 is no fraction",
        ),
        ("availability = 0.9", "availability = nan", "line 7 (`availability = nan`)"),
        ("availability = 0.9", "availability = \"often\"", "line 7"),
        (
            "horizon = \"2d\"",
            "horizon = \"0s\"",
            "line 2 (`horizon = \"0s\"`): a world of no length",
        ),
        ("horizon = \"2d\"", "horizon = 2", "line 2 (`horizon = 2`): write a duration in quotes"),
        ("horizon = \"2d\"", "horizon = \"2 suns\"", "line 2"),
        (
            "colluding = 1",
            "colluding = 3",
            "line 22 (`colluding = 3`): no peer of a victim is honest",
        ),
        (
            "colluding = 1",
            "colluding_of_all = 19",
            "line 22 (`colluding_of_all = 19`): nobody is honest",
        ),
        ("count = 20", "count = 5", "line 25 (`circle = [3, 5]`): 5 nodes have at most 4 peers"),
        (
            "circle = [3, 5]",
            "circle = [3, 20]",
            "line 25 (`circle = [3, 20]`): 20 nodes have at most 19",
        ),
        ("[\"5min\", \"15min\"]", "[\"15min\", \"5min\"]", "line 10"),
        ("horizon = \"2d\"", "horizon = \"60y\"", "line 2 (`horizon = \"60y\"`)"),
        (
            "circle = [3, 5]",
            "circle = [3, 129]",
            "line 25 (`circle = [3, 129]`): the program asks at most 128 peers",
        ),
        ("from = \"1s\", to = \"2s\"", "from = \"1s\", to = \"2d\"", "line 14"),
        ("releases.late / releases.due", "p99.9999999 patch", "has too many digits"),
        ("from = \"1s\"", "from = \"3s\"", "line 14 (`slow = {"),
        ("first = \"1h\"", "first = \"2d\"", "line 17 (`first = \"2d\"`): no release comes before"),
        ("start = \"3h\"", "start = \"3d\"", "line 21 (`start = \"3d\"`)"),
        (
            "start = \"3h\"",
            "start = \"3h\"\nlasts = \"1h\"",
            "line 22 (`lasts = \"1h\"`): only a flash fork",
        ),
        (
            "attack = \"fork\"",
            "attack = \"flash\"",
            "line 20 (`attack = \"flash\"`): a flash fork needs",
        ),
        (
            "attack = \"fork\"",
            "attack = \"freeze\"\nshape = \"same\"",
            "line 21 (`shape = \"same\"`): only a fork has a shape",
        ),
        (
            "model = \"calm\"",
            "model = \"days\"\nchurn = 1.2",
            "line 14 (`churn = 1.2`): 1.2 is no fraction or probability",
        ),
        (
            "model = \"calm\"",
            "bad = { failure = 1.2 }",
            "line 13 (`bad = { failure = 1.2 }`): 1.2 is no fraction or probability",
        ),
        (
            "model = \"calm\"",
            "good.mean = \"1min\"",
            "line 13 (`good.mean = \"1min\"`): good days and bad days last at least 1h",
        ),
        (
            "attack = \"fork\"",
            "attack = \"block\"\nlaunders = true",
            "line 21 (`launders = true`): only a fork is laundered",
        ),
        (
            "colluding = 1",
            "colluding = 1\nwithdrawn_after = \"1h\"",
            "line 23 (`withdrawn_after = \"1h\"`): only what is logged is taken back",
        ),
        (
            "attack = \"fork\"",
            "attack = \"logged\"\nwithdrawn_after = \"0s\"",
            "line 21 (`withdrawn_after = \"0s\"`): what is logged is taken back after a while",
        ),
        (
            "colluding = 1",
            "colluding = 1\nshape = { longer = 0 }",
            "line 23 (`shape = { longer = 0 }`): a longer fork is from 1 to 1000000 entries",
        ),
        (
            "colluding = 1",
            "colluding = 1\nshape = { starved = \"0s\" }",
            "line 23 (`shape = { starved = \"0s\" }`): honest mirrors are starved for a while",
        ),
        ("colluding = 1", "colluding = 1\nshape = \"odd\"", "line 23 (`shape = \"odd\"`): unknown"),
        (
            "[release]",
            "[mirrors]\nfrom = \"2h\"\nuntil = \"1h\"\n[release]",
            "line 18 (`until = \"1h\"`): mirrors fail from",
        ),
        ("replications = 4", "replications = 0", "line 27 (`replications = 0`)"),
        ("settle = [\"0s\",", "settle = [\"60min\",", "line 26"),
        ("[sweep]", "[sweep]\ntopolgy = [1]", "there is no field `topolgy`"),
        ("[sweep]", "[sweep]\nnodes.count = 3", "write the values to try in brackets"),
        ("releases.late /", "releases.lat /", "`releases.lat` is neither counted nor timed"),
        ("line = \"circle\"", "line = \"poll\"", "program.poll is not varied"),
        ("[release]", "[release", "line 16"),
    ];
    for (good, bad, says) in cases {
        let error = refused_with(good, bad);
        // What cannot be known on the line alone is told of nodes and circle by its own line.
        assert!(error.starts_with("test.toml, line "), "{bad}: {error}");
        assert!(error.contains(says), "{bad}: {error}\n  should say {says}");
        assert!(!error.contains('\n'), "{bad}: more than one line: {error}");
    }
}

/// A scenario with a fault, at the lines 29 to 33.
fn with_fault(fault: &str) -> String {
    GOOD.replace("[[plot]]", &format!("[[fault]]\n{fault}\n\n[[plot]]"))
}

const OFF: &str = "kind = \"off\"\nshare = 0.25\nfrom = \"2h\"\nuntil = \"4h\"";

#[test]
fn faults_are_said_one_after_another() {
    let text = with_fault(&format!("{OFF}\n[[fault]]\nkind = \"mirror-dead\"\nshare = 1"));
    let hour = 3_600_000;
    let always = (0, u64::MAX);
    let wanted =
        [(FaultKind::Off, 0.25, (2 * hour, 4 * hour)), (FaultKind::MirrorDead, 1.0, always)];
    for cell in study(&text).cells {
        let faults =
            cell.faults.iter().map(|fault| (fault.kind, fault.share, (fault.from, fault.until)));
        assert_eq!(faults.collect::<Vec<_>>(), wanted);
    }
    assert_ne!(study(&text).digest(), study(GOOD).digest());
}

#[test]
fn a_bad_fault_gets_one_error_with_line_and_remedy() {
    let known = "there is no fault `of`; there are silent, stall,";
    for (good, bad, says) in [
        ("\"off\"", "\"of\"", format!("line 30 (`kind = \"of\"`): {known}")),
        ("0.25", "1.2", "line 31 (`share = 1.2`): 1.2 is no fraction".to_owned()),
        (
            "share = 0.25\n",
            "",
            "line 30 (`kind = \"off\"`): how many nodes `off` befalls".to_owned(),
        ),
        ("share", "shar", "line 31 (`shar = 0.25`): unknown field `shar`".to_owned()),
        ("\"2h\"", "\"2d\"", "line 32 (`from = \"2d\"`): the fault begins after".to_owned()),
        ("\"2h\"", "2", "line 32 (`from = 2`): write a duration in quotes".to_owned()),
        ("\"4h\"", "\"2h\"", "line 33 (`until = \"2h\"`): a fault lasts from".to_owned()),
    ] {
        assert!(OFF.contains(good), "{good}");
        let error = refused(&with_fault(&OFF.replacen(good, bad, 1)), &[]);
        assert!(error.contains(&says), "{bad}: {error}\n  should say {says}");
        assert!(!error.contains('\n'), "{bad}: more than one line: {error}");
    }
}

#[test]
fn the_one_fault_of_a_file_can_be_varied() {
    let vary = |text: String| text.replace("circle = [3, 5]", "fault.share = [0, 0.5]");
    let text = vary(with_fault(OFF)).replace("line = \"circle\"", "line = \"fault.share\"");
    let shares: Vec<f64> = study(&text).cells.iter().map(|cell| cell.faults[0].share).collect();
    assert_eq!(shares, [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]);
    let set = ["fault.kind=cut".to_owned()];
    let study = Study::read("test.toml".as_ref(), &with_fault(OFF), &set).expect("a good file");
    assert!(study.cells.iter().all(|cell| cell.faults[0].kind == FaultKind::Cut));
    let says = "fault.share is a field of the one [[fault]] of a file";
    for faults in ["", "[[fault]]\nkind = \"cut\"\nshare = 1\n"] {
        let text = if faults.is_empty() { GOOD.to_owned() } else { with_fault(OFF) + faults };
        assert!(refused(&vary(text.clone()), &[]).contains(says));
        assert!(refused(&text, &["fault.share=0.1"]).starts_with("--set fault.share=0.1: "));
    }
}

#[test]
fn the_readme_has_every_fault_and_who_plays_it() {
    let readme = include_str!("../../README.md");
    let (_, faults) = readme.split_once("### Faults").expect("a section");
    for kind in FaultKind::ALL {
        let rows = faults.lines().filter(|line| line.starts_with(&format!("| `{kind}` |")));
        let rows: Vec<&str> = rows.collect();
        let [row] = rows[..] else { panic!("{kind}: {} rows", rows.len()) };
        let played = if kind.is_played_by_population() { "| both |" } else { "| `--real` |" };
        assert!(row.ends_with(played), "{row}");
    }
}

#[test]
fn a_value_from_the_command_line_is_named_when_it_is_bad() {
    let error = refused(GOOD, &["availability=1.2"]);
    assert_eq!(
        error,
        "--set availability=1.2: 1.2 is no fraction or probability: write a number from 0 to 1"
    );
    assert!(refused(GOOD, &["circle"]).contains("--set circle=5"));
    assert!(refused(GOOD, &["nonsense=5"]).starts_with("--set nonsense=5: there is no field"));
}

#[test]
fn mirrors_are_named_in_full_and_nodes_need_not_be() {
    let set = ["availability=0.5", "mirrors.availability=0.6"].map(str::to_owned);
    let study = Study::read("test.toml".as_ref(), GOOD, &set).expect("a good file");
    let both = |cell: &Scenario| (cell.availability, cell.mirrors.availability);
    assert!(study.cells.iter().map(both).all(|both| both == (0.5, 0.6)));
}

#[test]
fn a_value_from_the_command_line_takes_the_place_of_the_file_s() {
    let set = ["availability=0.5", "settle=3h", "circle=[2,3]", "replications=7"];
    let set = set.map(str::to_owned);
    let study = Study::read("test.toml".as_ref(), GOOD, &set).expect("a good file");
    let worlds: Vec<_> =
        study.cells.iter().map(|cell| (cell.peers, cell.settle, cell.availability)).collect();
    assert!(matches!(
        study.cells[0].adversary.as_ref().map(|a| a.colluding),
        Some(Colluding::OfPeers(1))
    ));
    assert_eq!(worlds, [(2, 10_800_000, 0.5), (3, 10_800_000, 0.5)]);
    assert_eq!(study.replications, 7);
}

#[test]
fn topologies_can_be_varied() {
    let values = "topology = [\"ring\", { small_world = { rewired = 0.1 } }, \
                  { communities = { count = 4, inside = 0.5 } }]";
    let study =
        study(&GOOD.replace("circle = [3, 5]", values).replace("\"circle\"", "\"topology\""));
    let all: Vec<Topology> = study.cells.iter().step_by(3).map(|cell| cell.topology).collect();
    let wanted = [Topology::Ring, Topology::SmallWorld(0.1), Topology::Communities(4, 0.5)];
    assert_eq!(all, wanted);
}

#[test]
fn the_shapes_of_a_fork_can_be_varied() {
    let values = "shape = [\"next\", \"same\", { longer = 5 }, { starved = \"6h\" }]";
    let study = study(&GOOD.replace("circle = [3, 5]", values).replace("\"circle\"", "\"shape\""));
    let shape = |cell: &Scenario| cell.adversary.as_ref().expect("an adversary").shape;
    let all: Vec<Shape> = study.cells.iter().step_by(3).map(shape).collect();
    let hours = 3_600_000;
    assert_eq!(all, [Shape::Next, Shape::Same, Shape::Longer(5), Shape::Starved(6 * hours)]);
}

#[test]
fn worlds_from_before_there_was_a_choice_are_the_worlds_they_were() {
    let old = r#"{"start":5,"victims":1,"colluding":{"OfCircle":2},"attack":"Fork"}"#;
    let adversary: Adversary = serde_json::from_str(old).expect("an adversary");
    assert_eq!((adversary.shape, adversary.equivocate_to_all), (Shape::Next, false));
    assert_eq!(adversary.withdrawn_after, None);
    assert_eq!(serde_json::to_string(&adversary).expect("plain data"), old);
    let old = concat!(
        r#"{"connect":[2500,0.55],"stuck":0.02,"slow":[0.0,0,0],"round_trip":[280,0.8],"#,
        r#""hiccup":[0.002,5000,10000],"vantage":[0,50,155,400]}"#
    );
    let calm: TorScenario = serde_json::from_str(old).expect("a model of Tor");
    assert_eq!(calm, TorScenario::calm());
    assert_eq!(serde_json::to_string(&calm).expect("plain data"), old);
}

#[test]
fn one_world_said_in_two_ways_is_one_world() {
    let other = GOOD.replace("\"2h\"]", "\"120min\"]").replace("What happens?", "Well?");
    assert_eq!(study(GOOD).digest(), study(&other).digest());
    let other = GOOD.replace("\"2h\"]", "\"3h\"]");
    assert_ne!(study(GOOD).digest(), study(&other).digest());
}

#[test]
fn every_scenario_that_ships_is_well_and_draws_something() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).expect("scenarios") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a scenario");
        let study = Study::read(&path, &text, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(!study.plots.is_empty(), "{}", path.display());
        assert!(study.question.ends_with('?'), "{}", study.question);
        seen += 1;
    }
    assert!(seen >= 8, "{seen} scenarios");
}

#[test]
fn the_readme_has_every_field_and_every_metric() {
    let readme = include_str!("../../README.md");
    for (path, _) in FIELDS {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
        let row = rows.iter().find(|line| line.starts_with(&format!("| `{path}`")));
        assert!(row.is_some(), "README has no row for {section} {name}");
    }
    for (name, _) in COUNTS.iter().chain(TIMES) {
        assert!(readme.contains(&format!("`{name}`")), "README says nothing of {name}");
    }
}

#[test]
fn a_world_that_cannot_be_is_no_world() {
    let good = simnet::swarm::random_scenario(simnet::Seed(1));
    for seed in 0..300 {
        assert!(simnet::swarm::random_scenario(simnet::Seed(seed)).is_playable(), "{seed}");
    }
    let changes: [fn(&mut Scenario); 8] = [
        |world| world.peers = world.nodes,
        |world| world.peers = 0,
        |world| world.horizon = 0,
        |world| world.horizon = 1 << 63,
        |world| world.poll = (0, 0),
        |world| world.round_interval = (5_000, 4_000),
        |world| world.availability = 1.2,
        |world| world.topology = simnet::scenario::Topology::Communities(0, 0.5),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut world = good.clone();
        change(&mut world);
        assert!(!world.is_playable(), "change {number}");
    }
}
