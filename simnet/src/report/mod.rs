//! The report: one page that needs nothing else, no network and no script, and the numbers beside it.

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
