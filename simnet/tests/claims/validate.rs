//! The population tier against results in closed form.

use simnet::Seed;
use simnet::closed_form::{binomial, mean_of_slowest, mean_wait_until_all_up};
use simnet::validate::{ValidationRow, validate_all};

#[test]
fn population_reproduces_closed_forms_and_refutes_wrong_ones() {
    let rows = validate_all(Seed(7));
    let outside: Vec<String> =
        rows.iter().filter(|row| !row.is_reproduced()).map(ValidationRow::to_string).collect();
    assert!(outside.is_empty(), "{outside:#?}");

    let wrong = |name: &str, formula: f64| {
        let row = rows.iter().find(|row| row.name.starts_with(name)).expect(name);
        let wrong = ValidationRow { expected: formula, ..row.clone() };
        assert!(!wrong.is_reproduced(), "{wrong}");
    };
    wrong("all 5 peers up, each 0.95", 0.95f64.powi(4));
    // The value if only one peer could be down at a time.
    wrong("wait until all 3 are up, each 0.9", 8.0);
    wrong("slowest of 5", mean_of_slowest(4, 2.5, 0.55));
    wrong("detection by 3 peers, each with q = 0.3", 1.0 - 0.7f64.powi(2));
    wrong("detection by 4 of 10 nodes", 1.0 - binomial(8, 3) / binomial(10, 3));
    wrong("a connection fails, over", (0.007 + 0.33) / 2.0);
    wrong("one of six relays", 1.0 - (-0.05f64).exp());
    wrong("rumour among 64, both", rows.last().expect("rows").expected);
}

#[test]
fn closed_forms_have_the_values_of_the_design() {
    let near = |a: f64, b: f64| assert!((a - b).abs() < 0.006 * b, "{a} is not {b}");
    near(mean_wait_until_all_up(5, 0.99, 8.0), 8.24);
    for (n, mean) in [(1, 2.91), (3, 4.35), (5, 5.09), (9, 5.99)] {
        near(mean_of_slowest(n, 2.5, 0.55), mean);
    }
    near(1.0 - binomial(8, 4) / binomial(10, 4), 2.0 / 3.0);
    assert_eq!(binomial(3, 4), 0.0);
}
