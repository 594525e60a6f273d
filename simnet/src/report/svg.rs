//! Drawings as SVG, to stand in the page: colours come from its style sheet, so that they fit light
//! and dark.

use std::fmt::Write as _;

use super::axis::{Scale, Unit, time, value};
use super::escape;
use super::series::{Panel, Series};
use crate::study::Axis;

/// The colours of Okabe and Ito, which people who are colour-blind can tell apart, without the
/// yellow; markers and dashes differ too.
pub(super) const COLOURS: usize = 7;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
/// About as wide as a character of the axes.
const CHARACTER: f64 = 6.6;
/// From one line of words to the next.
const LINE: f64 = 14.0;

/// What a plot's axes are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) unit: Unit,
}

struct Frame {
    svg: String,
    bottom: f64,
}

impl Frame {
    fn new(names: Names<'_>, below: f64) -> Frame {
        let bottom = HEIGHT - below;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}, over {}\">",
            escape(names.y),
            escape(names.x)
        );
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        let low = HEIGHT - 6.0;
        write!(svg, "<text class=\"name\" x=\"{middle}\" y=\"{low}\">{}</text>", escape(names.x))
            .expect("a string");
        Frame { svg, bottom }
    }

    fn x(&self, part: f64) -> f64 {
        LEFT + part * (WIDTH - RIGHT - LEFT)
    }

    fn y(&self, part: f64) -> f64 {
        self.bottom - part * (self.bottom - TOP)
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(text).expect("a string");
    }

    fn y_axis(&mut self, scale: &Scale) {
        for (at, words) in &scale.ticks {
            let (y, right) = (self.y(scale.place(*at)), WIDTH - RIGHT);
            self.add(format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
            let (x, y) = (LEFT - 7.0, y + 4.0);
            self.add(format_args!("<text class=\"up\" x=\"{x}\" y=\"{y:.1}\">{words}</text>"));
        }
    }

    fn end(mut self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, self.bottom);
        self.add(format_args!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom:.1}H{right}\"/>"));
        self.svg + "</svg>"
    }
}

/// Where the values of an axis are, from 0 to 1, and whether that is to scale: only if all are
/// numbers or all are times, and their words do not overlap so.
fn places(axis: &Axis) -> (Vec<f64>, bool) {
    let count = axis.values.len();
    let even = |n: usize| (n as f64 + 0.5) / count as f64;
    let numbers: Option<Vec<f64>> = axis.values.iter().map(|value| value.parse().ok()).collect();
    let times = || -> Option<Vec<f64>> {
        let time =
            |value: &String| humantime::parse_duration(value).ok().map(|time| time.as_secs_f64());
        axis.values.iter().map(time).collect()
    };
    let to_scale = numbers.or_else(times).filter(|_| count > 1).and_then(|numbers| {
        let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let at: Vec<f64> = numbers.iter().map(|n| 0.06 + 0.88 * (n - low) / (high - low)).collect();
        let mut sorted: Vec<(f64, usize)> =
            at.iter().zip(&axis.values).map(|(at, value)| (*at, value.chars().count())).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let apart = sorted.windows(2).all(|two| {
            let needed = (two[0].1 + two[1].1) as f64 / 2.0 * CHARACTER + 6.0;
            (two[1].0 - two[0].0) * (WIDTH - RIGHT - LEFT) >= needed
        });
        apart.then_some(at)
    });
    match to_scale {
        Some(at) => (at, true),
        None => ((0..count).map(even).collect(), false),
    }
}

/// Whether an axis is one of numbers or times, and yet drawn evenly spaced.
pub(super) fn is_not_to_scale(axis: &Axis) -> bool {
    let number =
        |value: &String| value.parse::<f64>().is_ok() || humantime::parse_duration(value).is_ok();
    axis.values.len() > 2 && axis.values.iter().all(number) && !places(axis).1
}

/// How the words under an axis are set.
enum Setting {
    /// On so many lines at most.
    Lines(usize),
    /// Slanting, the longest of so many characters.
    Slanting(usize),
}

fn setting(axis: &Axis) -> Setting {
    let room = room(axis);
    let words = axis.values.iter().map(|value| spoken(value));
    let (mut lines, mut longest, mut fits) = (1, 0, true);
    for value in words {
        fits &= value.split(' ').all(|word| word.chars().count() <= room);
        lines = lines.max(wrapped(&value, room).len());
        longest = longest.max(value.chars().count());
    }
    if fits { Setting::Lines(lines) } else { Setting::Slanting(longest) }
}

/// How many characters a value has room for.
fn room(axis: &Axis) -> usize {
    let pixels = (WIDTH - RIGHT - LEFT) / axis.values.len().max(1) as f64 - 4.0;
    (pixels / CHARACTER) as usize
}

fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Words under the axis: on several lines, or slanting, where they would overlap.
fn x_axis(frame: &mut Frame, axis: &Axis, at: &[f64]) {
    let setting = setting(axis);
    for (value, at) in axis.values.iter().zip(at) {
        let (x, bottom) = (frame.x(*at), frame.bottom);
        let (tick, y) = (bottom + 5.0, bottom + 18.0);
        frame.add(format_args!("<path class=\"axis\" d=\"M{x:.1} {bottom:.1}V{tick:.1}\"/>"));
        let value = spoken(value);
        if let Setting::Slanting(_) = setting {
            let value = escape(&value);
            frame.add(format_args!(
                "<text class=\"up\" x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-35 {x:.1} {y:.1})\">{value}</text>"
            ));
            continue;
        }
        for (number, line) in wrapped(&value, room(axis)).iter().enumerate() {
            let (y, line) = (y + LINE * number as f64, escape(line));
            frame.add(format_args!(
                "<text class=\"across\" x=\"{x:.1}\" y=\"{y:.1}\">{line}</text>"
            ));
        }
    }
}

/// Room under the frame.
fn below(axis: &Axis) -> f64 {
    match setting(axis) {
        Setting::Lines(lines) => 44.0 + LINE * (lines as f64 - 1.0),
        Setting::Slanting(longest) => (46.0 + longest as f64 * CHARACTER * 0.58).min(130.0),
    }
}

/// A value without what TOML puts round it: `{ small_world = { rewired = 0.1 } }`.
pub(super) fn spoken(value: &str) -> String {
    let plain: String = value.chars().filter(|c| !"{}[]\"".contains(*c)).collect();
    let words = plain.replace('_', " ").replace(" = ", " ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A shape of its own for each line, so that colour is not all that tells them apart.
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

/// Estimates with their intervals along an axis.
pub(super) fn lines(panel: &Panel, axis: &Axis, scale: &Scale, names: Names<'_>) -> String {
    let at = places(axis).0;
    let mut frame = Frame::new(names, below(axis));
    frame.y_axis(scale);
    x_axis(&mut frame, axis, &at);
    let middle = (panel.series.len() as f64 - 1.0) / 2.0;
    let apart = at.windows(2).map(|two| (two[1] - two[0]).abs()).fold(1.0, f64::min);
    let apart = apart * (WIDTH - RIGHT - LEFT) * 0.6 / panel.series.len().max(1) as f64;
    for (number, series) in panel.series.iter().enumerate() {
        let colour = number % COLOURS;
        // Side by side, so that intervals do not hide each other.
        let aside = (number as f64 - middle) * apart.min(4.0);
        let mut path = String::new();
        let mut marks = String::new();
        for (point, at) in series.points.iter().zip(&at) {
            let Some(point) = point else {
                continue;
            };
            let (x, y) = (frame.x(*at) + aside, frame.y(scale.place(point.value)));
            if point.value.is_finite() {
                let verb = if path.is_empty() { 'M' } else { 'L' };
                write!(path, "{verb}{x:.1} {y:.1}").expect("a string");
                marks += &marker(number, x, y);
            } else {
                write!(marks, "<path class=\"never c{colour}\" d=\"M{x:.1} {TOP}l5 9h-10z\"/>")
                    .expect("a string");
            }
            if let Some((low, high)) = point.interval {
                let (low, high) = (frame.y(scale.place(low)), frame.y(scale.place(high)));
                write!(
                    marks,
                    "<path class=\"whisker c{colour}\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>"
                )
                .expect("a string");
            }
        }
        let dash = number / COLOURS;
        frame.add(format_args!("<path class=\"line c{colour} d{dash}\" d=\"{path}\"/>{marks}"));
    }
    frame.end()
}

/// What fraction took no longer, as steps over a logarithm of time.
pub(super) fn ecdf(panel: &Panel, scale: &Scale, names: Names<'_>) -> String {
    let up = Scale::over([0.0, 1.0].into_iter(), Unit::Fraction);
    let mut frame = Frame::new(names, 44.0);
    frame.y_axis(&up);
    for (at, words) in &scale.ticks {
        let (x, bottom) = (frame.x(scale.place(*at)), frame.bottom);
        let y = bottom + 18.0;
        frame.add(format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/>"));
        frame.add(format_args!("<text class=\"across\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"));
    }
    for (number, series) in panel.series.iter().enumerate() {
        let colour = number % COLOURS;
        let Some((first, _)) = series.steps.first() else { continue };
        let x = frame.x(scale.place(*first as f64));
        let mut path = format!("M{x:.1} {:.1}", frame.bottom);
        for (ms, fraction) in &series.steps {
            let (x, y) = (frame.x(scale.place(*ms as f64)), frame.y(*fraction));
            write!(path, "H{x:.1}V{y:.1}").expect("a string");
        }
        write!(path, "H{:.1}", frame.x(1.0)).expect("a string");
        let dash = number / COLOURS + number % COLOURS;
        frame.add(format_args!("<path class=\"line c{colour} d{}\" d=\"{path}\"/>", dash % 4));
        // Markers on the way, at other places for every line.
        let marked = [0.2, 0.5, 0.8].map(|part| part + 0.03 * number as f64);
        let top = series.steps.last().map_or(0.0, |(_, fraction)| *fraction);
        for part in marked {
            let step = series.steps.iter().find(|(_, fraction)| *fraction >= part * top);
            if let Some((ms, fraction)) = step {
                let (x, y) = (frame.x(scale.place(*ms as f64)), frame.y(*fraction));
                let mark = marker(number, x, y);
                frame.add(format_args!("{mark}"));
            }
        }
    }
    frame.end()
}

/// Estimates over two axes. One hue from light to dark, and the number in every field.
pub(super) fn heat(
    panel: &Panel,
    (across, up): (&Axis, &Axis),
    (least, most): (f64, f64),
    names: Names<'_>,
) -> String {
    let mut frame = Frame::new(names, below(across));
    let (columns, rows) = (across.values.len() as f64, panel.series.len() as f64);
    let at: Vec<f64> = (0..across.values.len()).map(|n| (n as f64 + 0.5) / columns).collect();
    for (row, series) in panel.series.iter().enumerate() {
        let (low, high) = (frame.y(row as f64 / rows), frame.y((row as f64 + 1.0) / rows));
        let label = escape(&spoken(&up.values[row]));
        let (x, y) = (LEFT - 7.0, (low + high) / 2.0 + 4.0);
        frame.add(format_args!("<text class=\"up\" x=\"{x}\" y=\"{y:.1}\">{label}</text>"));
        for (column, point) in series.points.iter().enumerate() {
            let (left, right) =
                (frame.x(column as f64 / columns), frame.x((column as f64 + 1.0) / columns));
            field(
                &mut frame,
                (left, high, right, low),
                point.map(|p| p.value),
                (least, most),
                names.unit,
            );
        }
    }
    x_axis(&mut frame, across, &at);
    frame.end()
}

fn field(
    frame: &mut Frame,
    (left, top, right, bottom): (f64, f64, f64, f64),
    number: Option<f64>,
    (least, most): (f64, f64),
    unit: Unit,
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
        Some(number) => value(number, unit),
    };
    let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0 + 4.0);
    let size = ((width - 4.0) / (words.chars().count() as f64 * CHARACTER) * 12.0).min(12.0);
    // What nobody could read is in the table below.
    if size >= 8.0 && height >= size {
        frame.add(format_args!(
            "<text class=\"field\" x=\"{x:.1}\" y=\"{y:.1}\" style=\"fill:{ink};font-size:{size:.1}px\">{words}</text>"
        ));
    }
}

/// Cividis (Nuñez, Anderton, Renslow 2018), made to be read alike with and without colour vision:
/// dark blue to yellow, of which these are stops.
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

/// One scale for all panels of a plot, so that they compare.
pub(super) fn common(series: impl Iterator<Item = Series> + Clone, unit: Unit) -> Scale {
    let points = series.flat_map(|series| series.points).flatten();
    let values = points.flat_map(|point| {
        // Those would leave no room for the others; they are cut off, and the page says so.
        let interval = point.interval.filter(|_| !point.extreme);
        let (low, high) = interval.unwrap_or((point.value, point.value));
        [point.value, low, high]
    });
    Scale::over(values, unit)
}

/// One scale for the distributions of all panels.
pub(super) fn common_times<'p>(series: impl Iterator<Item = &'p Series>) -> Scale {
    let ends = series.flat_map(|series| [series.steps.first(), series.steps.last()]);
    let ends: Vec<f64> = ends.flatten().map(|(ms, _)| *ms as f64).collect();
    let most = ends.iter().copied().fold(1.0, f64::max);
    Scale::log_time(ends.into_iter().fold(most, f64::min), most)
}

/// What the two ends of the colours of a grid mean.
pub(super) fn key((least, most): (f64, f64), unit: Unit) -> String {
    let stops: String = (0..=5).map(|n| format!("{} ", shade(f64::from(n) / 5.0))).collect();
    let stops = stops.trim().replace(") r", "),r");
    let ends = [least, most].map(|end| match unit {
        Unit::Time => time(end),
        _ => value(end, unit),
    });
    format!(
        "<p class=\"key\"><span>{}</span><i style=\"background:linear-gradient(to right,{stops})\"></i><span>{}</span></p>",
        ends[0], ends[1]
    )
}
