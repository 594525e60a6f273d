//! Merging result files into one. Every order and grouping of the files gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::{MissingWorlds, ResultError, SweepError};
use super::files::{ResultFile, list_result_files, read_result_file};
use crate::Study;
use crate::study::WorldId;

/// Merges directories of shards and single result files. Worlds may be missing only if `partial`.
///
/// # Errors
/// A file is invalid or does not belong to the others, a world is there twice, or worlds are
/// missing.
pub fn merge(from: &[PathBuf], partial: bool) -> Result<ResultFile, SweepError> {
    let mut files = Vec::new();
    let mut unfinished = Vec::new();
    for path in from {
        let before = files.len();
        collect_files(path, &mut files, &mut unfinished)?;
        if files.len() == before {
            return Err(SweepError::NoResults(path.clone()));
        }
    }
    let mut merged: Option<ResultFile> = None;
    let mut file_of: BTreeMap<WorldId, usize> = BTreeMap::new();
    let mut shards = BTreeSet::new();
    for (number, path) in files.iter().enumerate() {
        let file = read_result_file(path)?;
        let into = merged.get_or_insert_with(|| ResultFile {
            manifest: file.manifest.without_shard(),
            study: None,
            rows: BTreeMap::new(),
        });
        file.manifest.check_same_study(&into.manifest, path)?;
        match (&into.study, &file.study) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return Err(SweepError::InvalidFile {
                    path: path.clone(),
                    problem: ResultError::TextMismatch,
                });
            }
            (None, Some(theirs)) => into.study = Some(theirs.clone()),
            _ => {}
        }
        for (id, line) in file.rows {
            if let Some(&other) = file_of.get(&id) {
                let (first, second) = (files[other].clone(), path.clone());
                let world = world_name(into.study.as_ref(), id);
                return Err(SweepError::DuplicateWorld { first, second, world });
            }
            file_of.insert(id, number);
            into.rows.insert(id, line);
        }
        shards.extend(file.manifest.shard);
    }
    let first = from.first().cloned().unwrap_or_default();
    let merged = merged.ok_or_else(|| SweepError::NoResults(first.clone()))?;
    let Some(study) = &merged.study else { return Err(SweepError::NoResults(first)) };
    if let Some((id, _)) = merged.rows.iter().find(|(id, _)| !contains_world(study, **id)) {
        let path = files[file_of[id]].clone();
        return Err(SweepError::InvalidFile { path, problem: ResultError::UnknownWorld });
    }
    match find_missing(study, &merged.rows, unfinished, &shards) {
        Some(missing) if !partial => Err(SweepError::MissingWorlds(missing)),
        _ => Ok(merged),
    }
}

fn contains_world(study: &Study, id: WorldId) -> bool {
    (id.cell as usize) < study.cells.len() && id.replication < study.replications
}

fn world_name(study: Option<&Study>, id: WorldId) -> String {
    let known = study.filter(|study| contains_world(study, id));
    let label = known.map(|study| study.label(id.cell)).unwrap_or_default();
    let comma = if label.is_empty() { "" } else { ", " };
    format!("{label}{comma}replication {}", id.replication)
}

/// Collects the files of whole shards, and for unfinished shards the files of their parts.
fn collect_files(
    path: &Path,
    files: &mut Vec<PathBuf>,
    unfinished: &mut Vec<String>,
) -> Result<(), SweepError> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    // The directory may also have a merged file, which is left out.
    let shard = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shard-"))
    };
    files.extend(list_result_files(path)?.into_iter().filter(shard));
    let at = || unanimity_storage::StorageError::at(path);
    let mut inner = Vec::new();
    for entry in std::fs::read_dir(path).map_err(at())? {
        inner.push(entry.map_err(at())?.path());
    }
    inner.sort();
    for parts in inner.iter().filter(|inner| inner.extension().is_some_and(|end| end == "parts")) {
        if !parts.with_extension("jsonl").exists() {
            unfinished.push(parts.file_stem().unwrap_or_default().to_string_lossy().into_owned());
            files.extend(list_result_files(parts)?);
        }
    }
    Ok(())
}

fn find_missing(
    study: &Study,
    rows: &BTreeMap<WorldId, String>,
    mut unfinished: Vec<String>,
    shards: &BTreeSet<String>,
) -> Option<MissingWorlds> {
    let all = study.worlds();
    let first = (0..all).map(|n| study.world_id(n)).find(|id| !rows.contains_key(id))?;
    let of: BTreeSet<&str> =
        shards.iter().filter_map(|shard| shard.split_once('/')).map(|(_, of)| of).collect();
    if let (1, Some(of)) = (of.len(), of.first()) {
        let absent = |i: &u32| !shards.contains(&format!("{i}/{of}"));
        let absent = (0..of.parse::<u32>().unwrap_or(0)).filter(absent);
        unfinished.extend(absent.map(|i| format!("shard-{i}-of-{of}")));
    }
    let missing = all - rows.len() as u64;
    Some(MissingWorlds { missing, all, first: world_name(Some(study), first), unfinished })
}
