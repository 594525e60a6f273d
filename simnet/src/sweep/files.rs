//! Files of results: one JSON object to a line. First the manifest, then one line for each world,
//! last how many and the SHA-256 of everything before. A file without its last line is cut short.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use unanimity_protocol::Hash;
use unanimity_storage::{Mode, Storage, StorageError};

use super::error::{ResultError, SweepError};
use super::shard::Shard;
use crate::study::WorldId;
use crate::{Results, Study};

const FORMAT: &str = "simnet/results/v1";

/// Larger files are not read.
const MAX_FILE_BYTES: usize = 64 << 30;

/// What results are of. Only results that agree in all of it, but for the shard, mix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepManifest {
    format: String,
    /// The simulator's version.
    pub version: String,
    /// SHA-256 of the canonical scenario: [`Study::digest`].
    pub scenario: String,
    /// The master seed.
    pub seed: u64,
    /// Which shard; `None` once merged.
    pub shard: Option<String>,
}

/// One world and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRow {
    /// Index of the study's cells.
    pub cell: u32,
    /// Which of the cell's worlds, from 0.
    pub replication: u32,
    /// Its own seed, with which it can be played alone.
    pub seed: u64,
    /// What was counted and measured.
    pub results: Results,
}

/// A file of results, its digest checked. Rows stay text: nobody but a report reads them.
#[derive(Clone, Debug)]
pub struct ResultFile {
    /// Of what.
    pub manifest: SweepManifest,
    /// The study; parts of a shard do without.
    pub study: Option<Study>,
    /// Each world's line.
    pub rows: BTreeMap<WorldId, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHeader {
    manifest: SweepManifest,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    study: Option<Study>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTrailer {
    worlds: u64,
    sha256: String,
}

impl SweepManifest {
    /// Of this version's results.
    pub fn new(study: &Study, master: u64, shard: Option<Shard>) -> SweepManifest {
        SweepManifest {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: study.digest(),
            seed: master,
            shard: shard.map(|shard| shard.to_string()),
        }
    }

    /// Of many shards together.
    pub(super) fn without_shard(&self) -> SweepManifest {
        SweepManifest { shard: None, ..self.clone() }
    }

    /// Whether results of both mix; `path` holds this one.
    pub(super) fn check_same_study(
        &self,
        rest: &SweepManifest,
        path: &Path,
    ) -> Result<(), SweepError> {
        let odd = if self.version != rest.version {
            ResultError::Version(self.version.clone(), rest.version.clone())
        } else if self.scenario != rest.scenario {
            let short = |digest: &str| digest.chars().take(12).collect();
            ResultError::Scenario(short(&self.scenario), short(&rest.scenario))
        } else if self.seed != rest.seed {
            ResultError::MasterSeed(self.seed, rest.seed)
        } else {
            return Ok(());
        };
        Err(SweepError::InvalidFile { path: path.to_owned(), problem: odd })
    }
}

impl ResultRow {
    /// As a line of a file, without its end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// Which world.
    pub fn world_id(&self) -> WorldId {
        WorldId { cell: self.cell, replication: self.replication }
    }

    /// From a line of a file.
    pub fn parse(line: &str) -> Option<ResultRow> {
        serde_json::from_str(line).ok()
    }
}

/// Writes a file whole, or not at all.
pub(super) fn write_result_file(
    disk: &Storage,
    path: &Path,
    manifest: &SweepManifest,
    study: Option<&Study>,
    rows: &BTreeMap<WorldId, String>,
) -> Result<(), SweepError> {
    let first = FileHeader { manifest: manifest.clone(), study: study.cloned() };
    let mut text = serde_json::to_string(&first).expect("plain data");
    text.push('\n');
    for row in rows.values() {
        text += row;
        text.push('\n');
    }
    let last = FileTrailer {
        worlds: rows.len() as u64,
        sha256: Hash::digest(text.as_bytes()).to_string(),
    };
    text += &serde_json::to_string(&last).expect("plain data");
    text.push('\n');
    Ok(disk.write(path, text.as_bytes(), Mode::Public).map_err(StorageError::at(path))?)
}

/// Reads a file and checks that all of it is there.
pub(super) fn read_result_file(path: &Path) -> Result<ResultFile, SweepError> {
    let bytes = unanimity_storage::read_at_most(path, MAX_FILE_BYTES)?;
    parse(bytes).map_err(|odd| SweepError::InvalidFile { path: path.to_owned(), problem: odd })
}

fn parse(bytes: Vec<u8>) -> Result<ResultFile, ResultError> {
    if !bytes.starts_with(b"{\"manifest\":{\"format\":\"simnet/results/v1\"") {
        // What is shorter than that may have been cut.
        let begun = b"{\"manifest\":{\"format\":\"simnet/results/v1\"".starts_with(&bytes);
        return Err(if begun { ResultError::Truncated } else { ResultError::UnknownFormat });
    }
    let text = String::from_utf8(bytes).map_err(|_| ResultError::Damaged)?;
    let body = text.strip_suffix('\n').ok_or(ResultError::Truncated)?;
    let (_, last) = body.rsplit_once('\n').ok_or(ResultError::Truncated)?;
    let last: FileTrailer = serde_json::from_str(last).map_err(|_| ResultError::Truncated)?;
    let above = &text[..body.rfind('\n').map_or(0, |end| end + 1)];
    if Hash::digest(above.as_bytes()).to_string() != last.sha256 {
        return Err(ResultError::Damaged);
    }
    let mut lines = above.lines();
    let first: FileHeader = serde_json::from_str(lines.next().ok_or(ResultError::UnknownFormat)?)
        .map_err(|_| ResultError::UnknownFormat)?;
    let mut rows = BTreeMap::new();
    for line in lines {
        let row = ResultRow::parse(line).ok_or(ResultError::UnknownFormat)?;
        rows.insert(row.world_id(), line.to_owned());
    }
    if rows.len() as u64 != last.worlds {
        return Err(ResultError::Damaged);
    }
    Ok(ResultFile { manifest: first.manifest, study: first.study, rows })
}

/// The files of results in a directory, by name; those under a temporary name are not there.
pub(super) fn list_result_files(directory: &Path) -> Result<Vec<PathBuf>, SweepError> {
    let at = || StorageError::at(directory);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(at())? {
        let path = entry.map_err(at())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".jsonl") && !name.starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Writes what a merge came to.
pub fn write_merged(disk: &Storage, path: &Path, merged: &ResultFile) -> Result<(), SweepError> {
    write_result_file(disk, path, &merged.manifest, merged.study.as_ref(), &merged.rows)
}

/// Reads what a merge wrote: the study, and a row for each world.
pub fn read_merged(path: &Path) -> Result<(SweepManifest, Study, Vec<ResultRow>), SweepError> {
    let odd = |odd| SweepError::InvalidFile { path: path.to_owned(), problem: odd };
    let file = read_result_file(path)?;
    if file.manifest.shard.as_ref().is_some_and(|shard| shard != "0/1") {
        return Err(odd(ResultError::NotMerged));
    }
    let study = file.study.ok_or_else(|| odd(ResultError::NotMerged))?;
    let rows: Option<Vec<ResultRow>> =
        file.rows.values().map(|line| ResultRow::parse(line)).collect();
    let rows = rows.ok_or_else(|| odd(ResultError::UnknownFormat))?;
    let known = |row: &ResultRow| {
        (row.cell as usize) < study.cells.len() && row.replication < study.replications
    };
    match rows.iter().all(known) {
        true => Ok((file.manifest, study, rows)),
        false => Err(odd(ResultError::UnknownWorld)),
    }
}
