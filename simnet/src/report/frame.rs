//! The frame of a drawing: its axes and their labels.

use std::fmt::Write as _;

use super::axis::{AxisUnit, Scale};
use super::escape::escape;
use crate::study::Axis;

pub(super) const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
pub(super) const LEFT: f64 = 66.0;
pub(super) const RIGHT: f64 = 16.0;
pub(super) const TOP: f64 = 14.0;
/// The approximate width of a character of the labels.
pub(super) const CHARACTER: f64 = 6.6;
/// The distance between two lines of text.
const LINE: f64 = 14.0;

/// The names of a plot's axes, and the unit of its y axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxisNames<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) unit: AxisUnit,
}

/// A drawing in progress, and the lower edge of its axes.
pub(super) struct Frame {
    svg: String,
    pub(super) bottom: f64,
}

impl Frame {
    pub(super) fn new(names: AxisNames<'_>, below: f64) -> Frame {
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

    pub(super) fn x(&self, part: f64) -> f64 {
        LEFT + part * (WIDTH - RIGHT - LEFT)
    }

    pub(super) fn y(&self, part: f64) -> f64 {
        self.bottom - part * (self.bottom - TOP)
    }

    pub(super) fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(text).expect("a string");
    }

    pub(super) fn draw_y_axis(&mut self, scale: &Scale) {
        for (at, words) in &scale.ticks {
            let (y, right) = (self.y(scale.position(*at)), WIDTH - RIGHT);
            self.add(format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
            let (x, y) = (LEFT - 7.0, y + 4.0);
            self.add(format_args!("<text class=\"up\" x=\"{x}\" y=\"{y:.1}\">{words}</text>"));
        }
    }

    pub(super) fn finish(mut self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, self.bottom);
        self.add(format_args!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom:.1}H{right}\"/>"));
        self.svg + "</svg>"
    }
}

/// The positions of an axis's values, from 0 to 1, and whether the positions are to scale. They are
/// to scale if all values are numbers or all are times, and their labels do not overlap.
pub(super) fn axis_positions(axis: &Axis) -> (Vec<f64>, bool) {
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
        let fits = sorted.windows(2).all(|two| {
            let needed = (two[0].1 + two[1].1) as f64 / 2.0 * CHARACTER + 6.0;
            (two[1].0 - two[0].0) * (WIDTH - RIGHT - LEFT) >= needed
        });
        fits.then_some(at)
    });
    match to_scale {
        Some(at) => (at, true),
        None => ((0..count).map(even).collect(), false),
    }
}

/// Whether an axis of more than two numbers or times is drawn with even spaces instead of to scale.
pub(super) fn is_evenly_spaced(axis: &Axis) -> bool {
    let number =
        |value: &String| value.parse::<f64>().is_ok() || humantime::parse_duration(value).is_ok();
    axis.values.len() > 2 && axis.values.iter().all(number) && !axis_positions(axis).1
}

/// The layout of the labels under an axis.
enum LabelLayout {
    /// Horizontal, on at most this number of lines.
    Lines(usize),
    /// Slanting; the longest label has this number of characters.
    Slanting(usize),
}

fn label_layout(axis: &Axis) -> LabelLayout {
    let room = label_width(axis);
    let words = axis.values.iter().map(|value| readable_value(value));
    let (mut lines, mut longest, mut fits) = (1, 0, true);
    for value in words {
        fits &= value.split(' ').all(|word| word.chars().count() <= room);
        lines = lines.max(wrap_words(&value, room).len());
        longest = longest.max(value.chars().count());
    }
    if fits { LabelLayout::Lines(lines) } else { LabelLayout::Slanting(longest) }
}

/// The number of characters that fit under one value of an axis.
fn label_width(axis: &Axis) -> usize {
    let pixels = (WIDTH - RIGHT - LEFT) / axis.values.len().max(1) as f64 - 4.0;
    (pixels / CHARACTER) as usize
}

fn wrap_words(text: &str, room: usize) -> Vec<String> {
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

/// Draws the labels under an axis: on several lines, or slanting if they would overlap.
pub(super) fn draw_x_axis(frame: &mut Frame, axis: &Axis, at: &[f64]) {
    let layout = label_layout(axis);
    for (value, at) in axis.values.iter().zip(at) {
        let (x, bottom) = (frame.x(*at), frame.bottom);
        let (tick, y) = (bottom + 5.0, bottom + 18.0);
        frame.add(format_args!("<path class=\"axis\" d=\"M{x:.1} {bottom:.1}V{tick:.1}\"/>"));
        let value = readable_value(value);
        if let LabelLayout::Slanting(_) = layout {
            let value = escape(&value);
            frame.add(format_args!(
                "<text class=\"up\" x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-35 {x:.1} {y:.1})\">{value}</text>"
            ));
            continue;
        }
        for (number, line) in wrap_words(&value, label_width(axis)).iter().enumerate() {
            let (y, line) = (y + LINE * number as f64, escape(line));
            frame.add(format_args!(
                "<text class=\"across\" x=\"{x:.1}\" y=\"{y:.1}\">{line}</text>"
            ));
        }
    }
}

/// The height of the space under the axes.
pub(super) fn bottom_margin(axis: &Axis) -> f64 {
    match label_layout(axis) {
        LabelLayout::Lines(lines) => 44.0 + LINE * (lines as f64 - 1.0),
        LabelLayout::Slanting(longest) => (46.0 + longest as f64 * CHARACTER * 0.58).min(130.0),
    }
}

/// A value without TOML's brackets and quotes: `{ small_world = { rewired = 0.1 } }` becomes
/// `small world rewired 0.1`.
pub(super) fn readable_value(value: &str) -> String {
    let plain: String = value.chars().filter(|c| !"{}[]\"".contains(*c)).collect();
    let words = plain.replace('_', " ").replace(" = ", " ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
