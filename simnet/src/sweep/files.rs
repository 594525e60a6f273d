//! Result files: one JSON object on each line.
//!
//! The first line has the manifest. Then each world has a line. The last line has the number of
//! worlds and the SHA-256 of all bytes before it. A file without its last line is truncated.

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

/// The largest result file that is read, in bytes.
const MAX_FILE_BYTES: usize = 64 << 30;

/// The origin of results. Results mix only if their manifests agree in everything except the shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepManifest {
    format: String,
    /// The simulator's version.
    pub version: String,
    /// SHA-256 of the study's worlds: [`Study::digest`].
    pub scenario: String,
    /// The master seed.
    pub seed: u64,
    /// The shard, as `i/n`; `None` once merged.
    pub shard: Option<String>,
}

/// One world and its results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRow {
    /// An index of the study's cells.
    pub cell: u32,
    /// The number of the world in its cell, from 0.
    pub replication: u32,
    /// The seed of this world, with which it can be played alone.
    pub seed: u64,
    /// The counts and times of the world.
    pub results: Results,
}

/// A result file with a checked digest. Rows stay text, because only reports use their contents.
#[derive(Clone, Debug)]
pub struct ResultFile {
    /// The origin of the results.
    pub manifest: SweepManifest,
    /// The study; parts of a shard may lack it.
    pub study: Option<Study>,
    /// The line of each world.
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
    /// The manifest for results of this version.
    pub fn new(study: &Study, master: u64, shard: Option<Shard>) -> SweepManifest {
        SweepManifest {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: study.digest(),
            seed: master,
            shard: shard.map(|shard| shard.to_string()),
        }
    }

    /// The manifest for the merged results of several shards.
    pub(super) fn without_shard(&self) -> SweepManifest {
        SweepManifest { shard: None, ..self.clone() }
    }

    /// Checks that results of both manifests mix. `path` is the file of `self`, for the error.
    pub(super) fn check_same_study(
        &self,
        rest: &SweepManifest,
        path: &Path,
    ) -> Result<(), SweepError> {
        let problem = if self.version != rest.version {
            ResultError::Version(self.version.clone(), rest.version.clone())
        } else if self.scenario != rest.scenario {
            let short = |digest: &str| digest.chars().take(12).collect();
            ResultError::Scenario(short(&self.scenario), short(&rest.scenario))
        } else if self.seed != rest.seed {
            ResultError::MasterSeed(self.seed, rest.seed)
        } else {
            return Ok(());
        };
        Err(SweepError::InvalidFile { path: path.to_owned(), problem })
    }
}

impl ResultRow {
    /// The row as a line of a file, without line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// The identity of the world.
    pub fn world_id(&self) -> WorldId {
        WorldId { cell: self.cell, replication: self.replication }
    }

    /// Parses a line of a file; `None` if it is not a row.
    pub fn parse(line: &str) -> Option<ResultRow> {
        serde_json::from_str(line).ok()
    }
}

/// Writes a file completely or not at all.
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

/// Reads a file, and checks that it is complete and undamaged.
pub(super) fn read_result_file(path: &Path) -> Result<ResultFile, SweepError> {
    let bytes = unanimity_storage::read_at_most(path, MAX_FILE_BYTES)?;
    parse(bytes).map_err(|problem| SweepError::InvalidFile { path: path.to_owned(), problem })
}

fn parse(bytes: Vec<u8>) -> Result<ResultFile, ResultError> {
    if !bytes.starts_with(b"{\"manifest\":{\"format\":\"simnet/results/v1\"") {
        // A shorter file may be truncated within the prefix.
        let is_prefix = b"{\"manifest\":{\"format\":\"simnet/results/v1\"".starts_with(&bytes);
        return Err(if is_prefix { ResultError::Truncated } else { ResultError::UnknownFormat });
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

/// The result files of a directory, ordered by name, without temporary files.
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

/// Writes merged results to a file.
pub fn write_merged(disk: &Storage, path: &Path, merged: &ResultFile) -> Result<(), SweepError> {
    write_result_file(disk, path, &merged.manifest, merged.study.as_ref(), &merged.rows)
}

/// Reads merged results: the manifest, the study, and a row for each world.
///
/// # Errors
/// The file cannot be read, is damaged, has one shard of several, or has a world that is not in its
/// study.
pub fn read_merged(path: &Path) -> Result<(SweepManifest, Study, Vec<ResultRow>), SweepError> {
    let invalid = |problem| SweepError::InvalidFile { path: path.to_owned(), problem };
    let file = read_result_file(path)?;
    if file.manifest.shard.as_ref().is_some_and(|shard| shard != "0/1") {
        return Err(invalid(ResultError::NotMerged));
    }
    let study = file.study.ok_or_else(|| invalid(ResultError::NotMerged))?;
    let rows: Option<Vec<ResultRow>> =
        file.rows.values().map(|line| ResultRow::parse(line)).collect();
    let rows = rows.ok_or_else(|| invalid(ResultError::UnknownFormat))?;
    let known = |row: &ResultRow| {
        (row.cell as usize) < study.cells.len() && row.replication < study.replications
    };
    match rows.iter().all(known) {
        true => Ok((file.manifest, study, rows)),
        false => Err(invalid(ResultError::UnknownWorld)),
    }
}
