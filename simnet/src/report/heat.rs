//! Heat maps: an estimate for every pair of values, as colour and number.

use super::axis::{AxisUnit, format_time, format_value};
use super::escape::escape;
use super::frame::{AxisNames, CHARACTER, Frame, LEFT, bottom_margin, draw_x_axis, readable_value};
use super::series::Panel;
use crate::study::Axis;

/// Draws estimates over two axes. Each field has a colour from dark blue to yellow, and its number
/// if the number fits.
pub(super) fn draw_heat_map(
    panel: &Panel,
    (across, up): (&Axis, &Axis),
    (least, most): (f64, f64),
    names: AxisNames<'_>,
) -> String {
    let mut frame = Frame::new(names, bottom_margin(across));
    let (columns, rows) = (across.values.len() as f64, panel.series.len() as f64);
    let at: Vec<f64> = (0..across.values.len()).map(|n| (n as f64 + 0.5) / columns).collect();
    for (row, series) in panel.series.iter().enumerate() {
        let (low, high) = (frame.y(row as f64 / rows), frame.y((row as f64 + 1.0) / rows));
        let label = escape(&readable_value(&up.values[row]));
        let (x, y) = (LEFT - 7.0, (low + high) / 2.0 + 4.0);
        frame.add(format_args!("<text class=\"up\" x=\"{x}\" y=\"{y:.1}\">{label}</text>"));
        for (column, point) in series.points.iter().enumerate() {
            let (left, right) =
                (frame.x(column as f64 / columns), frame.x((column as f64 + 1.0) / columns));
            draw_cell(
                &mut frame,
                (left, high, right, low),
                point.map(|p| p.value),
                (least, most),
                names.unit,
            );
        }
    }
    draw_x_axis(&mut frame, across, &at);
    frame.finish()
}

fn draw_cell(
    frame: &mut Frame,
    (left, top, right, bottom): (f64, f64, f64, f64),
    number: Option<f64>,
    (least, most): (f64, f64),
    unit: AxisUnit,
) {
    let (width, height) = (right - left - 1.0, bottom - top - 1.0);
    let part = number.map(|number| match most > least {
        true => ((number.min(most) - least) / (most - least)).clamp(0.0, 1.0),
        false => 0.5,
    });
    let (fill, ink) = part.map_or(("none".to_owned(), "inherit"), |part| {
        (shade(part), if part < 0.5 { "#fff" } else { "#111" })
    });
    frame.add(format_args!(
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
    ));
    let words = match number {
        None => "–".to_owned(),
        Some(never) if never.is_infinite() => "never".to_owned(),
        Some(number) => format_value(number, unit),
    };
    let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0 + 4.0);
    let size = ((width - 4.0) / (words.chars().count() as f64 * CHARACTER) * 12.0).min(12.0);
    // Text that would be too small is left out; the table below has the number.
    if size >= 8.0 && height >= size {
        frame.add(format_args!(
            "<text class=\"field\" x=\"{x:.1}\" y=\"{y:.1}\" style=\"fill:{ink};font-size:{size:.1}px\">{words}</text>"
        ));
    }
}

/// The colour at `part`, from 0 to 1, of the map cividis (Nuñez, Anderton, Renslow 2018). It reads
/// alike with and without colour vision, and goes from dark blue to yellow.
pub(super) fn shade(part: f64) -> String {
    const STOPS: [[f64; 3]; 6] = [
        [0.0, 32.0, 77.0],
        [49.0, 68.0, 107.0],
        [102.0, 105.0, 112.0],
        [149.0, 143.0, 120.0],
        [203.0, 186.0, 105.0],
        [255.0, 234.0, 70.0],
    ];
    let at = part.clamp(0.0, 1.0) * 5.0;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    let mix = |c: usize| STOPS[low][c] + (STOPS[high][c] - STOPS[low][c]) * at.fract();
    format!("rgb({:.0},{:.0},{:.0})", mix(0), mix(1), mix(2))
}

/// The colour key of a heat map: the range of colours with the values of both ends.
pub(super) fn colour_key((least, most): (f64, f64), unit: AxisUnit) -> String {
    let stops: String = (0..=5).map(|n| format!("{} ", shade(f64::from(n) / 5.0))).collect();
    let stops = stops.trim().replace(") r", "),r");
    let ends = [least, most].map(|end| match unit {
        AxisUnit::Time => format_time(end),
        _ => format_value(end, unit),
    });
    format!(
        "<p class=\"key\"><span>{}</span><i style=\"background:linear-gradient(to right,{stops})\"></i><span>{}</span></p>",
        ends[0], ends[1]
    )
}
