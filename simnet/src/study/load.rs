//! Reading a [`Study`] from the text of a scenario file.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::plot::{Plot, PlotKind, PlotMeasure};
use super::{Axis, Study};
use crate::scenario::fields::resolve_field;
use crate::scenario::file::read_scenario;
use crate::scenario::text::{ScenarioError, ScenarioText, ScenarioTree, is_unambiguous, put_value};

/// The largest number of cells of a study.
const MAX_CELLS: usize = 100_000;

/// A varied field: its axis, and its values with their positions in the text.
struct VariedField<'t> {
    axis: Axis,
    values: Vec<Spanned<DeValue<'t>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlotFile {
    question: String,
    kind: Option<Spanned<PlotKind>>,
    metric: Spanned<String>,
    x: Option<Spanned<String>>,
    line: Option<Spanned<String>>,
    y: Option<Spanned<String>>,
}

impl Study {
    /// Reads the text of a file. `set` has values that replace the file's, each as `field=value`.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn read(path: &Path, text: &str, set: &[String]) -> Result<Study, ScenarioError> {
        let text = ScenarioText::new(path, text, set)?;
        let tree = text.parse_tree()?;
        let whole = tree.span();
        let mut tree = tree.into_inner();
        let set = take_section(&text, &mut tree, "set")?;
        let plots = tree.remove("plot");
        let mut sweep = take_section(&text, &mut tree, "sweep")?.unwrap_or_default();
        let mut set = set.unwrap_or_default();
        if let Some(replications) = set.remove("replications") {
            put_value(&mut sweep, "replications", replications);
        }
        let (mut varied, replications) = axes(&text, sweep)?;
        for (name, value) in flatten_fields(set) {
            let path = resolve_field(&name)
                .map_err(|problem| text.error_at(Some(value.span()), problem))?;
            match varied.iter_mut().find(|varied| varied.axis.field == path) {
                Some(axis) => *axis = vary(&text, path, to_values(value))?,
                None if !is_unambiguous(&tree, path) => {
                    return Err(ambiguous(&text, path, value.span()));
                }
                None => put_value(&mut tree, path, value),
            }
        }
        for VariedField { axis, values } in &varied {
            if !is_unambiguous(&tree, &axis.field) {
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

fn ambiguous(text: &ScenarioText, path: &str, span: Range<usize>) -> ScenarioError {
    let problem =
        format!("{path} is a field of the one [[fault]] of a file: this file has none, or several");
    text.error_at(Some(span), problem)
}

/// Takes a section out of the tree; `None` if the tree has no section of that name.
fn take_section<'t>(
    text: &ScenarioText,
    tree: &mut ScenarioTree<'t>,
    name: &str,
) -> Result<Option<ScenarioTree<'t>>, ScenarioError> {
    let Some(value) = tree.remove(name) else { return Ok(None) };
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(Some(table)),
        _ => Err(text.error_at(Some(span), format!("write a section: [{name}]"))),
    }
}

/// All values that are not sections, each with its path, in the order of the text. Tables inside
/// arrays are values.
fn flatten_fields<'t>(tree: ScenarioTree<'t>) -> Vec<(String, Spanned<DeValue<'t>>)> {
    let mut all = Vec::new();
    for (key, value) in tree {
        let span = value.span();
        let name = key.into_inner().into_owned();
        match value.into_inner() {
            // Only dotted keys make tables here; `{ small_world = .. }` names no field.
            DeValue::Table(inner) if inner.keys().all(|key| is_field(&name, key.get_ref())) => {
                let inner = flatten_fields(inner).into_iter();
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

fn to_values<'t>(value: Spanned<DeValue<'t>>) -> Vec<Spanned<DeValue<'t>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(values) => values.into_iter().collect(),
        value => vec![Spanned::new(span, value)],
    }
}

/// The axes, in the order of the file, and the number of replications.
fn axes<'t>(
    text: &ScenarioText,
    mut sweep: ScenarioTree<'t>,
) -> Result<(Vec<VariedField<'t>>, u32), ScenarioError> {
    let replications = match sweep.remove("replications") {
        None => 1,
        Some(value) => {
            let number = value
                .get_ref()
                .as_integer()
                .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
            let problem =
                "replications is the number of worlds of each cell: a whole number from 1";
            let number = number.filter(|number| *number > 0);
            number.ok_or_else(|| text.error_at(Some(value.span()), problem))?
        }
    };
    let mut varied: Vec<VariedField<'_>> = Vec::new();
    for (name, value) in flatten_fields(sweep) {
        let span = value.span();
        let path =
            resolve_field(&name).map_err(|problem| text.error_at(Some(span.clone()), problem))?;
        if !value.get_ref().is_array() {
            let problem = "write the values to try in brackets: [1, 3, 5]";
            return Err(text.error_at(Some(span), problem));
        }
        if varied.iter().any(|varied| varied.axis.field == path) {
            return Err(
                text.error_at(Some(span), format!("{path} is varied twice: remove one of them"))
            );
        }
        let values = to_values(value);
        if values.is_empty() {
            return Err(text.error_at(Some(span), "no value to try: write at least one"));
        }
        varied.push(vary(text, path, values)?);
    }
    Ok((varied, replications))
}

fn vary<'t>(
    text: &ScenarioText,
    path: &str,
    values: Vec<Spanned<DeValue<'t>>>,
) -> Result<VariedField<'t>, ScenarioError> {
    let mut labels: Vec<String> = Vec::new();
    for value in &values {
        let label = text.source_text(value.span()).trim_matches('"').to_owned();
        if labels.contains(&label) {
            let problem = format!("{label} is listed twice: remove one of them");
            return Err(text.error_at(Some(value.span()), problem));
        }
        labels.push(label);
    }
    Ok(VariedField { axis: Axis { field: path.to_owned(), values: labels }, values })
}

fn cells(
    text: &ScenarioText,
    base: Spanned<ScenarioTree<'_>>,
    varied: &[VariedField<'_>],
) -> Result<Vec<crate::Scenario>, ScenarioError> {
    let count = varied.iter().try_fold(1usize, |count, axis| {
        count.checked_mul(axis.values.len()).filter(|count| *count <= MAX_CELLS)
    });
    let count = count.ok_or_else(|| {
        text.error_at(None, format!("more than {MAX_CELLS} combinations: vary less at once"))
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
            put_value(tree.get_mut(), &axis.axis.field, value);
        }
        let cell = read_scenario(text, tree)?;
        if seen.insert(cell.canonical_text(), number).is_some() {
            let problem = "two combinations are the same world: remove one of the values";
            return Err(text.error_at(last, problem));
        }
        cells.push(cell);
    }
    Ok(cells)
}

fn read_plots(
    text: &ScenarioText,
    plots: Option<Spanned<DeValue<'_>>>,
    axes: &[Axis],
) -> Result<Vec<Plot>, ScenarioError> {
    let Some(plots) = plots else { return Ok(Vec::new()) };
    let span = plots.span();
    let DeValue::Array(plots) = plots.into_inner() else {
        return Err(text.error_at(Some(span), "write plots as [[plot]]"));
    };
    plots.into_iter().map(|plot| read_plot(text, plot, axes)).collect()
}

fn read_plot(
    text: &ScenarioText,
    plot: Spanned<DeValue<'_>>,
    axes: &[Axis],
) -> Result<Plot, ScenarioError> {
    let span = plot.span();
    let DeValue::Table(table) = plot.into_inner() else {
        return Err(text.error_at(Some(span), "write plots as [[plot]]"));
    };
    let table = Spanned::new(span.clone(), table);
    let file = PlotFile::deserialize(toml::de::Deserializer::from(table))
        .map_err(|error| text.error_at(error.span().or(Some(span.clone())), error.message()))?;
    let metric = file.metric.span();
    let measure: PlotMeasure = file
        .metric
        .get_ref()
        .parse()
        .map_err(|problem: String| text.error_at(Some(metric.clone()), problem))?;
    let axis = |name: &Option<Spanned<String>>| {
        let Some(name) = name else { return Ok(None) };
        let invalid = |problem| text.error_at(Some(name.span()), problem);
        let path = resolve_field(name.get_ref()).map_err(invalid)?;
        let found = axes.iter().position(|axis| axis.field == path);
        let missing = || format!("{path} is not varied: give its values in [sweep]");
        found.map(Some).ok_or_else(|| invalid(missing()))
    };
    let (x, y, line) = (axis(&file.x)?, axis(&file.y)?, axis(&file.line)?);
    let distribution = matches!(measure.quantity, super::Quantity::Time(_));
    let usual = match (distribution, y) {
        (true, _) => PlotKind::Ecdf,
        (false, Some(_)) => PlotKind::Heat,
        (false, None) => PlotKind::Lines,
    };
    let kind = file.kind.as_ref().map_or(usual, |kind| *kind.get_ref());
    let (fits, problem) = match kind {
        PlotKind::Ecdf => (
            distribution && x.is_none() && y.is_none(),
            "a distribution needs a time as metric (`patch`, `notice / victims`), may have line, and has \
             no x or y",
        ),
        PlotKind::Heat => (
            !distribution && x.is_some() && y.is_some() && x != y && line.is_none(),
            "a heat map needs a metric that is one number, and different x and y; it has no line",
        ),
        PlotKind::Lines => (
            !distribution && x.is_some() && y.is_none() && x != line,
            "lines need a metric that is one number, and x; they may have another field as line, and no y",
        ),
    };
    match fits {
        true => Ok(Plot { question: file.question, kind, measure, x, by: line.or(y) }),
        false => Err(text.error_at(Some(metric), problem)),
    }
}
