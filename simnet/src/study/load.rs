//! From a file to a [`Study`].

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::plot::{Kind, Measure, Plot};
use super::{Axis, Study};
use crate::scenario::fields::field;
use crate::scenario::file::scenario;
use crate::scenario::text::{Text, Tree, Wrong, is_one, put};

/// More cells than this are a mistake.
const MOST_CELLS: usize = 100_000;

/// A field that is varied: its axis, and where its values stand.
struct Varied<'t> {
    axis: Axis,
    values: Vec<Spanned<DeValue<'t>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlotFile {
    question: String,
    kind: Option<Spanned<Kind>>,
    metric: Spanned<String>,
    x: Option<Spanned<String>>,
    line: Option<Spanned<String>>,
    y: Option<Spanned<String>>,
}

impl Study {
    /// Reads the text of a file; `set` are values in place of the file's, as `field=value`.
    pub fn read(path: &Path, text: &str, set: &[String]) -> Result<Study, Wrong> {
        let text = Text::new(path, text, set)?;
        let tree = text.tree()?;
        let whole = tree.span();
        let mut tree = tree.into_inner();
        let set = section(&text, &mut tree, "set")?;
        let plots = tree.remove("plot");
        let mut sweep = section(&text, &mut tree, "sweep")?.unwrap_or_default();
        let mut set = set.unwrap_or_default();
        if let Some(replications) = set.remove("replications") {
            put(&mut sweep, "replications", replications);
        }
        let (mut varied, replications) = axes(&text, sweep)?;
        for (name, value) in leaves(set) {
            let path = field(&name).map_err(|what| text.wrong(Some(value.span()), what))?;
            match varied.iter_mut().find(|varied| varied.axis.field == path) {
                Some(axis) => *axis = vary(&text, path, many(value))?,
                None if !is_one(&tree, path) => return Err(ambiguous(&text, path, value.span())),
                None => put(&mut tree, path, value),
            }
        }
        for Varied { axis, values } in &varied {
            if !is_one(&tree, &axis.field) {
                let span = values.first().map_or(0..0, Spanned::span);
                return Err(ambiguous(&text, &axis.field, span));
            }
        }
        let cells = cells(&text, Spanned::new(whole, tree), &varied)?;
        let axes: Vec<Axis> = varied.into_iter().map(|varied| varied.axis).collect();
        let plots = read_plots(&text, plots, &axes)?;
        let question = cells[0].question.clone();
        Ok(Study { name: text.name(), question, axes, replications, cells, plots })
    }
}

fn ambiguous(text: &Text, path: &str, span: Range<usize>) -> Wrong {
    let what =
        format!("{path} is a field of the one [[fault]] of a file: here there is none, or more");
    text.wrong(Some(span), what)
}

/// Takes a section out of the tree.
fn section<'t>(text: &Text, tree: &mut Tree<'t>, name: &str) -> Result<Option<Tree<'t>>, Wrong> {
    let Some(value) = tree.remove(name) else { return Ok(None) };
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(Some(table)),
        _ => Err(text.wrong(Some(span), format!("write a section: [{name}]"))),
    }
}

/// Every value that is no section, by its path. Tables inside arrays are values.
fn leaves<'t>(tree: Tree<'t>) -> Vec<(String, Spanned<DeValue<'t>>)> {
    let mut all = Vec::new();
    for (key, value) in tree {
        let span = value.span();
        let name = key.into_inner().into_owned();
        match value.into_inner() {
            // Only dotted keys make tables here; `{ small_world = .. }` names no field.
            DeValue::Table(inner) if inner.keys().all(|key| is_field(&name, key.get_ref())) => {
                let inner = leaves(inner).into_iter();
                all.extend(inner.map(|(rest, value)| (format!("{name}.{rest}"), value)));
            }
            value => all.push((name, Spanned::new(span, value))),
        }
    }
    all.sort_by_key(|(_, value)| value.span().start);
    all
}

fn is_field(section: &str, key: &str) -> bool {
    let prefix = format!("{section}.{key}");
    crate::scenario::fields::FIELDS.iter().any(|(path, _)| {
        *path == prefix
            || path.starts_with(&format!("{prefix}."))
            || path.contains(&format!(".{prefix}"))
    })
}

fn many<'t>(value: Spanned<DeValue<'t>>) -> Vec<Spanned<DeValue<'t>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(values) => values.into_iter().collect(),
        value => vec![Spanned::new(span, value)],
    }
}

/// The axes, in the order of the file, and the number of replications.
fn axes<'t>(text: &Text, mut sweep: Tree<'t>) -> Result<(Vec<Varied<'t>>, u32), Wrong> {
    let replications = match sweep.remove("replications") {
        None => 1,
        Some(value) => {
            let number = value
                .get_ref()
                .as_integer()
                .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
            let what = "replications is how many worlds of each cell: a whole number from 1";
            let number = number.filter(|number| *number > 0);
            number.ok_or_else(|| text.wrong(Some(value.span()), what))?
        }
    };
    let mut varied: Vec<Varied<'_>> = Vec::new();
    for (name, value) in leaves(sweep) {
        let span = value.span();
        let path = field(&name).map_err(|what| text.wrong(Some(span.clone()), what))?;
        if !value.get_ref().is_array() {
            let what = "write the values to try in brackets: [1, 3, 5]";
            return Err(text.wrong(Some(span), what));
        }
        if varied.iter().any(|varied| varied.axis.field == path) {
            return Err(text.wrong(Some(span), format!("{path} is varied twice: strike one out")));
        }
        let values = many(value);
        if values.is_empty() {
            return Err(text.wrong(Some(span), "no value to try: write at least one"));
        }
        varied.push(vary(text, path, values)?);
    }
    Ok((varied, replications))
}

fn vary<'t>(
    text: &Text,
    path: &str,
    values: Vec<Spanned<DeValue<'t>>>,
) -> Result<Varied<'t>, Wrong> {
    let mut labels: Vec<String> = Vec::new();
    for value in &values {
        let label = text.written(value.span()).trim_matches('"').to_owned();
        if labels.contains(&label) {
            return Err(text.wrong(Some(value.span()), format!("{label} is there twice")));
        }
        labels.push(label);
    }
    Ok(Varied { axis: Axis { field: path.to_owned(), values: labels }, values })
}

fn cells(
    text: &Text,
    base: Spanned<Tree<'_>>,
    varied: &[Varied<'_>],
) -> Result<Vec<crate::Scenario>, Wrong> {
    let count = varied.iter().try_fold(1usize, |count, axis| {
        count.checked_mul(axis.values.len()).filter(|count| *count <= MOST_CELLS)
    });
    let count = count.ok_or_else(|| {
        text.wrong(None, format!("more than {MOST_CELLS} combinations: vary less at once"))
    })?;
    let mut cells = Vec::with_capacity(count);
    let mut seen = std::collections::BTreeMap::new();
    for number in 0..count {
        let mut tree = base.clone();
        let mut rest = number;
        let mut last = None;
        for axis in varied.iter().rev() {
            let value = axis.values[rest % axis.values.len()].clone();
            rest /= axis.values.len();
            last.get_or_insert(value.span());
            put(tree.get_mut(), &axis.axis.field, value);
        }
        let cell = scenario(text, tree)?;
        if seen.insert(cell.canonical(), number).is_some() {
            let what = "two combinations are one and the same world: strike one value out";
            return Err(text.wrong(last, what));
        }
        cells.push(cell);
    }
    Ok(cells)
}

fn read_plots(
    text: &Text,
    plots: Option<Spanned<DeValue<'_>>>,
    axes: &[Axis],
) -> Result<Vec<Plot>, Wrong> {
    let Some(plots) = plots else { return Ok(Vec::new()) };
    let span = plots.span();
    let DeValue::Array(plots) = plots.into_inner() else {
        return Err(text.wrong(Some(span), "write plots as [[plot]]"));
    };
    plots.into_iter().map(|plot| read_plot(text, plot, axes)).collect()
}

fn read_plot(text: &Text, plot: Spanned<DeValue<'_>>, axes: &[Axis]) -> Result<Plot, Wrong> {
    let span = plot.span();
    let DeValue::Table(table) = plot.into_inner() else {
        return Err(text.wrong(Some(span), "write plots as [[plot]]"));
    };
    let table = Spanned::new(span.clone(), table);
    let file = PlotFile::deserialize(toml::de::Deserializer::from(table))
        .map_err(|error| text.wrong(error.span().or(Some(span.clone())), error.message()))?;
    let metric = file.metric.span();
    let measure: Measure = file
        .metric
        .get_ref()
        .parse()
        .map_err(|what: String| text.wrong(Some(metric.clone()), what))?;
    let axis = |name: &Option<Spanned<String>>| {
        let Some(name) = name else { return Ok(None) };
        let wrong = |what| text.wrong(Some(name.span()), what);
        let path = field(name.get_ref()).map_err(wrong)?;
        let found = axes.iter().position(|axis| axis.field == path);
        let missing = || format!("{path} is not varied: give its values in [sweep]");
        found.map(Some).ok_or_else(|| wrong(missing()))
    };
    let (x, y, line) = (axis(&file.x)?, axis(&file.y)?, axis(&file.line)?);
    let distribution = matches!(measure.quantity, super::Quantity::Time(_));
    let usual = match (distribution, y) {
        (true, _) => Kind::Ecdf,
        (false, Some(_)) => Kind::Heat,
        (false, None) => Kind::Lines,
    };
    let kind = file.kind.as_ref().map_or(usual, |kind| *kind.get_ref());
    let (fits, what) = match kind {
        Kind::Ecdf => (
            distribution && x.is_none() && y.is_none(),
            "a distribution takes a time as metric (`patch`, `notice / victims`) and line, no x or y",
        ),
        Kind::Heat => (
            !distribution && x.is_some() && y.is_some() && x != y && line.is_none(),
            "a heat map takes a metric that is one number, x and another y, no line",
        ),
        Kind::Lines => (
            !distribution && x.is_some() && y.is_none() && x != line,
            "lines take a metric that is one number, x, and line if there is more than one",
        ),
    };
    match fits {
        true => Ok(Plot { question: file.question, kind, measure, x, by: line.or(y) }),
        false => Err(text.wrong(Some(metric), what)),
    }
}
