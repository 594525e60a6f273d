//! The report: estimates with their intervals, the page, and the files of numbers.

use simnet::report::axis::{AxisUnit, Scale, format_time};
use simnet::report::stats::{estimate, student_quantile, wilson_interval};
use simnet::results::Histogram;
use simnet::study::PlotMeasure;
use simnet::sweep::{ResultRow, SweepManifest};
use simnet::{Results, Study, report};
use tempfile::tempdir;
use unanimity_storage::Storage;

use crate::studies::{GOOD, play, study};

fn assert_close(a: f64, b: f64, by: f64) {
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
fn wilson_and_student_agree_with_published_tables() {
    // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    for (above, of, low, high) in [
        (81.0, 263.0, 0.2553, 0.3662),
        (15.0, 148.0, 0.0624, 0.1605),
        (0.0, 20.0, 0.0, 0.1611),
        (29.0, 29.0, 0.8830, 1.0),
    ] {
        let interval = wilson_interval(above / of, of, 1.959_964);
        assert_close(interval.0, low, 6e-5);
        assert_close(interval.1, high, 6e-5);
    }
    for (degrees, t) in
        [(1, 12.706), (5, 2.571), (10, 2.228), (11, 2.201), (15, 2.131), (30, 2.042), (120, 1.980)]
    {
        assert_close(student_quantile(degrees), t, 1e-3);
    }
}

#[test]
fn fraction_of_worlds_has_wilsons_interval() {
    let worlds: Vec<Results> = (0..20)
        .map(|n| world(&[("attacks", 1), ("attacks.noticed", u64::from(n < 15))], &[]))
        .collect();
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("attacks.noticed / attacks"), &worlds).expect("an estimate");
    assert_close(found.value, 0.75, 1e-12);
    let (low, high) = found.interval.expect("an interval");
    let wanted = wilson_interval(0.75, 20.0, 1.959_964);
    assert_close(low, wanted.0, 1e-9);
    assert_close(high, wanted.1, 1e-9);
}

#[test]
fn many_releases_in_one_world_count_as_one_observation() {
    let all_or_nothing: Vec<Results> = (0..10)
        .map(|n| {
            world(&[("releases.due", 1000), ("releases.late", 1000 * u64::from(n % 2 == 0))], &[])
        })
        .collect();
    let worlds: Vec<&Results> = all_or_nothing.iter().collect();
    let late = measure("releases.late / releases.due");
    let (low, high) =
        estimate(&late, &worlds).and_then(|found| found.interval).expect("an interval");
    assert!(low < 0.25 && high > 0.75, "{low} to {high}: as if 10000 worlds had been played");
    let alike: Vec<Results> = (0..10)
        .map(|n| world(&[("releases.due", 1000), ("releases.late", 490 + n * 2)], &[]))
        .collect();
    let worlds: Vec<&Results> = alike.iter().collect();
    let (low, high) =
        estimate(&late, &worlds).and_then(|found| found.interval).expect("an interval");
    assert!(low > 0.47 && high < 0.53, "{low} to {high}: too wide for worlds that agree");
    assert_eq!(estimate(&late, &worlds[..1]).and_then(|found| found.interval), None);
}

#[test]
fn mean_over_worlds_has_students_interval() {
    let worlds = [1, 2, 3].map(|installs| world(&[("worlds", 1), ("installs", installs)], &[]));
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("installs / worlds"), &worlds).expect("an estimate");
    let (low, high) = found.interval.expect("an interval");
    assert_close(found.value, 2.0, 1e-12);
    // A deviation of 1 over 3 worlds, 2 degrees of freedom. A count is at least 0.
    assert_close(high, 2.0 + 4.303 / 3f64.sqrt(), 1e-3);
    assert_eq!(low, 0.0);
}

#[test]
fn fraction_of_zero_in_every_world_has_an_interval() {
    let worlds: Vec<Results> =
        (0..10).map(|_| world(&[("releases.due", 1000), ("releases.late", 0)], &[])).collect();
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("releases.late / releases.due"), &worlds).expect("an estimate");
    let (low, high) = found.interval.expect("an interval");
    assert_eq!((found.value, low), (0.0, 0.0));
    assert_close(high, wilson_interval(0.0, 10.0, 1.959_964).1, 1e-9);
}

#[test]
fn quantile_over_a_count_includes_what_never_happened() {
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
fn quantile_interval_contains_it_and_narrows_with_worlds() {
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
        assert_close(found.value, 500.0, 120.0);
        high - low
    };
    assert!(width(200) < width(10) / 2.0);
}

#[test]
fn measures_read_back_as_written() {
    for text in [
        "attacks.noticed / attacks",
        "patch",
        "notice / attacks",
        "mean round",
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
fn quantile_rank_is_its_fraction_of_the_count() {
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
fn only_a_part_of_a_count_is_a_fraction_of_it() {
    for (text, is_fraction) in [
        ("rounds.incomplete / rounds", true),
        ("releases.late / releases.due", true),
        ("attacks.evident / attacks", true),
        ("rounds / rounds.incomplete", false),
        ("releases.due / releases.late", false),
        ("rounds.fork / rounds.stale", false),
    ] {
        assert_eq!(measure(text).is_fraction(), is_fraction, "{text}");
    }
    let worlds = [world(&[("rounds", 10), ("rounds.incomplete", 2)], &[])];
    let worlds: Vec<&Results> = worlds.iter().collect();
    let found = estimate(&measure("rounds / rounds.incomplete"), &worlds).expect("an estimate");
    assert_close(found.value, 5.0, 1e-12);
}

#[test]
fn histograms_of_long_times_read_back_from_json() {
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

/// Writes a report with invented results. Returns its directory and its page.
fn write_report(study: &Study) -> (tempfile::TempDir, String) {
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
fn page_loads_nothing_and_names_its_source() {
    let text = GOOD.replace("What happens?", "What <happens> & why?");
    let study = study(&text);
    let (_out, page) = write_report(&study);
    for never in ["<script", "http:", "https:", "src=", "@import", "url(", "<happens>", "NaN"] {
        assert!(!page.contains(never), "{never}");
    }
    for must in ["What &lt;happens&gt; &amp; why?", "How often late?"] {
        assert!(page.contains(must), "{must}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
    let (_, footer) = page.split_once("<footer>\n").expect("a footer");
    let footer = footer.replace(&study.digest(), "[DIGEST]");
    let footer = footer.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    snapbox::assert_data_eq!(footer, snapbox::file!["words/page_footer.txt"]);
}

#[test]
fn page_lists_assumptions_and_faults_also_if_varied() {
    let fault = "[[fault]]\nkind = \"fast\"\nshare = 0.25\nfrom = \"2h\"\nuntil = \"5h\"\n";
    let varied = GOOD.replace("[sweep]\n", "[sweep]\n\"fault.share\" = [0.25, 0.5]\n") + fault;
    let mut text = String::new();
    for (case, scenario) in [
        ("no fault", GOOD.to_owned()),
        ("a fault", GOOD.to_owned() + fault),
        ("a varied fault", varied),
    ] {
        let (_out, page) = write_report(&study(&scenario));
        text += &format!("{case}:\n{}", assumptions_and_faults(&page));
    }
    snapbox::assert_data_eq!(text, snapbox::file!["words/assumptions_and_faults.txt"]);
}

/// The lines of a page with its assumptions and its faults.
fn assumptions_and_faults(page: &str) -> String {
    let is_shown = |line: &&str| line.starts_with("<li>") || line.contains("<th>faults</th>");
    page.lines().filter(is_shown).map(|line| format!("{line}\n")).collect()
}

#[test]
fn page_elements_nest() {
    let more = "[[plot]]\nquestion = \"Heat?\"\nmetric = \"attacks.noticed / attacks\"\nx = \"peers\"\ny = \"settle\"\n\
                [[plot]]\nquestion = \"Steps?\"\nmetric = \"patch / releases.due\"\nline = \"peers\"\n";
    let (_out, page) = write_report(&study(&(GOOD.to_owned() + more)));
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
    // One for the lines, one for the heat map, and a distribution for each value of settle.
    assert_eq!(drawn, 1 + 1 + 3);
}

#[test]
fn files_of_numbers_agree_with_the_worlds() {
    let study = study(GOOD);
    let (out, _) = write_report(&study);
    let file = |name: &str| std::fs::read_to_string(out.path().join(name)).expect("a file");
    let plots = file("plots.csv");
    assert_eq!(plots.lines().count(), 1 + 6, "a row for each of 3 x values and 2 lines");
    let worlds = file("worlds.csv");
    assert_eq!(worlds.lines().count(), 1 + 24);
    let head: Vec<&str> = worlds.lines().next().expect("a head").split(',').collect();
    let column = |name: &str| head.iter().position(|cell| *cell == name).expect("a column");
    let (due, late, peers, settle) = (
        column("releases.due"),
        column("releases.late"),
        column("nodes.peers"),
        column("program.settle"),
    );
    let mut sums = (0.0, 0.0);
    for (n, line) in worlds.lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let seed = study.seed(1, study.world_id(n as u64)).0;
        assert_eq!(cells[column("seed")], seed.to_string());
        if (cells[peers], cells[settle]) == ("5", "2h") {
            sums.0 += cells[late].parse::<f64>().expect("a number");
            sums.1 += cells[due].parse::<f64>().expect("a number");
        }
    }
    let row = plots.lines().find(|line| line.contains(",5,2h,")).expect("a row");
    let value: f64 = row.split(',').nth(5).expect("a value").parse().expect("a number");
    assert_close(value, sums.0 / sums.1, 1e-12);
    let lines = file("worlds.jsonl");
    assert!(lines.lines().all(|line| ResultRow::parse(line).is_some()));
    assert_eq!(lines.lines().count(), 24);
}
