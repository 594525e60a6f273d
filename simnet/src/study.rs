//! Studies: the complete contents of a scenario file. A study has a cell for every combination of
//! the varied values, the number of worlds of each cell, and the plots.

mod load;
mod plot;

use serde::{Deserialize, Serialize};
use unanimity_protocol::Hash;

pub use plot::{Plot, PlotKind, PlotMeasure, Quantity};

use crate::{Scenario, Seed};

/// The complete contents of a scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// The name of the file, without directory and extension.
    pub name: String,
    /// The question of the file, in words.
    pub question: String,
    /// The varied fields; empty if no field is varied.
    pub axes: Vec<Axis>,
    /// The number of worlds of each cell.
    pub replications: u32,
    /// Every combination of the axes' values; the last axis varies fastest.
    pub cells: Vec<Scenario>,
    /// The plots to draw.
    pub plots: Vec<Plot>,
}

/// One varied field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// The field's path.
    pub field: String,
    /// The field's values, as the file writes them.
    pub values: Vec<String>,
}

/// The identity of a world in a study: its cell and its replication, both from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorldId {
    /// An index of [`Study::cells`].
    pub cell: u32,
    /// The number of the world in its cell, below [`Study::replications`].
    pub replication: u32,
}

impl Study {
    /// The number of worlds.
    pub fn worlds(&self) -> u64 {
        self.cells.len() as u64 * u64::from(self.replications)
    }

    /// The n-th world, from 0.
    pub fn world_id(&self, n: u64) -> WorldId {
        let each = u64::from(self.replications);
        WorldId { cell: (n / each) as u32, replication: (n % each) as u32 }
    }

    /// SHA-256 over everything that determines the results: the cells and the number of
    /// replications. Questions and plots do not change the digest.
    pub fn digest(&self) -> String {
        let mut text = format!("simnet/study/v1\n{}\n", self.replications);
        for cell in &self.cells {
            text += &cell.canonical_text();
            text.push('\n');
        }
        Hash::digest(text.as_bytes()).to_string()
    }

    /// The seed of one world. It depends on the cell's parameters and not on its index, so another
    /// value on an axis changes no other cell's worlds.
    pub fn seed(&self, master: u64, world: WorldId) -> Seed {
        let cell = self.cells[world.cell as usize].canonical_text();
        let text = format!("simnet/world/v1\n{master}\n{cell}\n{}", world.replication);
        let digest = Hash::digest(text.as_bytes()).0;
        Seed(u64::from_le_bytes(digest[..8].try_into().expect("eight bytes")))
    }

    /// The cell's value on each axis, as an index of [`Axis::values`].
    pub fn axis_indices(&self, cell: u32) -> Vec<usize> {
        let mut rest = cell as usize;
        let mut indices = vec![0; self.axes.len()];
        for (number, axis) in self.axes.iter().enumerate().rev() {
            indices[number] = rest % axis.values.len();
            rest /= axis.values.len();
        }
        indices
    }

    /// The values of a cell on every axis, such as `peers = 5, settle = 1h`; empty if no field is
    /// varied.
    pub fn label(&self, cell: u32) -> String {
        let values = self.axes.iter().zip(self.axis_indices(cell));
        let words: Vec<String> = values
            .map(|(axis, index)| format!("{} = {}", axis.short_name(), axis.values[index]))
            .collect();
        words.join(", ")
    }
}

impl Axis {
    /// The last part of the field's path.
    pub fn short_name(&self) -> &str {
        self.field.rsplit('.').next().unwrap_or(&self.field)
    }
}
