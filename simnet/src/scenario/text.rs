//! A scenario file as text: where every value stands in it, what the command line puts in its place,
//! and errors that name the line.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ScenarioError {
    place: String,
    what: String,
}

/// A file's text, and below it what `--set` says.
#[derive(Clone, Debug)]
pub struct ScenarioText {
    path: PathBuf,
    text: String,
    /// Where the file ends and `--set` begins.
    own: usize,
}

/// A TOML table that remembers where its values stand.
pub type ScenarioTree<'t> = DeTable<'t>;

impl ScenarioText {
    /// `set` holds `field=value`; a value that is no TOML is a string.
    pub fn new(path: &Path, text: &str, set: &[String]) -> Result<ScenarioText, ScenarioError> {
        let own = text.len();
        let mut text = ScenarioText { path: path.to_owned(), text: text.to_owned(), own };
        if set.is_empty() {
            return Ok(text);
        }
        text.text += "\n[set]\n";
        for entry in set {
            let place = || format!("--set {entry}");
            let (field, value) = entry.split_once('=').ok_or_else(|| ScenarioError {
                place: place(),
                what: "write FIELD=VALUE, for example --set circle=5".to_owned(),
            })?;
            let (field, value) = (field.trim(), value.trim());
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            if field.is_empty() || !field.chars().all(plain) || value.contains('\n') {
                let what = "a field is named as in the file, for example circle".to_owned();
                return Err(ScenarioError { place: place(), what });
            }
            let value = match DeValue::parse(value) {
                Ok(_) => Cow::Borrowed(value),
                Err(_) => Cow::Owned(toml::Value::from(value).to_string()),
            };
            text.text += &format!("{field} = {value}\n");
        }
        Ok(text)
    }

    /// Parses it.
    pub fn parse_tree(&self) -> Result<Spanned<ScenarioTree<'_>>, ScenarioError> {
        DeTable::parse(&self.text).map_err(|error| self.error_at(error.span(), error.message()))
    }

    /// The characters of a value, as they were written.
    pub fn source_text(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default().trim()
    }

    /// The name of the file, without its directory and ending.
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Something wrong with what stands there, or with the file as a whole.
    pub fn error_at(&self, span: Option<Range<usize>>, what: impl Into<String>) -> ScenarioError {
        let file = self.path.display();
        let what = what.into().trim().replace('\n', "; ");
        let Some(span) = span.filter(|span| span.start > 0) else {
            return ScenarioError { place: file.to_string(), what };
        };
        let start = span.start.min(self.text.len());
        let before = &self.text.as_bytes()[..start];
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let shown = self.text.lines().nth(line).unwrap_or_default().trim();
        let place = match start < self.own || self.own == self.text.len() {
            true => format!("{file}, line {} (`{shown}`)", line + 1),
            false => format!("--set {}", shown.replacen(" = ", "=", 1)),
        };
        ScenarioError { place, what }
    }
}

/// The value at a path of names, if it is there.
pub fn find_value<'a, 't>(
    tree: &'a ScenarioTree<'t>,
    path: &str,
) -> Option<&'a Spanned<DeValue<'t>>> {
    match path.split_once('.') {
        None => tree.get(path),
        Some((first, rest)) => find_value(tree.get(first)?.get_ref().as_table()?, rest),
    }
}

/// Whether a path names one place in a tree: not if it leads into a list (`[[read_fault]]`) of any length
/// but one.
pub fn is_unambiguous(tree: &ScenarioTree<'_>, path: &str) -> bool {
    let first = path.split_once('.').map_or(path, |(first, _)| first);
    let list = tree.get(first).and_then(|value| value.get_ref().as_array());
    list.is_none_or(|list| list.len() == 1) && (list.is_some() || first != "fault")
}

/// Puts a value at a path of names, and tables on the way where there are none. Of a list, in its first.
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
