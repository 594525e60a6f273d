//! The data of drawings: panels with lines, rows of heat maps, and distributions, computed from
//! worlds.

use super::stats::{Estimate, estimate, pool_times};
use crate::Results;
use crate::study::{Axis, Plot, PlotKind, Study};
use crate::sweep::ResultRow;

/// One drawing. A plot has a panel for every combination of values of the axes that it does not
/// show.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The values that the panel's worlds have in common; empty if the plot has one panel.
    pub caption: String,
    /// The lines, rows or distributions of the panel.
    pub series: Vec<Series>,
}

/// One line, one row of a heat map, or one distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The value on the plot's second axis; empty if the plot has none.
    pub label: String,
    /// An estimate for each value of the x axis; empty for a distribution.
    pub points: Vec<Option<Estimate>>,
    /// The steps of a distribution: milliseconds, and the fraction that took no longer.
    pub steps: Vec<(u64, f64)>,
    /// The number of worlds from which the series was computed.
    pub worlds: usize,
}

/// Computes the panels of a plot.
pub fn panels(plot: &Plot, study: &Study, rows: &[ResultRow]) -> Vec<Panel> {
    let rest: Vec<usize> = (0..study.axes.len())
        .filter(|axis| Some(*axis) != plot.x && Some(*axis) != plot.by)
        .collect();
    let mut combinations: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
    for &axis in &rest {
        let values = 0..study.axes[axis].values.len();
        combinations = combinations
            .iter()
            .flat_map(|fixed| values.clone().map(|value| [&fixed[..], &[(axis, value)]].concat()))
            .collect();
    }
    let panel = |fixed: Vec<(usize, usize)>| {
        let several = |axis: &usize| study.axes[*axis].values.len() > 1;
        let shown = fixed.iter().filter(|(axis, _)| several(axis));
        let words = shown.map(|(axis, value)| {
            let axis = &study.axes[*axis];
            format!("{} = {}", axis.short_name(), axis.values[*value])
        });
        let caption = words.collect::<Vec<_>>().join(", ");
        let values = plot.by.map_or(1, |axis| study.axes[axis].values.len());
        let series = (0..values).map(|value| {
            let mut fixed = fixed.clone();
            fixed.extend(plot.by.map(|axis| (axis, value)));
            compute_series(
                plot,
                study,
                rows,
                &fixed,
                plot.by.map(|axis| (&study.axes[axis], value)),
            )
        });
        Panel { caption, series: series.collect() }
    };
    combinations.into_iter().map(panel).collect()
}

fn compute_series(
    plot: &Plot,
    study: &Study,
    rows: &[ResultRow],
    fixed: &[(usize, usize)],
    by: Option<(&Axis, usize)>,
) -> Series {
    let label = by.map_or(String::new(), |(axis, value)| axis.values[value].clone());
    let worlds = select_worlds(study, rows, fixed);
    let mut series = Series { label, points: Vec::new(), steps: Vec::new(), worlds: worlds.len() };
    match (plot.kind, plot.x) {
        (PlotKind::Ecdf, _) => {
            if let Some((times, of)) = pool_times(&plot.measure, &worlds) {
                let steps = times.steps().map(|(ms, count)| (ms, count as f64 / of as f64));
                series.steps = steps.collect();
            }
        }
        (_, Some(x)) => {
            let at = |value| {
                let fixed = [fixed, &[(x, value)]].concat();
                estimate(&plot.measure, &select_worlds(study, rows, &fixed))
            };
            series.points = (0..study.axes[x].values.len()).map(at).collect();
        }
        (_, None) => {}
    }
    series
}

/// The worlds of all cells that have these values on these axes.
fn select_worlds<'r>(
    study: &Study,
    rows: &'r [ResultRow],
    fixed: &[(usize, usize)],
) -> Vec<&'r Results> {
    let fits = |row: &&ResultRow| {
        let indices = study.axis_indices(row.cell);
        fixed.iter().all(|(axis, value)| indices[*axis] == *value)
    };
    rows.iter().filter(fits).map(|row| &row.results).collect()
}
