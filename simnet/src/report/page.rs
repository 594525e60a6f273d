//! The HTML page of a report.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::assumptions::{assumptions, parameters};
use super::axis::{AxisUnit, format_value};
use super::escape::escape;
use super::frame::{AxisNames, is_evenly_spaced, readable_value};
use super::heat::{colour_key, draw_heat_map};
use super::series::{Panel, Series};
use super::stats::{Estimate, estimate};
use super::svg::{self, COLOURS, marker};
use crate::scenario::fields::field_label;
use crate::study::{Axis, Plot, PlotKind, Study};
use crate::sweep::{ResultRow, SweepManifest};

/// The measures of the table of key numbers, which suit every study.
const KEY_MEASURES: &[&str] = &[
    "releases.late / releases.due",
    "median patch / releases.due",
    "p99 patch / releases.due",
    "rounds.incomplete / rounds",
    "attacks.noticed / attacks",
    "attacks.evident / attacks",
    "median notice / victims",
    "victims.noticed / victims",
    "attacks.installed / attacks",
];

/// The largest number of cells for which the page has a table of key numbers. Plots show more cells
/// better.
const MAX_TABLE_CELLS: usize = 8;

/// Renders the whole page.
pub(super) fn render_page(
    manifest: &SweepManifest,
    study: &Study,
    rows: &[ResultRow],
    plots: &[(usize, &Plot, Vec<Panel>)],
) -> String {
    let title = escape(&study.question);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{}</style>\n<main>\n<h1>{title}</h1>\n",
        include_str!("page.css")
    );
    let varied: Vec<String> = study
        .axes
        .iter()
        .map(|axis| {
            let values: Vec<String> =
                axis.values.iter().map(|value| readable_value(value)).collect();
            format!("{} ({})", field_label(&axis.field), values.join(", "))
        })
        .collect();
    let varied = match &varied[..] {
        [] => "No field is varied".to_owned(),
        some => format!("Varied: {}", escape(&some.join("; "))),
    };
    let (played, all) = (rows.len() as u64, study.worlds());
    append(
        &mut html,
        format_args!("<p>{played} simulated worlds. {varied}. Intervals are 95%.</p>\n"),
    );
    if played < all {
        append(
            &mut html,
            format_args!(
                "<p class=\"warning\">Incomplete: {} of {all} worlds are missing.</p>\n",
                all - played
            ),
        );
    }
    if study.cells.len() <= MAX_TABLE_CELLS {
        html += &key_numbers_table(study, rows);
    }
    for (_, plot, panels) in plots {
        html += &figure(study, plot, panels);
    }
    html += &model_section(study);
    let SweepManifest { version, scenario, seed, .. } = manifest;
    append(
        &mut html,
        format_args!(
            "</main>\n<footer>\n<p>simnet {}, scenario {} (SHA-256 {}), seed {seed}. These three reproduce \
         every number here.</p>\n<p>The numbers: <a href=\"plots.csv\">plots.csv</a> (what is drawn), \
         <a href=\"worlds.csv\">worlds.csv</a> (a row for each world), <a href=\"worlds.jsonl\">worlds.jsonl</a> \
         (every bin). Times there are in milliseconds.</p>\n</footer>\n</html>\n",
            escape(version),
            escape(&study.name),
            escape(scenario)
        ),
    );
    html
}

fn append(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("a string");
}

/// The table of key numbers: a row for each measure that applies, and a column for each cell.
fn key_numbers_table(study: &Study, rows: &[ResultRow]) -> String {
    let measures = KEY_MEASURES.iter().map(|text| text.parse().expect("a constant measure"));
    let measures: Vec<crate::study::PlotMeasure> = measures.collect();
    let cells = 0..study.cells.len() as u32;
    let of_cell = |cell: u32| {
        let results: Vec<_> =
            rows.iter().filter(|row| row.cell == cell).map(|row| &row.results).collect();
        let all = measures.iter().map(|measure| estimate(measure, &results));
        all.collect::<Vec<Option<Estimate>>>()
    };
    let table: Vec<Vec<Option<Estimate>>> = cells.map(of_cell).collect();
    let mut html = String::from("<h2>In numbers</h2>\n<div class=\"wide\"><table>\n<tr><th></th>");
    for cell in 0..study.cells.len() as u32 {
        append(&mut html, format_args!("<th>{}</th>", escape(&readable_value(&study.label(cell)))));
    }
    html += "</tr>\n";
    for (number, measure) in measures.iter().enumerate() {
        if table.iter().all(|cell| cell[number].is_none()) {
            continue;
        }
        append(&mut html, format_args!("<tr><th>{}</th>", escape(&measure.description())));
        for cell in &table {
            append(
                &mut html,
                format_args!("<td>{}</td>", format_estimate(cell[number], axis_unit(measure))),
            );
        }
        html += "</tr>\n";
    }
    html + "</table></div>\n"
}

fn axis_unit(measure: &crate::study::PlotMeasure) -> AxisUnit {
    match (measure.is_time(), measure.is_fraction()) {
        (true, _) => AxisUnit::Time,
        (_, true) => AxisUnit::Fraction,
        _ => AxisUnit::Number,
    }
}

/// Formats an estimate with its interval: `12% (9% to 15%)`.
fn format_estimate(point: Option<Estimate>, unit: AxisUnit) -> String {
    let Some(point) = point else { return "–".to_owned() };
    let mut text = format_value(point.value, unit);
    match point.interval {
        Some((low, high)) if low < high => {
            let (low, high) = (format_value(low, unit), format_value(high, unit));
            text += &format!(" <small>({low} to {high})</small>");
        }
        Some(_) => {}
        None => text += " <small>(one world)</small>",
    }
    text
}

fn figure(study: &Study, plot: &Plot, panels: &[Panel]) -> String {
    let unit = axis_unit(&plot.measure);
    let y = plot.measure.description();
    let x = plot.x.map(|axis| &study.axes[axis]);
    let by = plot.by.map(|axis| &study.axes[axis]);
    let all = panels.iter().flat_map(|panel| panel.series.iter().cloned());
    let scale = svg::common_scale(all.clone(), unit);
    let ends = value_range(all);
    let times = svg::common_time_scale(panels.iter().flat_map(|panel| &panel.series));
    let across = match (plot.kind, x) {
        (PlotKind::Ecdf, _) => "time (logarithmic)".to_owned(),
        (_, Some(axis)) => field_label(&axis.field).to_owned(),
        _ => String::new(),
    };
    let names = AxisNames { x: &across, y: &y, unit };
    let mut html = format!("<section>\n<h2>{}</h2>\n", escape(&plot.question));
    let mut up = match (plot.kind, by) {
        (PlotKind::Heat, Some(by)) => format!("{y}; up: {}", field_label(&by.field)),
        _ => y.clone(),
    };
    if plot.kind == PlotKind::Lines && scale.is_log() {
        up += " (logarithmic)";
    }
    if plot.kind == PlotKind::Lines && x.is_some_and(is_evenly_spaced) {
        up += "; values across are evenly spaced, not to scale";
    }
    append(
        &mut html,
        format_args!("<p class=\"up\">{}</p>\n<div class=\"panels\">\n", escape(&up)),
    );
    for panel in panels {
        html += "<figure>";
        if !panel.caption.is_empty() {
            append(
                &mut html,
                format_args!(
                    "<figcaption>{}</figcaption>",
                    escape(&readable_value(&panel.caption))
                ),
            );
        }
        html += &match (plot.kind, x, by) {
            (PlotKind::Heat, Some(x), Some(by)) => draw_heat_map(panel, (x, by), ends, names),
            (PlotKind::Lines, Some(x), _) => svg::draw_lines(panel, x, &scale, names),
            _ => svg::draw_ecdf(panel, &times, names),
        };
        html += "</figure>\n";
    }
    html += "</div>\n";
    match (plot.kind, by, panels.first()) {
        (PlotKind::Heat, ..) if ends.0 < ends.1 => html += &colour_key(ends, unit),
        (PlotKind::Lines | PlotKind::Ecdf, Some(by), Some(panel)) => {
            html += &legend(by, &panel.series, plot.kind);
        }
        _ => {}
    }
    let any = |fits: fn(&Estimate) -> bool| {
        let series = panels.iter().flat_map(|panel| &panel.series);
        plot.kind == PlotKind::Lines && series.flat_map(|series| &series.points).flatten().any(fits)
    };
    if any(|point| point.value.is_infinite()) {
        html += "<p class=\"note\">A hollow triangle at the top: not reached within the observed time.</p>\n";
    }
    if any(|point| point.extreme) {
        html += "<p class=\"note\">A dotted interval: the event happened in no world, or always. The interval \
                 assumes that everything in a world happens together, and is cut off at the edge. More worlds \
                 narrow it.</p>\n";
    }
    html += &numbers_table(plot, panels, x, unit);
    html + "</section>\n"
}

/// The smallest and the largest finite value; 0 and 1 without values.
fn value_range(all: impl Iterator<Item = Series>) -> (f64, f64) {
    let values = all.flat_map(|series| series.points).flatten().map(|point| point.value);
    let ends = values.filter(|value| value.is_finite()).fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    });
    ends.unwrap_or((0.0, 1.0))
}

fn legend(axis: &Axis, series: &[Series], kind: PlotKind) -> String {
    let mut html = format!("<p class=\"legend\"><b>{}</b>", escape(field_label(&axis.field)));
    for (number, series) in series.iter().enumerate() {
        let colour = number % COLOURS;
        let dash = match kind {
            PlotKind::Ecdf => (number / COLOURS + colour) % 4,
            _ => number / COLOURS,
        };
        append(
            &mut html,
            format_args!(
                " <span><svg viewBox=\"0 0 30 12\" aria-hidden=\"true\"><path class=\"line c{colour} d{dash}\" \
             d=\"M1 6H29\"/>{}</svg> {}</span>",
                marker(number, 15.0, 6.0),
                escape(&readable_value(&series.label))
            ),
        );
    }
    html + "</p>\n"
}

/// The numbers of a drawing as a table, for readers who cannot see the drawing.
fn numbers_table(plot: &Plot, panels: &[Panel], x: Option<&Axis>, unit: AxisUnit) -> String {
    let mut html = String::from(
        "<details><summary>The numbers</summary><div class=\"wide\"><table>\n<tr><th></th>",
    );
    let quantiles = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99];
    match (plot.kind, x) {
        (PlotKind::Ecdf, _) => {
            for q in quantiles {
                append(&mut html, format_args!("<th>{}% by</th>", q * 100.0));
            }
            html += "<th>ever</th>";
        }
        (_, Some(x)) => {
            for value in &x.values {
                append(
                    &mut html,
                    format_args!(
                        "<th>{} {}</th>",
                        escape(x.short_name()),
                        escape(&readable_value(value))
                    ),
                );
            }
        }
        _ => {}
    }
    html += "</tr>\n";
    for panel in panels {
        for series in &panel.series {
            let comma = if panel.caption.is_empty() || series.label.is_empty() { "" } else { ", " };
            let label = readable_value(&format!("{}{comma}{}", panel.caption, series.label));
            append(&mut html, format_args!("<tr><th>{}</th>", escape(&label)));
            if plot.kind == PlotKind::Ecdf {
                for q in quantiles {
                    let at = series.steps.iter().find(|(_, fraction)| *fraction >= q);
                    let words = at.map_or("–".to_owned(), |(ms, _)| {
                        format_value(*ms as f64, AxisUnit::Time)
                    });
                    append(&mut html, format_args!("<td>{words}</td>"));
                }
                let ever = series.steps.last().map_or(0.0, |(_, fraction)| *fraction);
                append(
                    &mut html,
                    format_args!("<td>{}</td>", format_value(ever, AxisUnit::Fraction)),
                );
            }
            for point in &series.points {
                append(&mut html, format_args!("<td>{}</td>", format_estimate(*point, unit)));
            }
            html += "</tr>\n";
        }
    }
    html + "</table></div></details>\n"
}

fn model_section(study: &Study) -> String {
    let mut html = String::from("<section>\n<h2>What is assumed</h2>\n<ul>\n");
    for assumption in assumptions(&study.cells) {
        append(&mut html, format_args!("<li>{assumption}</li>\n"));
    }
    html += "</ul>\n<details><summary>What was simulated</summary><div class=\"wide\"><table>\n";
    let all: Vec<_> = study.cells.iter().map(parameters).collect();
    for (field, name, value) in &all[0] {
        let values = all.iter().flatten().filter(|(f, ..)| f == field).map(|(.., value)| value);
        let values: BTreeSet<&String> = values.collect();
        let value = match values.len() {
            1 => escape(value),
            // Plots show a varied fault as a number only, so the table has its kinds and times.
            2..=MAX_TABLE_CELLS if *field == "fault" => {
                values.iter().map(|value| escape(value)).collect::<Vec<_>>().join("<br>")
            }
            _ => "<em>varied</em>".to_owned(),
        };
        append(&mut html, format_args!("<tr><th>{name}</th><td>{value}</td></tr>\n"));
    }
    html + "</table></div></details>\n</section>\n"
}
