//! Plots: the measure, the axes that it is drawn over, and the kind of drawing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::results::{COUNTS, TIMES};

/// A plot of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plot {
    /// The question that the plot answers, in words.
    pub question: String,
    /// How the plot is drawn.
    pub kind: PlotKind,
    /// What the plot shows.
    pub measure: PlotMeasure,
    /// The horizontal axis, as an index of the study's axes; `None` for a distribution, whose x is
    /// time.
    pub x: Option<usize>,
    /// The vertical axis of a heat map, or the axis with a line for each value.
    pub by: Option<usize>,
}

/// How a plot is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlotKind {
    /// Estimates with their intervals along an axis.
    Lines,
    /// Estimates over two axes.
    Heat,
    /// The fraction of times that are no longer than x.
    Ecdf,
}

/// A measure, written as `QUANTITY` or `QUANTITY / COUNT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlotMeasure {
    /// The numerator.
    pub quantity: Quantity,
    /// The denominator, a count. For times it is the number of all cases, with those that never
    /// ended.
    pub denominator: Option<String>,
}

/// A count, a distribution of times, or a figure of a distribution. Each variant has the name of
/// its count or distribution.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    /// A count.
    Count(String),
    /// A distribution of times as a whole.
    Time(String),
    /// The mean of a distribution.
    Mean(String),
    /// The time that this fraction of a distribution does not exceed.
    Quantile(String, f64),
}

impl PlotMeasure {
    /// Whether the numerator is a part of the denominator, so that the measure is from 0 to 1:
    /// `rounds.fork / rounds` and `releases.late / releases.due`, and not their reverse.
    pub fn is_fraction(&self) -> bool {
        let family = |name: &str| name.split('.').next().map(str::to_owned);
        match (&self.quantity, &self.denominator) {
            (Quantity::Count(name), Some(of)) => {
                let is_whole = !of.contains('.') || of == "releases.due";
                family(name) == family(of) && is_whole
            }
            (Quantity::Time(_), _) => true,
            _ => false,
        }
    }

    /// Whether the measure is one time, in milliseconds.
    pub fn is_time(&self) -> bool {
        matches!(self.quantity, Quantity::Mean(_) | Quantity::Quantile(..))
    }

    /// The measure in words.
    pub fn description(&self) -> String {
        let known = |name: &str| {
            let all = COUNTS.iter().chain(TIMES);
            all.clone()
                .find(|(known, _)| *known == name)
                .map_or(name, |(_, words)| *words)
                .to_owned()
        };
        let of = self.denominator.as_deref().map(known);
        match (&self.quantity, of) {
            (Quantity::Count(name), Some(of)) if self.is_fraction() => {
                format!("{}, fraction of {of}", known(name))
            }
            (Quantity::Count(name), Some(of)) => format!("{} per {}", known(name), singular(&of)),
            (Quantity::Count(name), None) => known(name),
            (Quantity::Time(name), Some(of)) => format!("fraction of {of}, by {}", known(name)),
            (Quantity::Time(name), None) => format!("fraction, by {}", known(name)),
            (Quantity::Mean(name), _) => format!("mean {}", known(name)),
            (Quantity::Quantile(name, 0.5), None) => format!("median {}", known(name)),
            (Quantity::Quantile(name, 0.5), Some(of)) => {
                format!("median {}, of all {of}", known(name))
            }
            (Quantity::Quantile(name, q), of) => {
                let of = of.map_or(String::new(), |of| format!(", of all {of}"));
                format!("{}th percentile of the {}{of}", percent(*q), known(name))
            }
        }
    }
}

fn singular(words: &str) -> &str {
    words.strip_suffix('s').unwrap_or(words)
}

impl FromStr for PlotMeasure {
    type Err = String;

    fn from_str(text: &str) -> Result<PlotMeasure, String> {
        let (above, of) = match text.split_once('/') {
            None => (text.trim(), None),
            Some((above, of)) => (above.trim(), Some(parse_count(of.trim())?)),
        };
        let quantity = match above.split_once(' ') {
            None => match parse_count(above) {
                Ok(name) => Quantity::Count(name),
                Err(_) => Quantity::Time(parse_time(above)?),
            },
            Some(("mean", name)) if of.is_none() => Quantity::Mean(parse_time(name)?),
            Some(("median", name)) => Quantity::Quantile(parse_time(name)?, 0.5),
            Some((p, name)) => Quantity::Quantile(parse_time(name)?, percentile(p)?),
        };
        if of.is_none() && matches!(quantity, Quantity::Count(_)) {
            return Err(format!(
                "a count needs a denominator: write for example `{above} / worlds`"
            ));
        }
        Ok(PlotMeasure { quantity, denominator: of })
    }
}

fn parse_count(name: &str) -> Result<String, String> {
    find_name(COUNTS, name).ok_or_else(|| unknown_metric(name))
}

fn parse_time(name: &str) -> Result<String, String> {
    find_name(TIMES, name.trim()).ok_or_else(|| unknown_metric(name))
}

fn find_name(table: &[(&str, &str)], name: &str) -> Option<String> {
    table.iter().any(|(known, _)| *known == name).then(|| name.to_owned())
}

fn unknown_metric(name: &str) -> String {
    let names = |table: &[(&'static str, &str)]| -> String {
        table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    format!(
        "`{name}` is neither counted nor timed (for one number write `attacks.noticed / attacks` or \
         `median patch`); counts are {}; times are {}",
        names(COUNTS),
        names(TIMES)
    )
}

/// The percentage of a quantile, rounded because 0.29 * 100 is not exactly 29.
fn percent(quantile: f64) -> f64 {
    (quantile * 1e8).round() / 1e6
}

fn percentile(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
    let fits = number.filter(|percent| (0.0..100.0).contains(percent) && *percent > 0.0);
    let number = fits
        .ok_or_else(|| format!("`{text}` is none of mean, median and percentiles such as p99"))?;
    let quantile = number / 100.0;
    // Results contain the measure as text, and parsing that text must give the same number.
    if percent(quantile) != number {
        return Err(format!("`{text}` has too many digits: at most six after the point"));
    }
    Ok(quantile)
}

impl fmt::Display for PlotMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.quantity {
            Quantity::Count(name) | Quantity::Time(name) => write!(f, "{name}")?,
            Quantity::Mean(name) => write!(f, "mean {name}")?,
            Quantity::Quantile(name, q) => write!(f, "p{} {name}", percent(*q))?,
        }
        self.denominator.as_ref().map_or(Ok(()), |of| write!(f, " / {of}"))
    }
}

impl TryFrom<String> for PlotMeasure {
    type Error = String;

    fn try_from(text: String) -> Result<PlotMeasure, String> {
        text.parse()
    }
}

impl From<PlotMeasure> for String {
    fn from(measure: PlotMeasure) -> String {
        measure.to_string()
    }
}
