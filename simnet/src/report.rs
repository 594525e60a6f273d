//! The report: one page that needs nothing else, no network and no script, and the numbers beside it.

pub mod axis;
mod frame;
mod heat;
mod numbers;
mod page;
pub mod series;
pub mod stats;
mod svg;
mod told;

use std::path::{Path, PathBuf};

use unanimity_storage::{Disk, DiskError, Mode};

use crate::Study;
use crate::sweep::{Manifest, Row};

/// Writes `index.html`, `plots.csv`, `worlds.csv` and `worlds.jsonl` to a directory that is there, and
/// returns the page's path.
pub fn write(
    disk: &Disk,
    out: &Path,
    manifest: &Manifest,
    study: &Study,
    rows: &[Row],
) -> Result<PathBuf, DiskError> {
    let plots: Vec<_> = study
        .plots
        .iter()
        .enumerate()
        .map(|(number, plot)| (number + 1, plot, series::panels(plot, study, rows)))
        .collect();
    let files = [
        ("plots.csv", numbers::plots(study, &plots)),
        ("worlds.csv", numbers::worlds(study, rows)),
        ("worlds.jsonl", numbers::lines(rows)),
        ("index.html", page::page(manifest, study, rows, &plots)),
    ];
    for (name, text) in &files {
        let path = out.join(name);
        disk.write(&path, text.as_bytes(), Mode::Public).map_err(DiskError::at(&path))?;
    }
    Ok(out.join("index.html"))
}

/// Text that is safe inside an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            c => safe.push(c),
        }
    }
    safe
}
