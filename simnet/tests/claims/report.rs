use simnet::report::axis::{AxisUnit, Scale, format_time};
use simnet::report::stats::{estimate, student_quantile, wilson_interval};
use simnet::results::Histogram;
use simnet::study::PlotMeasure;
use simnet::sweep::{ResultRow, SweepManifest};
use simnet::{Results, Study, report};
use tempfile::tempdir;
use unanimity_storage::Storage;

use crate::studies::{GOOD, play, study};

fn close(a: f64, b: f64, by: f64) {
    assert!((a - b).abs() <= by, "{a} is not {b}");
}

fn measure(text: &str) -> PlotMeasure {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn world(counts: &[(&str, u64)], patches: &[u64]) -> Results {
    let mut results = Results::default();
    for (name, count) in counts {
        results.add_count(name, *count);
    }
    for patch in patches {
        results.add_time("patch", *patch);
    }
    results
}

#[test]
fn wilson_and_student_are_as_in_the_tables() {
    // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    for (above, of, low, high) in [
        (81.0, 263.0, 0.2553, 0.3662),
        (15.0, 148.0, 0.0624, 0.1605),
        (0.0, 20.0, 0.0, 0.1611),
        (29.0, 29.0, 0.8830, 1.0),
    ] {
        let interval = wilson_interval(above / of, of, 1.959_964);
        close(interval.0, low, 6e-5);
        close(interval.1, high, 6e-5);
    }
    for (degrees, t) in
        [(1, 12.706), (5, 2.571), (10, 2.228), (11, 2.201), (15, 2.131), (30, 2.042), (120, 1.980)]
    {
        close(student_quantile(degrees), t, 1e-3);
    }
}

#[test]
fn what_happens_once_to_a_world_has_wilson_s_interval() {
    let worlds: Vec<Results> = (0..20)
        .map(|n| world(&[("attacks", 1), ("attacks.noticed", u64::from(n < 15))], &[]))
        .collect();
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("attacks.noticed / attacks"), &worlds).expect("an estimate");
    close(found.value, 0.75, 1e-12);
    let (low, high) = found.interval.expect("an interval");
    let wanted = wilson_interval(0.75, 20.0, 1.959_964);
    close(low, wanted.0, 1e-9);
    close(high, wanted.1, 1e-9);
}

#[test]
fn many_things_in_one_world_are_not_many_worlds() {
    let all_or_nothing: Vec<Results> = (0..10)
        .map(|n| {
            world(&[("releases.due", 1000), ("releases.late", 1000 * u64::from(n % 2 == 0))], &[])
        })
        .collect();
    let worlds: Vec<&Results> = all_or_nothing.iter().collect();
    let late = measure("releases.late / releases.due");
    let (low, high) =
        estimate(&late, &worlds).and_then(|found| found.interval).expect("an interval");
    assert!(low < 0.25 && high > 0.75, "{low} to {high}: as if 10000 had been asked");
    let alike: Vec<Results> = (0..10)
        .map(|n| world(&[("releases.due", 1000), ("releases.late", 490 + n * 2)], &[]))
        .collect();
    let worlds: Vec<&Results> = alike.iter().collect();
    let (low, high) =
        estimate(&late, &worlds).and_then(|found| found.interval).expect("an interval");
    assert!(low > 0.47 && high < 0.53, "{low} to {high}: worlds that agree say more");
    assert_eq!(estimate(&late, &worlds[..1]).and_then(|found| found.interval), None);
}

#[test]
fn a_mean_over_worlds_has_student_s_interval() {
    let worlds = [1, 2, 3].map(|installs| world(&[("worlds", 1), ("installs", installs)], &[]));
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("installs / worlds"), &worlds).expect("an estimate");
    let (low, high) = found.interval.expect("an interval");
    close(found.value, 2.0, 1e-12);
    // A deviation of 1 over 3 worlds, 2 degrees of freedom; nothing is below none.
    close(high, 2.0 + 4.303 / 3f64.sqrt(), 1e-3);
    assert_eq!(low, 0.0);
}

#[test]
fn never_in_any_world_is_not_never() {
    let worlds: Vec<Results> =
        (0..10).map(|_| world(&[("releases.due", 1000), ("releases.late", 0)], &[])).collect();
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("releases.late / releases.due"), &worlds).expect("an estimate");
    let (low, high) = found.interval.expect("an interval");
    assert_eq!((found.value, low), (0.0, 0.0));
    close(high, wilson_interval(0.0, 10.0, 1.959_964).1, 1e-9);
}

#[test]
fn a_quantile_of_all_counts_those_that_never_came() {
    let one = world(&[("releases.due", 10)], &[10, 20, 30, 40, 50, 60]);
    let worlds = [&one];
    let at = |text: &str| estimate(&measure(text), &worlds).expect("an estimate").value;
    assert_eq!(at("p50 patch"), 30.0);
    assert_eq!(at("p50 patch / releases.due"), 50.0);
    assert_eq!(at("p60 patch / releases.due"), 60.0);
    assert_eq!(at("p61 patch / releases.due"), f64::INFINITY);
    assert_eq!(at("mean patch"), 35.0);
}

#[test]
fn an_interval_of_a_quantile_holds_it_and_narrows_with_worlds() {
    let width = |count: u64| {
        let all: Vec<Results> = (0..count)
            .map(|n| {
                world(&[], &(0..20).map(|i| (n * 7919 + i * 104_729) % 1000).collect::<Vec<_>>())
            })
            .collect();
        let worlds: Vec<&Results> = all.iter().collect();
        let found = estimate(&measure("median patch"), &worlds).expect("an estimate");
        let (low, high) = found.interval.expect("an interval");
        assert!(low <= found.value && found.value <= high);
        close(found.value, 500.0, 120.0);
        high - low
    };
    assert!(width(200) < width(10) / 2.0);
}

#[test]
fn measures_read_back_as_they_are_written() {
    for text in [
        "attacks.noticed / attacks",
        "patch",
        "notice / attacks",
        "mean roll",
        "p99.9 patch / releases.due",
    ] {
        assert_eq!(measure(text).to_string(), text);
    }
    for bad in
        ["patch / soup", "attacks", "p0 patch", "p100 patch", "most patch", "mean patch / attacks"]
    {
        assert!(bad.parse::<PlotMeasure>().is_err(), "{bad}");
    }
}

#[test]
fn a_quantile_has_the_rank_that_its_fraction_is_of_the_count() {
    use simnet::results::rank_of_fraction;
    for (percent, count, expected) in [
        (50, 29, 15),
        (50, 30, 15),
        (7, 100, 7),
        (55, 100, 55),
        (99, 100, 99),
        (99, 1, 1),
        (1, 10, 1),
    ] {
        assert_eq!(
            rank_of_fraction(f64::from(percent) / 100.0, count),
            expected,
            "p{percent} of {count}"
        );
    }
    for count in 1..2000_u64 {
        for percent in [10, 25, 50, 90, 95, 99] {
            let exact = (percent * count).div_ceil(100).max(1);
            assert_eq!(
                rank_of_fraction(percent as f64 / 100.0, count),
                exact,
                "p{percent} of {count}"
            );
        }
    }
}

#[test]
fn what_is_not_a_part_of_the_other_is_no_fraction() {
    for (text, is_fraction) in [
        ("rolls.incomplete / rolls", true),
        ("releases.late / releases.due", true),
        ("attacks.evident / attacks", true),
        ("rolls / rolls.incomplete", false),
        ("releases.due / releases.late", false),
        ("rolls.fork / rolls.stale", false),
    ] {
        assert_eq!(measure(text).is_fraction(), is_fraction, "{text}");
    }
    let worlds = [world(&[("rolls", 10), ("rolls.incomplete", 2)], &[])];
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("rolls / rolls.incomplete"), &worlds).expect("an estimate");
    close(found.value, 5.0, 1e-12);
}

#[test]
fn histograms_of_long_times_come_back_from_json() {
    let mut times = Histogram::default();
    (0..1000).for_each(|n| times.add((1 << 50) + n));
    let text = serde_json::to_string(&times).expect("JSON");
    assert_eq!(serde_json::from_str::<Histogram>(&text).expect("a histogram"), times);
}

#[test]
fn ticks_are_round_and_few() {
    let words = |values: &[f64], unit| -> Vec<String> {
        Scale::from_values(values.iter().copied(), unit)
            .ticks
            .into_iter()
            .map(|(_, words)| words)
            .collect()
    };
    assert_eq!(words(&[0.1, 0.9], AxisUnit::Fraction), ["0%", "25%", "50%", "75%", "100%"]);
    assert_eq!(words(&[0.0, 0.004], AxisUnit::Fraction), ["0.0%", "0.1%", "0.2%", "0.3%", "0.4%"]);
    assert_eq!(words(&[3.6e6, 1.3e7], AxisUnit::Time), ["0", "1 h", "2 h", "3 h", "4 h"]);
    assert_eq!(words(&[1e3, f64::INFINITY, 8.64e7], AxisUnit::Time).len(), 6);
    assert_eq!(
        (format_time(5_400_000.0), format_time(250.0)),
        ("1.5 h".to_owned(), "250 ms".to_owned())
    );
}

fn written(study: &Study) -> (tempfile::TempDir, String) {
    let out = tempdir().expect("a directory");
    let rows: Vec<ResultRow> = (0..study.worlds())
        .map(|n| {
            let unit = study.world_id(n);
            let seed = study.seed(1, unit);
            let results = play(&study.cells[unit.cell as usize], seed);
            ResultRow { cell: unit.cell, replication: unit.replication, seed: seed.0, results }
        })
        .collect();
    let manifest = SweepManifest::new(study, 1, None);
    report::write_report(&Storage::default(), out.path(), &manifest, study, &rows)
        .expect("a report");
    let page = std::fs::read_to_string(out.path().join("index.html")).expect("a page");
    (out, page)
}

#[test]
fn the_page_needs_nothing_else_and_says_where_it_comes_from() {
    let text = GOOD.replace("What happens?", "What <happens> & why?");
    let study = study(&text);
    let (_out, page) = written(&study);
    for never in ["<script", "http:", "https:", "src=", "@import", "url(", "<happens>", "NaN"] {
        assert!(!page.contains(never), "{never}");
    }
    for must in [
        "What &lt;happens&gt; &amp; why?",
        "How often late?",
        &study.digest(),
        "seed 1",
        "is assumed",
    ] {
        assert!(page.contains(must), "{must}");
    }
    assert!(page.contains(&format!("simnet {}", env!("CARGO_PKG_VERSION"))));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
}

#[test]
fn the_page_tells_what_goes_wrong_also_where_it_is_varied() {
    let fault = "[[fault]]\nkind = \"fast\"\nshare = 0.25\nfrom = \"2h\"\nuntil = \"5h\"\n";
    let (_out, page) = written(&study(&(GOOD.to_owned() + fault)));
    assert!(page.contains("fast, 25% of nodes, from 2 h until 5 h"));
    assert!(!page.contains("Clocks are right."));
    let varied = GOOD.replace("[sweep]\n", "[sweep]\n\"fault.share\" = [0.25, 0.5]\n") + fault;
    let (_out, page) = written(&study(&varied));
    for share in [25, 50] {
        assert!(page.contains(&format!("fast, {share}% of nodes, from 2 h until 5 h")), "{share}");
    }
    let (_out, page) = written(&study(GOOD));
    assert!(page.contains("<th>what goes wrong besides</th><td>nothing</td>"));
}

#[test]
fn elements_of_the_page_nest() {
    let more = "[[plot]]\nquestion = \"Heat?\"\nmetric = \"attacks.noticed / attacks\"\nx = \"circle\"\ny = \"settle\"\n\
                [[plot]]\nquestion = \"Steps?\"\nmetric = \"patch / releases.due\"\nline = \"circle\"\n";
    let (_out, page) = written(&study(&(GOOD.to_owned() + more)));
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
        if ["meta", "!DOCTYPE", "li"].contains(&name) || tag.ends_with('/') {
            continue;
        }
        match tag.starts_with('/') {
            true => assert_eq!(open.pop(), Some(name), "<{tag}>"),
            false => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let drawn = page.matches("<svg viewBox=\"0 0 460").count();
    // One for the lines, one for the grid, and a distribution for each value of settle.
    assert_eq!(drawn, 1 + 1 + 3);
}

#[test]
fn the_numbers_beside_are_those_of_the_worlds() {
    let study = study(GOOD);
    let (out, _) = written(&study);
    let file = |name: &str| std::fs::read_to_string(out.path().join(name)).expect("a file");
    let plots = file("plots.csv");
    assert_eq!(plots.lines().count(), 1 + 6, "a row for each of 3 x values and 2 lines");
    let worlds = file("worlds.csv");
    assert_eq!(worlds.lines().count(), 1 + 24);
    let head: Vec<&str> = worlds.lines().next().expect("a head").split(',').collect();
    let column = |name: &str| head.iter().position(|cell| *cell == name).expect("a column");
    let (due, late, circle, settle) = (
        column("releases.due"),
        column("releases.late"),
        column("nodes.circle"),
        column("program.settle"),
    );
    let mut sums = (0.0, 0.0);
    for (n, line) in worlds.lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let seed = study.seed(1, study.world_id(n as u64)).0;
        assert_eq!(cells[column("seed")], seed.to_string());
        if (cells[circle], cells[settle]) == ("5", "2h") {
            sums.0 += cells[late].parse::<f64>().expect("a number");
            sums.1 += cells[due].parse::<f64>().expect("a number");
        }
    }
    let row = plots.lines().find(|line| line.contains(",5,2h,")).expect("a row");
    let value: f64 = row.split(',').nth(5).expect("a value").parse().expect("a number");
    close(value, sums.0 / sums.1, 1e-12);
    let lines = file("worlds.jsonl");
    assert!(lines.lines().all(|line| ResultRow::parse(line).is_some()));
    assert_eq!(lines.lines().count(), 24);
}
