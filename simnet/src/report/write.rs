//! Writing the files of a report.

use std::path::{Path, PathBuf};

use unanimity_storage::{Mode, Storage, StorageError};

use super::{numbers, page, series};
use crate::Study;
use crate::sweep::{ResultRow, SweepManifest};

/// Writes `index.html`, `plots.csv`, `worlds.csv` and `worlds.jsonl` to an existing directory, and
/// returns the path of the page.
pub fn write_report(
    disk: &Storage,
    out: &Path,
    manifest: &SweepManifest,
    study: &Study,
    rows: &[ResultRow],
) -> Result<PathBuf, StorageError> {
    let plots: Vec<_> = study
        .plots
        .iter()
        .enumerate()
        .map(|(number, plot)| (number + 1, plot, series::panels(plot, study, rows)))
        .collect();
    let files = [
        ("plots.csv", numbers::plots_csv(study, &plots)),
        ("worlds.csv", numbers::worlds_csv(study, rows)),
        ("worlds.jsonl", numbers::worlds_jsonl(rows)),
        ("index.html", page::render_page(manifest, study, rows, &plots)),
    ];
    for (name, text) in &files {
        let path = out.join(name);
        disk.write(&path, text.as_bytes(), Mode::Public).map_err(StorageError::at(&path))?;
    }
    Ok(out.join("index.html"))
}
