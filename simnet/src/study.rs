//! A scenario file with everything in it: the worlds (one cell for every combination of what is
//! varied), how often each is played, and what is to be drawn.

mod load;
mod plot;

use serde::{Deserialize, Serialize};
use unanimity_protocol::Hash;

pub use plot::{Plot, PlotKind, PlotMeasure, Quantity};

use crate::{Scenario, Seed};

/// Everything that a scenario file asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// What the file is called.
    pub name: String,
    /// Its question, in words.
    pub question: String,
    /// What is varied; empty if nothing is.
    pub axes: Vec<Axis>,
    /// How many worlds of each cell.
    pub replications: u32,
    /// Every combination of the axes' values; the last axis varies fastest.
    pub cells: Vec<Scenario>,
    /// What to draw.
    pub plots: Vec<Plot>,
}

/// One field that is varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// The field's path.
    pub field: String,
    /// Its values, as they are written in the file.
    pub values: Vec<String>,
}

/// One world: a cell by its place in the study, and which replication of it. Both from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorldId {
    /// Index of [`Study::cells`].
    pub cell: u32,
    /// Below [`Study::replications`].
    pub replication: u32,
}

impl Study {
    /// How many worlds.
    pub fn worlds(&self) -> u64 {
        self.cells.len() as u64 * u64::from(self.replications)
    }

    /// The n-th world.
    pub fn world_id(&self, n: u64) -> WorldId {
        let each = u64::from(self.replications);
        WorldId { cell: (n / each) as u32, replication: (n % each) as u32 }
    }

    /// SHA-256 over all that decides about numbers: the cells and the replications. Words and plots
    /// may change without it.
    pub fn digest(&self) -> String {
        let mut text = format!("simnet/study/v1\n{}\n", self.replications);
        for cell in &self.cells {
            text += &cell.canonical_text();
            text.push('\n');
        }
        Hash::digest(text.as_bytes()).to_string()
    }

    /// The seed of one world. It hangs on what the cell is made of and not on where it stands, so
    /// a value more on an axis changes no other cell's worlds.
    pub fn seed(&self, master: u64, unit: WorldId) -> Seed {
        let cell = self.cells[unit.cell as usize].canonical_text();
        let text = format!("simnet/world/v1\n{master}\n{cell}\n{}", unit.replication);
        let digest = Hash::digest(text.as_bytes()).0;
        Seed(u64::from_le_bytes(digest[..8].try_into().expect("eight bytes")))
    }

    /// Which value of each axis a cell has, as indices.
    pub fn axis_indices(&self, cell: u32) -> Vec<usize> {
        let mut rest = cell as usize;
        let mut place = vec![0; self.axes.len()];
        for (index, axis) in self.axes.iter().enumerate().rev() {
            place[index] = rest % axis.values.len();
            rest /= axis.values.len();
        }
        place
    }

    /// The values of a cell on every axis: `circle = 5, settle = 1h`; empty if nothing is varied.
    pub fn label(&self, cell: u32) -> String {
        let place = self.axis_indices(cell);
        let values = self.axes.iter().zip(place);
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
