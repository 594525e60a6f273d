//! The report: one page without scripts and network access, and files with the numbers.

mod assumptions;
pub mod axis;
mod escape;
mod frame;
mod heat;
mod numbers;
mod page;
pub mod series;
pub mod stats;
mod svg;
mod write;

pub use write::write_report;
