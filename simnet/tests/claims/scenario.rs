//! Scenario files: what they mean, their defaults, and how a bad one is refused.

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
fn study_has_a_cell_for_every_combination() {
    let study = study(GOOD);
    let worlds: Vec<(u32, u64)> =
        study.cells.iter().map(|cell| (cell.peers, cell.settle / 3_600_000)).collect();
    assert_eq!(worlds, [(3, 0), (3, 1), (3, 2), (5, 0), (5, 1), (5, 2)]);
    assert_eq!(study.worlds(), 24);
    assert_eq!(study.label(4), "peers = 5, settle = 1h");
}

#[test]
fn defaults_are_those_of_the_shipped_program() {
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
fn each_number_of_the_tor_model_can_be_set() {
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
fn bad_scenario_gets_one_error_with_line_and_remedy() {
    let cases = [
        ("peers = 3", "circel = 3"),
        ("availability = 0.9", "availability = 1.2"),
        ("availability = 0.9", "availability = nan"),
        ("availability = 0.9", "availability = \"often\""),
        ("horizon = \"2d\"", "horizon = \"0s\""),
        ("horizon = \"2d\"", "horizon = 2"),
        ("horizon = \"2d\"", "horizon = \"2 suns\""),
        ("colluding = 1", "colluding = 3"),
        ("colluding = 1", "colluding_of_all = 19"),
        ("count = 20", "count = 5"),
        ("peers = [3, 5]", "peers = [3, 20]"),
        ("[\"5min\", \"15min\"]", "[\"15min\", \"5min\"]"),
        ("horizon = \"2d\"", "horizon = \"60y\""),
        ("peers = [3, 5]", "peers = [3, 129]"),
        ("from = \"1s\", to = \"2s\"", "from = \"1s\", to = \"2d\""),
        ("releases.late / releases.due", "p99.9999999 patch"),
        ("from = \"1s\"", "from = \"3s\""),
        ("first = \"1h\"", "first = \"2d\""),
        ("start = \"3h\"", "start = \"3d\""),
        ("start = \"3h\"", "start = \"3h\"\nlasts = \"1h\""),
        ("attack = \"fork\"", "attack = \"flash\""),
        ("attack = \"fork\"", "attack = \"freeze\"\nshape = \"same\""),
        ("model = \"calm\"", "model = \"days\"\nchurn = 1.2"),
        ("model = \"calm\"", "bad = { failure = 1.2 }"),
        ("model = \"calm\"", "good.mean = \"1min\""),
        ("attack = \"fork\"", "attack = \"block\"\nequivocate_to_all = true"),
        ("colluding = 1", "colluding = 1\nwithdrawn_after = \"1h\""),
        ("attack = \"fork\"", "attack = \"logged\"\nwithdrawn_after = \"0s\""),
        ("colluding = 1", "colluding = 1\nshape = { longer = 0 }"),
        ("colluding = 1", "colluding = 1\nshape = { starved = \"0s\" }"),
        ("colluding = 1", "colluding = 1\nshape = \"odd\""),
        ("[release]", "[mirrors]\nfrom = \"2h\"\nuntil = \"1h\"\n[release]"),
        ("replications = 4", "replications = 0"),
        ("settle = [\"0s\",", "settle = [\"60min\","),
        ("[sweep]", "[sweep]\ntopolgy = [1]"),
        ("[sweep]", "[sweep]\nnodes.count = 3"),
        ("releases.late /", "releases.lat /"),
        ("line = \"peers\"", "line = \"poll\""),
        ("[release]", "[release"),
    ];
    let mut messages = String::new();
    for (good, bad) in cases {
        let error = refused_with(good, bad);
        assert!(error.starts_with("test.toml, line "), "{bad}: {error}");
        assert!(!error.contains('\n'), "{bad}: more than one line: {error}");
        messages += &format!("{}: {error}\n", bad.replace('\n', " | "));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_scenarios.txt"]);
}

/// The good scenario with a fault. For [`OFF`], its lines are 29 to 33.
fn with_fault(fault: &str) -> String {
    GOOD.replace("[[plot]]", &format!("[[fault]]\n{fault}\n\n[[plot]]"))
}

const OFF: &str = "kind = \"off\"\nshare = 0.25\nfrom = \"2h\"\nuntil = \"4h\"";

#[test]
fn scenario_has_several_faults() {
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
fn bad_fault_gets_one_error_with_line_and_remedy() {
    let mut messages = String::new();
    for (good, bad) in [
        ("\"off\"", "\"of\""),
        ("0.25", "1.2"),
        ("share = 0.25\n", ""),
        ("share", "shar"),
        ("\"2h\"", "\"2d\""),
        ("\"2h\"", "2"),
        ("\"4h\"", "\"2h\""),
    ] {
        assert!(OFF.contains(good), "{good}");
        let error = refused(&with_fault(&OFF.replacen(good, bad, 1)), &[]);
        assert!(!error.contains('\n'), "{bad}: more than one line: {error}");
        messages += &format!("{} -> {bad}: {error}\n", good.trim_end());
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_faults.txt"]);
}

#[test]
fn sweep_varies_the_only_fault_of_a_file() {
    let vary = |text: String| text.replace("peers = [3, 5]", "fault.share = [0, 0.5]");
    let text = vary(with_fault(OFF)).replace("line = \"peers\"", "line = \"fault.share\"");
    let shares: Vec<f64> = study(&text).cells.iter().map(|cell| cell.faults[0].share).collect();
    assert_eq!(shares, [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]);
    let set = ["fault.kind=cut".to_owned()];
    let study = Study::read("test.toml".as_ref(), &with_fault(OFF), &set).expect("a good file");
    assert!(study.cells.iter().all(|cell| cell.faults[0].kind == FaultKind::Cut));
    let cut = "[[fault]]\nkind = \"cut\"\nshare = 1\n";
    let mut messages = String::new();
    for (case, text) in [("no fault", GOOD.to_owned()), ("two faults", with_fault(OFF) + cut)] {
        let varied = refused(&vary(text.clone()), &[]);
        let set = refused(&text, &["fault.share=0.1"]);
        messages += &format!("{case}: {varied}\n{case}: {set}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_fault_fields.txt"]);
}

#[test]
fn book_has_every_fault_and_its_tiers() {
    let chapter = include_str!("../../../docs/src/researcher/faults.md");
    let (_, faults) = chapter.split_once("## Faults").expect("a section");
    for kind in FaultKind::ALL {
        let rows = faults.lines().filter(|line| line.starts_with(&format!("| `{kind}` |")));
        let rows: Vec<&str> = rows.collect();
        let [row] = rows[..] else { panic!("{kind}: {} rows", rows.len()) };
        let played = if kind.is_played_by_population() { "| both |" } else { "| `--full` |" };
        assert!(row.ends_with(played), "{row}");
    }
}

#[test]
fn bad_value_from_the_command_line_is_named() {
    let cases = ["availability=1.2", "peers", "nonsense=5"];
    let messages = cases.map(|set| format!("{set}: {}\n", refused(GOOD, &[set]))).concat();
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_values.txt"]);
}

#[test]
fn short_field_names_mean_nodes_rather_than_mirrors() {
    let set = ["availability=0.5", "mirrors.availability=0.6"].map(str::to_owned);
    let study = Study::read("test.toml".as_ref(), GOOD, &set).expect("a good file");
    let both = |cell: &Scenario| (cell.availability, cell.mirrors.availability);
    assert!(study.cells.iter().map(both).all(|both| both == (0.5, 0.6)));
}

#[test]
fn command_line_value_replaces_that_of_the_file() {
    let set = ["availability=0.5", "settle=3h", "peers=[2,3]", "replications=7"];
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
fn sweep_varies_topologies() {
    let values = "topology = [\"ring\", { small_world = { rewired = 0.1 } }, \
                  { communities = { count = 4, inside = 0.5 } }]";
    let study = study(&GOOD.replace("peers = [3, 5]", values).replace("\"peers\"", "\"topology\""));
    let all: Vec<Topology> = study.cells.iter().step_by(3).map(|cell| cell.topology).collect();
    let wanted = [Topology::Ring, Topology::SmallWorld(0.1), Topology::Communities(4, 0.5)];
    assert_eq!(all, wanted);
}

#[test]
fn sweep_varies_fork_shapes() {
    let values = "shape = [\"next\", \"same\", { longer = 5 }, { starved = \"6h\" }]";
    let study = study(&GOOD.replace("peers = [3, 5]", values).replace("\"peers\"", "\"shape\""));
    let shape = |cell: &Scenario| cell.adversary.as_ref().expect("an adversary").shape;
    let all: Vec<Shape> = study.cells.iter().step_by(3).map(shape).collect();
    let hours = 3_600_000;
    assert_eq!(all, [Shape::Next, Shape::Same, Shape::Longer(5), Shape::Starved(6 * hours)]);
}

#[test]
fn json_without_newer_fields_keeps_its_meaning_and_bytes() {
    let old = r#"{"start":5,"victims":1,"colluding":{"OfPeers":2},"attack":"Fork"}"#;
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
fn digest_ignores_spelling_and_questions() {
    let other = GOOD.replace("\"2h\"]", "\"120min\"]").replace("What happens?", "Well?");
    assert_eq!(study(GOOD).digest(), study(&other).digest());
    let other = GOOD.replace("\"2h\"]", "\"3h\"]");
    assert_ne!(study(GOOD).digest(), study(&other).digest());
}

#[test]
fn every_shipped_scenario_is_valid_and_has_plots() {
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
fn book_has_every_field_and_metric() {
    let chapter = include_str!("../../../docs/src/researcher/scenario-files.md");
    for (path, _) in FIELDS {
        let row = chapter.lines().find(|line| line.starts_with(&format!("| `{path}`")));
        assert!(row.is_some(), "the chapter has no row for {path}");
    }
    for (name, _) in COUNTS.iter().chain(TIMES) {
        assert!(chapter.contains(&format!("`{name}`")), "the chapter does not mention {name}");
    }
}

#[test]
fn impossible_worlds_are_not_playable() {
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
