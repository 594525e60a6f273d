//! Axes: scales, ticks and the text of values.

/// The unit of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisUnit {
    /// A fraction from 0 to 1, written as a percentage.
    Fraction,
    /// Milliseconds, written in a suitable unit.
    Time,
    /// A number without unit.
    Number,
}

/// A scale that maps values to positions from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
    /// The values of the ticks, ascending, and their labels.
    pub ticks: Vec<(f64, String)>,
}

/// Round durations for ticks, in milliseconds.
const TIMES: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3,
    120e3, 300e3, 600e3, 900e3, 1_800e3, 3.6e6, 7.2e6, 10.8e6, 21.6e6, 43.2e6, 86.4e6, 172.8e6,
    432e6, 864e6, 1_728e6, 4_320e6, 8_640e6, 17_280e6, 43_200e6, 86_400e6,
];

impl Scale {
    /// A scale over all values. It begins at 0 if that wastes little space, and is logarithmic for
    /// times that span more than a factor of 30.
    pub fn from_values(values: impl Iterator<Item = f64> + Clone, unit: AxisUnit) -> Scale {
        let finite = values.filter(|value| value.is_finite());
        let max = finite.clone().fold(0.0, f64::max);
        let min = finite.fold(f64::INFINITY, f64::min).min(max);
        if unit == AxisUnit::Time && min > 0.0 && max / min > 30.0 {
            return Scale::from_times(min, max);
        }
        let max = if max > 0.0 { max } else { 1.0 };
        let from = if min < 0.6 * max || min >= max { 0.0 } else { min };
        let room = (max - from).max(max * 0.02);
        let step = tick_step(room / 4.0, unit);
        let low = (from / step).floor() * step;
        let mut high = (max / step - 1e-9).ceil() * step;
        if unit == AxisUnit::Fraction {
            high = high.min(1.0_f64.max(max));
        }
        let high = high.max(low + step);
        let count = ((high - low) / step + 1e-6).floor() as usize;
        let ticks = (0..=count).map(|n| low + n as f64 * step);
        let ticks = ticks.map(|at| (at, format_tick(at, step, unit))).collect();
        Scale { low, high, log: false, ticks }
    }

    /// A logarithmic scale of times with round ends.
    pub fn from_times(min: f64, max: f64) -> Scale {
        let min = min.max(1.0);
        let low = TIMES.iter().rev().find(|time| **time <= min).copied().unwrap_or(1.0);
        let high = TIMES.iter().find(|time| **time >= max).copied().unwrap_or(max);
        let high = high.max(low * 2.0);
        // At most seven ticks, at least this factor apart.
        let factor = (high / low).powf(1.0 / 6.0);
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for &at in TIMES.iter().filter(|time| **time >= low && **time <= high) {
            if ticks.last().is_none_or(|(last, _)| at / last >= factor) {
                ticks.push((at, format_time(at)));
            }
        }
        Scale { low, high, log: true, ticks }
    }

    /// The position of a value on the axis, from 0 to 1. Infinity is at 1.
    pub fn position(&self, value: f64) -> f64 {
        let part = match self.log {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        part.clamp(0.0, 1.0)
    }

    /// Whether the scale is logarithmic.
    pub fn is_log(&self) -> bool {
        self.log
    }
}

fn tick_step(least: f64, unit: AxisUnit) -> f64 {
    if unit == AxisUnit::Time {
        return TIMES.iter().copied().find(|time| *time >= least).unwrap_or(least);
    }
    let decade = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    let step = steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9));
    let step = step.unwrap_or(least);
    if unit == AxisUnit::Fraction { step.min(0.25) } else { step }
}

fn format_tick(at: f64, step: f64, unit: AxisUnit) -> String {
    let digits = |step: f64| (-step.log10().floor()).max(0.0) as usize;
    match unit {
        AxisUnit::Time => format_time(at),
        AxisUnit::Fraction => {
            let percent = step * 100.0;
            // A step of 2.5% needs a digit after the point, although it is above 1%.
            let more = usize::from((percent * 10f64.powi(digits(percent) as i32)).fract() > 1e-6);
            format!("{:.*}%", digits(percent) + more, at * 100.0)
        }
        AxisUnit::Number => format!("{at:.*}", digits(step)),
    }
}

/// Formats milliseconds in a suitable unit: `2 h`, `1.5 d`, `250 ms`.
pub fn format_time(ms: f64) -> String {
    if ms.is_infinite() {
        return "not reached in the observed time".to_owned();
    }
    let units = [(86.4e6, "d"), (3.6e6, "h"), (60e3, "min"), (1e3, "s"), (1.0, "ms")];
    let fits = units.into_iter().find(|(unit, _)| ms >= *unit * (1.0 - 1e-9));
    let (unit, name) = if ms == 0.0 { return "0".to_owned() } else { fits.unwrap_or((1.0, "ms")) };
    format!("{} {name}", format_short(ms / unit))
}

/// Formats a value with its unit and three digits, for tables and heat maps.
pub fn format_value(value: f64, unit: AxisUnit) -> String {
    match unit {
        AxisUnit::Time => format_time(value),
        AxisUnit::Fraction => format!("{}%", format_short(value * 100.0)),
        AxisUnit::Number => format_short(value),
    }
}

fn format_short(number: f64) -> String {
    let digits = match number.abs() {
        0.0 => 0,
        small if small < 1.0 => 3,
        middle if middle < 10.0 => 2,
        large if large < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
