//! The numbers of a report as CSV and JSON Lines. Times are milliseconds.

use std::collections::BTreeSet;

use super::series::Panel;
use super::stats::Estimate;
use crate::study::{Plot, PlotKind, Study};
use crate::sweep::ResultRow;

/// All drawn numbers as CSV, with a row for each point. `low` and `high` are the 95% interval. In a
/// distribution, `x` is milliseconds, and `value` the fraction that took no longer.
pub(super) fn plots_csv(study: &Study, panels: &[(usize, &Plot, Vec<Panel>)]) -> String {
    let mut csv = String::from("plot,metric,panel,line,x,value,low,high,worlds\n");
    for (number, plot, panels) in panels {
        let metric = plot.measure.to_string();
        for panel in panels {
            for series in &panel.series {
                let mut row = |x: &str, value: String, ends: [String; 2], worlds: usize| {
                    let [low, high] = ends;
                    let number = number.to_string();
                    let worlds = worlds.to_string();
                    let cells = [&number, &metric, &panel.caption, &series.label, x, &value];
                    let cells = cells.into_iter().chain([low.as_str(), &high, &worlds]);
                    csv += &csv_line(cells);
                };
                if plot.kind == PlotKind::Ecdf {
                    for (ms, fraction) in &series.steps {
                        let none = [String::new(), String::new()];
                        row(&ms.to_string(), fraction.to_string(), none, series.worlds);
                    }
                    continue;
                }
                let Some(x) = plot.x else { continue };
                for (x, point) in study.axes[x].values.iter().zip(&series.points) {
                    if let Some(point) = point {
                        row(x, point.value.to_string(), interval_columns(point), point.worlds);
                    }
                }
            }
        }
    }
    csv
}

fn interval_columns(point: &Estimate) -> [String; 2] {
    match point.interval {
        Some((low, high)) => [low.to_string(), high.to_string()],
        None => [String::new(), String::new()],
    }
}

/// All worlds as CSV, with a row for each world: the values of its cell, its seed, every count, and
/// for every time the number of values, the mean, the median and the 99th percentile.
pub(super) fn worlds_csv(study: &Study, rows: &[ResultRow]) -> String {
    let counts: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.results.counts.keys()).map(String::as_str).collect();
    let times: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.results.times.keys()).map(String::as_str).collect();
    let mut head: Vec<String> = study.axes.iter().map(|axis| axis.field.clone()).collect();
    head.extend(["replication".to_owned(), "seed".to_owned()]);
    head.extend(counts.iter().map(|name| (*name).to_owned()));
    for name in &times {
        head.extend(["count", "mean", "p50", "p99"].map(|what| format!("{name}.{what}_ms")));
    }
    let mut csv = csv_line(head.iter().map(|name| match name.strip_suffix(".count_ms") {
        Some(name) => format!("{name}.count"),
        None => name.clone(),
    }));
    for row in rows {
        let indices = study.axis_indices(row.cell);
        let values = study.axes.iter().zip(indices).map(|(axis, value)| axis.values[value].clone());
        let mut cells: Vec<String> = values.collect();
        cells.extend([row.replication.to_string(), row.seed.to_string()]);
        let count = |name: &&str| row.results.counts.get(*name).copied().unwrap_or(0).to_string();
        cells.extend(counts.iter().map(count));
        for name in &times {
            let times = row.results.times.get(*name);
            let number = |number: Option<String>| number.unwrap_or_default();
            cells.push(times.map_or(0, |times| times.count()).to_string());
            cells.push(number(times.and_then(|times| times.mean()).map(|mean| mean.to_string())));
            for q in [0.5, 0.99] {
                cells.push(number(
                    times.and_then(|times| times.quantile(q)).map(|ms| ms.to_string()),
                ));
            }
        }
        csv += &csv_line(cells);
    }
    csv
}

/// All worlds as JSON Lines: an object for each world, with all bins of all distributions.
pub(super) fn worlds_jsonl(rows: &[ResultRow]) -> String {
    rows.iter().map(|row| row.to_line() + "\n").collect()
}

/// A line of CSV by RFC 4180, except that it ends with a line feed only.
fn csv_line<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let quoted = cells.into_iter().map(|cell| {
        let cell = cell.as_ref();
        match cell.contains([',', '"', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.to_owned(),
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}
