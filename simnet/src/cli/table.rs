//! The printed table with the results of one world.

use std::fmt::Write as _;

use crate::report::axis::format_time;
use crate::{Results, Study};

/// Formats the counts, then the times with mean, median and 99th percentile.
pub(super) fn format_results(study: &Study, seed: u64, results: &Results) -> String {
    let label = study.label(0);
    let mut text = format!("{}\n{}, seed {seed}", study.question, study.name);
    if !label.is_empty() {
        write!(text, ", {label}").expect("a string");
    }
    text += "\n\n";
    for (name, count) in &results.counts {
        writeln!(text, "{name:20} {count:>12}").expect("a string");
    }
    if !results.times.is_empty() {
        let head = ["times", "values", "mean", "median", "p99"];
        let [name, rest @ ..] = head;
        write!(text, "\n{name:20}").expect("a string");
        for word in rest {
            write!(text, " {word:>12}").expect("a string");
        }
        text.push('\n');
    }
    for (name, times) in &results.times {
        let quantile = |q| times.quantile(q).map(|ms| ms as f64);
        write!(text, "{name:20} {:>12}", times.count()).expect("a string");
        for value in [times.mean(), quantile(0.5), quantile(0.99)] {
            let value = value.map_or("-".to_owned(), format_time);
            write!(text, " {value:>12}").expect("a string");
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}
