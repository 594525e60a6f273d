//! Drawings as inline SVG. Colours come from the page's style sheet, in a light and a dark version.

use std::fmt::Write as _;

use super::axis::{AxisUnit, Scale};
use super::frame::{
    AxisNames, Frame, LEFT, RIGHT, TOP, WIDTH, axis_positions, bottom_margin, draw_x_axis,
};
use super::series::{Panel, Series};
use crate::study::Axis;

/// The number of line colours. They are the colours of Okabe and Ito without yellow. Colour-blind
/// readers can tell them apart. Markers and dashes differ, too.
pub(super) const COLOURS: usize = 7;

/// The marker of a line at a point. The shapes differ, so that lines do not differ by colour alone.
pub(super) fn marker(series: usize, x: f64, y: f64) -> String {
    let colour = series % COLOURS;
    let d = match series % 5 {
        0 => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x - 4.0),
        1 => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
        2 => format!("M{x:.1} {:.1}l4.6 8h-9.2z", y - 5.0),
        3 => format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0),
        _ => format!("M{x:.1} {:.1}l4.6 -8h-9.2z", y + 5.0),
    };
    format!("<path class=\"mark c{colour}\" d=\"{d}\"/>")
}

/// Draws estimates with their intervals along an axis.
pub(super) fn draw_lines(
    panel: &Panel,
    axis: &Axis,
    scale: &Scale,
    names: AxisNames<'_>,
) -> String {
    let at = axis_positions(axis).0;
    let mut frame = Frame::new(names, bottom_margin(axis));
    frame.draw_y_axis(scale);
    draw_x_axis(&mut frame, axis, &at);
    let middle = (panel.series.len() as f64 - 1.0) / 2.0;
    let distance = at.windows(2).map(|two| (two[1] - two[0]).abs()).fold(1.0, f64::min);
    let shift = distance * (WIDTH - RIGHT - LEFT) * 0.6 / panel.series.len().max(1) as f64;
    for (number, series) in panel.series.iter().enumerate() {
        let colour = number % COLOURS;
        // Lines are shifted, so that intervals do not hide each other.
        let offset = (number as f64 - middle) * shift.min(4.0);
        let mut path = String::new();
        let mut marks = String::new();
        for (point, at) in series.points.iter().zip(&at) {
            let Some(point) = point else {
                continue;
            };
            let (x, y) = (frame.x(*at) + offset, frame.y(scale.position(point.value)));
            if point.value.is_finite() {
                let verb = if path.is_empty() { 'M' } else { 'L' };
                write!(path, "{verb}{x:.1} {y:.1}").expect("a string");
                marks += &marker(number, x, y);
            } else {
                write!(marks, "<path class=\"never c{colour}\" d=\"M{x:.1} {TOP}l5 9h-10z\"/>")
                    .expect("a string");
            }
            if let Some((low, high)) = point.interval {
                let (low, high) = (frame.y(scale.position(low)), frame.y(scale.position(high)));
                let doubt = if point.extreme { " doubt" } else { "" };
                let d = format!("M{x:.1} {low:.1}V{high:.1}");
                write!(marks, "<path class=\"whisker c{colour}{doubt}\" d=\"{d}\"/>")
                    .expect("a string");
            }
        }
        let dash = number / COLOURS;
        frame.add(format_args!("<path class=\"line c{colour} d{dash}\" d=\"{path}\"/>{marks}"));
    }
    frame.finish()
}

/// Draws distributions of times: the fraction of cases that took no longer than each time, as steps
/// over a logarithmic time axis.
pub(super) fn draw_ecdf(panel: &Panel, scale: &Scale, names: AxisNames<'_>) -> String {
    let up = Scale::from_values([0.0, 1.0].into_iter(), AxisUnit::Fraction);
    let mut frame = Frame::new(names, 44.0);
    frame.draw_y_axis(&up);
    for (at, words) in &scale.ticks {
        let (x, bottom) = (frame.x(scale.position(*at)), frame.bottom);
        let y = bottom + 18.0;
        frame.add(format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/>"));
        frame.add(format_args!("<text class=\"across\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"));
    }
    for (number, series) in panel.series.iter().enumerate() {
        let colour = number % COLOURS;
        let Some((first, _)) = series.steps.first() else { continue };
        let x = frame.x(scale.position(*first as f64));
        let mut path = format!("M{x:.1} {:.1}", frame.bottom);
        for (ms, fraction) in &series.steps {
            let (x, y) = (frame.x(scale.position(*ms as f64)), frame.y(*fraction));
            write!(path, "H{x:.1}V{y:.1}").expect("a string");
        }
        write!(path, "H{:.1}", frame.x(1.0)).expect("a string");
        let dash = number / COLOURS + number % COLOURS;
        frame.add(format_args!("<path class=\"line c{colour} d{}\" d=\"{path}\"/>", dash % 4));
        // Each line has its markers at heights of its own, so that markers do not hide each other.
        let marked = [0.2, 0.5, 0.8].map(|part| part + 0.03 * number as f64);
        let top = series.steps.last().map_or(0.0, |(_, fraction)| *fraction);
        for part in marked {
            let step = series.steps.iter().find(|(_, fraction)| *fraction >= part * top);
            if let Some((ms, fraction)) = step {
                let (x, y) = (frame.x(scale.position(*ms as f64)), frame.y(*fraction));
                let mark = marker(number, x, y);
                frame.add(format_args!("{mark}"));
            }
        }
    }
    frame.finish()
}

/// The common scale of all panels of a plot, so that readers can compare them.
pub(super) fn common_scale(series: impl Iterator<Item = Series> + Clone, unit: AxisUnit) -> Scale {
    let points = series.flat_map(|series| series.points).flatten();
    let values = points.flat_map(|point| {
        // Extreme intervals would leave no room for the others. They are cut off, and the page says
        // so.
        let interval = point.interval.filter(|_| !point.extreme);
        let (low, high) = interval.unwrap_or((point.value, point.value));
        [point.value, low, high]
    });
    Scale::from_values(values, unit)
}

/// The common time scale for the distributions of all panels.
pub(super) fn common_time_scale<'p>(series: impl Iterator<Item = &'p Series>) -> Scale {
    let ends = series.flat_map(|series| [series.steps.first(), series.steps.last()]);
    let ends: Vec<f64> = ends.flatten().map(|(ms, _)| *ms as f64).collect();
    let most = ends.iter().copied().fold(1.0, f64::max);
    Scale::from_times(ends.into_iter().fold(most, f64::min), most)
}
