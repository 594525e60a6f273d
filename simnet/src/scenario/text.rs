//! The text of a scenario file, with the values that `--set` replaces, and errors that name the
//! line.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake in a scenario file or in `--set`: its location, the problem and the remedy, on one
/// line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {problem}")]
pub struct ScenarioError {
    location: String,
    problem: String,
}

/// The text of a file, followed by a section `[set]` with the values of `--set`.
#[derive(Clone, Debug)]
pub struct ScenarioText {
    path: PathBuf,
    text: String,
    /// Length of the file's own text, in bytes. The `[set]` section begins here.
    own: usize,
}

/// A TOML table with the position of every value in the text.
pub type ScenarioTree<'t> = DeTable<'t>;

impl ScenarioText {
    /// Joins the text of a file with the values of `--set`, each as `field=value`. A value that is
    /// not TOML is a string. Fails if an element of `set` has another form.
    pub fn new(path: &Path, text: &str, set: &[String]) -> Result<ScenarioText, ScenarioError> {
        let own = text.len();
        let mut text = ScenarioText { path: path.to_owned(), text: text.to_owned(), own };
        if set.is_empty() {
            return Ok(text);
        }
        text.text += "\n[set]\n";
        for entry in set {
            let location = || format!("--set {entry}");
            let (field, value) = entry.split_once('=').ok_or_else(|| ScenarioError {
                location: location(),
                problem: "write FIELD=VALUE, for example --set peers=5".to_owned(),
            })?;
            let (field, value) = (field.trim(), value.trim());
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            if field.is_empty() || !field.chars().all(plain) || value.contains('\n') {
                let problem = "a field is named as in the file, for example peers".to_owned();
                return Err(ScenarioError { location: location(), problem });
            }
            let value = match DeValue::parse(value) {
                Ok(_) => Cow::Borrowed(value),
                Err(_) => Cow::Owned(toml::Value::from(value).to_string()),
            };
            text.text += &format!("{field} = {value}\n");
        }
        Ok(text)
    }

    /// Parses the text as TOML.
    pub fn parse_tree(&self) -> Result<Spanned<ScenarioTree<'_>>, ScenarioError> {
        DeTable::parse(&self.text).map_err(|error| self.error_at(error.span(), error.message()))
    }

    /// The source text of a value, without surrounding space.
    pub fn source_text(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default().trim()
    }

    /// The name of the file, without directory and extension.
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// An error about the value at `span`, or about the file as a whole.
    pub fn error_at(
        &self,
        span: Option<Range<usize>>,
        problem: impl Into<String>,
    ) -> ScenarioError {
        let file = self.path.display();
        let problem = problem.into().trim().replace('\n', "; ");
        let Some(span) = span.filter(|span| span.start > 0) else {
            return ScenarioError { location: file.to_string(), problem };
        };
        let start = span.start.min(self.text.len());
        let before = &self.text.as_bytes()[..start];
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let shown = self.text.lines().nth(line).unwrap_or_default().trim();
        let location = match start < self.own || self.own == self.text.len() {
            true => format!("{file}, line {} (`{shown}`)", line + 1),
            false => format!("--set {}", shown.replacen(" = ", "=", 1)),
        };
        ScenarioError { location, problem }
    }
}

/// The value at a dotted path, if the tree has one.
pub fn find_value<'a, 't>(
    tree: &'a ScenarioTree<'t>,
    path: &str,
) -> Option<&'a Spanned<DeValue<'t>>> {
    match path.split_once('.') {
        None => tree.get(path),
        Some((first, rest)) => find_value(tree.get(first)?.get_ref().as_table()?, rest),
    }
}

/// Whether a path names exactly one value in a tree. A path into a list (`[[fault]]`) names one
/// value only if the list has one element.
pub fn is_unambiguous(tree: &ScenarioTree<'_>, path: &str) -> bool {
    let first = path.split_once('.').map_or(path, |(first, _)| first);
    let list = tree.get(first).and_then(|value| value.get_ref().as_array());
    list.is_none_or(|list| list.len() == 1) && (list.is_some() || first != "fault")
}

/// Inserts a value at a dotted path, and creates the tables on the way. In a list, the first
/// element is changed.
pub fn put_value<'t>(tree: &mut ScenarioTree<'t>, path: &str, value: Spanned<DeValue<'t>>) {
    let span = value.span();
    let (first, rest) = match path.split_once('.') {
        None => (path, None),
        Some((first, rest)) => (first, Some(rest)),
    };
    let key = Spanned::new(span.clone(), Cow::Owned(first.to_owned()));
    let Some(rest) = rest else {
        tree.remove(first);
        tree.insert(key, value);
        return;
    };
    if let Some(DeValue::Array(all)) = tree.get_mut(first).map(Spanned::get_mut)
        && let Some(DeValue::Table(only)) = all.get_mut(0).map(Spanned::get_mut)
    {
        put_value(only, rest, value);
        return;
    }
    if !tree.get(first).is_some_and(|inner| inner.get_ref().is_table()) {
        tree.remove(first);
        tree.insert(key, Spanned::new(span, DeValue::Table(ScenarioTree::new())));
    }
    if let Some(DeValue::Table(inner)) = tree.get_mut(first).map(Spanned::get_mut) {
        put_value(inner, rest, value);
    }
}
