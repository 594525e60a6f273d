//! Runs, sweeps, merges and reports.

fn main() {}
